"""Estimates with intervals from sums: of one target, or of the difference between two on the same rows."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sim.common.arrays import Floats
from sim.common.means import clustered_error
from sim.ope.betting import Stakes, betting_interval
from sim.ope.bounds import policy_value_bounds
from sim.ope.checks.trust import (
    LEAST_INFLUENTIAL,
    LEAST_TAIL_INDEX,
    effective_clusters,
    influential_clusters,
    tail_index,
)
from sim.ope.estimators import SELF_NORMALISED, UNSHRUNK, Estimator, estimators
from sim.ope.intervals import Estimate, IntervalName, anytime_reach, bootstrap_totals, student_reach
from sim.ope.sums import Sums

Signed = Sequence[tuple[float, Sums]]  # [(1, target)], or [(1, target), (-1, baseline)] over the same rows and groups

_SNIPS = estimators(with_model=False)["snips"]


def estimate_all(sides: Signed, *, confidence: float, interval: IntervalName, seed: int) -> dict[str, Estimate]:
    """Each estimator's signed sum over the sides, with the interval of the groups that the sides have in common.

    Intervals reach over what the target does where the logger never goes, and end at the bounds of the value.
    """
    known = estimators(with_model=sides[0][1].with_model)
    found = {name: _closed(one, sides, confidence, interval) for name, one in known.items()}
    if interval == "bootstrap":
        resampled = _resampled(sides, list(known.values()), seed)
        tails = [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0]
        found |= {name: _with_quantiles(found[name], values, tails) for name, values in resampled.items()}
    bets = not any(sums.weights.any_negative for _, sums in sides)  # bets need weights that are not negative
    if interval == "auto" and bets and not normal_holds(sides):
        found = {name: _with_betting(one, betting_of(sides, confidence)) for name, one in found.items()}
    if any(sums.unlogged_share for _, sums in sides):
        found = {name: _with_unlogged(name, one, sides) for name, one in found.items()}
    return {name: _within_bounds(one, sides) for name, one in found.items()}


def normal_holds(sides: Signed) -> bool:
    """Whether so many users carry the estimate, and its tail is so light, that a normal interval is to be trusted."""
    tails = (tail_index(sums.weights.largest_weighted, sums.weights.rewarded) for _, sums in sides)
    return influential_clusters(_influence(_SNIPS, sides)) >= LEAST_INFLUENTIAL and min(tails) >= LEAST_TAIL_INDEX


def betting_of(sides: Signed, confidence: float) -> tuple[float, float]:
    """The betting interval of the value, or of the difference of two."""
    if len(sides) == 1:
        bounds = policy_value_bounds(sides[0][1], confidence, methods=("betting",))["betting"]
        return bounds.lower, bounds.upper
    low, high = sides[0][1].reward_bounds
    scaled = [sign * sums.scaled_weighted() for sign, sums in sides]
    most = max(1.0 / sums.weights.smallest_propensity for _, sums in sides)
    stakes = Stakes(sums=sum(scaled[1:], scaled[0]), rows=sides[0][1].by_group()["n"], least=-most, most=most)
    lower, upper = betting_interval(stakes, confidence, low=-1.0, high=1.0)
    return (high - low) * lower, (high - low) * upper


def _closed(one: Estimator, sides: Signed, confidence: float, interval: IntervalName) -> Estimate:
    """The estimate with the interval that a formula gives."""
    value, error = _value(one, sides), float(clustered_error(_influence(one, sides)))
    method = "anytime" if interval == "anytime" else "normal"
    reach = _reach(sides, confidence, interval)
    if one.name not in UNSHRUNK:
        return _estimate(value, error, value - reach * error, value + reach * error, method)
    full = UNSHRUNK[one.name]
    bias = _value(full, sides) - value
    total = _with_bias(error, bias, float(clustered_error(_influence(full, sides) - _influence(one, sides))))
    if one.name == "dm":
        return _estimate(
            value, total, value - reach * total, value + reach * total, f"{method}, with the model's error"
        )
    # The truth is near the unshrunk estimate: the interval reaches from the one to the other.
    full_error = float(clustered_error(_influence(full, sides)))
    pairs = ((value, error), (value + bias, full_error))
    ends = [middle + side * reach * spread for middle, spread in pairs for side in (-1.0, 1.0)]
    near = abs(bias) <= 1e-9 * abs(value)
    return _estimate(value, total, min(ends), max(ends), method if near else f"{method}, with the shrinkage")


def _estimate(value: float, error: float, lower: float, upper: float, method: str) -> Estimate:
    return Estimate(value=value, standard_error=error, lower=lower, upper=upper, interval=method)


def _reach(sides: Signed, confidence: float, interval: IntervalName) -> float:
    """Standard errors to either side."""
    if interval == "anytime":
        return float(anytime_reach(sides[0][1].n, confidence))
    fewest = min(effective_clusters(sums.by_group()["weight"]) for _, sums in sides)
    return student_reach(confidence, fewest - 1.0)


def _with_bias(error: float, bias: float, bias_error: float) -> float:
    """Root of the mean square error: an estimator's own spread, its estimated bias, and the error of that."""
    return float(np.sqrt(error**2 + bias**2 + bias_error**2))


