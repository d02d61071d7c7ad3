"""A randomised trial as a replay meets it: a campaign, its arms, and the trial's rows in rounds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isclose

from bandit.campaign.document import Campaign
from bandit.campaign.rewards import SeenEvent, reward_of
from bandit.domain import User
from bandit.errors import DatasetError

RESPONSE_AFTER = timedelta(minutes=30)  # of its decision: a response has no time of its own in the logs


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One thing that the trial did, with the probability with which it did it, on every row alike."""

    name: str
    content: str | None  # of the campaign; None: nothing was sent
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One user at one moment of the trial."""

    user: User
    cluster: int  # rows of one user have one cluster
    at: datetime  # aware, UTC
    arm: int  # what the trial did, a place among its arms
    responded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Rows that are decided with one model, and when the learner comes next."""

    rows: tuple[Row, ...]
    learn_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A randomised log, ready to be replayed."""

    name: str
    title: str
    reward_name: str  # what a mean reward is, in words
    campaign: Campaign  # with one channel, on which every content can be sent now
    event: str  # of the campaign's reward: how a response is reported
    arms: tuple[Arm, ...]
    size: int  # rows
    rounds: Callable[[], Iterator[Round]]  # in the order of the trial, made as they are read

    def __post_init__(self) -> None:
        total = sum(arm.probability for arm in self.arms)
        if not isclose(total, 1.0) or min(arm.probability for arm in self.arms) <= 0.0:
            raise DatasetError(f"{self.name}: the arms' probabilities must be positive and sum to 1, not {total}")

    @property
    def channel(self) -> str:
        return next(iter(self.campaign.channels))

    def reward(self, row: Row) -> float:
        """What the row's own arm and outcome are worth, by the campaign's own arithmetic; net of the send's cost."""
        seen = SeenEvent(event=self.event, value=None, occurred_at=row.at + RESPONSE_AFTER)
        sent_on = None if self.arms[row.arm].content is None else self.channel
        return reward_of(self.campaign, sent_on, [seen] if row.responded else [])
