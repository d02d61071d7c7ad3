"""Local hours -> instants, and quiet hours, on dates whose clock changes are a matter of record."""

import os
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from importlib import metadata, resources
from pathlib import Path
from zoneinfo import ZoneInfo, reset_tzpath

import pytest

from bandit import sendtimes
from bandit.errors import SendoptError, UnknownTimeZone
from bandit.sendtimes import QuietHours, SendTime, candidate_times, in_quiet_hours, zone

TZDATA = Path(str(resources.files("tzdata"))).resolve()
DAY_HOURS = (8, 12, 18, 20)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def upcoming(name: str, now: str, *local_hours: int, horizon_hours: float = 24.0) -> list[tuple[str, int]]:
    """(UTC minute, local hour) of each candidate after `now`."""
    times = candidate_times(
        now=utc(now), zone=zone(name), local_hours=local_hours, allow_now=False, horizon_hours=horizon_hours
    )
    return [(f"{each.send_at:%m-%d %H:%M}", each.local_hour) for each in times]


def quiet(start: str, end: str) -> QuietHours:
    return QuietHours(start=time.fromisoformat(start), end=time.fromisoformat(end))


def is_quiet(name: str, instant: str, start: str, end: str) -> bool:
    return in_quiet_hours(utc(instant), zone(name), quiet(start, end))


@pytest.fixture
def cold_caches() -> Iterator[None]:
    """Nothing remembered before the test, nothing that a patch produced remembered after it."""
    caches = (sendtimes._tzdata, sendtimes._load, sendtimes._timetable)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


class OpenedFiles:
    """Paths that Python opens while it is entered; an audit hook stays for good, so it is only silenced."""

    def __init__(self) -> None:
        self.paths: list[Path] = []
        self.listening = False

    def __call__(self, event: str, args: tuple[object, ...]) -> None:
        if self.listening and event == "open" and isinstance(args[0], str | os.PathLike):
            self.paths.append(Path(os.fspath(args[0])).resolve())

    def __enter__(self) -> "OpenedFiles":
        self.paths.clear()
        self.listening = True
        return self

    def __exit__(self, *_: object) -> None:
        self.listening = False


@pytest.fixture(scope="module")
def opened() -> OpenedFiles:
    watch = OpenedFiles()
    sys.addaudithook(watch)
    return watch


# --- zones


def test_every_zone_that_tzdata_lists_loads_under_its_own_name() -> None:
    names = (TZDATA / "zones").read_text("ascii").split()
    assert len(names) > 500
    assert [zone(name).key for name in names] == names


def test_a_zone_is_loaded_once() -> None:
    assert zone("Europe/Lisbon") is zone("Europe/Lisbon")


@pytest.mark.usefixtures("cold_caches")
def test_zones_come_from_the_tzdata_package_and_not_from_the_system(
    tmp_path: Path, opened: OpenedFiles, request: pytest.FixtureRequest
) -> None:
    decoy = tmp_path / "Europe" / "Lisbon"
    decoy.parent.mkdir()
    decoy.write_bytes((TZDATA / "zoneinfo" / "Asia" / "Tokyo").read_bytes())
    request.addfinalizer(reset_tzpath)
    reset_tzpath([str(tmp_path)])
    zone("UTC")  # the list itself is read at the first call
    with opened:
        loaded = zone("Europe/Lisbon")
    noon = utc("2026-01-15 12:00")
    assert noon.astimezone(loaded).utcoffset() == timedelta(0)
    assert noon.astimezone(ZoneInfo.no_cache("Europe/Lisbon")).utcoffset() == timedelta(hours=9)
    assert opened.paths == [TZDATA / "zoneinfo" / "Europe" / "Lisbon"]


