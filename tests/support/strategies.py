"""Hypothesis strategies: a campaign, a user with a past, and a moment, drawn so that rules meet at their boundaries."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from importlib import resources
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from bandit.campaign.document import Campaign
from bandit.decide.history import History, Response, Send
from bandit.domain import Content, DecideRequest
from bandit.sendtimes import QuietHours
from tests.support.builders import campaign, request

Value = TypeVar("Value")
QUARTER = timedelta(minutes=15)
TICK = timedelta(microseconds=1)
CHANNELS = ("push", "email", "sms")
LONGEST_REPEAT = timedelta(hours=4)  # of an hour, when a clock is set back; three hours at Casey
RESTLESS_ZONES = (
    "America/New_York",
    "Europe/London",
    "Australia/Lord_Howe",  # half an hour
    "Antarctica/Troll",  # two hours
    "Africa/Casablanca",  # around Ramadan
    "America/Santiago",  # at midnight
    "Asia/Kathmandu",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Everything that a decision is made from, but the model."""

    campaign: Campaign
    request: DecideRequest
    history: History
    now: datetime
    zone: ZoneInfo


@lru_cache(maxsize=1)
def zone_names() -> tuple[str, ...]:
    return tuple(resources.files("tzdata").joinpath("zones").read_text("ascii").split())


@lru_cache(maxsize=1_024)
def zone_of(name: str) -> ZoneInfo:
    """The zone of the tzdata package, not that of the system."""
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


@lru_cache(maxsize=1_024)
def clock_changes(name: str, year: int) -> tuple[datetime, ...]:
    """Instants of that year, to the quarter of an hour, from which the zone's UTC offset is another."""
    where, start = zone_of(name), datetime(year, 1, 1, tzinfo=UTC)
    days = [start + timedelta(days=day) for day in range(366)]
    offsets = [day.astimezone(where).utcoffset() for day in days]
    return tuple(
        next(
            at
            for at in (days[place] + QUARTER * step for step in range(97))
            if at.astimezone(where).utcoffset() != offsets[place]
        )
        for place in range(365)
        if offsets[place] != offsets[place + 1]
    )


def local_hours_ahead(where: ZoneInfo, hours: Sequence[int], now: datetime, horizon_hours: float) -> list[datetime]:
    """Instants in (now, now + horizon] at which the local clock reads one of the hours for the first time that day.

    Found by reading the clock every quarter of an hour, to which every offset since 1972 is a multiple.
    """
    end = now + timedelta(hours=horizon_hours)
    instant = (now - LONGEST_REPEAT).replace(minute=0, second=0, microsecond=0)
    seen: set[datetime] = set()
    found = []
    while instant <= end:
        wall = instant.astimezone(where).replace(tzinfo=None)
        if wall.minute == 0 and wall.hour in hours and wall not in seen:
            seen.add(wall)
            if instant > now:
                found.append(instant)
        instant += QUARTER
    return found


@st.composite
def maybe(draw: st.DrawFn, strategy: st.SearchStrategy[Value], *, in_ten: int = 3) -> Value | None:
    """None, but that many times in ten: with every rule there every time, nothing would be left to allow."""
    return draw(strategy) if draw(st.integers(0, 9)) >= 10 - in_ten else None


