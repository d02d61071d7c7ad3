"""Rules remove actions from the set before the policy sees it.

All actions are channels x contents x times. A rule is about one or two of these, never about all three, so rules are
evaluated per channel, per time and per pair, and joined once into the eligible cells. The join depends only on which
rule blocks what. It hardly varies between users, and is cached.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from bandit.campaign.document import Campaign, Cap
from bandit.decide.history import History, Send
from bandit.domain import SILENCE, Action, Content, DecideRequest
from bandit.engine.cells import Cell, mask_of
from bandit.errors import FieldError, ImpossibleInput, InvalidInput
from bandit.sendtimes import QuietHours, SendTime, candidate_times, in_quiet_hours, zone

MAX_ACTIONS = 2_000


class Rule:
    """Names of the rules; if several block an action, the first one is given as the reason."""

    UNREACHABLE = "unreachable"  # the user cannot be reached on the channel, or has not consented
    CONTENT_CHANNEL = "content_channel"  # the content is not made for the channel
    EXPIRED = "expired"
    REPEAT = "repeat"
    QUIET_HOURS = "quiet_hours"
    MIN_GAP = "min_gap"
    CAP = "cap"
    CHANNEL_CAP = "channel_cap"


class Blocked(NamedTuple):
    """How many actions a rule blocked, and the first of them."""

    number: int
    example: Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """All actions of one decision, before the rules."""

    channels: tuple[str, ...]
    contents: tuple[Content, ...]
    times: tuple[SendTime, ...]

    def action(self, cell: Cell) -> Action:
        return Action(
            channel=self.channels[cell.channel],
            content=self.contents[cell.content].id,
            send_at=self.times[cell.time].send_at,
        )


@dataclass(frozen=True, slots=True)
class Cells:
    """The actions that every rule allows, and for each other action the first rule that blocked it."""

    eligible: tuple[Cell, ...]  # channel-major
    blocked: tuple[tuple[str, Blocked], ...]
    mask: str  # hexadecimal; bit (channel * n_contents + content) * n_times + time is set for an eligible cell


@dataclass(frozen=True, slots=True, kw_only=True)
class EligibleSet:
    """Silence, which is always eligible, and the cells that the rules allow.

    Place 0 is silence, place i the cell i - 1.
    """

    candidates: Candidates
    cells: Cells

    def __len__(self) -> int:
        return 1 + len(self.cells.eligible)

    def action(self, index: int) -> Action:
        return SILENCE if index == 0 else self.candidates.action(self.cells.eligible[index - 1])

    def find(self, channel: str, content: str, time: SendTime) -> int | None:
        """Place of an action; None if it is not eligible."""
        for index, cell in enumerate(self.cells.eligible, start=1):
            candidates = self.candidates
            if (
                candidates.times[cell.time] == time
                and candidates.channels[cell.channel] == channel
                and candidates.contents[cell.content].id == content
            ):
                return index
        return None


def check_channels(campaign: Campaign, reachable: frozenset[str] | None) -> None:
    """Raises unless the request names channels of the campaign on which its user can be reached.

    Raises:
        InvalidInput: it names none, which is consent only where the campaign assumes it.
        ImpossibleInput: a channel that the campaign does not have.
    """
    if reachable is None:
        if campaign.consent == "assumed":
            return
        message = (
            "is required: the channels on which the user can be reached and has consented ([]: none); "
            f'campaign {campaign.id!r} could say consent = "assumed"'
        )
        raise InvalidInput([FieldError(field="user.channels", message=message)])
    if unknown := sorted(reachable - campaign.channels.keys()):
        message = f"{unknown[0]!r} is not a channel of campaign {campaign.id!r}; it has: {_listed(campaign)}"
        raise ImpossibleInput([FieldError(field="user.channels", message=message)])


def _listed(campaign: Campaign) -> str:
    return ", ".join(sorted(campaign.channels))


Rules = tuple[str | None, ...]  # a blocking rule, or None, per place


def eligible_set(
    campaign: Campaign, request: DecideRequest, history: History, *, now: datetime, local: ZoneInfo
) -> EligibleSet:
    """The actions that no rule blocks for this user at `now`.

    Raises:
        ImpossibleInput: a content that the campaign does not have, or more than 2,000 actions.
    """
    candidates = _candidates(campaign, request, now=now, local=local)
    channels, contents, times = candidates.channels, candidates.contents, candidates.times
    near = _sends_near(campaign, contents, history, now)
    cells = _join(
        _channel_rules(channels, request.user.channels),
        _offer_rules(channels, contents),
        _time_rules(times, campaign, request.user.quiet_hours, local, near),
        _channel_time_rules(channels, times, campaign, near) if near else None,
        _content_time_rules(contents, times, near) if near or _can_expire(contents) else None,
        len(contents),
    )
    return EligibleSet(candidates=candidates, cells=cells)


def _candidates(campaign: Campaign, request: DecideRequest, *, now: datetime, local: ZoneInfo) -> Candidates:
    candidates = Candidates(
        channels=campaign.channel_names,
        contents=_contents(campaign, request.contents),
        times=candidate_times(
            now=now,
            zone=local,
            local_hours=campaign.send_times.local_hours,
            allow_now=campaign.send_times.allow_now,
            horizon_hours=campaign.horizon_hours,
        ),
    )
    count = len(candidates.channels) * len(candidates.contents) * len(candidates.times)
    if count > MAX_ACTIONS:
        message = f"{count} actions (channels x contents x times) are more than {MAX_ACTIONS}"
        raise ImpossibleInput([FieldError(field="contents", message=message)])
    return candidates


def _contents(campaign: Campaign, asked: tuple[str | Content, ...] | None) -> tuple[Content, ...]:
    if asked is None:
        return campaign.catalogue_contents
    errors, contents = [], {}
    for place, one in enumerate(asked):
        listed = campaign.catalogue.get(one if isinstance(one, str) else one.id)
        content = listed if isinstance(one, str) else one if listed is None else _under_both_rules(one, listed)
        if content is None:
            message = f"{one!r} is not a content of the campaign"
            errors.append(FieldError(field=f"contents.{place}", message=message))
            continue
        if content.id in contents:
            errors.append(FieldError(field=f"contents.{place}", message=f"{content.id!r} appears twice"))
        for channel in sorted(content.channels or ()):
            if channel not in campaign.channels:
                message = f"{channel!r} is not a channel of campaign {campaign.id!r}; it has: {_listed(campaign)}"
                errors.append(FieldError(field=f"contents.{place}.channels", message=message))
        contents[content.id] = content
    if errors:
        raise ImpossibleInput(errors)
    return tuple(contents.values())


def _under_both_rules(asked: Content, listed: Content) -> Content:
    """A request's content that is also in the catalogue: the request's features, and the stricter of each rule."""
    expiries = [content.expires_at for content in (asked, listed) if content.expires_at is not None]
    return Content(
        id=asked.id,
        features=asked.features,
        channels=_common_channels(asked.channels, listed.channels),
        repeat_after_hours=max(asked.repeat_after_hours or 0.0, listed.repeat_after_hours or 0.0) or None,
        expires_at=min(expiries, default=None),
    )


def _common_channels(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    if one is None or other is None:
        return one if other is None else other
    return one & other


def _sends_near(campaign: Campaign, contents: tuple[Content, ...], history: History, now: datetime) -> Sequence[Send]:
    """The sends, ascending, that are near enough to a candidate time for a rule to see."""
    if not history.sends:
        return ()
    hours = max(campaign.rule_reach_hours, _longest_repeat_hours(contents))
    earliest = now - timedelta(hours=hours)
    return [send for send in history.sends if send.send_at > earliest]


# Keyed by the contents' identity: a catalogue is searched once, not in every decision. Few are kept, because a
# request's own contents never come again and would stay in memory.
@lru_cache(maxsize=64)
def _longest_repeat_hours(contents: tuple[Content, ...]) -> float:
    return max((content.repeat_after_hours or 0.0 for content in contents), default=0.0)


@lru_cache(maxsize=64)
def _can_expire(contents: tuple[Content, ...]) -> bool:
    return any(content.expires_at is not None for content in contents)


@lru_cache(maxsize=1_024)
def _channel_rules(channels: tuple[str, ...], reachable: frozenset[str] | None) -> Rules:
    return tuple(None if reachable is None or one in reachable else Rule.UNREACHABLE for one in channels)


@lru_cache(maxsize=64)
def _offer_rules(channels: tuple[str, ...], contents: tuple[Content, ...]) -> tuple[Rules, ...] | None:
    """Per channel, per content; None if every content is made for every channel."""
    if all(content.channels is None for content in contents):
        return None
    return tuple(
        tuple(
            None if content.channels is None or channel in content.channels else Rule.CONTENT_CHANNEL
            for content in contents
        )
        for channel in channels
    )


def _time_rules(
    times: tuple[SendTime, ...], campaign: Campaign, own: QuietHours | None, local: ZoneInfo, near: Sequence[Send]
) -> Rules:
    quiet = _quiet_rules(times, (campaign.quiet_hours, own), local)
    if not near:
        return quiet
    sent = [send.send_at for send in near]
    gap = _too_close(times, sent, campaign.caps.min_gap_hours)
    cap = _capped(times, sent, campaign.caps.cap)
    return tuple(
        [
            rule or (Rule.MIN_GAP if close else Rule.CAP if capped else None)
            for rule, close, capped in zip(quiet, gap, cap, strict=True)
        ]
    )


def _too_close(times: tuple[SendTime, ...], sent: Sequence[datetime], hours: float | None) -> Sequence[bool]:
    """Per time, whether it is closer than this many hours to a send."""
    if hours is None or not sent or not times:
        return (False,) * len(times)
    distance = timedelta(hours=hours)
    earliest, latest = times[0].send_at - distance, times[-1].send_at + distance
    close = [one for one in sent if earliest < one < latest]
    if not close:
        return (False,) * len(times)
    return [any([abs(time.send_at - one) < distance for one in close]) for time in times]  # noqa: C419 - twice as fast


def _capped(times: tuple[SendTime, ...], sent: Sequence[datetime], cap: Cap | None) -> Sequence[bool]:
    """Per time, whether one more send there would break the cap."""
    if cap is None or len(sent) < cap.count:
        return (False,) * len(times)
    return [reaches_cap(time.send_at, sent, cap) for time in times]


def _quiet_rules(times: tuple[SendTime, ...], windows: tuple[QuietHours | None, ...], local: ZoneInfo) -> Rules:
    if not (times and times[0].is_now):
        return _quiet_rules_ahead(times, windows)
    is_quiet = any(in_quiet_hours(times[0].send_at, local, window) for window in windows if window is not None)
    return (Rule.QUIET_HOURS if is_quiet else None, *_quiet_rules_ahead(times[1:], windows))


@lru_cache(maxsize=4_096)
def _quiet_rules_ahead(times: tuple[SendTime, ...], windows: tuple[QuietHours | None, ...]) -> Rules:
    # A candidate local hour is a full hour on the local clock, so the answer can be looked up.
    by_hour = [_quiet_by_hour(window) for window in windows if window is not None]
    return tuple([Rule.QUIET_HOURS if any(quiet[time.local_hour] for quiet in by_hour) else None for time in times])


@lru_cache(maxsize=4_096)
def _quiet_by_hour(window: QuietHours) -> tuple[bool, ...]:
    """Whether each full hour of the local clock, 0 to 23, lies in the window."""
    day = datetime(2000, 1, 1, tzinfo=UTC)
    return tuple(in_quiet_hours(day + timedelta(hours=hour), zone("UTC"), window) for hour in range(24))


def _channel_time_rules(
    channels: tuple[str, ...], times: tuple[SendTime, ...], campaign: Campaign, near: Sequence[Send]
) -> tuple[Rules, ...] | None:
    """Per channel, per time; None if no channel's cap blocks anything."""
    capped = [
        _capped(times, [send.send_at for send in near if send.channel == channel], campaign.channels[channel].cap)
        for channel in channels
    ]
    if not any(map(any, capped)):
        return None
    return tuple([tuple([Rule.CHANNEL_CAP if one else None for one in row]) for row in capped])


