"""Small files of logs, right and wrong, of the shapes that other systems write."""

import csv
import gzip
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROW: dict[str, Any] = {
    "decision_id": "d-1",
    "user": "u-1",
    "propensity": 0.5,
    "reward": 1,
    "action_index": 1,
    "actions": '["a","b"]',
    "pmf": "[0.5,0.5]",
    "decided_at": "2026-03-01T10:00:00Z",
    "context": "{}",
}
DSJSON: dict[str, Any] = {
    "_label_cost": -1.0,
    "_label_probability": 0.5,
    "_label_Action": 2,
    "_labelIndex": 1,
    "Timestamp": "2026-03-01T10:00:00.1230000Z",
    "Version": "1",
    "EventId": "e-1",
    "a": [2, 1],
    "c": {"U": {"k": "v"}, "_multi": [{"A": {"id": "x"}}, {"A": {"id": "y"}}]},
    "p": [0.5, 0.5],
}


def csv_bytes(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """A CSV file with the columns of the first row."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def json_lines(*documents: Mapping[str, Any] | str) -> bytes:
    """Lines of dsjson."""
    return "".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in documents).encode()


def numbered(n: int, **changes: Any) -> list[dict[str, Any]]:
    """So many sound rows of a table, with other values in some columns of the second one."""
    rows = [{**ROW, "decision_id": f"d-{place}", "user": f"u-{place}"} for place in range(1, n + 1)]
    rows[1].update(changes)
    return rows


def decisions(n: int, **changes: Any) -> list[dict[str, Any]]:
    """So many sound decisions of dsjson, with other values in the second one; a field that is `...` is left out."""
    lines = [{**DSJSON, "EventId": f"e-{place}"} for place in range(1, n + 1)]
    lines[1].update(changes)
    return [{name: value for name, value in one.items() if value is not ...} for one in lines]


def packed(content: bytes, ending: str) -> bytes:
    """The content as a .gz or .zst file has it; as it is for any other ending."""
    if ending == ".gz":
        return gzip.compress(content)
    if ending != ".zst":
        return content
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


def written(folder: Path, name: str, content: bytes) -> Path:
    """The file, packed as its name says."""
    path = folder / name
    path.write_bytes(packed(content, path.suffix))
    return path
