"""The difference of two models over the latest decisions of a campaign."""

from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection

from bandit.campaign.document import Campaign
from bandit.decide.exploration import Pmf, with_floor
from bandit.decide.logged import LoggedActions, decode_actions
from bandit.engine.learner import OnlineLearner
from bandit.store import closings

LATEST = 1_000  # decisions


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How much two models differ."""

    decisions: int
    other_choices: float  # share of decisions with another most probable action
    mean_distance: float  # total variation between the two pmfs, in [0, 1]


def difference(
    connection: Connection, campaign: Campaign, one: OnlineLearner, other: OnlineLearner, latest: int = LATEST
) -> Difference | None:
    """The difference between the pmfs of two models, the campaign's floor mixed in; None without any decision.

    Args:
        latest: number of the latest closed decisions, with more than one eligible action, to compare.
    """
    distances, others = [], []
    for actions in closings.latest_actions(connection, campaign.id, latest):
        logged = decode_actions(actions)
        first, second = (_pmf(learner, logged, campaign.policy.floor) for learner in (one, other))
        distances.append(0.5 * float(np.abs(first - second).sum()))
        others.append(int(first.argmax()) != int(second.argmax()))
    if not distances:
        return None
    size = len(distances)
    return Difference(decisions=size, other_choices=sum(others) / size, mean_distance=sum(distances) / size)


def _pmf(learner: OnlineLearner, logged: LoggedActions, floor: float) -> Pmf:
    return with_floor(learner.predict(logged.shared_line, logged.action_lines), floor)
