"""Logs as one JSON object per line, on standard error."""

import sys

import structlog


def configure_logs(level: int) -> None:
    """Sends log events from the level on to standard error; called by a process that owns its output.

    Args:
        level: as in `logging`.
    """
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