HOSTILE_NAMES = [
    "",
    " ",
    ".",
    "..",
    "/",
    "../../etc/passwd",
    "../../../../../../../../etc/passwd",
    "/etc/passwd",
    "/usr/share/zoneinfo/Europe/Lisbon",
    "Europe/../Europe/Lisbon",
    "Europe//Lisbon",
    "Europe/",
    "Europe",
    "Europe\\Lisbon",
    "posixrules",
    "localtime",
    "tzdata.zi",
    "zone.tab",
    "__init__.py",
    "posix/Europe/Lisbon",
    "right/Europe/Lisbon",
    "europe/lisbon",
    "EUROPE/LISBON",
    "utc",
    " UTC",
    "UTC\n",
    "UTC\0",
    "\0",
    "Europe/Lisbon\0.txt",
    "Europe/Lisboa",
    "UTC+1",
    "+01:00",
    "America/New York",
    "Ευρώπη/Λισαβόνα",
    "\ud800",
    "A" * 10_000,
    "../" * 3_333,
]


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=lambda name: ascii(name[:40]))
def test_a_name_outside_the_list_is_refused_and_opens_no_file(name: str, opened: OpenedFiles) -> None:
    zone("UTC")  # the list itself is read at the first call
    with opened, pytest.raises(UnknownTimeZone) as refusal:
        zone(name)
    assert opened.paths == []
    assert refusal.value.name == name
    assert len(str(refusal.value)) < 1_000


def test_an_unknown_zone_is_refused_in_words_that_name_it_and_the_list() -> None:
    with pytest.raises(SendoptError) as refusal:
        zone("Mars/Olympus")
    version = metadata.version("tzdata")
    assert str(refusal.value) == f"unknown time zone 'Mars/Olympus': not in the IANA list (tzdata {version})"


@pytest.mark.usefixtures("cold_caches")
def test_without_the_list_a_name_would_open_a_file_outside_tzdata(
    tmp_path: Path, opened: OpenedFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"not a time zone")
    name = os.path.relpath(secret, TZDATA / "zoneinfo")
    monkeypatch.setattr(sendtimes, "_tzdata", lambda: ("off", frozenset({name})))
    with opened, pytest.raises(ValueError, match="TZif"):
        zone(name)
    assert secret.resolve() in opened.paths


# --- candidate times


def test_candidates_are_now_and_then_each_local_hour_of_the_horizon_in_order() -> None:
    now = utc("2026-11-20 17:03")
    times = candidate_times(
        now=now, zone=zone("America/New_York"), local_hours=DAY_HOURS, allow_now=True, horizon_hours=24.0
    )
    assert times == (
        SendTime(send_at=now, local_hour=12, weekday=4, is_now=True),
        SendTime(send_at=utc("2026-11-20 23:00"), local_hour=18, weekday=4, is_now=False),
        SendTime(send_at=utc("2026-11-21 01:00"), local_hour=20, weekday=4, is_now=False),
        SendTime(send_at=utc("2026-11-21 13:00"), local_hour=8, weekday=5, is_now=False),
        SendTime(send_at=utc("2026-11-21 17:00"), local_hour=12, weekday=5, is_now=False),
    )


def test_now_is_left_out_unless_it_is_allowed() -> None:
    assert upcoming("UTC", "2026-06-01 00:30", 1, 2) == [("06-01 01:00", 1), ("06-01 02:00", 2)]


def test_no_local_hours_leave_only_now() -> None:
    now = utc("2026-06-01 00:30")
    times = candidate_times(now=now, zone=zone("UTC"), local_hours=(), allow_now=True, horizon_hours=24.0)
    assert times == (SendTime(send_at=now, local_hour=0, weekday=0, is_now=True),)


def test_now_on_a_local_hour_appears_once_as_now() -> None:
    now = utc("2026-06-01 12:00")  # 08:00 in New York
    times = candidate_times(
        now=now, zone=zone("America/New_York"), local_hours=(8, 9), allow_now=True, horizon_hours=2.0
    )
    assert [(each.send_at, each.local_hour, each.is_now) for each in times] == [
        (now, 8, True),
        (utc("2026-06-01 13:00"), 9, False),
    ]


def test_now_on_a_local_hour_does_not_count_as_upcoming() -> None:
    assert upcoming("UTC", "2026-06-01 08:00", 8, horizon_hours=23.9) == []


def test_the_end_of_the_horizon_is_included() -> None:
    assert upcoming("UTC", "2026-06-01 08:00", 8) == [("06-02 08:00", 8)]
    assert upcoming("UTC", "2026-06-01 08:00", 9, horizon_hours=0.999) == []


