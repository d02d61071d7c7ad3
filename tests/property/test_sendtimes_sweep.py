"""Send times against a clock that is only ever read: at random, and around every clock change of 2020-2035.

Zones whose compiled rules are the same bytes (aliases) are swept once, under all their names.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, timezone
from functools import lru_cache
from importlib import resources
from typing import cast
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bandit.sendtimes import QuietHours, candidate_times, in_quiet_hours, zone

HOUR, DAY = 3_600, 86_400  # seconds
STEP = HOUR // 4  # of `now` around a clock change
HORIZON_HOURS = 6.0
ALL_HOURS = tuple(range(24))
LONGEST_REPEAT = 7 * HOUR  # since 1975: Antarctica/Vostok, 1994; most repeat one hour, Casey three
FIRST, LAST = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (2020, 2036))

# (start, end) of quiet windows, in minutes of the local day
WINDOWS = (
    (22 * 60, 8 * 60),
    (0, 6 * 60),
    (90, 210),
    (4 * 60, 5 * 60),  # opens and closes after most changes, so a clock that is wrong either way breaches it
    (23 * 60, 23 * 60 + 59),
    (9 * 60, 9 * 60),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Zones with identical rules, and the instants (epoch seconds) at which their UTC offset changes."""

    names: tuple[str, ...]
    zone: ZoneInfo
    changes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep kept out of quiet hours and what it dropped; breaches were kept and read as quiet."""

    kept: int
    dropped: int
    breaches: tuple[str, ...]


def reading(instant: int, where: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(instant, where)


def offset(instant: int, where: ZoneInfo) -> timedelta:
    return cast(timedelta, reading(instant, where).utcoffset())


def first_second_after_change(low: int, high: int, where: ZoneInfo) -> int:
    """The instant in (low, high] from which the offset is no longer that of `low`."""
    before = offset(low, where)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if offset(middle, where) == before else (low, middle)
    return high


@lru_cache(maxsize=1024)
def offset_changes(where: ZoneInfo) -> tuple[int, ...]:
    """Found by reading the clock every day; every 4 hours, or every week, finds the same (tzdata 2026f)."""
    offsets = [offset(instant, where) for instant in range(FIRST, LAST + 1, DAY)]
    days = [day for day in range(len(offsets) - 1) if offsets[day] != offsets[day + 1]]
    return tuple(first_second_after_change(FIRST + day * DAY, FIRST + (day + 1) * DAY, where) for day in days)


def zone_names() -> list[str]:
    return resources.files("tzdata").joinpath("zones").read_text("ascii").split()


def rules(name: str) -> bytes:
    return resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()


@pytest.fixture(scope="module")
def families() -> list[Family]:
    named: defaultdict[bytes, list[str]] = defaultdict(list)
    for name in zone_names():
        named[rules(name)].append(name)
    return [
        Family(names=tuple(names), zone=zone(names[0]), changes=offset_changes(zone(names[0])))
        for names in named.values()
    ]


def nows_around(change: int) -> range:
    """From 3 hours before to 3 hours after, every 15 minutes."""
    return range(change - 3 * HOUR, change + 3 * HOUR + 1, STEP)


def walked_hours(where: ZoneInfo, first: int, last: int, step: int) -> list[tuple[int, int]]:
    """(instant, local hour) when the clock, read at each step in [first, last], first shows HH:00 of a day.

    Reads back far enough before `first` to know whether an hour is a repeat.
    """
    shown: dict[tuple[int, int], int] = {}
    for instant in range(first - first % step - LONGEST_REPEAT, last + 1, step):
        wall = reading(instant, where)
        if wall.minute == wall.second == 0:
            shown.setdefault((wall.toordinal(), wall.hour), instant)
    return [(instant, hour) for (_, hour), instant in shown.items() if instant >= first]


def candidate_instants(now: int, where: ZoneInfo) -> list[int]:
    """Of every local hour in the horizon, and now."""
    times = candidate_times(
        now=datetime.fromtimestamp(now, UTC),
        zone=where,
        local_hours=ALL_HOURS,
        allow_now=True,
        horizon_hours=HORIZON_HOURS,
    )
    return [int(each.send_at.timestamp()) for each in times]


def quiet_hours(window: tuple[int, int]) -> QuietHours:
    start, end = (time(minute // 60, minute % 60) for minute in window)
    return QuietHours(start=start, end=end)


def reads_quiet(instant: int, where: ZoneInfo, window: tuple[int, int]) -> bool:
    """By the minutes since the window opened, round the clock: nothing shared with `in_quiet_hours`."""
    start, end = window
    wall = reading(instant, where)
    return (wall.hour * 60 + wall.minute - start) % 1440 < (end - start) % 1440


def sweep_change(family: Family, change: int, assumed: ZoneInfo) -> Iterator[tuple[bool, str]]:
    """(kept, breach or "") of each send and window around one change, decided as if the zone were `assumed`.

    The same instant is a candidate of many `now`s; it is judged once.
    """
    sends = {send for now in nows_around(change) for send in candidate_instants(now, assumed)}
    for window in WINDOWS:
        quiet = quiet_hours(window)
        for send in sends:
            kept = not in_quiet_hours(datetime.fromtimestamp(send, UTC), assumed, quiet)
            breach = kept and reads_quiet(send, family.zone, window)
            yield kept, f"{family.names}: {reading(send, family.zone)} in {quiet}" if breach else ""


def sweep(pairs: Sequence[tuple[Family, int, ZoneInfo]]) -> Swept:
    kept = dropped = 0
    breaches = []
    for family, change, assumed in pairs:
        for was_kept, breach in sweep_change(family, change, assumed):
            kept, dropped = kept + was_kept, dropped + (not was_kept)
            if breach:
                breaches.append(breach)
    return Swept(kept=kept, dropped=dropped, breaches=tuple(breaches))


def fixed_before(family: Family, change: int) -> ZoneInfo:
    """The offset of 3 hours before the change, for ever."""
    return cast(ZoneInfo, timezone(offset(change - 3 * HOUR, family.zone)))


def test_the_sweep_covers_every_zone_and_thousands_of_clock_changes(families: list[Family]) -> None:
    assert sorted(name for family in families for name in family.names) == sorted(zone_names())
    assert sum(len(family.names) * len(family.changes) for family in families) > 5_000
    assert len(nows_around(0)) == 25


def test_around_every_clock_change_no_send_that_is_kept_falls_in_quiet_hours(families: list[Family]) -> None:
    swept = sweep([(family, change, family.zone) for family in families for change in family.changes])
    assert swept.breaches == ()
    assert swept.kept > 100_000
    assert swept.dropped > 100_000


def test_with_the_offset_of_before_the_change_sends_that_are_kept_do_fall_in_quiet_hours(
    families: list[Family],
) -> None:
    pairs = [
        (family, change, fixed_before(family, change))
        for family in families
        for change in family.changes[-2:]  # one forward and one back, where a family still has both
    ]
    assert len(pairs) > 200
    for pair in pairs:
        assert sweep([pair]).breaches != (), (pair[0].names, pair[1])


def test_around_every_clock_change_candidates_are_what_a_walked_clock_shows(families: list[Family]) -> None:
    ahead = int(HORIZON_HOURS * HOUR)
    for family in families:
        for change in family.changes:
            nows = nows_around(change)
            shown = [at for at, _ in walked_hours(family.zone, nows[0], nows[-1] + ahead, STEP)]
            for now in nows:
                expected = [now, *(at for at in shown if now < at <= now + ahead)]
                assert candidate_instants(now, family.zone) == expected, (family.names, now)


@st.composite
def scenarios(draw: st.DrawFn) -> tuple[str, list[int]]:
    """A zone, and some `now`s in any order within 30 hours of one instant, preferably of a clock change."""
    name = draw(st.sampled_from(zone_names()))
    changes = offset_changes(zone(name))
    anywhere = st.integers(FIRST - 45 * 365 * DAY, LAST)
    anchor = draw(st.sampled_from(changes) | anywhere if changes else anywhere)
    nearby = st.integers(-120, 120).map(lambda quarters: quarters * STEP) | st.integers(-30 * HOUR, 30 * HOUR)
    return name, [anchor + each for each in draw(st.lists(nearby, min_size=1, max_size=4))]


@settings(derandomize=True, database=None, deadline=None, max_examples=200)
@given(
    scenario=scenarios(),
    local_hours=st.lists(st.integers(0, 23), max_size=8).map(tuple) | st.just(ALL_HOURS),
    horizon_hours=st.integers(0, 72).map(float) | st.floats(0.0, 72.0),
    allow_now=st.booleans(),
)
@example(("Pacific/Apia", [1325203200, 1325160000]), ALL_HOURS, 48.0, True)  # no 30 December 2011
@example(("Pacific/Kwajalein", [745891200, 745848000]), ALL_HOURS, 48.0, True)  # no 21 August 1993
@example(("America/Sao_Paulo", [1541296800, 1541300400]), (23, 0, 1), 30.0, True)  # no midnight
@example(("Antarctica/Vostok", [760003200, 760050000]), ALL_HOURS, 30.0, True)  # seven hours twice
@example(("Antarctica/Troll", [1792882800, 1792890000]), (0, 1, 2, 3), 30.0, False)  # two hours twice
def test_candidates_are_what_a_clock_read_every_minute_shows(
    scenario: tuple[str, list[int]], local_hours: tuple[int, ...], horizon_hours: float, allow_now: bool
) -> None:
    name, nows = scenario
    where = zone(name)
    for now in nows:
        times = candidate_times(
            now=datetime.fromtimestamp(now, UTC),
            zone=where,
            local_hours=local_hours,
            allow_now=allow_now,
            horizon_hours=horizon_hours,
        )
        shown = walked_hours(where, now + 1, now + int(round(horizon_hours * HOUR, 6)), 60)
        instants = [(at, False) for at, hour in shown if hour in local_hours]
        expected = [(now, True)] * allow_now + instants
        assert [(each.send_at.timestamp(), each.is_now) for each in times] == expected
        for each in times:
            wall = reading(int(each.send_at.timestamp()), where)
            assert (each.local_hour, each.weekday) == (wall.hour, wall.weekday())
