"""Estimates with intervals from sums: of one target, or of the difference between two on the same rows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sim.common.arrays import Floats
from sim.common.means import clustered_error
from sim.ope.betting import Stakes, betting_interval
from sim.ope.bounds import betting, users_of
from sim.ope.checks.trust import (
    LEAST_INFLUENTIAL,
    LEAST_TAIL_INDEX,
    effective_clusters,
    influential_clusters,
    tail_index,
)
from sim.ope.estimators import SELF_NORMALISED, UNSHRUNK, Columns, Estimator, estimators
from sim.ope.intervals import Estimate, IntervalName, anytime_reach, bootstrap_totals, student_reach
from sim.ope.sums import Sums

Signed = Sequence[tuple[float, Sums]]  # [(1, target)], or [(1, target), (-1, baseline)] over the same rows and groups

_SNIPS = estimators(with_model=False)["snips"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """One of the targets, with what every estimator needs of its sums."""

    sign: float
    sums: Sums
    groups: Columns
    totals: Columns


_Sides = Sequence[_Side]


def estimate_all(signed: Signed, *, confidence: float, interval: IntervalName, seed: int) -> dict[str, Estimate]:
    """Each estimator's signed sum over the sides, with an interval over the groups, which both sides share.

    Intervals include what the target may earn where the logger never goes, and end at the bounds of the value.
    """
    sides = [_Side(sign=sign, sums=sums, groups=sums.by_group(), totals=sums.totals()) for sign, sums in signed]
    known = estimators(with_model=sides[0].sums.with_model)
    reach = _reach(sides, confidence, interval)
    method = "anytime" if interval == "anytime" else "normal"
    found = {name: _closed(one, sides, reach, method) for name, one in known.items()}
    if interval == "bootstrap":
        resampled = _resampled(sides, list(known.values()), seed)
        tails = [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0]
        found |= {name: _with_quantiles(found[name], values, tails) for name, values in resampled.items()}
    if interval == "auto" and not _normal_holds(sides):
        betting = _betting_of(sides, confidence)
        found = {name: _with_betting(one, betting) for name, one in found.items()}
    return {name: _within_bounds(_with_unlogged(name, one, sides), sides) for name, one in found.items()}


def _normal_holds(sides: _Sides) -> bool:
    """Whether enough users carry the estimate, and its tail is light enough, for a normal interval.

    Weights of the pseudo-inverse may be negative, and cannot be bet on.
    """
    if any(side.sums.weights.any_negative for side in sides):
        return True
    tails = (tail_index(side.sums.weights.largest_weighted, side.sums.weights.rewarded) for side in sides)
    return influential_clusters(_influence(_SNIPS, sides)) >= LEAST_INFLUENTIAL and min(tails) >= LEAST_TAIL_INDEX


def _betting_of(sides: _Sides, confidence: float) -> tuple[float, float]:
    """The betting interval of what is logged of the value, or of the difference of two."""
    low, high = sides[0].sums.reward_bounds
    if len(sides) == 1:
        lower, upper = betting(users_of(sides[0].sums), confidence)
        return low + (high - low) * lower, low + (high - low) * upper
    scaled = [side.sign * side.sums.scaled_weighted() for side in sides]
    most = max(1.0 / side.sums.weights.smallest_propensity for side in sides)
    stakes = Stakes(sums=sum(scaled[1:], scaled[0]), rows=sides[0].groups["n"], least=-most, most=most)
    lower, upper = betting_interval(stakes, confidence, low=-1.0, high=1.0)
    return (high - low) * lower, (high - low) * upper


def _closed(one: Estimator, sides: _Sides, reach: float, method: str) -> Estimate:
    """The estimate with the interval that a formula gives."""
    influence = _influence(one, sides)
    value, error = _value(one, sides), float(clustered_error(influence))
    if one.name not in UNSHRUNK:
        return _estimate(value, error, value - reach * error, value + reach * error, method)
    full = UNSHRUNK[one.name]
    bias, full_influence = _value(full, sides) - value, _influence(full, sides)
    total = _with_bias(error, bias, float(clustered_error(full_influence - influence)))
    if one.name == "dm":
        return _estimate(
            value, total, value - reach * total, value + reach * total, f"{method}, with the model's error"
        )
    # The truth is near the unshrunk estimate: the interval reaches from the one to the other.
    pairs = ((value, error), (value + bias, float(clustered_error(full_influence))))
    ends = [middle + side * reach * spread for middle, spread in pairs for side in (-1.0, 1.0)]
    near = abs(bias) <= 1e-9 * abs(value)
    return _estimate(value, total, min(ends), max(ends), method if near else f"{method}, with the shrinkage")


def _estimate(value: float, error: float, lower: float, upper: float, method: str) -> Estimate:
    return Estimate(value=value, standard_error=error, lower=lower, upper=upper, interval=method)


def _reach(sides: _Sides, confidence: float, interval: IntervalName) -> float:
    """Standard errors to either side."""
    if interval == "anytime":
        return float(anytime_reach(sides[0].sums.n, confidence))
    fewest = min(effective_clusters(side.groups["weight"]) for side in sides)
    return student_reach(confidence, fewest - 1.0)


def _with_bias(error: float, bias: float, bias_error: float) -> float:
    """Root of the mean square error: an estimator's own spread, its estimated bias, and the error of that."""
    return float(np.sqrt(error**2 + bias**2 + bias_error**2))


