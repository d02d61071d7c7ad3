"""Instants as text, and lengths of time."""

from datetime import UTC, datetime, timedelta

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def utc_text(instant: datetime) -> str:
    """RFC 3339 in UTC with Z, to the microsecond where there are any."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