def _content_time_rules(
    contents: tuple[Content, ...], times: tuple[SendTime, ...], near: Sequence[Send]
) -> tuple[Rules, ...]:
    """Per content, per time."""
    sent: dict[str, list[datetime]] = {}
    for send in near:
        sent.setdefault(send.content, []).append(send.send_at)
    free = (None,) * len(times)
    return tuple(
        [
            _content_rules(content, times, sent.get(content.id, ()))
            if content.id in sent or content.expires_at is not None
            else free
            for content in contents
        ]
    )


def _content_rules(content: Content, times: tuple[SendTime, ...], sent: Sequence[datetime]) -> Rules:
    expires_at = content.expires_at
    repeats = _too_close(times, sent, content.repeat_after_hours)
    return tuple(
        [
            Rule.EXPIRED if expires_at is not None and time.send_at >= expires_at else Rule.REPEAT if repeat else None
            for time, repeat in zip(times, repeats, strict=True)
        ]
    )


def reaches_cap(send_at: datetime, sent: Sequence[datetime], cap: Cap) -> bool:
    """Whether one more send at `send_at` would put more than `cap.count` into some rolling window.

    Sends that are reserved for later count as well, so every window that contains `send_at` is checked. Two sends
    exactly `cap.hours` apart share no window.

    Args:
        sent: ascending.
    """
    window = timedelta(hours=cap.hours)
    first = bisect_right(sent, send_at - window)
    last = bisect_left(sent, send_at + window)
    near = sorted((*sent[first:last], send_at))
    return any(near[place + cap.count] - near[place] < window for place in range(len(near) - cap.count))


