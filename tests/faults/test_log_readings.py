"""Logs that something broke: whatever lies in the file, it is read, or refused in one line, and never a traceback."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bandit.errors import SendoptError
from sim.logs.event import LoggedEvent
from sim.logs.open import open_log
from tests.support.log_files import csv_bytes, decisions, json_lines, numbered, packed
from tests.support.logs import rows_of

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 1e-320, 1e308, -0.0, 10**30, 2**63),
    *("", " ", "x", "nan", "1_0", "0,5", "\x00", "é", "\ud7ff", "'", '"', "\n", "e-1", "d-1"),
    *("[]", "{}", "[0.5,0.5]", "2026-03-01T10:00:00", "9999-12-31T23:59:59-23:59"),
    *([], [[]], [None], [1, 2], [0.5, 0.5], ["a"], {}, {"a": 1}, {"_multi": []}),
)


def _flipped(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.randint(1, 6)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _cut(content: bytes, rng: random.Random) -> bytes:
    first = rng.randrange(len(content))
    return content[:first] + content[first + rng.randint(1, 80) :]


def _doubled(content: bytes, rng: random.Random) -> bytes:
    first = rng.randrange(len(content))
    return content[: first + rng.randint(1, 80)] + content[first:]


def _odd_cells(rng: random.Random) -> bytes:
    rows = numbered(4)
    for _ in range(rng.randint(1, 3)):
        row = rng.choice(rows)
        value = rng.choice(ODD)
        row[rng.choice(list(row))] = json.dumps(value) if isinstance(value, list | dict) else value
    return csv_bytes(rows)


def _odd_fields(rng: random.Random) -> bytes:
    lines = [{**one, "sendopt": {"user": "u", "learning_place": 3}} for one in decisions(4)]
    for _ in range(rng.randint(1, 3)):
        holder: dict[str, Any] = rng.choice(lines)
        inner = rng.choice([holder, holder["c"], holder["sendopt"]])
        target = inner if isinstance(inner, dict) else holder
        names = [*target, "_skipLearn", "pdrop", "o", "v", "_original_label_cost", "actions", "context", "_slots"]
        target[rng.choice(names)] = rng.choice(ODD)
        if not (isinstance(holder.get("c"), dict) and isinstance(holder.get("sendopt"), dict)):
            break
    return json_lines(*lines)


BREAKS: tuple[Callable[[bytes, random.Random], bytes], ...] = (_flipped, _cut, _doubled)


def _broken(rng: random.Random) -> tuple[str, bytes]:
    kind = rng.choice(["csv", "dsjson"])
    if rng.random() < 0.5:
        content = _odd_cells(rng) if kind == "csv" else _odd_fields(rng)
    else:
        whole = csv_bytes(numbered(4)) if kind == "csv" else json_lines(*decisions(4))
        content = rng.choice(BREAKS)(whole, rng)
    ending = rng.choice(["", "", "", ".gz", ".zst"])
    content = packed(content, ending)
    return f"log.{kind}{ending}", _flipped(content, rng) if ending and rng.random() < 0.3 else content


def _reading(path: Path) -> tuple[list[LoggedEvent] | None, list[str]]:
    """The rows, or the lines of the error."""
    try:
        return rows_of(open_log(path)), []
    except SendoptError as error:
        return None, str(error).splitlines()


def test_no_broken_log_gives_a_traceback(tmp_path: Path, readings: int) -> None:
    """A reading ends in rows that keep every rule or in an error of ours, of one line."""
    rng = random.Random(20)
    read = refused = 0
    for _ in range(readings):
        name, content = _broken(rng)
        path = tmp_path / name
        path.write_bytes(content)
        rows, lines = _reading(path)
        assert len(lines) == (rows is None), (content, lines)
        assert all(0.0 < row.propensity <= 1.0 and 0.0 <= row.reward <= 1.0 for row in rows or [])
        read, refused = read + (rows is not None), refused + (rows is None)
    assert min(read, refused) > readings / 50
