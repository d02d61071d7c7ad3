"""The campaign document: one schema for JSON over HTTP and TOML on the command line."""

import json
import re
import tomllib
from collections.abc import Sequence
from datetime import datetime, time
from functools import cached_property
from math import ceil
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from bandit.domain import RESERVED_EVENTS, CampaignId, Content, FeatureValue
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
from bandit.errors import FieldError, InvalidInput, RejectedInput
from bandit.sendtimes import QuietHours

MAX_FEATURES = 200
MOST_ERRORS = 100
MAX_EMBEDDING = 128
MAX_NUMBER = 1e15  # past this, float arithmetic on a feature or a reward is no longer exact to the unit
MAX_TEXT = 1_024
SMALLEST_UNIT = 1e-6  # of rewards
YEAR_HOURS = 24 * 366


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _without_control(text: str) -> str:
    # A NUL cannot be stored in PostgreSQL; the other control characters break logs and terminals.
    if not text.isprintable() and _CONTROL.search(text):  # the first alone is quicker, and refuses more
        raise PydanticCustomError("control_character", "contains a control character")
    return text


def _feature_value(value: object) -> FeatureValue:
    """The value with a list frozen into a tuple. One function, so that a wrong value is one error, not one per type."""
    if isinstance(value, list | tuple):
        most = MAX_FEATURES if all(isinstance(member, str) for member in value) else MAX_EMBEDDING
        if len(value) > most:
            raise PydanticCustomError("list_too_long", "is longer than {most}", {"most": most})
        return _frozen_list(value)
    return _scalar(value)


def _frozen_list(values: Sequence[object]) -> tuple[str, ...] | tuple[float, ...]:
    members = [_scalar(member) for member in values]
    texts = tuple(member for member in members if isinstance(member, str))
    numbers = tuple(member for member in members if isinstance(member, int | float) and not isinstance(member, bool))
    if len(members) not in (len(texts), len(numbers)):
        raise PydanticCustomError("mixed_list", "is neither a list of strings nor a list of numbers")
    return texts or numbers


def _scalar(value: object) -> str | float | bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            raise PydanticCustomError("text_too_long", "is longer than {most} characters", {"most": MAX_TEXT})
        return _without_nul(value)
    if isinstance(value, int | float):
        if not abs(value) <= MAX_NUMBER:  # false for NaN as well
            raise PydanticCustomError("number", "is not a finite number within 1e15")
        return value
    raise PydanticCustomError("feature_type", "is not a string, number, boolean, list of strings or list of numbers")


def _engine_value(value: object) -> str | float | bool:
    """The value of a parameter; what it may be depends on the parameter and is checked with it."""
    if isinstance(value, str | int | float | bool):
        return value
    raise PydanticCustomError("engine_value", "is not a string, number or boolean")


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise PydanticCustomError("nul", "contains a NUL character, which PostgreSQL cannot store")
    return text


# What the validators that are functions say, for those who read the schema instead of running them.
_TEXT_SCHEMA: dict[str, Any] = {"type": "string", "maxLength": MAX_TEXT, "pattern": "^[^\\x00]*$"}
_NUMBER_SCHEMA: dict[str, Any] = {"type": "number", "minimum": -MAX_NUMBER, "maximum": MAX_NUMBER}
_FEATURE_SCHEMA: dict[str, Any] = {
    "anyOf": [
        _TEXT_SCHEMA,
        _NUMBER_SCHEMA,
        {"type": "boolean"},
        {"type": "array", "items": _TEXT_SCHEMA, "maxItems": MAX_FEATURES},
        {"type": "array", "items": _NUMBER_SCHEMA, "maxItems": MAX_EMBEDDING},
    ]
}
_ENGINE_SCHEMA: dict[str, Any] = {"anyOf": [{"type": kind} for kind in ("string", "number", "boolean")]}

