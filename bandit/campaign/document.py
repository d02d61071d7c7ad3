"""The campaign document: one schema for JSON over HTTP and TOML on the command line."""

import json
from datetime import time
from functools import cached_property
from math import ceil
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator
from pydantic_core import PydanticCustomError

from bandit.campaign.fields import (
    AS_TUPLE,
    MAX_EMBEDDING,
    MAX_FEATURES,
    MAX_TEXT,
    ClockTime,
    EndOfClockTime,
    EngineValue,
    FeatureTable,
    Finite,
    Hour,
    Hours,
    Identifier,
    Instant,
    Share,
    StrictModel,
    about,
)
from bandit.domain import RESERVED_EVENTS, CampaignId, Content
from bandit.engine.events.arguments import LEARNER as EVENTS
from bandit.engine.events.arguments import EventArguments, value_arguments
from bandit.engine.explorers import (
    DEFAULT_EXPLORER,
    FEW_ACTIONS,
    GAMMA_SCALE,
    LEARNING_RATE,
    LEARNING_RATE_OF_FEW,
    SPREAD,
    EngineArguments,
    engine_arguments,
)
from bandit.engine.learner import LearnerArguments
from bandit.engine.lines import channel_token
from bandit.sendtimes import ALL_DAY, QuietHours

SMALLEST_UNIT = 1e-6  # of rewards
LearnerName = Literal["lines", "events"]
MIDNIGHT_AS_END = "24:00"


class QuietHoursDocument(StrictModel):
    """A daily window in which nothing is sent, on the user's clock."""

    start: Annotated[
        ClockTime,
        about(
            "When the window begins.",
            example="22:00",
            unit="local time, HH:MM",
            rule="not equal to `end`; later than it: the window crosses midnight",
            why="Messages at night wake people and make them leave.",
        ),
    ]
    end: Annotated[
        EndOfClockTime,
        about(
            "When the window ends; this minute is allowed again.",
            example="08:00",
            unit="local time, HH:MM, or 24:00",
            why="A message that waits for the morning is read in the morning.",
        ),
    ]

    @model_validator(mode="after")
    def _is_a_part_of_the_day(self) -> Self:
        if self.start == self.end:
            message = 'start and end are both {start}: say "none" where no hour is quiet, "all_day" where every hour is'
            raise PydanticCustomError("quiet_hours_equal", message, {"start": self.start})
        return self

    def to_domain(self) -> QuietHours:
        end = "00:00" if self.end == MIDNIGHT_AS_END else self.end
        return QuietHours(start=time.fromisoformat(self.start), end=time.fromisoformat(end))


QuietHoursChoice = Annotated[
    Annotated[Literal["none", "all_day"], Tag("<words>")] | Annotated[QuietHoursDocument, Tag("<window>")],
    Discriminator(lambda one: "<words>" if isinstance(one, str) else "<window>"),
]


def quiet_window(choice: QuietHoursChoice) -> QuietHours | None:
    """The window that is meant; None where no hour is quiet."""
    if isinstance(choice, QuietHoursDocument):
        return choice.to_domain()
    return ALL_DAY if choice == "all_day" else None


class ContentDocument(StrictModel):
    """One message that could be sent."""

    id: Annotated[
        Identifier,
        about(
            "Name of the content, as decisions answer it.",
            example="streak",
            rule="appears once in the campaign",
            why="The caller's templates and the learned model know the content by it.",
        ),
    ]
    features: Annotated[
        FeatureTable,
        about(
            "What the content is like: texts, numbers, flags, lists of texts, or lists of numbers (an embedding). "
            "The feature `kind`, when it is a text, groups contents.",
            example={"kind": "habit"},
            rule=f"a text has at most {MAX_TEXT:,} characters, a number lies within 1e15 of 0, a list has at most "
            f"{MAX_FEATURES} texts or {MAX_EMBEDDING} numbers",
            why="The model learns from one content about others that are like it. From `kind` it also sees how long "
            "ago this user was last sent any content of the same kind.",
        ),
    ] = Field(default_factory=dict)
    channels: Annotated[
        Annotated[tuple[Identifier, ...], AS_TUPLE, Field(min_length=1)] | None,
        about(
            "Channels that the content is made for; absent: every channel of the campaign.",
            example=["push"],
            rule="each is a channel of the campaign",
            why="A long text does not fit into a push message.",
        ),
    ] = None
    repeat_after_hours: Annotated[
        Hours | None,
        about(
            "How long the same user is not sent this content again; absent: no limit.",
            example=72,
            unit="hours",
            why="The same message twice in a row annoys.",
        ),
    ] = None
    expires_at: Annotated[
        Instant | None,
        about(
            "The content is not sent at or after this instant; absent: it never expires.",
            example="2027-01-01T00:00:00Z",
            why="An offer that has ended must not be sent, however well it did.",
        ),
    ] = None

    def to_domain(self) -> Content:
        return Content(
            id=self.id,
            features=self.features,
            channels=None if self.channels is None else frozenset(self.channels),
            repeat_after_hours=self.repeat_after_hours,
            expires_at=self.expires_at,
        )


