"""Local hours as instants, and quiet hours: correct across daylight-saving changes.

Each local hour is mapped to a UTC instant by itself and read back there; times are compared and added only in UTC. So a
day of 23, 24.5 or 25 hours, or a day that a zone skips, needs no special case.

Speed comes from one table per (zone, hours, first and last UTC day of the horizon), cut by bisection. The
table depends on nothing else, so it cannot go stale: it serves any `now` of that day, in any order, from any
thread. Reading the local clock costs about 0.2 microseconds, so UTC offsets are not cached.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from importlib import metadata, resources
from operator import attrgetter
from zoneinfo import ZoneInfo

from bandit.errors import UnknownTimeZone


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietHours:
    """A local do-not-disturb window [start, end); start > end crosses midnight; start == end is the whole day."""

    start: time  # naive local wall time
    end: time

    def __post_init__(self) -> None:
        for field, value in (("start", self.start), ("end", self.end)):
            if value.tzinfo is not None:
                raise ValueError(f"{field}: {value.isoformat()} must be a wall time without a UTC offset")


ALL_DAY = QuietHours(start=time(0), end=time(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class SendTime:
    """One instant at which a message could be sent, and the time on the user's clock."""

    send_at: datetime  # aware, UTC
    local_hour: int  # hour of the local wall clock at send_at, 0..23
    weekday: int  # local, 0 = Monday
    is_now: bool

    def __hash__(self) -> int:
        # Hashed by one field, which is almost always different; times are looked up several times in a decision.
        return hash(self.send_at)


def zone(name: str) -> ZoneInfo:
    """The IANA zone of that exact name, from the installed tzdata package, never from the system's files.

    It cannot be pickled; send its name to another process instead.

    Raises:
        UnknownTimeZone: the name is not in the package's list; no file was opened for it.
    """
    version, names = _tzdata()
    if name not in names:
        raise UnknownTimeZone(name, version)
    return _load(name)


def candidate_times(
    *, now: datetime, zone: ZoneInfo, local_hours: tuple[int, ...], allow_now: bool, horizon_hours: float
) -> tuple[SendTime, ...]:
    """`now` first if allowed, then, ascending, each instant in (now, now + horizon] that reads HH:00 locally.

    A local hour that a clock change skips is excluded. An hour that comes twice on a day counts once, at its first
    instant; when that has passed, the second one is excluded too.

    Args:
        now: aware, in any zone.
        local_hours: each in 0..23, in any order; a repeated hour counts once.
        horizon_hours: elapsed hours, not wall-clock hours; beyond 24 an hour comes up on several days.

    Raises:
        ValueError: `now` is naive, a local hour is outside 0..23, or the horizon is NaN.
        ValueError, OverflowError: the horizon, with two days on either side, leaves the years 1..9999.
    """
    start = _utc(now, "now")
    end = start + timedelta(hours=horizon_hours)
    instants, sends = _timetable(zone, local_hours, start.toordinal(), end.toordinal())
    ahead = sends[bisect_right(instants, start) : bisect_right(instants, end)]
    return (send_time(start, zone, is_now=True), *ahead) if allow_now else ahead


def in_quiet_hours(instant: datetime, zone: ZoneInfo, quiet: QuietHours) -> bool:
    """Whether the zone's wall clock is inside the window at that instant, to the microsecond.

    Raises:
        ValueError: `instant` is naive.
    """
    wall = _utc(instant, "instant").astimezone(zone).time()
    if quiet.start < quiet.end:
        return quiet.start <= wall < quiet.end
    return wall >= quiet.start or wall < quiet.end


@lru_cache(maxsize=1)
def _tzdata() -> tuple[str, frozenset[str]]:
    """Version of the installed tzdata package, and the zone names that it lists."""
    names = resources.files("tzdata").joinpath("zones").read_text("ascii")
    return metadata.version("tzdata"), frozenset(names.splitlines())


@lru_cache(maxsize=1024)  # every name that tzdata lists, about 600
def _load(listed_name: str) -> ZoneInfo:
    """The zone's rules; only for names that tzdata lists, because the name becomes a path."""
    path = resources.files("tzdata").joinpath("zoneinfo", *listed_name.split("/"))
    with path.open("rb") as file:
        return ZoneInfo.from_file(file, key=listed_name)


def _utc(moment: datetime, field: str) -> datetime:
    """The same instant in UTC; a naive time is refused, because this machine's own zone would be assumed."""
    if moment.utcoffset() is None:
        raise ValueError(f"{field}: {moment.isoformat()} has no UTC offset; an aware datetime is required")
    return moment.astimezone(UTC)


def send_time(instant: datetime, zone: ZoneInfo, *, is_now: bool) -> SendTime:
    """The send time at a UTC instant, with the zone's wall clock."""
    wall = instant.astimezone(zone)
    return SendTime(send_at=instant, local_hour=wall.hour, weekday=wall.weekday(), is_now=is_now)


@lru_cache(maxsize=4096)  # 600 zones x 2 days around midnight x 3 campaigns; about 2 kB each
def _timetable(
    zone: ZoneInfo, local_hours: tuple[int, ...], first_day: int, last_day: int
) -> tuple[tuple[datetime, ...], tuple[SendTime, ...]]:
    """Instants, ascending, and send times of the local hours, over whole UTC days (ordinals) and a margin."""
    days = range(first_day - 1, last_day + 2)  # a UTC offset is under 24 h: one local day either side
    instants = {instant for day in days for instant in _instants(date.fromordinal(day), local_hours, zone)}
    sends = [send_time(instant, zone, is_now=False) for instant in sorted(instants)]
    return tuple(map(attrgetter("send_at"), sends)), tuple(sends)


def _instants(day: date, local_hours: tuple[int, ...], zone: ZoneInfo) -> Iterator[datetime]:
    """The UTC instant of each hour that exists on that local day; if there are two, the first."""
    for hour in local_hours:
        wall = datetime.combine(day, time(hour))  # fold = 0: of two instants, the first
        instant = wall.replace(tzinfo=zone).astimezone(UTC)
        if _reads(instant, zone, wall):
            yield instant


def _reads(instant: datetime, zone: ZoneInfo, wall: datetime) -> bool:
    """Whether the zone's clock shows that wall time at the instant.

    An hour in a gap maps to an instant with another time.
    """
    return instant.astimezone(zone).replace(tzinfo=None) == wall
