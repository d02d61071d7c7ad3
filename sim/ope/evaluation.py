"""What a target policy would have earned, from the log of another policy; and first whether the log can answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from bandit.errors import EstimatesWithheld, InvalidLog
from sim.ope.batch import checked_batch
from sim.ope.bounds import Bounds, policy_value_bounds
from sim.ope.diagnostics import Diagnostics, diagnose
from sim.ope.draws import Draws
from sim.ope.estimates import estimate_all
from sim.ope.estimators import FIXED_SHRINKAGE, Shrinkage
from sim.ope.groups import user_groups
from sim.ope.intervals import Estimate, IntervalName, check_confidence
from sim.ope.sums import Sums
from sim.ope.verdict import Verdict, judge


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A verdict, its figures, and estimates; these are withheld unless the verdict is ok or they are requested."""

    verdict: Verdict
    diagnostics: Diagnostics
    confidence: float
    show_anyway: bool
    sums: Sums = field(repr=False)
    _estimates: Mapping[str, Estimate] = field(repr=False)

    @property
    def estimates(self) -> Mapping[str, Estimate]:
        """Estimates of the target's value by estimator.

        Raises:
            EstimatesWithheld: the verdict is not ok, and `show_anyway` was not given.
        """
        self._check_shown()
        return self._estimates

    def bounds(self) -> Mapping[str, Bounds]:
        """Bounds on the target's value, valid for rare rewards and large weights, by method (see `sim.ope.bounds`).

        Raises:
            EstimatesWithheld: the verdict is not ok, and `show_anyway` was not given.
        """
        self._check_shown()
        return policy_value_bounds(self.sums, self.confidence)

    def _check_shown(self) -> None:
        if not (self.verdict.ok or self.show_anyway):
            raise EstimatesWithheld(self.verdict.reasons)


def evaluate(
    *,
    rewards: ArrayLike,
    propensities: ArrayLike,
    target_propensities: ArrayLike,
    q_logged: ArrayLike | None = None,
    q_target: ArrayLike | None = None,
    users: ArrayLike | None = None,
    reward_bounds: tuple[float, float] = (0.0, 1.0),
    confidence: float = 0.95,
    interval: IntervalName = "normal",
    seed: int = 0,
    show_anyway: bool = False,
    shrinkage: Shrinkage = FIXED_SHRINKAGE,
    unlogged_mass: ArrayLike | None = None,
    logging_pmf: ArrayLike | None = None,
    actions: ArrayLike | None = None,
    feedback_missing: ArrayLike | None = None,
    target_changes_features: bool = False,
) -> Evaluation:
    """The target's value per decision, by every estimator that the arrays allow.

    Args:
        rewards: shape (n,), within `reward_bounds`.
        propensities: shape (n,), in (0, 1]: logging probability of the logged action.
        target_propensities: shape (n,), in [0, 1]: target probability of the same action.
        q_logged: shape (n,), a reward model's value of the logged action; cross-fitted (see `sim.ope.reward_model`).
        q_target: shape (n,), the same integrated over the target's pmf.
        users: shape (n,), cluster key; with it, intervals are clustered.
        reward_bounds: bounds of every reward, fixed beforehand.
        confidence: of the intervals, in (0, 1).
        interval: "anytime" for a log that is evaluated repeatedly.
        seed: of the bootstrap.
        show_anyway: give estimates even if the verdict is not ok.
        shrinkage: of the shrinking estimators, fixed beforehand.
        unlogged_mass: shape (n,), the target's probability of actions that the logger could not take.
        logging_pmf: shape (n, arms), the logger's probability of each arm; with `actions`, checks the draws.
        actions: shape (n,), the arm drawn.
        feedback_missing: shape (n,) of bool, where the outcome never arrived; needs `logging_pmf`.
        target_changes_features: the target's actions change what it sees later (recency, caps).

    Raises:
        InvalidPropensity: a probability is outside its range; names array, row and rule.
        InvalidLog: any other fault of the log or an argument.
    """
    groups, n_groups = user_groups(users, np.size(rewards))
    sums = Sums(n_groups=n_groups, with_model=q_logged is not None, reward_bounds=reward_bounds, shrinkage=shrinkage)
    sums.add(
        checked_batch(
            rewards=rewards,
            propensities=propensities,
            target_propensities=target_propensities,
            q_logged=q_logged,
            q_target=q_target,
            groups=groups,
            reward_bounds=reward_bounds,
            unlogged_mass=unlogged_mass,
        )
    )
    return evaluation_of(
        sums,
        confidence=confidence,
        interval=interval,
        seed=seed,
        show_anyway=show_anyway,
        draws=draws_of(logging_pmf, actions, feedback_missing),
        target_changes_features=target_changes_features,
    )


def draws_of(
    logging_pmf: ArrayLike | None, actions: ArrayLike | None, feedback_missing: ArrayLike | None
) -> Draws | None:
    """Sums of drawn and of expected counts; None without a pmf.

    Raises:
        InvalidLog: only one of pmf and actions is given, or missing feedback without them.
    """
    if logging_pmf is None or actions is None:
        if not (logging_pmf is None and actions is None and feedback_missing is None):
            raise InvalidLog("logging_pmf and actions: give both or neither; feedback_missing needs them")
        return None
    draws = Draws(n_arms=np.shape(logging_pmf)[-1] if np.ndim(logging_pmf) else 0)
    draws.add(logging_pmf, actions, feedback_missing)
    return draws


def evaluation_of(
    sums: Sums,
    *,
    confidence: float = 0.95,
    interval: IntervalName = "normal",
    seed: int = 0,
    show_anyway: bool = False,
    draws: Draws | None = None,
    target_changes_features: bool = False,
) -> Evaluation:
    """The evaluation of a log from its sums; the same as `evaluate`, for logs that are read in any way.

    Raises:
        InvalidLog: no rows were summed, or a confidence outside (0, 1).
    """
    check_confidence(confidence)
    if sums.n == 0:
        raise InvalidLog("the log has no rows; there must be at least 1")
    found = diagnose(sums, draws, target_changes_features=target_changes_features)
    return Evaluation(
        verdict=judge(found),
        diagnostics=found,
        confidence=confidence,
        show_anyway=show_anyway,
        sums=sums,
        _estimates=estimate_all([(1.0, sums)], confidence=confidence, interval=interval, seed=seed),
    )
