"""The lines that the model sees: the only place that formats the engine's text.

The engine's text format has no escapes, so names and values are percent-encoded: a line break would add an action, a
bar a namespace, a colon a weight. The separator after the name depends on the type, so that two different feature
tables never give the same line.
"""

from bisect import bisect_right
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from math import copysign, isfinite, log

from bandit.domain import Content, Features
from bandit.engine.lines import channel_token, encode
from bandit.sendtimes import SendTime
from bandit.times import HOUR

DAY_HOURS = 24
_SMALLEST = 1e-20  # 17 digits and the exponent still fit 32 bits while the engine reads them; from 1e-22 it reads 0
# Recency and lead are learned per bucket; few buckets also make lines repeat, so that what is parsed of them is kept.
_RECENCY_DAYS = (1, 3, 7, 14)
_RECENCY_NAMES = (*(f"lt{days}" for days in _RECENCY_DAYS), "older")
_LEAD_HOURS = (6, 24)
_LEAD_NAMES = (*(f"lt{hours}" for hours in _LEAD_HOURS), "later")


def squash(number: float) -> float:
    """The number itself within [-1, 1], growing like its logarithm outside.

    A product of two features of 1e15 would overflow the engine's 32-bit squares and leave its weights NaN; numbers
    below 1e-20 become 0.
    """
    magnitude = abs(number)
    if magnitude < _SMALLEST:
        return 0.0
    return number if magnitude <= 1 else copysign(1 + log(magnitude), number)


def features_text(features: Features) -> str:
    """The features as space-separated engine features, in the order of the table."""
    return " ".join(
        [
            _list_tokens(name, value) if isinstance(value, tuple) else _token(name, value)
            for name, value in features.items()
        ]
    )


@lru_cache(maxsize=8_192, typed=True)  # typed: True, 1 and 1.0 are equal, but not the same feature
def _token(name: str, value: str | float | bool) -> str:
    encoded = encode(name)
    if isinstance(value, str):
        return f"{encoded}={encode(value)}"
    if isinstance(value, bool):
        return f"{encoded}!{'true' if value else 'false'}"
    # The engine reads a name of digits as a number, so "5" and "05" would be one feature; the mark prevents this.
    return f"{encoded}#:{_number(value)}"


# Not cached as a whole: embeddings hardly repeat, and thousands of them would fill hundreds of megabytes.
def _list_tokens(name: str, values: tuple[str, ...] | tuple[float, ...]) -> str:
    return " ".join(
        [
            _member_token(name, member) if isinstance(member, str) else f"{_place_token(name, place)}{_number(member)}"
            for place, member in enumerate[str | float](values)
        ]
    )


@lru_cache(maxsize=8_192)
def _member_token(name: str, member: str) -> str:
    return f"{encode(name)}~{encode(member)}"


@lru_cache(maxsize=8_192)
def _place_token(name: str, place: int) -> str:
    return f"{encode(name)}#{place}:"


def _number(value: float) -> str:
    if not isfinite(value):
        raise ValueError(f"a feature is {value}: it must be finite")
    return repr(squash(float(value)))


def shared_line(user_features: Features, history_features: Mapping[str, float]) -> str:
    """The line that is shared by all actions: the user and the user's history."""
    return f"shared |U {features_text(user_features)} |H {features_text(history_features)}"


@lru_cache(maxsize=1_024)
def channel_lines(channels: tuple[str, ...]) -> tuple[str, ...]:
    """One line per channel."""
    return tuple(f"|C {channel_token(channel)}" for channel in channels)


@lru_cache(maxsize=2_048)
def _content_text(content: Content) -> str:
    return f"|M id={encode(content.id)} {features_text(content.features)}"


@lru_cache(maxsize=4_096)
def _content_line(content: Content, since: str, kind_since: str) -> str:
    return f"{_content_text(content)} |R since={since} kind_since={kind_since}"


@lru_cache(maxsize=64)  # for catalogues; a request's own contents never come again, and would stay here
def new_content_lines(contents: tuple[Content, ...]) -> tuple[str, ...]:
    """The lines of contents that this user never got."""
    return tuple(content_line(content, None, None) for content in contents)


def content_line(content: Content, days_since: float | None, days_since_kind: float | None) -> str:
    """The line of a content, with how long ago this user got it, and one of its kind, in buckets of days."""
    return _content_line(content, _bucket(days_since), _bucket(days_since_kind))


def with_features_of(content: Content, logged_line: str) -> str:
    """The logged line of a content with these features instead; the recency stays as logged."""
    _, recency = logged_line.split(" |R ")
    return f"{_content_text(content)} |R {recency}"


def _bucket(days: float | None) -> str:
    return "never" if days is None else _RECENCY_NAMES[bisect_right(_RECENCY_DAYS, days)]


def time_lines(times: tuple[SendTime, ...], now: datetime, *, horizon_hours: float) -> tuple[str, ...]:
    """One line per send time; an empty line if there is only one time.

    A single time is no choice, and would teach noise: silence has no time, so hour and weekday would only distinguish
    sends from silence. In simulated trials with one send time this kept the policy silent forever.

    Within a day the local hour is enough to distinguish the times. Weekday and lead hardly differ between them, and
    would
    make ten different lines of each: all of them would be parsed, cached and learned separately.
    """
    if len(times) == 1:
        return ("",)
    if horizon_hours <= DAY_HOURS:
        return tuple([_hour_line(time.local_hour, time.is_now) for time in times])
    return tuple(
        [_time_line(time.is_now, time.local_hour, time.weekday, (time.send_at - now) // HOUR) for time in times]
    )


@lru_cache(maxsize=48)
def _hour_line(local_hour: int, is_now: bool) -> str:
    return f"|T hour={local_hour} lead=now" if is_now else f"|T hour={local_hour}"


@lru_cache(maxsize=16_384)
def _time_line(is_now: bool, local_hour: int, weekday: int, lead_hours: int) -> str:
    """The line with local hour, weekday (0 = Monday), and how long after the decision, in buckets."""
    lead = "now" if is_now else _LEAD_NAMES[bisect_right(_LEAD_HOURS, lead_hours)]
    return f"|T hour={local_hour} weekday={weekday} lead={lead}"
