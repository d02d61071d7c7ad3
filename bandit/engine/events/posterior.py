"""A Gaussian belief about the weights of one regression, updated block by block.

With the prior N(m, P^-1) and a block of rows X with outcomes y, Newton steps of the log posterior (Laplace):

    w <- w + (P + X'VX)^-1 (X'(y - p) - P (w - m)),   V = diag(p (1 - p))         logistic
                                                      V = 1 / variance of a row   Gaussian

cut so that no row's log-odds move by more than 3; then P <- P + X'VX and m <- w. The weights of the tail have a
diagonal precision and take a step of their own along the bound of Jacobi's, which cannot overshoot.

P is kept as 32-bit numbers, so that what is stored and loaded learns on exactly as what was never stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import log
from typing import Protocol

import numpy as np

from bandit.engine.events.designs import Columns, Floats, Key, Prior, Rows, Shape, summed

FARTHEST_STEP = 3.0  # by which a row's log-odds may move in one step
MOST_STEPS = 6  # of a block; nearly all take one or two
TAIL_STEPS = 5  # of the tail in one step: each goes only part of the way
NEAR = 0.5  # a step that moves every row by less is the last
LEAST_EIGENVALUE = 1e-6  # relative to the largest; precisions are kept in 32 bits
SURE = 1e-9  # least variance of an outcome: a row that was certain still counts a little


class Likelihood(Protocol):
    """How outcomes follow from the linear part of a row."""

    def means(self, linear: Floats) -> Floats:
        """Expected outcomes."""

    def weights(self, means: Floats) -> Floats:
        """Precision that a row adds along itself."""

    def slope(self) -> float:
        """By what a difference of outcomes is multiplied in the gradient."""

    def losses(self, linear: Floats, outcomes: Floats) -> Floats:
        """Minus the log density of each outcome."""

    def bounded(self, steps: Floats) -> float:
        """Factor within (0, 1] of a step that moves the rows' linear parts by so much."""


class Logistic:
    """Outcomes 0 and 1."""

    def means(self, linear: Floats) -> Floats:
        return sigmoid(linear)

    def weights(self, means: Floats) -> Floats:
        return np.maximum(means * (1.0 - means), SURE)

    def slope(self) -> float:
        return 1.0

    def losses(self, linear: Floats, outcomes: Floats) -> Floats:
        return np.logaddexp(0.0, linear) - outcomes * linear

    def bounded(self, steps: Floats) -> float:
        farthest = float(np.max(np.abs(steps), initial=0.0))
        return FARTHEST_STEP / farthest if farthest > FARTHEST_STEP else 1.0


@dataclass(slots=True)
class Gaussian:
    """Numbers with one variance."""

    variance: float = 1.0

    def means(self, linear: Floats) -> Floats:
        return linear

    def weights(self, means: Floats) -> Floats:
        return np.full(len(means), 1.0 / self.variance)

    def slope(self) -> float:
        return 1.0 / self.variance

    def losses(self, linear: Floats, outcomes: Floats) -> Floats:
        losses: Floats = 0.5 * ((outcomes - linear) ** 2 / self.variance + log(self.variance))
        return losses

    def bounded(self, steps: Floats) -> float:
        return 1.0


LOGISTIC = Logistic()
Pooled = Mapping[Key, Prior]


def sigmoid(linear: Floats) -> Floats:
    """1 / (1 + exp(-x)), without overflow."""
    odds: Floats = 0.5 * (1.0 + np.tanh(0.5 * linear))
    return odds