def _value(one: Estimator, sides: Signed) -> float:
    return float(sum(sign * one.value(sums.totals()) for sign, sums in sides))


def _influence(one: Estimator, sides: Signed) -> Floats:
    return np.asarray(sum(sign * sums.influence(one) for sign, sums in sides), dtype=np.float64)


def _with_betting(one: Estimate, betting: tuple[float, float]) -> Estimate:
    """The betting interval for estimators of weighting; what a reward model adds is kept beside it."""
    own = (one.value,) if "model" not in one.interval and one.interval == "normal" else (one.lower, one.upper)
    finite = [end for end in own if np.isfinite(end)]
    lower, upper = min(betting[0], *finite, one.value), max(betting[1], *finite, one.value)
    return replace(one, lower=lower, upper=upper, interval="betting")


def _with_unlogged(name: str, one: Estimate, sides: Signed) -> Estimate:
    """The interval, with the mass that the logger never takes worth anything between the bounds of the reward."""
    low, high = sides[0][1].reward_bounds
    below, above = 0.0, 0.0
    for sign, sums in sides:
        share = sums.unlogged_share
        # A self-normalised estimator gives that mass the value of the rest, the others give it 0.
        given = share * float(_SNIPS.value(sums.totals())) if name in SELF_NORMALISED else 0.0
        least, most = sorted((sign * (share * low - given), sign * (share * high - given)))
        below, above = below + least, above + most
    return replace(one, lower=one.lower + float(below), upper=one.upper + float(above))


def _within_bounds(one: Estimate, sides: Signed) -> Estimate:
    low, high = sides[0][1].reward_bounds
    if len(sides) == 2:
        low, high = low - high, high - low
    return replace(one, lower=float(np.clip(one.lower, low, high)), upper=float(np.clip(one.upper, low, high)))


def _resampled(sides: Signed, known: Sequence[Estimator], seed: int) -> dict[str, Floats]:
    """Each estimator over resamples that are the same for both sides; without the direct method, which they flatter."""
    groups = {
        (place, name): column for place, (_, sums) in enumerate(sides) for name, column in sums.by_group().items()
    }
    totals = bootstrap_totals(groups, seed=seed)
    found = {}
    for one in known:
        if one.name != "dm":
            parts = [
                sign * one.value({name: column for (side, name), column in totals.items() if side == place})
                for place, (sign, _) in enumerate(sides)
            ]
            found[one.name] = np.asarray(sum(parts), dtype=np.float64)
    return found


def _with_quantiles(closed: Estimate, resampled: Floats, tails: Sequence[float]) -> Estimate:
    lower, upper = np.quantile(resampled, tails)
    return Estimate(
        value=closed.value,
        standard_error=float(resampled.std(ddof=1)),
        lower=float(lower),
        upper=float(upper),
        interval="bootstrap",
    )
