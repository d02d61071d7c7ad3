"""Logs as one JSON object per line, on standard error: our own lines, and those of every library.

A line contains ids, but never the contents of a request or a key. Of an exception it has the class and the place, not
the message, which may quote both.
"""

import logging
import logging.config
import sys
import traceback
from contextlib import suppress
from typing import Any, TextIO

import structlog
from structlog.typing import ExcInfo, Processor


class Unfailing:
    """A stream whose full disk or closed pipe fails nothing but the line: no decision depends on being logged."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


def configure_logs(level: int) -> None:
    """Writes log events of at least this level to standard error; called by a process that owns its output.

    Args:
        level: as in `logging`.
    """
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *event_processors(), structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(Unfailing(sys.stderr)),  # type: ignore[arg-type]  # all that it uses
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    logging.config.dictConfig(library_logs(level))


def event_processors() -> list[Processor]:
    """The processors that complete an event before it is written as JSON."""
    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(places_of),
    ]


def library_logs(level: int) -> dict[str, Any]:
    """Configuration of `logging`: libraries, and the server in each of its processes, write the same lines."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "api.logging_setup.json_formatter"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}},
        "loggers": {"_granian": {"handlers": ["stderr"], "propagate": False, "level": "INFO"}},
        "root": {"handlers": ["stderr"], "level": max(level, logging.WARNING)},
    }


def json_formatter() -> logging.Formatter:
    """Writes a record of `logging` as one of our lines."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=event_processors(),
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.JSONRenderer()],
    )


def places_of(exc_info: ExcInfo) -> list[dict[str, Any]]:
    """Class and frames of an exception and of its causes, without their messages."""
    found = []
    error: BaseException | None = exc_info[1]
    while error is not None:
        frames = traceback.extract_tb(error.__traceback__)
        places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        found.append({"kind": type(error).__name__, "frames": places})
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return found
