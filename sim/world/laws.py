"""The numbers in the world's formulas, which a preset sets.

`sim.world.world` explains each of them. A spread is a scale in log-odds; 0 switches a term off.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil


def _check_rate(name: str, rate: float) -> None:
    if not 0.0 <= rate < 1.0:
        raise ValueError(f"{name}: {rate} is a rate, so in [0, 1)")


def _check_positive(name: str, value: float) -> None:
    if not value > 0.0:
        raise ValueError(f"{name}: {value} must be positive")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentLaw:
    """One content of the campaign, and when it is available."""

    id: str
    topic: str
    rate: float | None = (
        None  # mean response in a fresh state; None: the preset's, with an effect drawn for the content
    )
    awake: float = 1.0  # probability that the content can be sent to a user on a given day
    from_day: float = 0.0  # day of the world from which it exists

    def __post_init__(self) -> None:
        if self.rate is not None:
            _check_rate(f"{self.id}: rate", self.rate)
        if not 0.0 < self.awake <= 1.0:
            raise ValueError(f"{self.id}: awake: {self.awake} must be in (0, 1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spreads:
    """How much users, contents and moments differ, in log-odds."""

    activity: float = 0.6
    annoyance: float = 0.9
    sensitivity: float = 0.0  # of the logarithm of a user's sensitivity to pressure
    leaning: float = 1.0  # factor on the channel preference
    taste: float = 1.0  # factor on the taste for topics
    rhythm: float = 0.8  # height of a user's daily wave
    moment: float = 0.3  # height of a channel's daily wave
    mood: float = 0.0  # height of a topic's daily wave
    weekly: float = 0.0  # topic x weekday
    fit: float = 0.0  # channel x topic
    quality: float = 0.3  # of contents: relative to their mean rate
    segment: float = 0.0  # what a user's segment makes of each channel, topic and hour
    three: float = 0.0  # age band x topic x hour, beyond what two of them say
    embedding: float = 0.0  # what users like about a content's embedding
    weekend_hours: int = 0  # hours by which all daily waves are later on Saturday and Sunday


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A response that does not grow with the log-odds, but has only two heights: below and above zero."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_rate("low", self.low)
        _check_rate("high", self.high)
        if not self.low < self.high:
            raise ValueError(f"low: {self.low} must be less than high, {self.high}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """Many contents, each known by its embedding. A request brings a few of them; the campaign lists none."""

    numbers: int  # of an embedding
    offered: int  # contents that a request brings, drawn for the user and the day

    def __post_init__(self) -> None:
        _check_positive("numbers", self.numbers)
        _check_positive("offered", self.offered)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressure:
    """The effect of sends on responses to later sends, in log-odds, and how users recover."""

    fatigue: float = 0.0  # per send that is still felt
    fatigue_days: float = 3.0  # after which the effect of a send is 1/e
    habituation: float = 0.0  # maximum, for a user who is completely used to the messages
    habituation_sends: float = 10.0  # remembered sends that give 1 - 1/e of the maximum
    habituation_days: float = 60.0  # after which the memory of a send is 1/e
    novelty: float = 0.0  # right after the same content
    half_life_days: float = 15.0  # of that loss

    def __post_init__(self) -> None:
        for name in ("fatigue_days", "habituation_sends", "habituation_days", "half_life_days"):
            _check_positive(name, getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hazards:
    """Mean probability, per channel, that a rested user who does not respond leaves the channel after a send."""

    opt_out: Mapping[str, float] = field(default_factory=dict)  # reported to the sender; absent: never
    mute: Mapping[str, float] = field(default_factory=dict)  # not reported; absent: never
    pressure: float = 0.0  # log-odds per send that is still felt

    def __post_init__(self) -> None:
        for name, rates in (("opt_out", self.opt_out), ("mute", self.mute)):
            for channel, rate in rates.items():
                _check_rate(f"{name}.{channel}", rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporting:
    """The times of users' actions, and how they are reported."""

    response_mean_hours: float = 1.0  # after the send
    response_hours: float = 6.0  # maximum
    organic_hours: float = 24.0  # hours after the decision in which one organic visit counts
    lost: float = 0.0  # share of events that are never reported
    duplicated: float = 0.0  # share of the reported that are reported twice

    def __post_init__(self) -> None:
        for name in ("response_mean_hours", "response_hours", "organic_hours"):
            _check_positive(name, getattr(self, name))
        _check_rate("lost", self.lost)
        _check_rate("duplicated", self.duplicated)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How the world changes over time."""

    drift_days: float | None = None  # period in which the effects of contents change into others and back; None: never
    abrupt_days: tuple[
        float, ...
    ] = ()  # days on which all tastes, preferences, rhythms and effects of contents are drawn again
    newcomers: float = 0.0  # share of the users who join later, evenly over joining_days
    joining_days: float = 60.0

    def __post_init__(self) -> None:
        _check_rate("newcomers", self.newcomers)
        if self.drift_days is not None:
            _check_positive("drift_days", self.drift_days)
        if list(self.abrupt_days) != sorted(self.abrupt_days):
            raise ValueError(f"abrupt_days: {self.abrupt_days} must ascend")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A kind of world: its campaign, the laws of its users, and the frequency of decisions."""

    name: str
    about: str  # one line, with the source of its figures
    channels: Mapping[str, float]  # cost of a send, in reward
    contents: tuple[ContentLaw, ...]
    local_hours: tuple[int, ...]
    clicked: float = 1.0  # worth of a response
    unsubscribed: float  # worth of an opt-out
    visited: float  # worth of an organic visit
    response_rate: float  # mean over users, channels, contents, hours and weekdays, in a fresh state
    organic_rate: float  # mean over users
    spreads: Spreads = Spreads()
    segments: int = 0  # into which users fall; 0: there are none
    step: Step | None = None  # None: the response is logistic
    library: Library | None = None  # None: the campaign lists its contents
    pressure: Pressure = Pressure()
    hazards: Hazards = Hazards()
    reporting: Reporting = Reporting()
    change: Change = Change()
    users: int
    per_day: float | None  # decisions per day about random users; None: one decision about every user every day
    decisions: int = 15_000  # of a study
    horizon_hours: float = 24.0

    def __post_init__(self) -> None:
        _check_rate("response_rate", self.response_rate)
        _check_rate("organic_rate", self.organic_rate)
        for channel in (*self.hazards.opt_out, *self.hazards.mute):
            if channel not in self.channels:
                raise ValueError(f"{self.name}: hazards name {channel!r}, which is not a channel")
        if self.library is not None and self.library.offered > len(self.contents):
            raise ValueError(f"{self.name}: offered: {self.library.offered} is more than {len(self.contents)} contents")
        if self.step is not None and not self.step.low < self.response_rate < self.step.high:
            raise ValueError(f"{self.name}: response_rate: {self.response_rate} is not between the step's heights")

    @property
    def window_hours(self) -> float:
        """Hours after the decision in which feedback counts: the last possible event plus a quarter for its report."""
        last = max(self.horizon_hours + self.reporting.response_hours, self.reporting.organic_hours)
        return last + self.slack_hours

    @property
    def slack_hours(self) -> float:
        """Hours between the last possible event and the end of the window; a batch of decisions must span less."""
        return self.horizon_hours / 4

    @property
    def round_days(self) -> int:
        """Whole days between two decisions about a user, if there is one decision per period of organic visits."""
        return max(1, ceil(self.reporting.organic_hours / 24.0))

    @property
    def topics(self) -> tuple[str, ...]:
        """Topics of the contents, in the order of the contents."""
        return tuple(dict.fromkeys(content.topic for content in self.contents))
