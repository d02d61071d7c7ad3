"""Two targets on the same rows: the difference of their values, with the interval of the difference itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from bandit.errors import EstimatesWithheld, InvalidLog
from sim.ope.batch import checked_batch
from sim.ope.diagnostics import NO_CHECKS, Checks, Diagnostics
from sim.ope.estimates import estimate_all
from sim.ope.estimators import FIXED_SHRINKAGE, Shrinkage
from sim.ope.evaluation import (
    Evaluation,
    check_ids,
    dict_of,
    drawn,
    draws_of,
    evaluation_of,
    frame_of,
    in_time,
    over_steps,
)
from sim.ope.groups import user_groups
from sim.ope.intervals import Estimate, IntervalName
from sim.ope.sums import Sums
from sim.ope.verdict import Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Target minus baseline, in the form of an evaluation, together with the evaluations of both policies."""

    verdict: Verdict  # ok if it is ok for both
    target: Evaluation
    baseline: Evaluation
    _estimates: Mapping[str, Estimate] = field(repr=False)

    @property
    def diagnostics(self) -> Diagnostics:
        """The target's."""
        return self.target.diagnostics

    @property
    def estimates(self) -> Mapping[str, Estimate]:
        """Differences of the two values by estimator.

        Raises:
            EstimatesWithheld: the verdict is not ok, and `show_anyway` was not given.
        """
        if not self.is_shown:
            raise EstimatesWithheld(self.verdict.reasons)
        return self._estimates

    @property
    def is_shown(self) -> bool:
        """Whether the estimates may be shown."""
        return self.verdict.ok or self.target.show_anyway

    def to_frame(self) -> pd.DataFrame:
        """The differences, one row each: value, standard_error, lower, upper, interval; raises as `estimates`."""
        return frame_of(self.estimates)

    def to_dict(self) -> dict[str, Any]:
        """Verdict, figures and differences as plain values, without the differences while they are withheld."""
        return dict_of(self.verdict, self.diagnostics, self._estimates if self.is_shown else {})

    def plot(self, axes: "Axes | None" = None) -> "Axes":
        """Draws the differences with their intervals; raises as `estimates`."""
        return drawn(self.estimates, axes)


def compare(
    *,
    rewards: ArrayLike,
    propensities: ArrayLike,
    target_propensities: ArrayLike,
    baseline_propensities: ArrayLike,
    q_logged: ArrayLike | None = None,
    q_target: ArrayLike | None = None,
    q_baseline: ArrayLike | None = None,
    users: ArrayLike | None = None,
    reward_bounds: tuple[float, float] = (0.0, 1.0),
    confidence: float = 0.95,
    interval: IntervalName = "auto",
    seed: int = 0,
    show_anyway: bool = False,
    shrinkage: Shrinkage = FIXED_SHRINKAGE,
    logging_pmf: ArrayLike | None = None,
    actions: ArrayLike | None = None,
    feedback_missing: ArrayLike | None = None,
    target_changes_features: bool = False,
    unlogged_mass: ArrayLike | None = None,
    baseline_unlogged_mass: ArrayLike | None = None,
    decision_ids: ArrayLike | None = None,
    order: ArrayLike | None = None,
    steps: int = 1,
) -> Comparison:
    """How much more the target earns than the baseline per decision, paired row by row.

    Args: as for `evaluate`; `baseline_propensities` and `q_baseline` are the other policy's.

    Raises:
        InvalidPropensity: a probability is outside its range; names array, row and rule.
        InvalidLog: any other fault of the log or an argument.
    """
    groups, n_groups = user_groups(users, np.size(rewards))
    check_ids(decision_ids, np.size(rewards))

    def summed(probabilities: ArrayLike, q: ArrayLike | None, unlogged: ArrayLike | None) -> tuple[Sums, Checks]:
        batch = checked_batch(
            rewards=rewards,
            propensities=propensities,
            target_propensities=probabilities,
            q_logged=q_logged,
            q_target=q,
            groups=groups,
            reward_bounds=reward_bounds,
            unlogged_mass=unlogged,
        )
        sums = Sums(
            n_groups=n_groups, with_model=q_logged is not None, reward_bounds=reward_bounds, shrinkage=shrinkage
        )
        sums.add(over_steps(batch, order, steps))
        return sums, in_time(checks, batch, order, n_groups)

    checks = Checks(
        draws=draws_of(logging_pmf, actions, feedback_missing),
        target_changes_features=target_changes_features,
        steps=steps,
    )
    (target, of_target), (baseline, of_baseline) = (
        summed(target_propensities, q_target, unlogged_mass),
        summed(baseline_propensities, q_baseline, baseline_unlogged_mass),
    )
    return comparison_of(
        target,
        baseline,
        confidence=confidence,
        interval=interval,
        seed=seed,
        show_anyway=show_anyway,
        checks=(of_target, of_baseline),
    )


def comparison_of(
    target: Sums,
    baseline: Sums,
    *,
    confidence: float = 0.95,
    interval: IntervalName = "auto",
    seed: int = 0,
    show_anyway: bool = False,
    checks: tuple[Checks, Checks] = (NO_CHECKS, NO_CHECKS),
) -> Comparison:
    """The comparison of two targets from sums over the same rows.

    Raises:
        InvalidLog: the sums are not of the same rows and groups; no rows; a confidence outside (0, 1).
    """
    if target.with_model != baseline.with_model or not np.array_equal(target.groups[0], baseline.groups[0]):
        raise InvalidLog("target and baseline: both sums must be over the same rows, groups and reward model")
    one, other = (
        evaluation_of(
            sums,
            confidence=confidence,
            interval=interval,
            seed=seed,
            show_anyway=show_anyway,
            checks=seen,
        )
        for sums, seen in zip((target, baseline), checks, strict=True)
    )
    return Comparison(
        verdict=_of_both(one.verdict, other.verdict),
        target=one,
        baseline=other,
        _estimates=estimate_all([(1.0, target), (-1.0, baseline)], confidence=confidence, interval=interval, seed=seed),
    )


def _of_both(target: Verdict, baseline: Verdict) -> Verdict:
    reasons = [
        *(f"target: {reason}" for reason in target.reasons),
        *(f"baseline: {reason}" for reason in baseline.reasons),
    ]
    notes = dict.fromkeys((*target.notes, *baseline.notes))
    lacks = [one.needed for one in (target, baseline) if one.needed is not None]
    longest = max(lacks, key=lambda one: one.decisions, default=None)
    return Verdict(ok=not reasons, reasons=tuple(reasons), notes=tuple(notes), needed=longest)
