"""What a target policy would have earned, from the log of another policy; and first whether the log can answer."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from bandit.errors import EstimatesWithheld, InvalidLog
from sim.common.arrays import Floats, Ints
from sim.ope.batch import Batch, checked_batch
from sim.ope.bounds import Bounds, policy_value_bounds
from sim.ope.checks.beyond_code import beyond_code_p_value
from sim.ope.checks.carry_over import CarryOver, CarryOverSums, earlier_weights
from sim.ope.checks.draws import Draws
from sim.ope.checks.drift import Blocks, Drift
from sim.ope.diagnostics import NO_CHECKS, Checks, Diagnostics, diagnose
from sim.ope.estimates import estimate_all
from sim.ope.estimators import FIXED_SHRINKAGE, Shrinkage
from sim.ope.groups import user_groups
from sim.ope.intervals import Estimate, IntervalName, check_confidence
from sim.ope.special.pseudo_inverse import additivity_test, pseudo_inverse_weights
from sim.ope.special.steps import step_propensities
from sim.ope.sums import Sums
from sim.ope.verdict import Verdict, judge

# What draws is imported where it draws: loading it takes longer than most evaluations.
if TYPE_CHECKING:
    from matplotlib.axes import Axes


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

    def to_frame(self) -> pd.DataFrame:
        """The estimates, one row each: value, standard_error, lower, upper, interval; raises as `estimates`."""
        return frame_of(self.estimates)

    def to_dict(self) -> dict[str, Any]:
        """Verdict, figures and estimates as plain values, without the estimates while they are withheld."""
        return dict_of(self.verdict, self.diagnostics, self._estimates if self.is_shown else {})

    def plot(self, axes: "Axes | None" = None) -> "Axes":
        """Draws the estimates with their intervals; raises as `estimates`."""
        return drawn(self.estimates, axes)

    @property
    def is_shown(self) -> bool:
        """Whether the estimates may be shown."""
        return self.verdict.ok or self.show_anyway

    def _check_shown(self) -> None:
        if not self.is_shown:
            raise EstimatesWithheld(self.verdict.reasons)


def frame_of(estimates: Mapping[str, Estimate]) -> pd.DataFrame:
    """A row for each estimate, under its name."""
    return pd.DataFrame.from_dict({name: asdict(one) for name, one in estimates.items()}, orient="index")


def dict_of(verdict: Verdict, diagnostics: Diagnostics, estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    """All of an evaluation as plain values."""
    return {
        "verdict": asdict(verdict),
        "diagnostics": asdict(diagnostics),
        "estimates": {name: asdict(one) for name, one in estimates.items()},
    }


def drawn(estimates: Mapping[str, Estimate], axes: "Axes | None") -> "Axes":
    """The estimates with their intervals, one below the other; on new axes unless some are given."""
    if axes is None:
        from matplotlib.figure import Figure

        axes = Figure(layout="constrained").subplots()
    ends = np.array([(one.value - one.lower, one.upper - one.value) for one in estimates.values()]).T
    values = [one.value for one in estimates.values()]
    axes.errorbar(values, list(estimates), xerr=np.maximum(ends, 0.0), fmt="o", capsize=3)
    axes.invert_yaxis()
    axes.set_xlabel("value per decision")
    return axes


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
    interval: IntervalName = "auto",
    seed: int = 0,
    show_anyway: bool = False,
    shrinkage: Shrinkage = FIXED_SHRINKAGE,
    unlogged_mass: ArrayLike | None = None,
    logging_pmf: ArrayLike | None = None,
    actions: ArrayLike | None = None,
    feedback_missing: ArrayLike | None = None,
    target_changes_features: bool = False,
    decision_ids: ArrayLike | None = None,
    order: ArrayLike | None = None,
    steps: int = 1,
    codes: ArrayLike | None = None,
    parts: ArrayLike | None = None,
    target_pmf: ArrayLike | None = None,
) -> Evaluation:
    """The target's value per decision, by every estimator that the arrays allow.

    Args:
        rewards: shape (n,), within `reward_bounds`; rows are in the order of time.
        propensities: shape (n,), in (0, 1]: logging probability of the logged action.
        target_propensities: shape (n,), in [0, 1]: target probability of the same action.
        q_logged: shape (n,), a reward model's value of the logged action; cross-fitted (see `sim.ope.reward_model`).
        q_target: shape (n,), the same integrated over the target's pmf.
        users: shape (n,), cluster keys; intervals are clustered if given.
        reward_bounds: bounds of all rewards, fixed beforehand.
        confidence: of the intervals, in (0, 1).
        interval: "auto" is normal, or betting if few users carry the estimate; "anytime" is for repeated looks.
        seed: of the bootstrap.
        show_anyway: give estimates even if the verdict is not ok.
        shrinkage: of the shrinking estimators, fixed beforehand.
        unlogged_mass: shape (n,), the target's probability of actions that the logger could not take.
        logging_pmf: shape (n, arms), the logger's probability of each arm; with `actions`, checks the draws.
        actions: shape (n,), the arm drawn.
        feedback_missing: shape (n,) of bool, whether the outcome never arrived; needs `logging_pmf`.
        target_changes_features: the target's actions change what it sees later (recency, caps).
        decision_ids: shape (n,); the same one twice is an error.
        order: shape (n,), times of the rows, if they are not in the order of time.
        steps: the target has taken so many decisions in a row about the user (`sim.ope.special.steps`).
        codes: shape (arms,), embedding codes of which the propensities are; tested, with `logging_pmf` and `actions`.
        parts: shape (arms, parts): weights of the pseudo-inverse; needs `target_pmf` and what `codes` need.
        target_pmf: shape (n, arms).

    Raises:
        InvalidPropensity: a probability is outside its range; names array, row and rule.
        InvalidLog: anything else that is wrong with the log or an argument.
    """
    groups, n_groups = user_groups(users, np.size(rewards))
    sums = Sums(n_groups=n_groups, with_model=q_logged is not None, reward_bounds=reward_bounds, shrinkage=shrinkage)
    check_ids(decision_ids, np.size(rewards))
    batch = checked_batch(
        rewards=rewards,
        propensities=propensities,
        target_propensities=target_propensities,
        q_logged=q_logged,
        q_target=q_target,
        groups=groups,
        reward_bounds=reward_bounds,
        unlogged_mass=unlogged_mass,
    )
    batch, checks = _special(batch, codes, parts, logging_pmf, target_pmf, actions)
    draws = draws_of(logging_pmf, actions, feedback_missing)
    checks = replace(checks, draws=draws, target_changes_features=target_changes_features, steps=steps)
    checks = in_time(checks, batch, order, n_groups)
    sums.add(over_steps(batch, order, steps))
    return evaluation_of(
        sums, confidence=confidence, interval=interval, seed=seed, show_anyway=show_anyway, checks=checks
    )


def _special(
    batch: Batch,
    codes: ArrayLike | None,
    parts: ArrayLike | None,
    logging_pmf: ArrayLike | None,
    target_pmf: ArrayLike | None,
    actions: ArrayLike | None,
) -> tuple[Batch, Checks]:
    """The rows with the weights of their parts, and tests of what codes and parts assume."""
    beyond_code = None if codes is None else _beyond_code(batch, codes, logging_pmf, actions)
    if parts is None:
        return batch, Checks(beyond_code_p_value=beyond_code)
    weights = pseudo_inverse_weights(
        logging_pmf=_needed("logging_pmf", logging_pmf),
        target_pmf=_needed("target_pmf", target_pmf),
        parts=parts,
        actions=_needed("actions", actions),
    )
    checks = Checks(beyond_code_p_value=beyond_code, additivity_p_value=_additivity(batch, parts, actions))
    return replace(batch, given_weights=weights), checks


def _needed(name: str, given: ArrayLike | None) -> ArrayLike:
    if given is None:
        raise InvalidLog(f"{name} is missing: codes need logging_pmf and actions, parts need target_pmf as well")
    return given


def _beyond_code(batch: Batch, codes: ArrayLike, logging_pmf: ArrayLike | None, actions: ArrayLike | None) -> float:
    return beyond_code_p_value(
        rewards=batch.rewards,
        logging_pmf=_needed("logging_pmf", logging_pmf),
        codes=codes,
        actions=_needed("actions", actions),
        groups=batch.groups,
    )


def _additivity(batch: Batch, parts: ArrayLike, actions: ArrayLike | None) -> float:
    drawn = _needed("actions", actions)
    return additivity_test(rewards=batch.rewards, parts=parts, actions=drawn, users=batch.groups).p_value


def over_steps(batch: Batch, order: ArrayLike | None, steps: int) -> Batch:
    """The rows with the probabilities of all that was done in their episodes of so many steps."""
    if steps == 1:
        return batch
    logging, target = step_propensities(
        propensities=batch.propensities,
        target_propensities=batch.target_propensities,
        users=batch.groups,
        order=np.arange(len(batch)) if order is None else order,
        length=steps,
    )
    return replace(batch, propensities=logging, target_propensities=target)


def in_time(checks: Checks, batch: Batch, order: ArrayLike | None, n_groups: int) -> Checks:
    """The checks, with those of the order of the rows."""
    drift, carried = drift_of(batch, order), carry_over_of(batch, order, n_groups)
    return replace(checks, drift=drift, carry_over=carried)


def drift_of(batch: Batch, order: ArrayLike | None) -> Drift | None:
    """The first half of the rows against the second."""
    rows = slice(None) if order is None else np.argsort(checked_order(order, len(batch)), kind="stable")
    blocks = Blocks()
    blocks.add(batch.rewards[rows], batch.weights[rows])
    return blocks.drift()


def carry_over_of(batch: Batch, order: ArrayLike | None, n_groups: int) -> CarryOver | None:
    """One decision against three in a row about the same user; None where each row is its own user."""
    if n_groups == len(batch):
        return None
    weights = batch.weights
    times = None if order is None else checked_order(order, len(batch))
    sums = CarryOverSums(n_groups=n_groups)
    sums.add(batch.rewards, weights, earlier_weights(weights, batch.groups, times), batch.groups)
    return sums.figure()


def checked_order(order: ArrayLike, n: int) -> Floats | Ints:
    """The order, which has one value for each row.

    Raises:
        InvalidLog: another shape.
    """
    times = np.asarray(order)
    if times.shape != (n,):
        raise InvalidLog(f"order has the shape {times.shape}: it must be ({n},), as rewards has")
    return times


def check_ids(decision_ids: ArrayLike | None, n: int) -> None:
    """Refuses a decision that is there twice.

    Raises:
        InvalidLog: names its row; or not one id for each row.
    """
    if decision_ids is None:
        return
    ids = np.asarray(decision_ids)
    if ids.shape != (n,):
        raise InvalidLog(f"decision_ids has the shape {ids.shape}: it must be ({n},), as rewards has")
    again = pd.Series(ids).duplicated().to_numpy()
    if again.any():
        row = int(np.argmax(again))
        raise InvalidLog(f"decision_ids, row {row}: {str(ids[row])[:200]!r} is there twice: a decision must be one row")


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
    interval: IntervalName = "auto",
    seed: int = 0,
    show_anyway: bool = False,
    checks: Checks = NO_CHECKS,
) -> Evaluation:
    """The evaluation of a log from its sums; the same as `evaluate`, for logs that are read in any way.

    Raises:
        InvalidLog: no rows were summed, or a confidence outside (0, 1).
    """
    check_confidence(confidence)
    if sums.n == 0:
        raise InvalidLog("the log has no rows; there must be at least 1")
    found = diagnose(sums, checks)
    return Evaluation(
        verdict=judge(found),
        diagnostics=found,
        confidence=confidence,
        show_anyway=show_anyway,
        sums=sums,
        _estimates=estimate_all([(1.0, sums)], confidence=confidence, interval=interval, seed=seed),
    )
