"""How much longer a log must be, were it to go on as it is, until its verdict could be ok."""

from dataclasses import dataclass

import numpy as np

from sim.ope.diagnostics import Diagnostics


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """What would answer: so many more decisions like these, or a log of this length with larger propensities."""

    decisions: int
    propensity: float  # the least that every action of the target would have had to have


def needed(found: Diagnostics, *, least_ess: float, most_of_one: float) -> Needed | None:
    """What the effective sample size and the largest weight lack; None where more of the same is no help."""
    if found.ess <= 0.0:
        return None
    times = max(least_ess / found.ess, found.largest_weight_share / most_of_one)
    if times <= 1.0:
        return None
    # Weights of at most 1 / p leave an effective sample size of at least n p.
    return Needed(decisions=int(np.ceil(found.n * (times - 1.0))), propensity=min(1.0, least_ess / found.n))