class Cap(StrictModel):
    """At most so many sends to one user in a rolling window."""

    count: Annotated[
        int,
        Field(ge=1, le=10_000),
        about(
            "The most sends in any window.",
            example=2,
            unit="sends",
            why="It bounds what one user can receive, whatever the model expects of it.",
        ),
    ]
    hours: Annotated[
        Hours,
        about(
            "Length of the rolling window.",
            example=24,
            unit="hours",
            why="A rolling window has no midnight at which two days' messages could meet.",
        ),
    ]


class Channel(StrictModel):
    """One way to reach users."""

    cost: Annotated[
        Finite,
        Field(ge=0),
        about(
            "The price of one send, subtracted from the reward of every decision that sends on this channel.",
            example=0.01,
            unit="reward units",
            why="A send that is free is worth trying always; a small price keeps the model from sending what is "
            "hardly ever answered.",
        ),
    ] = 0.0
    cap: Annotated[
        Cap | None,
        about(
            "The most sends to one user on this channel in a rolling window; absent: no limit.",
            example={"count": 2, "hours": 24},
            why="Users bear fewer push messages than e-mails.",
        ),
    ] = None


class Caps(StrictModel):
    """Limits for one user over all channels of the campaign."""

    count: Annotated[
        Annotated[int, Field(ge=1, le=10_000)] | None,
        about(
            "The most sends to one user over all channels in a rolling window; absent: no limit.",
            example=3,
            unit="sends",
            rule="given together with `hours`",
            why="Users count messages, not channels.",
        ),
    ] = None
    hours: Annotated[
        Hours | None,
        about(
            "Length of the rolling window.",
            example=24,
            unit="hours",
            rule="given together with `count`",
            why="A rolling window has no midnight at which two days' messages could meet.",
        ),
    ] = None
    min_gap_hours: Annotated[
        Hours | None,
        about(
            "The shortest time between two sends to one user; absent: none.",
            example=4,
            unit="hours",
            why="A cap alone would allow all its sends within one hour.",
        ),
    ] = None

    @model_validator(mode="after")
    def _count_and_hours_belong_together(self) -> Self:
        if (self.count is None) != (self.hours is None):
            raise PydanticCustomError("cap_incomplete", "count and hours must be given together")
        return self

    @property
    def cap(self) -> Cap | None:
        return None if self.count is None or self.hours is None else Cap(count=self.count, hours=self.hours)


class SendTimes(StrictModel):
    """When a message may be sent."""

    local_hours: Annotated[
        tuple[Hour, ...],
        AS_TUPLE,
        Field(max_length=24),
        about(
            "Full hours of the user's clock that are candidates for the send time, each day up to the horizon.",
            example=[8, 12, 18, 20],
            unit="hours of the day, 0 to 23",
            rule="no hour twice; needed where `allow_now` is false",
            why="Few hours that differ are learned sooner than many that hardly do.",
        ),
    ] = ()
    allow_now: Annotated[
        bool,
        about(
            "Whether sending at once is a candidate as well; absent: only where there are no `local_hours`.",
            example=True,
            why="Some messages are worth most at the moment of the request; who names hours means these.",
        ),
    ] = Field(default_factory=lambda known: not known.get("local_hours"))
    quiet_hours: Annotated[
        QuietHoursChoice,
        about(
            "Daily window in which nothing is sent, `none`, or `all_day`. A user's own window is added to it.",
            example={"start": "22:00", "end": "08:00"},
            rule="or the text `none` or `all_day`",
            why="It is a rule, so that no exploration ever sends at night; who wants none must say so.",
        ),
    ] = QuietHoursDocument(start="21:00", end="08:00")

    @model_validator(mode="after")
    def _has_a_time(self) -> Self:
        if not self.local_hours and not self.allow_now:
            raise PydanticCustomError("no_send_time", "needs local_hours or allow_now = true")
        if len(set(self.local_hours)) != len(self.local_hours):
            raise PydanticCustomError("repeated_hour", "local_hours names an hour twice")
        return self