lengths = st.one_of(st.sampled_from((0.5, 1.0, 3.0, 4.0, 12.0, 24.0, 25.0, 48.0, 72.0)), st.floats(0.01, 100.0))
jitters = st.sampled_from((-TICK, timedelta(0), timedelta(0), TICK))
wall_minutes = st.one_of(st.integers(0, 23).map(lambda hour: hour * 60), st.integers(0, 24 * 60 - 1))
wall_times = wall_minutes.map(lambda minute: time(minute // 60, minute % 60))
quiet_windows = st.builds(QuietHours, start=wall_times, end=wall_times).filter(lambda one: one.start != one.end)
near = st.integers(-144, 144)
caps = st.fixed_dictionaries({"count": st.integers(1, 4), "hours": lengths})


@st.composite
def moments(draw: st.DrawFn) -> tuple[str, datetime]:
    """A zone, and an instant of 2020 to 2035: often within a day and a half of a change of its clock."""
    name = draw(st.one_of(st.sampled_from(RESTLESS_ZONES), st.sampled_from(zone_names())))
    year = draw(st.integers(2020, 2035))
    changes = clock_changes(name, year)
    new_year = datetime(year, 1, 1, tzinfo=UTC)
    anywhere = st.integers(0, 365 * 96).map(lambda quarters: new_year + quarters * QUARTER)
    if not changes:
        return name, draw(anywhere) + draw(jitters)
    near_change = st.builds(lambda change, quarters: change + quarters * QUARTER, st.sampled_from(changes), near)
    return name, draw(anywhere | near_change) + draw(jitters)


@st.composite
def situations(draw: st.DrawFn, *, with_past: bool = True) -> Situation:
    """Campaigns of up to 3 channels, 6 contents and 72 hours ahead."""
    name, now = draw(moments())
    times = draw(send_times())
    horizon_hours = draw(st.one_of(st.sampled_from((24.0, 36.0, 48.0, 72.0)), st.floats(0.5, 72.0)))
    ahead = [now, *local_hours_ahead(zone_of(name), times["local_hours"], now, horizon_hours)]
    contents = draw(catalogues(ahead))
    document = campaign(
        horizon_hours=horizon_hours,
        channels={one: {"cap": draw(maybe(caps, in_ten=5))} for one in CHANNELS},
        caps=draw(_caps_over_all()),
        contents=contents,
        send_times=times,
        reward={"window_hours": 96, "learn_after_hours": 80},
        policy={"floor": draw(st.sampled_from((0.001, 0.05, 1.0)))},
    )
    asked = request(
        now=now,
        timezone=name,
        channels=draw(maybe(st.sets(st.sampled_from(CHANNELS)))),
        quiet_hours=draw(maybe(quiet_windows)),
        contents=draw(_asked_contents([one["id"] for one in contents], ahead)),
    )
    history = draw(pasts(document, asked, ahead)) if with_past else History()
    return Situation(campaign=document, request=asked, history=history, now=now, zone=zone_of(name))


@st.composite
def send_times(draw: st.DrawFn) -> dict[str, Any]:
    """The table of a campaign document."""
    hours = draw(st.lists(st.integers(0, 23), min_size=draw(st.sampled_from((3, 1, 0))), max_size=4, unique=True))
    quiet = draw(maybe(quiet_windows))
    return {
        "local_hours": hours,
        "allow_now": not hours or draw(st.integers(0, 3)) > 0,
        "quiet_hours": "none" if quiet is None else {"start": f"{quiet.start:%H:%M}", "end": f"{quiet.end:%H:%M}"},
    }


@st.composite
def _caps_over_all(draw: st.DrawFn) -> dict[str, Any]:
    cap = draw(maybe(caps, in_ten=5))
    return {**(cap or {}), "min_gap_hours": draw(maybe(lengths, in_ten=4))}


@st.composite
def expiries(draw: st.DrawFn, ahead: Sequence[datetime]) -> datetime:
    """Just before, at or after one of the instants, the later ones first."""
    return draw(st.sampled_from(ahead[::-1])) + draw(jitters)


@st.composite
def catalogues(draw: st.DrawFn, ahead: Sequence[datetime]) -> list[dict[str, Any]]:
    """Up to 4 contents of a campaign document."""
    return [
        {
            "id": f"m{number}",
            "features": {"kind": draw(st.sampled_from(("habit", "news")))},
            "channels": draw(maybe(st.lists(st.sampled_from(CHANNELS), min_size=1, unique=True))),
            "repeat_after_hours": draw(maybe(lengths)),
            "expires_at": draw(maybe(expiries(ahead).map(datetime.isoformat))),
        }
        for number in range(draw(st.sampled_from((3, 4, 2, 1, 3, 4, 2, 0))))
    ]


@st.composite
def _asked_contents(draw: st.DrawFn, names: Sequence[str], ahead: Sequence[datetime]) -> list[str | Content] | None:
    """The whole catalogue, or some of it and up to 2 contents of the request's own, in any order."""
    own = draw(st.lists(st.sampled_from(("m0", "pin-1", "pin-2")), max_size=2, unique=True))
    if not own and draw(st.booleans()):
        return None
    chosen: list[str | Content] = [name for name in names if name not in own and draw(st.integers(0, 4))]
    chosen += [draw(own_contents(name, ahead)) for name in own]
    return draw(st.permutations(chosen))


@st.composite
def own_contents(draw: st.DrawFn, name: str, ahead: Sequence[datetime]) -> Content:
    """A content that a request brings, under that id."""
    return Content(
        id=name,
        features={"kind": "news"},
        channels=draw(maybe(st.frozensets(st.sampled_from(CHANNELS), min_size=1))),
        repeat_after_hours=draw(maybe(lengths)),
        expires_at=draw(maybe(expiries(ahead))),
    )


@st.composite
def pasts(draw: st.DrawFn, document: Campaign, asked: DecideRequest, ahead: Sequence[datetime]) -> History:
    """Sends exactly as far from an instant ahead, or from another send, as some rule says; and anywhere."""
    names = st.sampled_from([*content_names(document, asked), "gone"])
    distances = st.sampled_from([0.0, *rule_hours(document, asked)]) | st.floats(0.0, 50.0)
    instants = [*ahead]
    for _ in range(draw(st.integers(0, 7))):
        away = draw(st.sampled_from((-1, 1))) * timedelta(hours=draw(distances))
        instants.append(draw(st.sampled_from(instants)) + away + draw(jitters))
    sends = [
        Send(
            decision_id=f"d-{number}",
            channel=draw(st.sampled_from(CHANNELS)),
            content=draw(names),
            kind=draw(st.sampled_from(("habit", None))),
            send_at=send_at,
        )
        for number, send_at in enumerate(sorted(instants[len(ahead) :]))
    ]
    answered = [send for send in sends if draw(st.booleans())]
    return History(
        sends=tuple(sends),
        responses=tuple(Response(decision_id=send.decision_id, occurred_at=send.send_at) for send in answered),
    )


def content_names(document: Campaign, asked: DecideRequest) -> list[str]:
    """Ids of the contents that this decision is about."""
    chosen = document.catalogue if asked.contents is None else asked.contents
    return [one if isinstance(one, str) else one.id for one in chosen]


def rule_hours(document: Campaign, asked: DecideRequest) -> list[float]:
    """Every length of time that a rule of this decision names."""
    caps = [document.caps.cap, *(channel.cap for channel in document.channels.values())]
    own = [one for one in asked.contents or () if isinstance(one, Content)]
    repeats = [one.repeat_after_hours for one in (*document.catalogue.values(), *own)]
    named = [document.caps.min_gap_hours, *repeats]
    return [*(cap.hours for cap in caps if cap is not None), *(hours for hours in named if hours is not None)]