EngineValue = Annotated[str | int | float | bool, PlainValidator(_engine_value), WithJsonSchema(_ENGINE_SCHEMA)]
Identifier = Annotated[
    str,
    Field(min_length=1, max_length=255, json_schema_extra={"pattern": "^[^\\x00-\\x1f\\x7f]+$"}),
    AfterValidator(_without_control),
]
FeatureTable = Annotated[
    dict[
        Identifier,
        # Written as it is: else pydantic holds the list that it makes of a tuple against the tuple's type, and warns.
        Annotated[
            FeatureValue,
            PlainValidator(_feature_value),
            PlainSerializer(lambda value: value),
            WithJsonSchema(_FEATURE_SCHEMA),
        ],
    ],
    Field(max_length=MAX_FEATURES),
]


def _within_calendar(instant: datetime) -> datetime:
    # A margin at both ends of what databases and zone arithmetic can hold.
    if not 1970 <= instant.year < 2200:
        raise PydanticCustomError("instant", "is not between the years 1970 and 2200")
    return instant


_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _rfc_3339(value: object) -> object:
    # pydantic alone would also take seconds since 1970 in a string, and times without seconds.
    if isinstance(value, str) and _RFC_3339.fullmatch(value):
        return value
    raise PydanticCustomError("rfc_3339", "is not an RFC 3339 time with an offset, as in 2026-11-20T17:03:00Z")


