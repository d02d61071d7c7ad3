"""A reward model whose prediction for a user never depends on that user's own rows.

Users are divided into folds; the values of each fold come from a model of the other folds. For rewards with two values
the model predicts class probabilities, recalibrated on users that the classifier did not see, because classifiers of
rare rewards are wrong by factors. For other rewards it is a regression.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bandit.errors import InvalidLog
from sim.common.arrays import Floats, Ints
from sim.ope.groups import user_groups

FOLDS = 5
CALIBRATION_FOLDS = 3
LEAST_OF_A_VALUE = 2 * CALIBRATION_FOLDS  # users with each value, for a classifier; with fewer, the model is the mean

Predict = Callable[[Floats], Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelValues:
    """The predictions of a cross-fitted reward model."""

    logged: Floats  # (n,): of each logged action
    options: Floats  # (m,): of each eligible action


def cross_fitted_values(
    *,
    features: ArrayLike,
    rewards: ArrayLike,
    option_features: ArrayLike,
    option_rows: ArrayLike,
    users: ArrayLike | None = None,
    estimator: BaseEstimator | None = None,
    folds: int = FOLDS,
    seed: int = 0,
) -> ModelValues:
    """The model's values of the logged actions and of all options, each from folds without the row's user.

    Args:
        features: shape (n, d), of context and logged action together; with products of both if the best action is to
            depend on the context in a linear model.
        rewards: shape (n,).
        option_features: shape (m, d), the same for every eligible action of every row.
        option_rows: shape (m,), the row that each option belongs to.
        users: shape (n,); without them each row is a user.
        estimator: a scikit-learn estimator; a classifier for rewards of two values. By default linear: logistic or
            ridge.
        folds: at least 2.
        seed: decides the folds.

    Raises:
        InvalidLog: wrong shapes, or fewer users than folds.
    """
    x, y = np.asarray(features, dtype=np.float64), np.asarray(rewards, dtype=np.float64)
    options, owner = np.asarray(option_features, dtype=np.float64), np.asarray(option_rows, dtype=np.intp)
    groups, n_groups = user_groups(users, len(y))
    if x.ndim != 2 or len(x) != len(y) or options.shape != (len(owner), x.shape[1]):
        raise InvalidLog(
            f"features {x.shape}, rewards {y.shape}, option_features {options.shape}, option_rows {owner.shape}: they "
            "must be (n, d), (n,), (m, d), (m,)"
        )
    if not 2 <= folds <= n_groups:
        raise InvalidLog(f"folds is {folds}: it must be from 2 to the number of users, {n_groups}")
    logged, optional = np.empty(len(y)), np.empty(len(owner))
    rng = np.random.default_rng(seed)
    for train, held in _user_splits(groups, y, folds, rng):
        model = _fitted(x[train], y[train], groups[train], estimator, rng)
        logged[held] = model(x[held])
        mine = np.isin(owner, held)
        if mine.any():
            optional[mine] = model(options[mine])
    return ModelValues(logged=logged, options=optional)


def integrated(option_values: Floats, option_pmf: ArrayLike, option_rows: ArrayLike, n: int) -> Floats:
    """The value of each of n rows under a target: the mean of its options' values by the target's pmf, shape (n,)."""
    weighed = option_values * np.asarray(option_pmf, dtype=np.float64)
    return np.asarray(np.bincount(np.asarray(option_rows, dtype=np.intp), weights=weighed, minlength=n), np.float64)


def _user_splits(groups: Ints, y: Floats, folds: int, rng: np.random.Generator) -> list[tuple[Ints, Ints]]:
    """Training rows and held-out rows of each fold: whole users; users with large rewards are distributed evenly."""
    largest = np.full(groups.max() + 1, -np.inf)
    np.maximum.at(largest, groups, y)
    shuffled = rng.permutation(len(largest))
    fold = np.empty(len(largest), dtype=np.intp)
    fold[shuffled[np.argsort(largest[shuffled], kind="stable")]] = np.arange(len(largest)) % folds
    of_row = fold[groups]
    return [(np.flatnonzero(of_row != one), np.flatnonzero(of_row == one)) for one in range(folds)]


def _fitted(x: Floats, y: Floats, groups: Ints, estimator: BaseEstimator | None, rng: np.random.Generator) -> Predict:
    values, users_with = _users_by_value(y, groups)
    if len(values) > 2:
        return _regression(x, y, estimator)
    if users_with.min() < LEAST_OF_A_VALUE or len(values) < 2:
        mean = float(y.mean())
        return lambda asked: np.full(len(asked), mean)
    return _classification(x, y, groups, estimator, rng)


def _users_by_value(y: Floats, groups: Ints) -> tuple[Floats, Ints]:
    """The values of the reward, and the number of users with each, if there are at most two values."""
    values = np.unique(y)
    if len(values) > 2:
        return values, np.zeros(0, dtype=np.intp)
    return values, np.array([len(np.unique(groups[y == value])) for value in values], dtype=np.intp)


def _regression(x: Floats, y: Floats, estimator: BaseEstimator | None) -> Predict:
    model = clone(estimator) if estimator is not None else make_pipeline(StandardScaler(), Ridge())
    model.fit(x, y)
    return lambda asked: np.asarray(model.predict(asked), dtype=np.float64)


def _classification(
    x: Floats, y: Floats, groups: Ints, estimator: BaseEstimator | None, rng: np.random.Generator
) -> Predict:
    low, high = y.min(), y.max()
    base = (
        clone(estimator)
        if estimator is not None
        else make_pipeline(StandardScaler(), LogisticRegression(solver="newton-cholesky"))
    )
    hit = y == high
    splits = _user_splits(np.unique(groups, return_inverse=True)[1], y, CALIBRATION_FOLDS, rng)
    model = CalibratedClassifierCV(base, method="sigmoid", cv=splits, ensemble=False)
    model.fit(x, hit)
    return lambda asked: np.asarray(low + (high - low) * model.predict_proba(asked)[:, 1], dtype=np.float64)


def arm_features(context: Floats, arms: Ints, n_arms: int) -> Floats:
    """Context, arm, and their products, so that a linear model can prefer different arms in different contexts."""
    taken = (arms[:, None] == np.arange(n_arms)).astype(np.float64)
    products = (taken[:, :, None] * context[:, None, :]).reshape(len(arms), -1)
    return np.concatenate([context, taken, products], axis=1)