@lru_cache(maxsize=16_384)  # one object per place, shared by all cached joins
def _cell(channel: int, content: int, time: int) -> Cell:
    return Cell(channel, content, time)


@lru_cache(maxsize=1_024)
def _join(
    channel_rules: Rules,
    offer_rules: tuple[Rules, ...] | None,
    time_rules: Rules,
    channel_time_rules: tuple[Rules, ...] | None,
    content_time_rules: tuple[Rules, ...] | None,
    n_contents: int,
) -> Cells:
    eligible: list[Cell] = []
    blocked: dict[str, Blocked] = {}
    for channel, channel_rule in enumerate(channel_rules):
        for content in range(n_contents):
            offer_rule = channel_rule or (offer_rules[channel][content] if offer_rules else None)
            for time, time_rule in enumerate(time_rules):
                cell = _cell(channel, content, time)
                rule = (
                    offer_rule
                    or (content_time_rules[content][time] if content_time_rules else None)
                    or time_rule
                    or (channel_time_rules[channel][time] if channel_time_rules else None)
                )
                if rule is None:
                    eligible.append(cell)
                else:
                    number, example = blocked.get(rule, Blocked(0, cell))
                    blocked[rule] = Blocked(number + 1, example)
    return Cells(tuple(eligible), tuple(blocked.items()), mask_of(eligible, n_contents, len(time_rules)))
