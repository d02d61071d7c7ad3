"""Sums over final decisions: all that the dashboard and the metrics read about the past.

They are sums, because the log grows without limit and the time of a page must not. Rewards are summed by groups of
users: decisions about one user depend on each other, and an interval that ignores this is too narrow. Sums stay when a
user is erased, and no single user can be recognised in them.
"""

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Literal, NamedTuple
from zlib import crc32

import numpy as np

from bandit.decide.exploration import pmf_from_bytes

USER_GROUPS = 64
NO_HOUR = -1  # of silence, which has no channel and no content either: both are ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalDecision:
    """A decision whose reward is final."""

    campaign_id: str
    user_id: str
    decided_at: datetime  # aware, UTC
    policy: str
    channel: str | None  # None: silence, as are content and local hour
    content: str | None
    local_hour: int | None
    action_index: int
    pmf: bytes  # float64, little-endian
    reward: float | None  # None: the message did not go out


class RewardKey(NamedTuple):
    """The key under which rewards are summed."""

    campaign_id: str
    day: datetime  # UTC midnight of the decision
    policy: str
    user_group: int  # 0 to USER_GROUPS - 1


class ChoiceKey(NamedTuple):
    """The key under which choices are summed."""

    campaign_id: str
    day: datetime
    policy: str
    channel: str
    content: str
    local_hour: int  # on the user's clock


@dataclass(slots=True, kw_only=True)
class RewardSums:
    """Number of decisions that had a reward, and the sum of these rewards."""

    decisions: int = 0
    reward: float = 0.0


@dataclass(slots=True, kw_only=True)
class ChoiceSums:
    """Sums over the decisions with this choice."""

    decisions: int = 0
    voided: int = 0  # of them: the message was not sent
    reward: float = 0.0  # of the others
    explored: int = 0  # of the decisions: not the most probable action
    entropy: float = 0.0  # of the pmfs, each as a share of that of a uniform one


Sums = tuple[dict[RewardKey, RewardSums], dict[ChoiceKey, ChoiceSums]]


def summed(decisions: Iterable[FinalDecision], sign: Literal[1, -1] = 1, into: Sums | None = None) -> Sums:
    """Sums over the decisions by each key.

    Args:
        sign: -1 takes the decisions out of the sums.
        into: existing sums, which are changed; None: new ones.
    """
    rewards, choices = ({}, {}) if into is None else into
    for one in decisions:
        if one.reward is not None:
            of_group = rewards.setdefault(_reward_key(one), RewardSums())
            of_group.decisions += sign
            of_group.reward += sign * one.reward
        _add_choice(choices.setdefault(_choice_key(one), ChoiceSums()), one, sign)
    return rewards, choices


def _reward_key(one: FinalDecision) -> RewardKey:
    group = crc32(one.user_id.encode()) % USER_GROUPS
    return RewardKey(one.campaign_id, _day(one.decided_at), one.policy, group)


def _choice_key(one: FinalDecision) -> ChoiceKey:
    hour = NO_HOUR if one.local_hour is None else one.local_hour
    return ChoiceKey(one.campaign_id, _day(one.decided_at), one.policy, one.channel or "", one.content or "", hour)


def _day(instant: datetime) -> datetime:
    return instant.replace(hour=0, minute=0, second=0, microsecond=0)


def _add_choice(sums: ChoiceSums, one: FinalDecision, sign: int) -> None:
    pmf = pmf_from_bytes(one.pmf)
    sums.decisions += sign
    sums.voided += sign * (one.reward is None)
    sums.reward += sign * (one.reward or 0.0)
    sums.explored += sign * bool(pmf[one.action_index] < pmf.max())
    sums.entropy += sign * relative_entropy(pmf)


def relative_entropy(pmf: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """Shannon entropy relative to that of a uniform pmf: 1 is uniform.

    0 is deterministic, or there is only one action.
    """
    if pmf.size == 1:
        return 0.0
    likely = pmf[pmf > 0]
    return float(-(likely * np.log(likely)).sum() / np.log(pmf.size))


def columns(key: RewardKey | ChoiceKey, sums: RewardSums | ChoiceSums) -> dict[str, object]:
    """One row of the table, by column name."""
    return {**key._asdict(), **dict(zip(sums.__slots__, astuple(sums), strict=True))}