class Reward(StrictModel):
    """How feedback becomes the reward that is learned."""

    window_hours: Annotated[
        Hours,
        about(
            "How long after the decision feedback counts.",
            example=48,
            unit="hours",
            rule="at least `horizon_hours`",
            why="It is the same for every action: otherwise an early send would be given more time to earn than a "
            "late one.",
        ),
    ]
    learn_after_hours: Annotated[
        Hours | None,
        about(
            "How long after the decision its reward is closed and learned; absent: at the end of the window.",
            example=26,
            unit="hours",
            rule="at least `horizon_hours`, at most `window_hours`",
            why="Most responses come soon, and a model that learns sooner follows its users sooner.",
        ),
    ] = None
    default: Annotated[
        Finite,
        about(
            "The reward, before the price of the send, when no event that the reward names was seen.",
            example=0.0,
            unit="reward units",
            rule="within `bounds`",
            why="No response is the usual outcome and needs a value as well.",
        ),
    ] = 0.0
    bounds: Annotated[
        tuple[Finite, Finite],
        AS_TUPLE,
        about(
            "Lowest and highest reward of a decision; what lies outside is cut to them.",
            example=[-5.0, 5.0],
            unit="reward units",
            rule="two numbers, the first less than the second",
            why="One wrong number cannot drag the model away, and intervals of estimates need a range.",
        ),
    ]
    events: Annotated[
        dict[Identifier, Finite],
        Field(max_length=100),
        about(
            "What each event is worth. Each counts once for a decision, and the worths of different events add up.",
            example={"opened": 0.1, "clicked": 1.0, "unsubscribed": -5.0},
            unit="reward units",
            rule="within `bounds`; not one of the reserved names delivered, failed, cancelled and reward",
            why="What the model pursues is set here; opt-outs need a large negative worth, since they are rare.",
        ),
    ] = Field(default_factory=dict)

    @field_validator("events")
    @classmethod
    def _keeps_reserved_names_free(cls, events: dict[str, float]) -> dict[str, float]:
        taken = sorted(RESERVED_EVENTS & events.keys())
        if taken:
            raise PydanticCustomError("reserved_event", "{name} is a reserved event", {"name": taken[0]})
        return events

    @property
    def learn_hours(self) -> float:
        """Hours from the decision until it is learned."""
        return self.window_hours if self.learn_after_hours is None else self.learn_after_hours

    @property
    def unit(self) -> float:
        """Worth of the best listed event; if no event has a positive worth, the larger bound. At least 1e-6."""
        best = max(self.events.values(), default=0.0)
        return max(best if best > 0 else max(map(abs, self.bounds)), SMALLEST_UNIT)


class Baseline(StrictModel):
    """One fixed action."""

    channel: Annotated[
        Identifier,
        about(
            "Channel of the action.",
            example="push",
            rule="a channel of the campaign",
            why="It should be the channel that is used today.",
        ),
    ]
    content: Annotated[
        Identifier,
        about(
            "Content of the action.",
            example="streak",
            rule="a content of the campaign that is made for the channel",
            why="It should be the message that is sent today.",
        ),
    ]
    local_hour: Annotated[
        Hour | None,
        about(
            "Hour of the user's clock; absent: at once.",
            example=18,
            unit="hour of the day, 0 to 23",
            rule="one of `send_times.local_hours`; needed where `allow_now` is false",
            why="It should be the hour at which the message is sent today.",
        ),
    ] = None