def test_an_instant_leaves_to_the_microsecond_and_the_next_enters_to_the_microsecond() -> None:
    assert upcoming("UTC", "2026-06-01 07:59:59.999999", 8) == [("06-01 08:00", 8)]
    assert upcoming("UTC", "2026-06-01 08:00:00", 8) == [("06-02 08:00", 8)]
    assert upcoming("UTC", "2026-06-01 08:00:00.000001", 8) == [("06-02 08:00", 8)]


def test_a_horizon_beyond_a_day_brings_an_hour_up_on_several_days() -> None:
    assert upcoming("Europe/Lisbon", "2026-06-01 00:00", 9, 18, horizon_hours=60.0) == [
        ("06-01 08:00", 9),
        ("06-01 17:00", 18),
        ("06-02 08:00", 9),
        ("06-02 17:00", 18),
        ("06-03 08:00", 9),
    ]


@pytest.mark.parametrize("horizon_hours", [0.0, -5.0])
def test_an_empty_horizon_holds_no_local_hour(horizon_hours: float) -> None:
    assert upcoming("UTC", "2026-06-01 08:00", *range(24), horizon_hours=horizon_hours) == []


def test_local_hours_count_once_in_whatever_order_they_are_given() -> None:
    assert upcoming("UTC", "2026-06-01 00:00", 18, 8, 18, 8) == [("06-01 08:00", 8), ("06-01 18:00", 18)]


@pytest.mark.parametrize("hour", [-1, 24])
def test_an_hour_that_no_clock_shows_is_refused(hour: int) -> None:
    with pytest.raises(ValueError, match="hour"):
        upcoming("UTC", "2026-06-01 00:00", hour)


@pytest.mark.parametrize("allow_now", [False, True])
def test_a_naive_now_is_refused_by_name(allow_now: bool) -> None:
    with pytest.raises(ValueError, match="now: 2026-06-01T08:00:00 has no UTC offset"):
        candidate_times(
            now=datetime(2026, 6, 1, 8),
            zone=zone("UTC"),
            local_hours=(8,),
            allow_now=allow_now,
            horizon_hours=24.0,
        )


@pytest.mark.parametrize("given_in", [timezone(timedelta(hours=-3)), zone("Asia/Kathmandu"), zone("UTC")])
def test_now_in_any_zone_gives_the_same_answer_in_utc(given_in: tzinfo) -> None:
    now = utc("2026-11-01 05:30")
    new_york = zone("America/New_York")

    def times(moment: datetime) -> tuple[SendTime, ...]:
        return candidate_times(now=moment, zone=new_york, local_hours=DAY_HOURS, allow_now=True, horizon_hours=30.0)

    assert times(now.astimezone(given_in)) == times(now)
    assert {each.send_at.tzinfo for each in times(now.astimezone(given_in))} == {UTC}


def test_now_in_the_repeated_hour_of_its_own_zone_is_the_instant_that_its_fold_names() -> None:
    new_york = zone("America/New_York")
    second = datetime(2026, 11, 1, 1, 30, tzinfo=new_york, fold=1)
    times = candidate_times(now=second, zone=new_york, local_hours=(2,), allow_now=True, horizon_hours=1.0)
    assert [each.send_at for each in times] == [utc("2026-11-01 06:30"), utc("2026-11-01 07:00")]


# --- clock changes


def test_new_york_skips_two_o_clock_on_8_march_2026() -> None:
    assert upcoming("America/New_York", "2026-03-08 05:00", 1, 2, 3) == [
        ("03-08 06:00", 1),
        ("03-08 07:00", 3),
        ("03-09 05:00", 1),
    ]


@pytest.mark.usefixtures("cold_caches")
def test_without_reading_the_clock_back_an_hour_in_the_gap_would_be_sent_at_another_hour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sendtimes, "_reads", lambda *_: True)
    assert upcoming("America/New_York", "2026-03-08 05:00", 2, horizon_hours=6.0) == [("03-08 07:00", 3)]


def test_new_york_counts_one_o_clock_once_on_1_november_2026_at_its_first_instant() -> None:
    assert upcoming("America/New_York", "2026-11-01 04:30", 0, 1, 2) == [
        ("11-01 05:00", 1),
        ("11-01 07:00", 2),
    ]


@pytest.mark.parametrize("now", ["2026-11-01 05:00", "2026-11-01 05:59", "2026-11-01 06:00"])
def test_a_repeated_hour_whose_first_instant_has_passed_has_had_its_turn(now: str) -> None:
    assert upcoming("America/New_York", now, 1, horizon_hours=23.0) == []


