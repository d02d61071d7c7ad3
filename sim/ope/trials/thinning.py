"""Evaluating the evaluators: a randomised log, thinned to look as if a skewed logger had made it.

Rows are kept with known probabilities, so the propensities of the thinned log are exact, and the distribution of its
contexts does not change. The estimates of an arm are then compared with the arm's mean over held-out users.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from bandit.errors import InvalidLog, InvalidPropensity
from sim.common.arrays import Floats, Ints
from sim.ope.evaluation import Evaluation, evaluate
from sim.ope.groups import user_groups
from sim.ope.intervals import normal_reach
from sim.ope.reward_model import arm_features, cross_fitted_values

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomisedLog:
    """A log whose logger drew arms with known probabilities, every one of them positive."""

    rewards: Floats  # (n,)
    arms: Ints  # (n,)
    pmf: Floats  # (n, n_arms)
    users: Ints  # (n,)
    context: Floats  # (n, d): known before the draw
    reward_bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        n = len(self.rewards)
        if not (len(self.arms) == len(self.pmf) == len(self.users) == len(self.context) == n):
            raise InvalidLog("arms, pmf, users and context must have one row for each of rewards")
        if not np.all(self.pmf > 0.0):
            raise InvalidPropensity(f"pmf, row {int(np.argmin(self.pmf.min(axis=1)))}: every arm must be possible")

    def of(self, rows: Ints) -> Self:
        """The log of some rows."""
        parts = {one.name: getattr(self, one.name)[rows] for one in fields(self) if one.name != "reward_bounds"}
        return type(self)(**parts, reward_bounds=self.reward_bounds)


def thinned_rows(log: RandomisedLog, skewed_pmf: ArrayLike, rng: np.random.Generator) -> Ints:
    """Rows that a logger with `skewed_pmf`, of shape (n, n_arms), could have logged; ascending.

    A row is kept with probability skewed / logged / M of its arm, where M is the largest such ratio over all rows and
    arms. So in every context the probability of being kept is 1 / M, and a kept row's arm has the probability
    `skewed_pmf`.
    """
    ratios = np.asarray(skewed_pmf, dtype=np.float64) / log.pmf
    chance = ratios[np.arange(len(log.arms)), log.arms] / ratios.max()
    return np.flatnonzero(rng.random(len(chance)) < chance)


def evaluator_table(
    log: RandomisedLog, skewed_pmf: ArrayLike, *, target_arm: int, repeats: int, seed: int
) -> pd.DataFrame:
    """How far each estimator is from the truth about "always this arm", over random halves and thinnings of one log.

    Columns: `estimator`; `bias`, `rmse` relative to the arm's mean over the held-out users; `coverage` of the
    95 % interval, widened by the error of that mean; `standard_error` on average; `verdict_ok`, the share of thinned
    logs with an ok verdict; `repeats`. All halves come from one log, whose own luck is not averaged out: differences
    between estimators say more than the bias of one.

    Args:
        skewed_pmf: shape (n, n_arms), what the emulated logger would have done.
    """
    rng = np.random.default_rng(seed)
    records = [
        record
        for _ in range(repeats)
        for record in _records(log, np.asarray(skewed_pmf, dtype=np.float64), target_arm, rng)
    ]
    frame = pd.DataFrame(records)
    grouped = frame.groupby("estimator", sort=False)
    return pd.DataFrame(
        {
            "bias": grouped["error"].mean(),
            "rmse": np.sqrt(grouped["squared"].mean()),
            "coverage": grouped["covered"].mean(),
            "standard_error": grouped["standard_error"].mean(),
            "verdict_ok": grouped["verdict_ok"].mean(),
            "repeats": repeats,
        }
    ).reset_index()


def _records(log: RandomisedLog, skewed: Floats, arm: int, rng: np.random.Generator) -> Iterator[dict[str, object]]:
    groups, n_groups = user_groups(log.users, len(log.users))
    in_log = rng.permutation(n_groups)[groups] < n_groups // 2
    truth, truth_error = _held_out_mean(log.of(np.flatnonzero(~in_log)), arm)
    half, chosen = log.of(np.flatnonzero(in_log)), skewed[in_log]
    rows = thinned_rows(half, chosen, rng)
    found = _evaluated(half.of(rows), chosen[rows], arm, seed=int(rng.integers(2**31)))
    for name, estimate in found.estimates.items():
        error = estimate.value - truth
        reach = normal_reach(CONFIDENCE) * np.hypot(estimate.standard_error, truth_error)
        yield {
            "estimator": name,
            "error": error,
            "squared": error**2,
            "covered": abs(error) <= reach,
            "standard_error": estimate.standard_error,
            "verdict_ok": found.verdict.ok,
        }


def _held_out_mean(log: RandomisedLog, arm: int) -> tuple[float, float]:
    """The arm's mean over users who are not in the thinned log, and its clustered standard error."""
    taken = (log.arms == arm).astype(np.float64)
    found = evaluate(
        rewards=log.rewards,
        propensities=log.pmf[np.arange(len(log.arms)), log.arms],
        target_propensities=taken,
        users=log.users,
        reward_bounds=log.reward_bounds,
        show_anyway=True,
    ).estimates["snips"]
    return found.value, found.standard_error


def _evaluated(log: RandomisedLog, propensities: Floats, arm: int, *, seed: int) -> Evaluation:
    n, n_arms = propensities.shape
    q = cross_fitted_values(
        features=arm_features(log.context, log.arms, n_arms),
        rewards=log.rewards,
        option_features=arm_features(log.context, np.full(n, arm), n_arms),
        option_rows=np.arange(n),
        users=log.users,
        seed=seed,
    )
    return evaluate(
        rewards=log.rewards,
        propensities=propensities[np.arange(n), log.arms],
        target_propensities=(log.arms == arm).astype(np.float64),
        q_logged=q.logged,
        q_target=q.options,  # the target takes one arm: one option per row
        users=log.users,
        reward_bounds=log.reward_bounds,
        confidence=CONFIDENCE,
        show_anyway=True,
    )
