"""Opening a log of any kind, and writing one."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path

from bandit.errors import FieldError, InvalidInput
from bandit.sendtimes import zone
from sim.common.files import check_can_be_written
from sim.common.progress import ProgressCallback
from sim.logs.bytes_of import PACKED
from sim.logs.dsjson import DsjsonLog
from sim.logs.event import DataDigest, EventLog
from sim.logs.table import TableLog
from sim.logs.write import WRITERS

FORMATS = tuple(WRITERS)
_ENDINGS = {".parquet": "parquet", ".csv": "csv", ".dsjson": "dsjson", ".json": "dsjson", ".jsonl": "dsjson"}


def format_of(path: Path, given: str | None) -> str:
    """The given format; without one, the format of the file's ending.

    Raises:
        InvalidInput: an unknown one.
    """
    found = given or _ENDINGS.get(path.suffix.lower())
    if found not in FORMATS:
        message = f"{found or path.name!r}: is not one of {', '.join(FORMATS)}; name the format of the file"
        raise InvalidInput([FieldError(field="format", message=message)])
    return found


def open_log(
    path: Path,
    *,
    file_format: str | None = None,
    reward_bounds: tuple[float, float] = (0.0, 1.0),
    columns: Mapping[str, str] | None = None,
    extra: Sequence[str] = (),
    assume_zone: str | None = None,
    keep_late: bool = False,
) -> EventLog:
    """The log in a file, which may be compressed (.gz, .zst).

    Args:
        file_format: "parquet", "csv" or "dsjson"; None: by the file's ending.
        reward_bounds: a reward outside them is an error.
        columns: of a table: field -> the file's name for it.
        extra: of a table: further columns of numbers that every event carries.
        assume_zone: of times without an offset, as "Europe/Berlin"; None: UTC in dsjson, refused in tables.
        keep_late: of dsjson: add rewards on lines of their own to those that their decisions have already.

    Raises:
        InvalidInput: an unknown format, or a column map for a file without columns.
        UnknownTimeZone: no such zone.
        InvalidLog: the file cannot be read, or lacks a column.
    """
    unpacked = path.with_suffix("") if path.suffix.lower() in PACKED else path
    kind = format_of(unpacked, file_format)
    assumed = None if assume_zone is None else zone(assume_zone)
    if kind != "dsjson":
        return TableLog(
            path, kind=kind, reward_bounds=reward_bounds, columns=columns, extra=extra, assumed_zone=assumed
        )
    if columns or extra:
        raise InvalidInput([FieldError(field="columns", message="a dsjson log has no columns to map")])
    return DsjsonLog(path, reward_bounds=reward_bounds, assumed_zone=assumed or UTC, keep_late=keep_late)


def export_log(log: EventLog, path: Path, *, file_format: str | None, progress: ProgressCallback) -> tuple[int, str]:
    """Number of rows written, and the digest of the data.

    Raises:
        InvalidInput: an unknown format, or no such folder.
        InvalidLog: the log breaks a rule; an existing file stays unchanged.
    """
    kind = format_of(path, file_format)
    check_can_be_written(path, "file")
    rows, digest = 0, DataDigest()
    with _whole_or_not_at_all(path) as part, WRITERS[kind](part) as write:
        for events in log.batches():
            write(events)
            for event in events:
                digest.add(event)
            rows += len(events)
            progress(rows)
    return rows, digest.hexdigest()


@contextmanager
def _whole_or_not_at_all(path: Path) -> Iterator[Path]:
    """A temporary file that replaces the wanted file if the block succeeds, and is removed if it fails."""
    part = path.with_name(f"{path.name}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
