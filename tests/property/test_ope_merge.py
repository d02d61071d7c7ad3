"""Sums of a log are the same however it is cut, and in whatever order the parts are added."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.common.arrays import Floats, Ints
from sim.ope.batch import Batch
from sim.ope.checks.draws import Draws
from sim.ope.estimates import estimate_all
from sim.ope.estimators import WITH_MODEL
from sim.ope.sums import Sums
from sim.ope.weights import WeightSums

GROUPS = 7


def batch_of(seed: int, n: int) -> Batch:
    """Rows with weights from 0 to some 10,000."""
    rng = np.random.default_rng(seed)
    return Batch(
        rewards=rng.uniform(-5.0, 5.0, n),
        propensities=10.0 ** rng.uniform(-4.0, 0.0, n),
        target_propensities=rng.uniform(size=n) * (rng.random(n) < 0.8),
        groups=rng.integers(0, GROUPS, n),
        q_logged=rng.normal(size=n),
        q_target=rng.normal(size=n),
        unlogged_mass=rng.uniform(size=n),
    )


def rows_of(batch: Batch, rows: Ints) -> Batch:
    assert batch.q_logged is not None
    assert batch.q_target is not None
    assert batch.unlogged_mass is not None
    return Batch(
        rewards=batch.rewards[rows],
        propensities=batch.propensities[rows],
        target_propensities=batch.target_propensities[rows],
        groups=batch.groups[rows],
        q_logged=batch.q_logged[rows],
        q_target=batch.q_target[rows],
        unlogged_mass=batch.unlogged_mass[rows],
    )


def sums_of(*batches: Batch) -> Sums:
    sums = Sums(n_groups=GROUPS, with_model=True, reward_bounds=(-5.0, 5.0))
    for batch in batches:
        sums.add(batch)
    return sums


def scales(batch: Batch) -> Floats:
    """Sums of absolute terms: what rounding is relative to, as corrections of both signs may cancel."""
    weights = batch.target_propensities / batch.propensities
    largest = np.abs(batch.rewards).sum() + weights.sum() * 20.0 + len(batch)
    return np.full((len(WITH_MODEL), GROUPS), largest)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 400), parts=st.integers(1, 8), data=st.data())
def test_any_split_added_in_any_order_equals_one_pass(seed: int, n: int, parts: int, data: st.DataObject) -> None:
    batch = batch_of(seed, n)
    part_of = np.array(data.draw(st.lists(st.integers(0, parts - 1), min_size=n, max_size=n)))
    pieces = [rows_of(batch, rows) for part in range(parts) if (rows := np.flatnonzero(part_of == part)).size]
    whole = sums_of(batch)
    merged = sums_of()
    for piece in data.draw(st.permutations(pieces)):
        merged = sums_of(piece) + merged
    assert np.all(np.abs(merged.groups - whole.groups) <= 1e-12 * scales(batch))
    assert_same_weights(merged.weights, whole.weights)
    for name, one in estimate_all([(1.0, whole)], confidence=0.95, interval="normal", seed=0).items():
        other = estimate_all([(1.0, merged)], confidence=0.95, interval="normal", seed=0)[name]
        if np.isnan(one.value):  # a target that never chooses what was logged: there is nothing to weigh by
            assert np.isnan(other.value)
            continue
        size = 1e-12 * (scales(batch).max() / n + abs(one.value))
        assert abs(other.value - one.value) <= size
        if np.isfinite(one.standard_error):
            assert abs(other.standard_error - one.standard_error) <= size


def assert_same_weights(merged: WeightSums, whole: WeightSums) -> None:
    assert np.array_equal(merged.largest, whole.largest)
    assert (merged.zeros, merged.rows_with_unlogged) == (whole.zeros, whole.rows_with_unlogged)
    assert merged.smallest_propensity == whole.smallest_propensity
    assert np.isclose(merged.squares, whole.squares, rtol=1e-12)
    assert np.isclose(merged.rewards, whole.rewards, rtol=1e-12, atol=1e-9)
    assert np.isclose(merged.q_logged, whole.q_logged, rtol=1e-12, atol=1e-9)
    assert np.isclose(merged.unlogged, whole.unlogged, rtol=1e-12)
    assert np.allclose(merged.by_propensity, whole.by_propensity, rtol=1e-12)


@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(1, 59))
def test_draws_of_two_parts_equal_the_whole(seed: int, cut: int) -> None:
    rng = np.random.default_rng(seed)
    pmf = rng.dirichlet(np.ones(4), size=60)
    arms, missing = rng.integers(0, 4, 60), rng.random(60) < 0.3
    whole, first, second = Draws(n_arms=4), Draws(n_arms=4), Draws(n_arms=4)
    whole.add(pmf, arms, missing)
    first.add(pmf[:cut], arms[:cut], missing[:cut])
    second.add(pmf[cut:], arms[cut:], missing[cut:])
    both = second + first
    assert both.missing == whole.missing
    assert np.isclose(both.sample_ratio_p_value(), whole.sample_ratio_p_value(), rtol=1e-9)
    assert np.isclose(both.missing_feedback_p_value(), whole.missing_feedback_p_value(), rtol=1e-9)
    assert np.isclose(both.calibration_p_value(), whole.calibration_p_value(), rtol=1e-9)


def test_a_merge_that_forgets_the_users_is_found_out() -> None:
    """The red twin: adding two variances instead of the users' sums, as if no user were in both parts."""
    batch = batch_of(1, 400)
    halves = [rows_of(batch, np.arange(0, 200)), rows_of(batch, np.arange(200, 400))]
    errors = [
        estimate_all([(1.0, sums_of(one))], confidence=0.95, interval="normal", seed=0)["ips"].standard_error
        for one in halves
    ]
    whole = estimate_all([(1.0, sums_of(batch))], confidence=0.95, interval="normal", seed=0)["ips"].standard_error
    assert abs(np.hypot(errors[0], errors[1]) / 2 - whole) > 1e-3 * whole
