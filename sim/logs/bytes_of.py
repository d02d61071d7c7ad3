"""The bytes of a log's file, unpacked where it is compressed, without a byte-order mark."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO, cast

from bandit.errors import InvalidLog, extras_named
from sim.logs.cells import one_line

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
PACKED = (".gz", ".zst")  # how the names of compressed files end


@contextmanager
def opened_bytes(path: Path) -> Iterator[IO[bytes]]:
    """The unpacked file, to be read by lines.

    Raises:
        InvalidLog: it cannot be read, is damaged, or is text of 16 bits; names the file.
    """
    with extras_named():
        from pyarrow import ArrowException

    try:
        with _unpacked(path) as file:
            _skip_mark(path, file)
            yield file
    except (OSError, EOFError, zlib.error, ArrowException) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InvalidLog(f"{path}: cannot be read: {one_line(reason)}") from None


def _unpacked(path: Path) -> BufferedReader:
    with path.open("rb") as file:
        start = file.read(4)
    if start.startswith(_GZIP):
        return cast(BufferedReader, gzip.open(path, "rb"))
    if start == _ZSTD:
        with extras_named():
            from pyarrow import CompressedInputStream, OSFile

        return BufferedReader(CompressedInputStream(OSFile(str(path), "rb"), "zstd"))
    return path.open("rb")


def _skip_mark(path: Path, file: BufferedReader) -> None:
    start = file.peek(3)[:3]
    if start.startswith(_UTF16_MARKS):
        raise InvalidLog(f"{path}: cannot be read: is UTF-16 text; save it as UTF-8")
    if start == _UTF8_MARK:
        file.read(3)