def _value(one: Estimator, sides: _Sides) -> float:
    return float(sum(side.sign * one.value(side.totals) for side in sides))


def _influence(one: Estimator, sides: _Sides) -> Floats:
    return np.asarray(sum(side.sign * one.influence(side.groups, side.totals) for side in sides), dtype=np.float64)


def _with_betting(one: Estimate, betting: tuple[float, float]) -> Estimate:
    """The betting interval for estimators of weighting; what a reward model adds is kept beside it."""
    own = (one.value,) if "model" not in one.interval and one.interval == "normal" else (one.lower, one.upper)
    finite = [end for end in own if np.isfinite(end)]
    lower, upper = min(betting[0], *finite, one.value), max(betting[1], *finite, one.value)
    return replace(one, lower=lower, upper=upper, interval="betting")


def _with_unlogged(name: str, one: Estimate, sides: _Sides) -> Estimate:
    """The interval if the mass that the logger never takes is worth anything between the bounds of the reward."""
    low, high = sides[0].sums.reward_bounds
    below, above = 0.0, 0.0
    for side in sides:
        share = side.sums.unlogged_share
        # A self-normalised estimator gives this mass the value of the rest, the others and the bets give it 0.
        is_given = share > 0.0 and name in SELF_NORMALISED and one.interval != "betting"
        given = share * float(_SNIPS.value(side.totals)) if is_given else 0.0
        least, most = sorted((side.sign * (share * low - given), side.sign * (share * high - given)))
        below, above = below + least, above + most
    return replace(one, lower=one.lower + below, upper=one.upper + above)


def _within_bounds(one: Estimate, sides: _Sides) -> Estimate:
    low, high = sides[0].sums.reward_bounds
    if len(sides) == 2:
        low, high = low - high, high - low
    return replace(one, lower=float(np.clip(one.lower, low, high)), upper=float(np.clip(one.upper, low, high)))


def _resampled(sides: _Sides, known: Sequence[Estimator], seed: int) -> dict[str, Floats]:
    """Each estimator over resamples that are the same for both sides; without the direct method, which they flatter."""
    groups = {(place, name): column for place, side in enumerate(sides) for name, column in side.groups.items()}
    totals = bootstrap_totals(groups, seed=seed)
    found = {}
    for one in known:
        if one.name != "dm":
            parts = [
                side.sign * one.value({name: column for (owner, name), column in totals.items() if owner == place})
                for place, side in enumerate(sides)
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