Instant = Annotated[
    AwareDatetime,
    Field(strict=False),  # the text is still to be parsed when the check before has seen it
    BeforeValidator(_rfc_3339),
    AfterValidator(_within_calendar),
]
Hours = Annotated[float, Field(gt=0, le=YEAR_HOURS, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False, ge=-MAX_NUMBER, le=MAX_NUMBER)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class StrictModel(BaseModel):
    """Refuses unknown fields, coerces nothing, never changes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class QuietHoursDocument(StrictModel):
    start: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
    end: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]

    def to_domain(self) -> QuietHours:
        return QuietHours(start=time.fromisoformat(self.start), end=time.fromisoformat(self.end))


class ContentDocument(StrictModel):
    id: Identifier
    features: FeatureTable = {}
    channels: Annotated[tuple[Identifier, ...], Field(min_length=1)] | None = None
    repeat_after_hours: Hours | None = None
    expires_at: Instant | None = None

    def to_domain(self) -> Content:
        return Content(
            id=self.id,
            features=self.features,
            channels=None if self.channels is None else frozenset(self.channels),
            repeat_after_hours=self.repeat_after_hours,
            expires_at=self.expires_at,
        )


class Cap(StrictModel):
    count: Annotated[int, Field(ge=1, le=10_000)]
    hours: Hours  # rolling window


class Channel(StrictModel):
    cost: Annotated[Finite, Field(ge=0)] = 0.0  # the price of one send, in reward units
    cap: Cap | None = None


class Caps(StrictModel):
    count: Annotated[int, Field(ge=1, le=10_000)] | None = None
    hours: Hours | None = None
    min_gap_hours: Hours | None = None

    @model_validator(mode="after")
    def _count_and_hours_belong_together(self) -> Self:
        if (self.count is None) != (self.hours is None):
            raise PydanticCustomError("cap_incomplete", "count and hours must be given together")
        return self

    @property
    def cap(self) -> Cap | None:
        return None if self.count is None or self.hours is None else Cap(count=self.count, hours=self.hours)


class SendTimes(StrictModel):
    local_hours: Annotated[tuple[Annotated[int, Field(ge=0, le=23)], ...], Field(max_length=24)] = ()
    allow_now: bool = True
    quiet_hours: QuietHoursDocument | None = None

    @model_validator(mode="after")
    def _has_a_time(self) -> Self:
        if not self.local_hours and not self.allow_now:
            raise PydanticCustomError("no_send_time", "needs local_hours or allow_now = true")
        if len(set(self.local_hours)) != len(self.local_hours):
            raise PydanticCustomError("repeated_hour", "local_hours names an hour twice")
        return self


class Reward(StrictModel):
    window_hours: Hours
    learn_after_hours: Hours | None = None
    default: Finite = 0.0
    bounds: tuple[Finite, Finite]
    events: Annotated[dict[Identifier, Finite], Field(max_length=100)] = {}

    @field_validator("events")
    @classmethod
    def _keeps_reserved_names_free(cls, events: dict[str, float]) -> dict[str, float]:
        taken = sorted(RESERVED_EVENTS & events.keys())
        if taken:
            raise PydanticCustomError("reserved_event", "{name} is a reserved event", {"name": taken[0]})
        return events

    @property
    def learn_hours(self) -> float:
        """Hours after the decision at which it is learned."""
        return self.window_hours if self.learn_after_hours is None else self.learn_after_hours

    @property
    def unit(self) -> float:
        """What the best listed event is worth; where none is worth anything, the larger bound. At least 1e-6."""
        best = max(self.events.values(), default=0.0)
        return max(best if best > 0 else max(map(abs, self.bounds)), SMALLEST_UNIT)


class Baseline(StrictModel):
    channel: Identifier
    content: Identifier
    local_hour: Annotated[int, Field(ge=0, le=23)] | None = None  # None: now


class PolicyDocument(StrictModel):
    floor: Annotated[float, Field(ge=1e-6, le=1, allow_inf_nan=False)] = 0.02
    uniform_holdout: Share = 0.0
    no_send_holdout: Share = 0.0
    baseline: Baseline | None = None
    vw: dict[str, EngineValue] = {}

    @model_validator(mode="after")
    def _holdouts_fit(self) -> Self:
        if self.uniform_holdout + self.no_send_holdout > 1:
            raise PydanticCustomError("holdouts", "uniform_holdout + no_send_holdout is more than 1")
        return self


class Campaign(StrictModel):
    """One validated campaign document."""

    id: Annotated[Identifier, Field(max_length=128, pattern=r"^[^/]+$")]
    horizon_hours: Annotated[float, Field(gt=0, le=24 * 28, allow_inf_nan=False)] = 24.0
    mode: Literal["live", "shadow"] = "live"
    channels: Annotated[dict[Identifier, Channel], Field(min_length=1, max_length=50)]
    caps: Caps = Caps()
    contents: Annotated[tuple[ContentDocument, ...], Field(max_length=2_000)] = ()
    send_times: SendTimes = SendTimes()
    reward: Reward
    policy: PolicyDocument = PolicyDocument()

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

    @property
    def _learning_rate(self) -> float:
        """By the number of ways to send. Requests that bring contents of their own can bring any number."""
        times = len(self.send_times.local_hours) * ceil(self.horizon_hours / 24) + self.send_times.allow_now
        sends = len(self.channels) * len(self.contents) * times
        return LEARNING_RATE_OF_FEW if 0 < sends <= FEW_ACTIONS else LEARNING_RATE

    @cached_property
    def catalogue(self) -> dict[str, Content]:
        """Contents of the campaign by id, in the document's order."""
        return {content.id: content.to_domain() for content in self.contents}

    @cached_property
    def rule_reach_hours(self) -> float:
        """How far back and ahead the caps, the gap and the catalogue's repeat distances look."""
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
        document = self.send_times.quiet_hours
        return None if document is None else document.to_domain()

    def to_json(self) -> str:
        """The document as canonical JSON text: equal documents give equal text."""
        document = self.model_dump(mode="json", exclude_none=True)
        return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def parse_campaign(document: str | bytes) -> Campaign:
    """The campaign of a JSON document.

    Raises:
        InvalidInput: with everything that is wrong in it, each by its path and rule.
    """
    try:
        campaign = Campaign.model_validate_json(document)
    except ValidationError as error:
        raise InvalidInput(field_errors(error)) from None
    errors = _contradictions(campaign)
    if errors:
        raise InvalidInput(errors)
    return campaign


def parse_campaign_toml(document: str) -> Campaign:
    """The campaign of a TOML document; errors as in `parse_campaign`."""
    try:
        text = json.dumps(tomllib.loads(document), default=lambda value: value.isoformat())
    except (ValueError, RecursionError) as error:  # not TOML, an integer of thousands of digits, or nested too deep
        raise InvalidInput([FieldError(field="document", message=f"is not TOML: {error}")]) from None
    return parse_campaign(text)


def field_errors(error: ValidationError) -> list[FieldError]:
    """The failures of a pydantic validation by path, value and rule; the first hundred, for a hostile body has more."""
    failures = error.errors(include_url=False, include_context=False)
    return [_field_error(details) for details in failures[:MOST_ERRORS]]


# Steps of pydantic's paths that are no place in the document: branches of unions, and "this is about the key".
_NO_PLACE = frozenset({"<id>", "<content>", "[key]"})


def _field_error(details: ErrorDetails) -> FieldError:
    path = ".".join(str(step) for step in details["loc"] if step not in _NO_PLACE) or "body"
    value = details["input"]
    if details["type"] in ("missing", "json_invalid") or isinstance(value, dict | list | BaseModel):
        return FieldError(field=path, message=details["msg"])
    return FieldError(field=path, message=f"{_shown(value)}: {details['msg']}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."


def _contradictions(campaign: Campaign) -> list[FieldError]:
    """Rules that join several parts of the document."""
    return [
        *_content_errors(campaign),
        *_reward_errors(campaign),
        *_baseline_errors(campaign),
        *_engine_errors(campaign),
    ]


def _content_errors(campaign: Campaign) -> list[FieldError]:
    errors = []
    seen: set[str] = set()
    for position, content in enumerate(campaign.contents):
        if content.id in seen:
            errors.append(FieldError(field=f"contents.{position}.id", message=f"{content.id!r} appears twice"))
        seen.add(content.id)
        for channel in content.channels or ():
            if channel not in campaign.channels:
                path = f"contents.{position}.channels"
                errors.append(FieldError(field=path, message=f"{channel!r} is not a channel of the campaign"))
    return errors


def _reward_errors(campaign: Campaign) -> list[FieldError]:
    reward = campaign.reward
    low, high = reward.bounds
    if not low < high:
        return [FieldError(field="reward.bounds", message=f"[{low}, {high}]: must be [low, high] with low < high")]
    values = {"default": reward.default, **{f"events.{name}": value for name, value in reward.events.items()}}
    return [
        *(
            FieldError(field=f"reward.{name}", message=f"{value}: is outside the bounds [{low}, {high}]")
            for name, value in values.items()
            if not low <= value <= high
        ),
        *_window_errors(reward, campaign.horizon_hours),
    ]


def _window_errors(reward: Reward, horizon_hours: float) -> list[FieldError]:
    errors = []
    given = {"window_hours": reward.window_hours, "learn_after_hours": reward.learn_after_hours}
    for name, hours in given.items():
        if hours is not None and hours < horizon_hours:
            message = f"{hours}: is shorter than horizon_hours = {horizon_hours}"
            errors.append(FieldError(field=f"reward.{name}", message=message))
    if reward.learn_hours > reward.window_hours:
        message = f"{reward.learn_hours}: is longer than window_hours = {reward.window_hours}"
        errors.append(FieldError(field="reward.learn_after_hours", message=message))
    return errors


def _baseline_errors(campaign: Campaign) -> list[FieldError]:
    baseline = campaign.policy.baseline
    if baseline is None:
        if campaign.mode == "shadow":
            return [FieldError(field="policy.baseline", message="is required when mode is 'shadow'")]
        return []
    errors = []
    if baseline.channel not in campaign.channels:
        message = f"{baseline.channel!r} is not a channel of the campaign"
        errors.append(FieldError(field="policy.baseline.channel", message=message))
    content = campaign.catalogue.get(baseline.content)
    if content is None:
        message = f"{baseline.content!r} is not a content of the campaign"
        errors.append(FieldError(field="policy.baseline.content", message=message))
    elif content.channels is not None and baseline.channel not in content.channels:
        message = f"{baseline.content!r} is not offered on channel {baseline.channel!r}"
        errors.append(FieldError(field="policy.baseline.content", message=message))
    return [*errors, *_baseline_time_errors(campaign, baseline)]


def _baseline_time_errors(campaign: Campaign, baseline: Baseline) -> list[FieldError]:
    field = "policy.baseline.local_hour"
    if baseline.local_hour is None:
        if not campaign.send_times.allow_now:
            return [FieldError(field=field, message="is required when allow_now is false")]
    elif baseline.local_hour not in campaign.send_times.local_hours:
        message = f"{baseline.local_hour}: is not one of send_times.local_hours"
        return [FieldError(field=field, message=message)]
    return []


def _engine_errors(campaign: Campaign) -> list[FieldError]:
    try:
        _ = campaign.engine_arguments
    except RejectedInput as error:
        return list(error.errors)
    return []