@dataclass(slots=True, eq=False)
class Posterior:
    """Means and precisions of the weights of one shape."""

    mean: Floats = field(default_factory=lambda: np.zeros(0))
    precision: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    tail_mean: Floats = field(default_factory=lambda: np.zeros(0))
    tail_precision: Floats = field(default_factory=lambda: np.zeros(0))

    def grow(self, columns: Columns, shape: Shape, pooled: Pooled, *, is_numeric: bool = False) -> None:
        """Gives the weights that are new their prior.

        Args:
            pooled: beliefs that go before the priors of the shape.
            is_numeric: the outcomes are no log-odds, so that the level of the shape means nothing.
        """
        part, there = columns.parts[shape.name], len(self.mean)
        new = [columns.dense[place] for place in part.dense[there:]]
        if new:
            means, precisions = _priors(shape, new, pooled, is_numeric)
            grown = np.zeros((there + len(new), there + len(new)))
            grown[:there, :there] = self.precision
            grown[range(there, len(grown)), range(there, len(grown))] = precisions
            self.mean, self.precision = np.concatenate([self.mean, means]), grown
        new = [columns.tail[place] for place in part.tail[len(self.tail_mean) :]]
        if new:
            means, precisions = _priors(shape, new, pooled, is_numeric)
            self.tail_mean = np.concatenate([self.tail_mean, means])
            self.tail_precision = np.concatenate([self.tail_precision, precisions])

    def linear(self, rows: Rows) -> Floats:
        """The linear part of each row at the mean of the weights."""
        return self._linear(rows, self.mean, self.tail_mean)

    def spread(self, columns: Columns, shape: Shape) -> Floats:
        """The means at the places of all weights, zero where the shape has none."""
        part = columns.parts[shape.name]
        every = np.zeros(len(columns))
        every[part.dense] = self.mean
        every[len(columns.dense) + np.array(part.tail, dtype=np.int64)] = self.tail_mean
        return every

    def learn(self, rows: Rows, outcomes: Floats, likelihood: Likelihood) -> None:
        """Takes a block of rows."""
        if not len(rows):
            return
        weights, tail = self.mean, self.tail_mean
        precision = self.precision
        dense = rows.dense.astype(np.float32)
        for _ in range(MOST_STEPS):
            linear = self._linear(rows, weights, tail)
            means = likelihood.means(linear)
            information = likelihood.weights(means)
            residuals = (outcomes - means) * likelihood.slope()
            roots = dense * np.sqrt(information).astype(np.float32)[:, None]
            precision = self.precision + roots.T @ roots  # in 32 bits, which is how it is kept
            gradient = residuals @ rows.dense - self.precision @ (weights - self.mean)
            step = _solved(precision, gradient)
            moved = rows.dense @ step
            weights = weights + step * likelihood.bounded(moved)
            if len(rows.tail_places):
                tail = self._tail_steps(rows, rows.dense @ weights, tail, outcomes, likelihood)
            if np.max(np.abs(moved)) < NEAR:
                break
        if len(tail):
            squares = information[rows.tail_rows] * rows.tail_values**2
            self.tail_precision = _rounded(self.tail_precision + summed(rows.tail_places, squares, len(tail)))
        self.mean, self.tail_mean, self.precision = weights, tail, _rounded(precision)

    def walk(self, variances: Mapping[int, float]) -> None:
        """Lets some of the dense weights have changed: adds to their variances, given by place.

        By Woodbury's identity, (P^-1 + E D E')^-1 = P - PE (D^-1 + E'PE)^-1 E'P.
        """
        places = list(variances)
        columns = self.precision[:, places]
        inner = columns[places] + np.diag(1.0 / np.array(list(variances.values())))
        lowered = self.precision - columns @ np.linalg.solve(inner, columns.T)
        self.precision = _rounded(0.5 * (lowered + lowered.T))

    def rescale(self, factor: float) -> None:
        """The same belief about outcomes that are now given in other units: `factor` times the numbers before."""
        self.mean, self.tail_mean = self.mean * factor, self.tail_mean * factor
        self.precision = _rounded(self.precision / factor**2)
        self.tail_precision = _rounded(self.tail_precision / factor**2)

    def draws(self, normals: Floats, scale: float) -> Floats:
        """Dense weights drawn from the belief, with deviations of `scale` times its own: shape as the normals'.

        Args:
            normals: independent standard normal numbers, shape (dense weights, draws).
        """
        if not len(self.mean):
            return normals
        root = _root(self.precision)
        drawn: Floats = self.mean[:, None] + scale * np.linalg.solve(root.T, normals)
        return drawn

    def beliefs(self, columns: Columns, shape: Shape, wider: float) -> Pooled:
        """What is believed of each dense weight by itself, with deviations wider by that factor, but by no more than
        the prior's."""
        keys = [columns.dense[place] for place in columns.parts[shape.name].dense]
        deviations = np.sqrt(np.diag(np.linalg.inv(self.precision))) * wider
        return {
            key: Prior(float(mean), min(float(deviation), shape.prior(key).deviation))
            for key, mean, deviation in zip(keys, self.mean, deviations, strict=True)
        }

    def copy(self) -> "Posterior":
        """Another one that believes the same."""
        return Posterior(self.mean, self.precision, self.tail_mean, self.tail_precision)

    def _tail_steps(self, rows: Rows, dense: Floats, tail: Floats, outcomes: Floats, likelihood: Likelihood) -> Floats:
        """The tail some steps nearer to its mode.

        Args:
            dense: what the other weights add to the linear part of each row.
        """
        values, at = rows.tail_values, rows.tail_rows
        sizes = np.abs(values) * summed(at, np.abs(values), len(rows))[at]
        for _ in range(TAIL_STEPS):
            means = likelihood.means(dense + summed(at, values * tail[rows.tail_places], len(rows)))
            residuals = (outcomes - means) * likelihood.slope()
            gradient = summed(rows.tail_places, residuals[at] * values, len(tail))
            gradient -= self.tail_precision * (tail - self.tail_mean)
            bounds = summed(rows.tail_places, likelihood.weights(means)[at] * sizes, len(tail))
            step = gradient / (self.tail_precision + bounds)
            moved = summed(at, values * step[rows.tail_places], len(rows))
            tail = tail + step * likelihood.bounded(moved)
        return tail

    @staticmethod
    def _linear(rows: Rows, weights: Floats, tail: Floats) -> Floats:
        linear: Floats = rows.dense @ weights
        if len(rows.tail_places):
            linear = linear + summed(rows.tail_rows, rows.tail_values * tail[rows.tail_places], len(rows))
        return linear


def _solved(matrix: Floats, right: Floats) -> Floats:
    """The solution of a system with a positive definite matrix."""
    from scipy.linalg.lapack import dposv  # only learning needs it; serving never loads scipy

    _, solution, fault = dposv(matrix, right)
    if fault:
        solution = np.linalg.lstsq(matrix, right)[0]
    found: Floats = solution
    return found


def _rounded(numbers: Floats) -> Floats:
    """The numbers as 32 bits hold them."""
    return numbers.astype(np.float32).astype(np.float64)


def _priors(shape: Shape, keys: list[Key], pooled: Pooled, is_numeric: bool) -> tuple[Floats, Floats]:
    """Means and precisions of the weights with these keys."""
    priors = [pooled.get(key) or shape.prior(key) for key in keys]
    means = np.array([0.0 if is_numeric else prior.mean for prior in priors])
    return means, _rounded(np.array([prior.deviation for prior in priors]) ** -2)


def _root(precision: Floats) -> Floats:
    """The Cholesky factor; of a matrix that rounding left without one, that of the nearest that has one."""
    try:
        root = np.linalg.cholesky(precision)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(precision)
        raised = np.maximum(values, LEAST_EIGENVALUE * values[-1])
        root = np.linalg.cholesky((vectors * raised) @ vectors.T)
    return np.asarray(root, dtype=np.float64)