class PolicyDocument(StrictModel):
    """How the campaign explores, and what it is measured against."""

    floor: Annotated[
        float,
        Field(ge=1e-6, le=1, allow_inf_nan=False),
        about(
            "Probability that is spread evenly over all eligible actions, silence included.",
            example=0.02,
            unit="probability",
            why="No action ever has probability 0, so that the log can say what other policies would have earned; "
            "more of it costs reward.",
        ),
    ] = 0.02
    uniform_holdout: Annotated[
        Share,
        about(
            "Share of users for whom every eligible action is always equally likely.",
            example=0.05,
            unit="share of users",
            rule="`uniform_holdout` + `no_send_holdout` is at most 1",
            why="Their rewards measure what learning is worth.",
        ),
    ] = 0.0
    no_send_holdout: Annotated[
        Share,
        about(
            "Share of users who are never sent anything.",
            example=0.01,
            unit="share of users",
            rule="`uniform_holdout` + `no_send_holdout` is at most 1",
            why="Their rewards measure what sending is worth.",
        ),
    ] = 0.0
    baseline: Annotated[
        Baseline | None,
        about(
            "The action that shadow mode serves: what you would send without the model. Where the rules block it, "
            "nothing is sent.",
            example={"channel": "push", "content": "streak", "local_hour": 18},
            rule="needed where `mode` is shadow",
            why="Shadow mode must not change what users receive.",
        ),
    ] = None
    learner: Annotated[
        LearnerName,
        about(
            "What learns: `lines` is Vowpal Wabbit on the features of user, history and action; `events` is a Bayesian "
            "model of each event of the reward, with Vowpal Wabbit deciding on their value.",
            example="lines",
            rule="`events` has the explorer squarecb",
            why="Models of events learn more from few responses; a change retrains the campaign from its whole log.",
        ),
    ] = "lines"
    vw: Annotated[
        dict[str, EngineValue],
        about(
            "The explorer and its parameters by name, from an allow-list; absent: squarecb with measured defaults.",
            example={"explorer": "squarecb"},
            rule="names and ranges as the explorer has them",
            why="The defaults suit most campaigns; where they do not, a relearn tries other settings on the log.",
        ),
    ] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _learner_has_the_explorer(self) -> Self:
        explorer = self.vw.get("explorer", DEFAULT_EXPLORER)
        if self.learner == EVENTS and explorer != DEFAULT_EXPLORER:
            message = "the learner `events` decides by {needed}, not by the explorer {given}"
            raise PydanticCustomError("explorer", message, {"needed": DEFAULT_EXPLORER, "given": str(explorer)})
        return self

    @model_validator(mode="after")
    def _holdouts_fit(self) -> Self:
        if self.uniform_holdout + self.no_send_holdout > 1:
            raise PydanticCustomError("holdouts", "uniform_holdout + no_send_holdout is more than 1")
        return self


CampaignName = Annotated[Identifier, Field(max_length=128, pattern=r"^[^/]+$")]


