"""What a replay says of itself: means, intervals, shares, words."""

from math import isnan, sqrt

import numpy as np
import pytest

from sim.common.means import clustered_mean
from sim.replay.result import ArmInLog, ReplayResult, UsedRow, summary


def make_result(arms: list[int], *, clusters: list[int] | None = None) -> ReplayResult:
    """A replay whose used rows had these arms: silence earned 0, "hello" 0.9 and "goodbye" -0.1."""
    owners = list(range(len(arms))) if clusters is None else clusters
    rewards = (0.0, 0.9, -0.1)
    return ReplayResult(
        dataset="toy",
        title="Toy",
        reward_name="smiles",
        seed=7,
        rows_in_log=3 * len(arms),
        arms=tuple(
            ArmInLog(
                name=name,
                sends=place > 0,
                gross=clustered_mean([0.0, 0.2], [0, 1]),
                net=clustered_mean([-0.1 * (place > 0), 0.2 - 0.1 * (place > 0)], [0, 1]),
            )
            for place, name in enumerate(("silence", "hello <b>", "goodbye"))
        ),
        used=tuple(
            UsedRow(place=3 * place, cluster=owner, arm=arm, reward=rewards[arm])
            for place, (arm, owner) in enumerate(zip(arms, owners, strict=True))
        ),
        versions_published=4,
    )


def test_the_interval_of_independent_values_is_the_textbook_one() -> None:
    values = np.random.default_rng(1).normal(size=200)
    mean = clustered_mean(values, np.arange(200))
    error = values.std(ddof=1) / sqrt(200)
    assert mean.value == pytest.approx(values.mean())
    assert mean.upper - mean.value == pytest.approx(1.959964 * error, rel=1e-6)
    assert mean.value - mean.lower == pytest.approx(1.959964 * error, rel=1e-6)


def test_repeating_every_value_within_its_cluster_does_not_narrow_the_interval() -> None:
    values = np.random.default_rng(2).normal(size=100)
    once = clustered_mean(values, np.arange(100))
    ten_times = clustered_mean(np.repeat(values, 10), np.repeat(np.arange(100), 10))
    as_if_independent = clustered_mean(np.repeat(values, 10), np.arange(1_000))
    assert ten_times.upper == pytest.approx(once.upper)
    assert ten_times.lower == pytest.approx(once.lower)
    assert as_if_independent.upper - as_if_independent.value < 0.4 * (once.upper - once.value)


def test_a_clustered_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    clusters = np.repeat(np.arange(60), 8)
    covered = 0
    for _ in range(1_000):
        values = rng.normal(size=60)[clusters] + rng.normal(size=480)
        mean = clustered_mean(values, clusters)
        covered += mean.lower <= 0.0 <= mean.upper
    assert abs(covered / 1_000 - 0.95) < 4 * sqrt(0.95 * 0.05 / 1_000)


def test_an_interval_that_cannot_be_known_is_not_a_number() -> None:
    assert isnan(clustered_mean([], []).value)
    assert isnan(clustered_mean([1.0, 2.0], [5, 5]).lower)
    assert clustered_mean([1.0, 2.0], [5, 5]).value == 1.5


def test_shares_are_of_equal_parts_of_the_used_rows_in_order() -> None:
    result = make_result([0] * 10 + [1] * 10 + [2] * 5 + [1] * 15)
    assert result.shares(bins=4) == ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.5, 0.5), (0.0, 1.0, 0.0))
    assert all(sum(part) == pytest.approx(1.0) for part in result.shares())
    assert result.sent_share(result.used) == 0.75


def test_the_last_half_is_of_the_used_rows() -> None:
    result = make_result([0] * 10 + [1] * 10)
    assert result.mean.value == pytest.approx(0.45)
    assert result.last_half.value == pytest.approx(0.9)
    assert result.last_half.n == 10


def test_the_mean_reward_is_clustered_by_user() -> None:
    arms = [0, 1] * 20
    by_row = make_result(arms).mean
    by_user = make_result(arms, clusters=[0, 1] * 20).mean
    assert by_user.clusters == 2
    assert by_user.upper > by_row.upper


def test_the_summary_says_rows_means_arms_and_shares() -> None:
    lines = dict(summary(make_result([0] * 10 + [1] * 30)))
    assert lines["rows in the log"] == "120"
    assert lines["rows used"] == "40 (33.3%)"
    assert lines["mean reward"].startswith("0.6750 (95 % interval ")
    assert lines["mean reward, last half of the used rows"].startswith("0.9000")
    assert lines["always hello <b>, in the log"].endswith("; 0.1000 before the cost of sending")
    assert "before" not in lines["always silence, in the log"]
    assert lines["share of hello <b>, first and last 5 % of the used rows"] == "0.0%, 100.0%"
    assert lines["sent, last quarter of the used rows"] == "100.0%"
    assert lines["models published"] == "4"
    assert lines["seed"] == "7"
