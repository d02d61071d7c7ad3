"""Whether counts of draws can come from a pmf."""

import numpy as np
from scipy import stats

from bandit.decide.exploration import Pmf

LEAST_EXPECTED = 5.0  # cells that expect fewer draws are pooled


def p_value(pmf: Pmf, observed: np.ndarray[tuple[int], np.dtype[np.int64]]) -> float:
    """Of the chi-square test, the rare actions pooled into one cell."""
    expected = pmf * observed.sum()
    rare = expected < LEAST_EXPECTED
    cells = [(float(observed[~rare][i]), float(expected[~rare][i])) for i in range(int((~rare).sum()))]
    if rare.any():
        cells.append((float(observed[rare].sum()), float(expected[rare].sum())))
    table = np.array(cells)
    return float(stats.chisquare(table[:, 0], table[:, 1]).pvalue)
