"""The exact posterior of a linear model: rewards r = phi w + noise of variance V^2, weights a priori normal.

    w ~ N(0, V^2 / RIDGE),    A = RIDGE I + sum phi phi^T,    b = sum phi r
    w given the data ~ N(A^-1 b, V^2 A^-1)

A draw is A^-1 b + V L^-T z with A = L L^T and z standard normal (Agrawal and Goyal, 2013).
"""

import numpy as np
from scipy.linalg import cho_solve, solve_triangular

from sim.common.arrays import Floats


class Posterior:
    """The posterior of the weights given all added events; exact, in any order."""

    def __init__(self, *, ridge: float) -> None:
        self._ridge = ridge
        self._precision: Floats = np.zeros((0, 0))
        self._sums: Floats = np.zeros(0)
        self._factor: Floats | None = None  # cached L, until the posterior changes
        self._mean: Floats = np.zeros(0)

    def grow(self, size: int) -> None:
        """Makes room for this many weights; new weights have only the prior."""
        more = size - len(self._sums)
        if more > 0:
            self._precision = np.pad(self._precision, (0, more))
            self._precision[range(-more, 0), range(-more, 0)] = self._ridge
            self._sums, self._factor = np.pad(self._sums, (0, more)), None

    def add(self, features: Floats, rewards: Floats) -> None:
        """Adds events.

        Args:
            features: shape (n, weights).
            rewards: shape (n,).
        """
        self._precision = self._precision + features.T @ features
        self._sums, self._factor = self._sums + features.T @ rewards, None

    def mean(self) -> Floats:
        """A^-1 b, shape (weights,)."""
        self._factored()
        return self._mean

    def draw(self, rng: np.random.Generator, *, v: float) -> Floats:
        """One draw of the weights.

        Args:
            v: standard deviation of the noise; 0 gives the mean.
        """
        factor = self._factored()
        noise = solve_triangular(factor, rng.normal(size=len(factor)), lower=True, trans="T", check_finite=False)
        drawn: Floats = self._mean + v * noise
        return drawn

    def _factored(self) -> Floats:
        if self._factor is None:
            factor: Floats = np.linalg.cholesky(self._precision).astype(np.float64, copy=False)
            self._factor, self._mean = factor, cho_solve((factor, True), self._sums)
        return self._factor
