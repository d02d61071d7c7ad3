"""The regression: against closed forms and against brute force."""

import numpy as np
import pytest

from bandit.engine.events.designs import Floats, Rows
from bandit.engine.events.posterior import LOGISTIC, Gaussian, Posterior, sigmoid

NOTHING = np.zeros(0, dtype=np.int64)


def dense(rows: Floats) -> Rows:
    return Rows(rows, NOTHING, NOTHING, np.zeros(0))


def tail(rows: Floats) -> Rows:
    """The same rows with all weights in the tail."""
    numbers, places = np.nonzero(rows)
    return Rows(np.zeros((len(rows), 0)), numbers, places, rows[numbers, places])


def prior(deviations: Floats) -> Posterior:
    return Posterior(np.zeros(len(deviations)), np.diag(deviations**-2.0))


def flat_prior(deviations: Floats) -> Posterior:
    return Posterior(tail_mean=np.zeros(len(deviations)), tail_precision=deviations**-2.0)


def test_gaussian_blocks_give_the_posterior_of_all_rows_at_once() -> None:
    rng = np.random.default_rng(1)
    rows, outcomes = rng.normal(size=(60, 4)), rng.normal(size=60)
    posterior, likelihood = prior(np.full(4, 0.5)), Gaussian(2.0)
    for block in np.split(np.arange(60), [7, 20, 21]):
        posterior.learn(dense(rows[block]), outcomes[block], likelihood)
    precision = np.eye(4) * 4.0 + rows.T @ rows / 2.0
    assert posterior.precision == pytest.approx(precision, rel=1e-5)
    assert posterior.mean == pytest.approx(np.linalg.solve(precision, rows.T @ outcomes / 2.0), rel=1e-4, abs=1e-6)


def test_logistic_steps_reach_the_mode() -> None:
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(200, 3))
    outcomes = (rng.random(200) < sigmoid(rows @ np.array([1.0, -0.5, 0.2]))).astype(np.float64)
    posterior = prior(np.ones(3))
    posterior.learn(dense(rows), outcomes, LOGISTIC)
    gradient = rows.T @ (outcomes - sigmoid(rows @ posterior.mean)) - posterior.mean
    assert np.abs(gradient).max() < 0.5  # the last step moved every row by less than a tenth


def test_the_tail_never_overshoots_and_comes_near_the_mode() -> None:
    rng = np.random.default_rng(3)
    rows = (rng.random((300, 12)) < 0.4).astype(np.float64)
    outcomes = (rng.random(300) < sigmoid(rows @ rng.normal(size=12))).astype(np.float64)
    near, exact = flat_prior(np.ones(12)), prior(np.ones(12))
    nothing, objectives, weights = np.zeros(300), [], near.tail_mean
    for _ in range(20):
        losses = LOGISTIC.losses(rows @ weights, outcomes)
        objectives.append(losses.sum() + 0.5 * weights @ weights)
        weights = near._tail_steps(tail(rows), nothing, weights, outcomes, LOGISTIC)
    exact.learn(dense(rows), outcomes, LOGISTIC)
    assert np.diff(objectives).max() < 1e-9
    assert rows @ weights == pytest.approx(exact.linear(dense(rows)), abs=0.2)


def test_a_walk_adds_to_the_covariance() -> None:
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(30, 5))
    posterior = Posterior(np.zeros(5), np.eye(5) + rows.T @ rows)
    covariance = np.linalg.inv(posterior.precision) + np.diag([0.0, 0.3, 0.0, 0.5, 0.0])
    posterior.walk({1: 0.3, 3: 0.5})
    assert posterior.precision == pytest.approx(np.linalg.inv(covariance), rel=1e-4, abs=1e-5)


def test_draws_have_the_beliefs_mean_and_covariance() -> None:
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(30, 3))
    posterior = Posterior(np.array([1.0, 2.0, 3.0]), np.eye(3) + rows.T @ rows)
    drawn = posterior.draws(rng.standard_normal((3, 200_000)), 0.5)
    assert drawn.mean(axis=1) == pytest.approx(posterior.mean, abs=0.003)  # 5 standard errors
    assert np.cov(drawn) == pytest.approx(0.25 * np.linalg.inv(posterior.precision), abs=3e-4)


@pytest.mark.parametrize("size", [1.0, 36.0])
def test_separable_outcomes_leave_everything_finite(size: float) -> None:
    rows = np.array([[1.0, size], [1.0, -size]] * 50)
    posterior = prior(np.array([3.0, 0.4]))
    for _ in range(30):
        posterior.learn(dense(rows), (rows[:, 1] > 0).astype(np.float64), LOGISTIC)
    assert np.isfinite(posterior.mean).all()
    assert np.isfinite(np.linalg.cholesky(posterior.precision)).all()


def test_no_rows_teach_nothing() -> None:
    posterior = prior(np.ones(2))
    posterior.learn(dense(np.zeros((0, 2))), np.zeros(0), LOGISTIC)
    assert posterior.mean.tolist() == [0.0, 0.0]