def test_lisbon_skips_one_o_clock_in_spring_and_repeats_it_in_autumn() -> None:
    assert upcoming("Europe/Lisbon", "2026-03-28 23:30", 0, 1, 2, horizon_hours=6.0) == [
        ("03-29 00:00", 0),
        ("03-29 01:00", 2),
    ]
    assert upcoming("Europe/Lisbon", "2026-10-24 22:30", 0, 1, 2, horizon_hours=6.0) == [
        ("10-24 23:00", 0),
        ("10-25 00:00", 1),
        ("10-25 02:00", 2),
    ]


def test_lord_howe_moves_by_half_an_hour() -> None:
    assert upcoming("Australia/Lord_Howe", "2026-10-03 14:00", 1, 2, 3, horizon_hours=6.0) == [
        ("10-03 14:30", 1),
        ("10-03 16:00", 3),
    ]
    assert upcoming("Australia/Lord_Howe", "2026-04-04 13:30", 1, 2, 3, horizon_hours=6.0) == [
        ("04-04 14:00", 1),
        ("04-04 15:30", 2),
        ("04-04 16:30", 3),
    ]


def test_kathmandu_is_five_hours_and_three_quarters_ahead() -> None:
    assert upcoming("Asia/Kathmandu", "2026-06-01 00:00", 8, 12) == [("06-01 02:15", 8), ("06-01 06:15", 12)]


def test_apia_had_no_30_december_2011() -> None:
    times = candidate_times(
        now=utc("2011-12-29 20:00"),
        zone=zone("Pacific/Apia"),
        local_hours=(8, 18),
        allow_now=True,
        horizon_hours=36.0,
    )
    assert [(f"{each.send_at:%d %H:%M}", each.local_hour, each.weekday) for each in times] == [
        ("29 20:00", 10, 3),  # Thursday 29 December
        ("30 04:00", 18, 3),
        ("30 18:00", 8, 5),  # Saturday 31 December
        ("31 04:00", 18, 5),
    ]


def test_casablanca_moves_its_clock_for_ramadan() -> None:
    assert upcoming("Africa/Casablanca", "2025-02-23 00:30", 1, 2, 3, horizon_hours=6.0) == [
        ("02-23 01:00", 2),
        ("02-23 03:00", 3),
    ]
    assert upcoming("Africa/Casablanca", "2025-04-06 00:30", 1, 2, 3, horizon_hours=6.0) == [
        ("04-06 01:00", 1),
        ("04-06 02:00", 3),
    ]


def test_sao_paulo_used_to_skip_midnight_and_to_repeat_the_last_hour_of_the_day() -> None:
    assert upcoming("America/Sao_Paulo", "2018-11-04 01:30", 23, 0, 1, horizon_hours=6.0) == [
        ("11-04 02:00", 23),
        ("11-04 03:00", 1),
    ]
    assert upcoming("America/Sao_Paulo", "2018-02-17 23:30", 22, 23, 0, horizon_hours=6.0) == [
        ("02-18 00:00", 22),
        ("02-18 01:00", 23),
        ("02-18 03:00", 0),
    ]


def test_troll_moves_by_two_hours() -> None:
    assert upcoming("Antarctica/Troll", "2026-03-28 23:30", 0, 1, 2, 3, horizon_hours=6.0) == [
        ("03-29 00:00", 0),
        ("03-29 01:00", 3),
    ]
    assert upcoming("Antarctica/Troll", "2026-10-24 22:30", 0, 1, 2, 3, horizon_hours=6.0) == [
        ("10-24 23:00", 1),
        ("10-25 00:00", 2),
        ("10-25 03:00", 3),
    ]


# --- quiet hours


