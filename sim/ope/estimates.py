"""Estimates with intervals from sums: of one target, or of the difference between two targets on the same rows."""

from collections.abc import Sequence

import numpy as np

from sim.common.arrays import Floats
from sim.common.means import clustered_error
from sim.ope.estimators import Estimator, estimators
from sim.ope.intervals import Estimate, IntervalName, anytime_reach, bootstrap_totals, normal_reach
from sim.ope.sums import Sums

Signed = Sequence[tuple[float, Sums]]  # [(1, target)], or [(1, target), (-1, baseline)] over the same rows and groups

_CORRECTION = Estimator(name="correction", terms=(("correction", "n"),))


def estimate_all(sides: Signed, *, confidence: float, interval: IntervalName, seed: int) -> dict[str, Estimate]:
    """Each estimator's signed sum over the sides, with an interval over the groups, which both sides share."""
    known = estimators(with_model=sides[0][1].with_model)
    closed = {name: _closed(one, sides, confidence, interval) for name, one in known.items()}
    if interval != "bootstrap":
        return closed
    resampled = _resampled(sides, list(known.values()), seed)
    tails = [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0]
    return closed | {name: _with_quantiles(closed[name], values, tails) for name, values in resampled.items()}


def _closed(one: Estimator, sides: Signed, confidence: float, interval: IntervalName) -> Estimate:
    value, error = _value(one, sides), float(clustered_error(_influence(one, sides)))
    reach = float(anytime_reach(sides[0][1].n, confidence)) if interval == "anytime" else normal_reach(confidence)
    method = "anytime" if interval == "anytime" else "normal"
    if one.name == "dm":
        error, method = _with_model_error(error, sides), f"{method}, with the model's error"
    return Estimate(
        value=value, standard_error=error, lower=value - reach * error, upper=value + reach * error, interval=method
    )


def _value(one: Estimator, sides: Signed) -> float:
    return float(sum(sign * one.value(sums.totals()) for sign, sums in sides))


def _influence(one: Estimator, sides: Signed) -> Floats:
    return np.asarray(sum(sign * sums.influence(one) for sign, sums in sides), dtype=np.float64)


def _with_model_error(error: float, sides: Signed) -> float:
    """Root mean square error of the direct method, whose own spread does not include the model's error.

    The weighted residuals of the logged actions estimate the model's error on the target, and have an error themselves.
    """
    bias, bias_error = _value(_CORRECTION, sides), float(clustered_error(_influence(_CORRECTION, sides)))
    return float(np.sqrt(error**2 + bias**2 + bias_error**2))


def _resampled(sides: Signed, known: Sequence[Estimator], seed: int) -> dict[str, Floats]:
    """Each estimator over resamples, the same for both sides; not the direct method, for which they are too narrow."""
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