class Campaign(StrictModel):
    """One campaign: what may be sent, when, how often, what a response is worth, and how it is learned."""

    id: Annotated[
        CampaignName,
        about(
            "Name of the campaign.",
            example="reengage",
            rule="without a slash; over HTTP the id of the address",
            why="Requests, decisions and models name their campaign by it.",
        ),
    ]
    horizon_hours: Annotated[
        float,
        Field(gt=0, le=24 * 28, allow_inf_nan=False),
        about(
            "How far ahead of the decision a send may be placed.",
            example=24,
            unit="hours",
            why="A day contains every local hour once; further ahead, less is known about the user.",
        ),
    ] = 24.0
    mode: Annotated[
        Literal["live", "shadow"],
        about(
            "`live`: the learned policy decides. `shadow`: `policy.baseline` decides, and the service logs and learns.",
            example="live",
            why="Shadow mode shows the rules and the log at work before anything changes for users.",
        ),
    ] = "live"
    channels: Annotated[
        dict[Identifier, Channel],
        Field(min_length=1, max_length=50),
        about(
            "The ways to reach users, by name.",
            example={"push": {"cost": 0.01, "cap": {"count": 2, "hours": 24}}, "email": {"cost": 0.005}},
            why="The channel is part of every decision.",
        ),
    ]
    consent: Annotated[
        Literal["required", "assumed"],
        about(
            "`required`: each request says on which channels its user has consented. `assumed`: a request that does "
            "not may use every channel of the campaign.",
            example="required",
            why="A list that was forgotten is no consent.",
        ),
    ] = "required"
    caps: Annotated[
        Caps,
        about(
            "Limits for one user over all channels.",
            example={"count": 3, "hours": 24, "min_gap_hours": 4},
            why="A rule is never broken to learn something, so limits are stated, not learned.",
        ),
    ] = Caps()
    contents: Annotated[
        tuple[ContentDocument, ...],
        AS_TUPLE,
        Field(max_length=2_000),
        about(
            "The catalogue of messages. May be empty where every request brings its own contents.",
            example=[{"id": "streak", "features": {"kind": "habit"}, "channels": ["push"]}, {"id": "digest"}],
            rule="every id once",
            why="The content is part of every decision.",
        ),
    ] = ()
    send_times: Annotated[
        SendTimes,
        about(
            "The candidates for the send time, and when nothing is sent.",
            example={"local_hours": [8, 12, 18, 20], "quiet_hours": {"start": "22:00", "end": "08:00"}},
            why="The send time is part of every decision.",
        ),
    ] = SendTimes()
    reward: Annotated[
        Reward,
        about(
            "How feedback becomes the reward.",
            example={"window_hours": 48, "bounds": [-5.0, 5.0], "events": {"clicked": 1.0, "unsubscribed": -5.0}},
            why="It says what the campaign is for.",
        ),
    ]
    policy: Annotated[
        PolicyDocument,
        about(
            "Exploration, holdouts, baseline and explorer.",
            example={"uniform_holdout": 0.05, "no_send_holdout": 0.01},
            why="The defaults explore little and hold nobody out.",
        ),
    ] = PolicyDocument()

    @property
    def campaign_id(self) -> CampaignId:
        return CampaignId(self.id)

    @cached_property
    def engine_arguments(self) -> EngineArguments:
        """The engine's command line for this campaign's explorer and floor."""
        unit = self.reward.unit
        low, high = self.reward.bounds
        learning = {"spread": SPREAD * unit, "learning_rate": self._learning_rate}
        measured: dict[str, dict[str, float]] = {
            "squarecb": {"gamma_scale": GAMMA_SCALE / unit, **learning},
            "regcb": {"min_reward": low, "max_reward": high, **learning},
        }
        explorer = self.policy.vw
        defaults = measured.get(str(explorer.get("explorer", DEFAULT_EXPLORER)), {})
        return engine_arguments(explorer, floor=self.policy.floor, defaults=defaults)

    @cached_property
    def learner_arguments(self) -> LearnerArguments:
        """What this campaign's learner is made with."""
        if self.policy.learner != EVENTS:
            return self.engine_arguments
        return EventArguments(
            worths=self.reward.events,
            costs={channel_token(name): channel.cost for name, channel in self.channels.items()},
            default=self.reward.default,
            bounds=self.reward.bounds,
            unit=self.reward.unit,
            value=value_arguments(self.engine_arguments),
        )

    @property
    def _learning_rate(self) -> float:
        """The default learning rate, by the number of ways to send.

        Contents that only requests bring are not counted.
        """
        times = len(self.send_times.local_hours) * ceil(self.horizon_hours / 24) + self.send_times.allow_now
        sends = len(self.channels) * len(self.contents) * times
        return LEARNING_RATE_OF_FEW if 0 < sends <= FEW_ACTIONS else LEARNING_RATE

    @cached_property
    def catalogue(self) -> dict[str, Content]:
        """Contents of the campaign by id, in the document's order."""
        return {content.id: content.to_domain() for content in self.contents}

    @cached_property
    def rule_reach_hours(self) -> float:
        """Hours back and ahead that the caps, the gap and the catalogue's repeat distances look."""
        caps = (self.caps.cap, *(channel.cap for channel in self.channels.values()))
        repeats = (content.repeat_after_hours or 0.0 for content in self.contents)
        return max(self.caps.min_gap_hours or 0.0, *(cap.hours for cap in caps if cap is not None), *repeats, 0.0)

    @cached_property
    def catalogue_contents(self) -> tuple[Content, ...]:
        """Contents of the campaign, in the document's order; the same objects each time."""
        return tuple(self.catalogue.values())

    @cached_property
    def channel_names(self) -> tuple[str, ...]:
        """Channels of the campaign, in the document's order."""
        return tuple(self.channels)

    @cached_property
    def quiet_hours(self) -> QuietHours | None:
        return quiet_window(self.send_times.quiet_hours)

    def to_json(self) -> str:
        """The document as canonical JSON text: equal documents give equal text."""
        document = self.model_dump(mode="json", exclude_none=True)
        return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