@pytest.mark.parametrize(
    ("wall", "start", "end", "expected"),
    [
        ("12:59:59.999999", "13:00", "15:00", False),
        ("13:00:00", "13:00", "15:00", True),
        ("14:59:59.999999", "13:00", "15:00", True),
        ("15:00:00", "13:00", "15:00", False),
        ("21:59:59.999999", "22:00", "08:00", False),
        ("22:00:00", "22:00", "08:00", True),
        ("00:00:00", "22:00", "08:00", True),
        ("07:59:59.999999", "22:00", "08:00", True),
        ("08:00:00", "22:00", "08:00", False),
        ("23:59:59.999999", "22:00", "00:00", True),
        ("00:00:00", "22:00", "00:00", False),
        ("00:00:00", "00:00", "06:00", True),
        ("12:00:00.250000", "12:00:00.25", "12:00:00.5", True),
        ("12:00:00.500000", "12:00:00.25", "12:00:00.5", False),
        ("00:00:00", "00:00", "00:00", True),  # the whole day
        ("23:59:59.999999", "00:00", "00:00", True),
    ],
)
def test_a_quiet_window_holds_its_start_and_not_its_end(wall: str, start: str, end: str, expected: bool) -> None:
    assert is_quiet("UTC", f"2026-06-01 {wall}", start, end) is expected


@pytest.mark.parametrize(
    ("name", "instant", "expected"),
    [
        ("America/New_York", "2026-03-08 06:59:59", False),  # 01:59:59 EST
        ("America/New_York", "2026-03-08 07:00:00", True),  # 03:00 EDT
        ("America/New_York", "2026-11-01 05:30:00", False),  # 01:30 EDT
        ("America/New_York", "2026-11-01 06:59:59", False),  # 01:59:59 EST
        ("America/New_York", "2026-11-01 07:00:00", True),  # 02:00 EST
        ("Asia/Kathmandu", "2026-06-01 20:14:59", False),  # 01:59:59
        ("Asia/Kathmandu", "2026-06-01 20:15:00", True),  # 02:00
        ("Australia/Lord_Howe", "2026-10-03 15:29:59", False),  # 01:59:59
        ("Australia/Lord_Howe", "2026-10-03 15:30:00", True),  # 02:30
    ],
)
def test_quiet_hours_are_what_the_local_clock_reads_on_both_sides_of_a_change(
    name: str, instant: str, expected: bool
) -> None:
    assert is_quiet(name, instant, "02:00", "05:00") is expected


def test_a_repeated_half_hour_is_quiet_both_times() -> None:
    instants = ["2026-04-04 14:45", "2026-04-04 15:15"]  # 01:45 on Lord Howe, twice
    assert [is_quiet("Australia/Lord_Howe", each, "01:30", "02:00") for each in instants] == [True, True]


def test_a_naive_instant_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="instant: 2026-06-01T08:00:00 has no UTC offset"):
        in_quiet_hours(datetime(2026, 6, 1, 8), zone("UTC"), quiet("22:00", "08:00"))


@pytest.mark.parametrize("field", ["start", "end"])
def test_a_quiet_window_with_a_utc_offset_is_refused_by_field(field: str) -> None:
    times = {"start": time(22), "end": time(8), field: time(7, tzinfo=UTC)}
    with pytest.raises(ValueError, match=rf"{field}: 07:00:00\+00:00 must be a wall time without a UTC offset"):
        QuietHours(**times)


# --- the cache


@pytest.mark.usefixtures("cold_caches")
def test_calls_within_the_same_days_share_one_table() -> None:
    for minute in range(0, 24 * 60, 7):
        now = utc("2026-06-01 00:00") + timedelta(minutes=minute)
        candidate_times(now=now, zone=zone("Asia/Tokyo"), local_hours=DAY_HOURS, allow_now=True, horizon_hours=24.0)
    assert sendtimes._timetable.cache_info().misses == 1


@pytest.mark.usefixtures("cold_caches")
def test_threads_get_the_answers_that_one_thread_gets() -> None:
    rng = random.Random(20260308)
    zones = [zone(name) for name in ("America/New_York", "Australia/Lord_Howe", "Antarctica/Troll")]
    calls = [
        (utc("2026-03-07 00:00") + timedelta(seconds=rng.randrange(60 * 86_400)), rng.choice(zones))
        for _ in range(2_000)
    ]

    def answer(call: tuple[datetime, ZoneInfo]) -> tuple[SendTime, ...]:
        now, where = call
        return candidate_times(now=now, zone=where, local_hours=DAY_HOURS, allow_now=True, horizon_hours=36.0)

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(answer, calls))
    sendtimes._timetable.cache_clear()
    assert together == [answer(call) for call in calls]
