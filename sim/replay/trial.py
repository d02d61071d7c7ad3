"""A randomised trial for a replay: a campaign, its arms, and the trial's rows in rounds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isclose

from bandit.campaign.document import Campaign
from bandit.campaign.rewards import SeenEvent, reward_of
from bandit.domain import User
from bandit.errors import DatasetError

RESPONSE_AFTER = timedelta(minutes=30)  # response delay after the decision, because responses have no times in the logs


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One arm of the trial, with its probability, which is the same on every row."""

    name: str
    content: str | None  # content of the campaign; None: nothing was sent
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One user at one moment of the trial."""

    user: User
    cluster: int  # rows of one user have one cluster
    at: datetime  # aware, UTC
    arm: int  # arm that the trial drew, as a place among its arms
    responded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Rows that are decided with one model, and the time of the next pass of the learner."""

    rows: tuple[Row, ...]
    learn_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A randomised log, ready for a replay."""

    name: str
    title: str
    reward_name: str  # description of the mean reward
    campaign: Campaign  # has one channel, on which every content can be sent now
    event: str  # event of the campaign's reward with which a response is reported
    arms: tuple[Arm, ...]
    size: int  # rows
    rounds: Callable[[], Iterator[Round]]  # in the order of the trial, made when they are read

    def __post_init__(self) -> None:
        total = sum(arm.probability for arm in self.arms)
        if not isclose(total, 1.0) or min(arm.probability for arm in self.arms) <= 0.0:
            raise DatasetError(f"{self.name}: the arms' probabilities must be positive and sum to 1, not {total}")

    @property
    def channel(self) -> str:
        return next(iter(self.campaign.channels))

    def reward(self, row: Row) -> float:
        """Reward of the row's own arm and outcome by the campaign's own rule, minus the cost of the send."""
        seen = SeenEvent(event=self.event, value=None, occurred_at=row.at + RESPONSE_AFTER)
        sent_on = None if self.arms[row.arm].content is None else self.channel
        return reward_of(self.campaign, sent_on, [seen] if row.responded else [])
