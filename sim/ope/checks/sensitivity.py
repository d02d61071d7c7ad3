"""How far faults that leave no trace in a log could move an estimate.

A logger that knew more than it logged, or rows and feedback that were lost because of their reward, make true weights
differ from those that were computed. How much they differ nobody can tell from the log; what follows from a difference
can be said.
"""

from dataclasses import dataclass

import numpy as np

from bandit.errors import InvalidLog
from sim.ope.evaluation import Evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """The range of the SNIPS value when every weight may be wrong by a factor, either way."""

    factor: float
    lower: float
    upper: float


def sensitivity(evaluation: Evaluation, factor: float) -> Sensitivity:
    """What the value may be, sampling error aside.

    Exact for rewards of two values, which are the bounds; for others the range is too wide, never too narrow.

    Raises:
        InvalidLog: a factor below 1.
        EstimatesWithheld: the log cannot answer.

    Source: the marginal sensitivity model of Tan (2006), here with one factor for all weights.
    """
    if not (np.isfinite(factor) and factor >= 1.0):
        raise InvalidLog(f"factor is {factor}: it must be at least 1")
    low, high = evaluation.sums.reward_bounds
    share = float(np.clip((evaluation.estimates["snips"].value - low) / (high - low), 0.0, 1.0))
    ends = (_tilted(share, factor**-2), _tilted(share, factor**2))
    return Sensitivity(factor=factor, lower=low + (high - low) * ends[0], upper=low + (high - low) * ends[1])


def _tilted(share: float, odds_ratio: float) -> float:
    return odds_ratio * share / (odds_ratio * share + 1.0 - share)
