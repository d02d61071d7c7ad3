"""What an evaluation says of small logs: numbers, errors, verdicts."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bandit.errors import EstimatesWithheld, InvalidLog, InvalidPropensity, SendoptError
from sim.ope import compare, evaluate
from sim.ope.batch import checked_batch
from sim.ope.evaluation import evaluation_of
from sim.ope.groups import HASHED_GROUPS, hashed_groups
from sim.ope.intervals import anytime_reach, bootstrap_totals
from sim.ope.sums import Sums
from sim.ope.trials.coverage import LOGGING, TARGET, SimulatedLog, simulated_log


@pytest.fixture
def log() -> SimulatedLog:
    return simulated_log(np.random.default_rng(1))


def arrays(log: SimulatedLog, *, model: bool = True) -> dict[str, Any]:
    """Keyword arguments of `evaluate`."""
    names = ["rewards", "propensities", "target_propensities", "users", *(["q_logged", "q_target"] if model else [])]
    return {name: getattr(log, name) for name in names}


def test_values_are_the_textbook_ones(log: SimulatedLog) -> None:
    w, r = log.target_propensities / log.propensities, log.rewards
    residual = r - log.q_logged
    found = {name: one.value for name, one in evaluate(**arrays(log)).estimates.items()}
    assert found == pytest.approx(
        {
            "ips": np.mean(w * r),
            "snips": np.sum(w * r) / np.sum(w),
            "clipped_ips": np.mean(np.minimum(w, 100.0) * r),
            "dm": np.mean(log.q_target),
            "dr": np.mean(log.q_target + w * residual),
            "sndr": np.mean(log.q_target) + np.sum(w * residual) / np.sum(w),
            "switch_dr": np.mean(log.q_target + w * (w <= 100.0) * residual),
            "dros": np.mean(log.q_target + 100.0 * w / (w**2 + 100.0) * residual),
            "sub_gaussian_dr": np.mean(log.q_target + w / (0.99 + 0.01 * w) * residual),
        }
    )


def test_without_a_model_only_weighting_is_estimated(log: SimulatedLog) -> None:
    assert set(evaluate(**arrays(log, model=False)).estimates) == {"ips", "snips", "clipped_ips"}


def test_without_users_the_error_is_that_of_a_mean() -> None:
    rewards = np.array([0.0, 1.0, 1.0, 0.0, 1.0] * 20)
    found = evaluate(rewards=rewards, propensities=np.full(100, 0.5), target_propensities=np.full(100, 0.5))
    one = found.estimates["ips"]
    assert one.standard_error == pytest.approx(rewards.std(ddof=1) / 10)
    assert (one.lower, one.upper) == pytest.approx(
        (
            one.value - stats.t.ppf(0.975, 99) * one.standard_error,
            one.value + stats.t.ppf(0.975, 99) * one.standard_error,
        )
    )
    assert one.interval == "normal"


def test_diagnostics_are_the_textbook_ones(log: SimulatedLog) -> None:
    w = log.target_propensities / log.propensities
    found = evaluate(**arrays(log)).diagnostics
    assert (found.n, found.clusters) == (3_000, 100)
    assert found.ess == pytest.approx(w.sum() ** 2 / np.sum(w**2))
    assert found.mean_weight == pytest.approx(w.mean())
    assert found.max_weight == w.max()
    assert found.top_hundred_share == pytest.approx(np.sort(w)[-100:].sum() / w.sum())
    assert found.mean_weight_interval[0] < 1.0 < found.mean_weight_interval[1]
    assert found.logged_mean == pytest.approx(log.rewards.mean())
    assert found.model_residual == pytest.approx(np.mean(log.rewards - log.q_logged))


# Bad logs

GOOD: dict[str, Any] = {
    "rewards": np.full(50, 0.5),
    "propensities": np.full(50, 0.5),
    "target_propensities": np.full(50, 0.5),
}


def changed(name: str, row: int, value: float) -> dict[str, Any]:
    values = GOOD[name].copy()
    values[row] = value
    return GOOD | {name: values}


@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        (changed("propensities", 7, 0.0), InvalidPropensity, ["propensities, row 7", "0.0", "(0, 1]"]),
        (changed("propensities", 7, np.nan), InvalidPropensity, ["propensities, row 7", "nan", "(0, 1]"]),
        (changed("propensities", 49, 1.5), InvalidPropensity, ["propensities, row 49", "1.5", "(0, 1]"]),
        (changed("propensities", 0, -0.1), InvalidPropensity, ["propensities, row 0", "-0.1"]),
        (changed("target_propensities", 3, 1.01), InvalidPropensity, ["target_propensities, row 3", "1.01", "[0, 1]"]),
        (changed("target_propensities", 3, np.inf), InvalidPropensity, ["target_propensities, row 3", "inf"]),
        (changed("rewards", 9, 1.2), InvalidLog, ["rewards, row 9", "1.2", "[0, 1]"]),
        (changed("rewards", 9, np.nan), InvalidLog, ["rewards, row 9", "nan"]),
        (GOOD | {"propensities": np.full(49, 0.5)}, InvalidLog, ["propensities", "(49,)", "(50,)"]),
        ({name: np.zeros(0) for name in GOOD}, InvalidLog, ["no rows"]),
        (GOOD | {"q_logged": np.zeros(50)}, InvalidLog, ["q_logged and q_target"]),
        (GOOD | {"q_logged": np.full(50, np.nan), "q_target": np.zeros(50)}, InvalidLog, ["q_logged, row 0", "finite"]),
        (GOOD | {"users": np.array([None] * 50)}, InvalidLog, ["users, row 0", "null"]),
        (GOOD | {"users": np.zeros(3)}, InvalidLog, ["users", "(3,)"]),
        (GOOD | {"reward_bounds": (1.0, 0.0)}, InvalidLog, ["reward_bounds"]),
        (GOOD | {"confidence": 1.0}, InvalidLog, ["confidence"]),
        (GOOD | {"unlogged_mass": np.full(50, 2.0)}, InvalidPropensity, ["unlogged_mass, row 0", "2.0"]),
        (GOOD | {"feedback_missing": np.zeros(50, bool)}, InvalidLog, ["logging_pmf and actions"]),
        (
            GOOD | {"logging_pmf": np.full((50, 2), 0.6), "actions": np.zeros(50, int)},
            InvalidPropensity,
            ["logging_pmf, row 0"],
        ),
        (GOOD | {"logging_pmf": np.full((50, 2), 0.5), "actions": np.full(50, 2)}, InvalidLog, ["actions, row 0", "2"]),
    ],
)
def test_a_bad_log_is_refused_with_row_and_rule(
    bad: dict[str, Any], error: type[SendoptError], words: list[str]
) -> None:
    with pytest.raises(error) as raised:
        evaluate(**bad)
    for word in words:
        assert word in str(raised.value)


def test_rows_of_a_stream_are_numbered_in_the_whole_log() -> None:
    with pytest.raises(InvalidPropensity, match="propensities, row 1007"):
        checked_batch(
            **changed("propensities", 7, 0.0), groups=np.zeros(50, int), reward_bounds=(0, 1), first_row=1_000
        )


# Verdicts


def uncovered_log(n: int = 10_000) -> dict[str, Any]:
    """A target 95 % of whose mass is on actions that were never logged; what is logged has even weights."""
    rng = np.random.default_rng(5)
    arms = rng.integers(0, 2, n)
    return {
        "rewards": (rng.random(n) < 0.1).astype(float),
        "propensities": np.full(n, 0.5),
        "target_propensities": np.where(arms == 0, 0.03, 0.02),
    }


def test_a_target_that_was_hardly_ever_logged_is_refused_although_ess_is_large() -> None:
    found = evaluate(**uncovered_log())
    assert found.diagnostics.ess > 9_000  # which alone would be a comfort
    assert not found.verdict.ok
    assert "mean weight is 0.05" in found.verdict.reasons[0]
    assert found.diagnostics.unlogged_share == pytest.approx(0.95, abs=0.001)


def test_numbers_of_a_refused_log_are_withheld_unless_asked_for() -> None:
    found = evaluate(**uncovered_log())
    for ask in (lambda: found.estimates, found.bounds):
        with pytest.raises(EstimatesWithheld, match=r"mean weight is 0\.05"):
            ask()
    assert evaluate(**uncovered_log(), show_anyway=True).estimates["ips"].value == pytest.approx(0.005, abs=0.001)


def test_a_log_in_which_one_row_decides_is_refused() -> None:
    propensities, target = np.full(1_000, 0.999), np.full(1_000, 0.4)
    propensities[0], target[0] = 0.001, 0.6
    found = evaluate(rewards=np.zeros(1_000), propensities=propensities, target_propensities=target)
    reasons = " ".join(found.verdict.reasons)
    assert "effective sample size is 2.8" in reasons
    assert "one row carries 60%" in reasons


def test_mass_that_is_known_to_be_unlogged_or_hardly_logged_is_refused() -> None:
    rng = np.random.default_rng(2)
    rare = rng.random(100_000) < 2e-6 * 1e4 / 2  # stands for many actions of 2e-6 each, a hundredth of them together
    propensities, target = np.where(rare, 2e-6, 0.9), np.where(rare, 2e-5, 0.9)
    found = evaluate(rewards=np.zeros(100_000), propensities=propensities, target_propensities=target)
    assert found.diagnostics.hardly_logged_share == pytest.approx(0.1, abs=0.01)
    assert any("hardly takes" in reason for reason in found.verdict.reasons)
    few = evaluate(rewards=np.zeros(100), propensities=np.full(100, 1e-6), target_propensities=np.full(100, 0.5))
    assert few.diagnostics.hardly_logged_share == 1.0  # all of it, not 500,000 times as much
    known = evaluate(**GOOD, unlogged_mass=np.full(50, 0.2))
    assert known.diagnostics.unlogged_share_is_exact
    assert any("never takes" in reason for reason in known.verdict.reasons)


@pytest.mark.parametrize(("logged", "ok"), [([0.5, 0.3, 0.2], True), ([0.6, 0.2, 0.2], False)])
def test_propensities_that_did_not_draw_are_found_out(logged: list[float], ok: bool) -> None:
    arms = np.random.default_rng(3).choice(3, size=3_000, p=LOGGING)
    pmf = np.tile(logged, (3_000, 1))
    found = evaluate(
        rewards=np.zeros(3_000),
        propensities=pmf[np.arange(3_000), arms],
        target_propensities=pmf[np.arange(3_000), arms],
        logging_pmf=pmf,
        actions=arms,
    )
    assert found.diagnostics.mean_weight == 1.0  # which sees nothing
    assert found.verdict.ok is ok
    assert any("were not drawn as often" in reason for reason in found.verdict.reasons) is not ok
    assert any("not calibrated" in reason for reason in found.verdict.reasons) is not ok


def test_p_values_of_true_propensities_are_spread_evenly() -> None:
    rng = np.random.default_rng(8)
    p_values = []
    for _ in range(300):
        pmf = rng.dirichlet(np.ones(4), size=400)
        arms = (rng.random(400)[:, None] > pmf.cumsum(axis=1)).sum(axis=1)
        rewards = np.zeros(400)
        found = evaluate(
            rewards=rewards,
            propensities=pmf[np.arange(400), arms],
            target_propensities=pmf[np.arange(400), arms],
            logging_pmf=pmf,
            actions=arms,
            feedback_missing=rng.random(400) < 0.2,
        )
        p_values.append((found.diagnostics.sample_ratio_p_value, found.diagnostics.missing_feedback_p_value))
    for column in zip(*p_values, strict=True):
        assert stats.kstest(column, "uniform").pvalue > 0.001


@pytest.mark.parametrize(("lost", "ok"), [([0.1, 0.1, 0.1], True), ([0.05, 0.05, 0.3], False)])
def test_feedback_that_is_lost_more_after_some_actions_is_found_out(lost: list[float], ok: bool) -> None:
    rng = np.random.default_rng(4)
    arms = rng.choice(3, size=3_000, p=LOGGING)
    found = evaluate(
        rewards=np.zeros(3_000),
        propensities=LOGGING[arms],
        target_propensities=TARGET[arms],
        logging_pmf=np.tile(LOGGING, (3_000, 1)),
        actions=arms,
        feedback_missing=rng.random(3_000) < np.array(lost)[arms],
    )
    assert found.verdict.ok is ok
    assert any("feedback is missing depends on the action" in reason for reason in found.verdict.reasons) is not ok


def test_a_target_that_changes_its_own_features_is_noted(log: SimulatedLog) -> None:
    found = evaluate(**arrays(log), target_changes_features=True)
    assert found.verdict.ok
    assert "one-step estimate" in found.verdict.notes[0]


# Intervals and bounds


def test_the_bootstrap_agrees_with_the_normal_interval_and_keeps_users_together(log: SimulatedLog) -> None:
    normal = evaluate(**arrays(log)).estimates
    resampled = evaluate(**arrays(log), interval="bootstrap", seed=4).estimates
    for name in ("ips", "snips", "dr", "sndr"):
        # 2,000 resamples know a standard deviation to 1.6 %
        assert resampled[name].standard_error == pytest.approx(normal[name].standard_error, rel=0.08)
        assert resampled[name].interval == "bootstrap"
    assert "model's error" in resampled["dm"].interval


def test_a_bootstrap_of_more_users_than_it_has_groups_keeps_its_spread() -> None:
    values = np.random.default_rng(6).random(70_000)
    totals = bootstrap_totals({"n": np.ones(70_000), "x": values}, seed=1, resamples=200)
    assert (totals["x"] / totals["n"]).std() == pytest.approx(values.std() / np.sqrt(70_000), rel=0.2)


def test_the_anytime_interval_is_wider_and_grows_narrow_with_n(log: SimulatedLog) -> None:
    normal, anytime = (
        evaluate(**arrays(log), interval=interval).estimates["snips"] for interval in ("normal", "anytime")
    )
    assert anytime.lower < normal.lower < normal.upper < anytime.upper
    sizes = np.array([1e2, 1e3, 1e4, 1e5, 1e6, 1e7])
    assert anytime_reach(sizes, 0.95).max() < 3.75  # one that is narrowest at 100,000 rows has 9.1 at 1,000
    assert anytime_reach(sizes, 0.95, sides=1).max() < 3.6
    reach = anytime_reach(sizes, 0.95) / np.sqrt(sizes)
    assert np.all(np.diff(reach) < 0)


def rare_log(n: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    arms = rng.random(n) < 0.02  # the target's only action
    return {
        "rewards": (rng.random(n) < 0.005).astype(float),
        "propensities": np.where(arms, 0.02, 0.98),
        "target_propensities": arms.astype(float),
    }


def test_the_betting_bound_is_useful_for_a_reward_of_half_a_percent() -> None:
    found = evaluate(**rare_log(200_000, 1), confidence=0.90)
    bounds = found.bounds()
    assert 0.002 < bounds["betting"].lower < 0.005
    assert bounds["empirical_bernstein"].lower < 0.001  # true, and of no use
    assert 0.0025 < bounds["cressie_read"].lower < 0.005


def test_lower_bounds_hold_where_the_normal_one_fails_on_heavy_weights() -> None:
    """Rare rewards under weights of 50: 95 % one-sided bounds over 400 logs."""
    misses = {"betting": 0, "cressie_read": 0, "empirical_bernstein": 0, "normal upper": 0}
    for seed in range(400):
        found = evaluate(**rare_log(4_000, seed), confidence=0.90, interval="normal", show_anyway=True)
        for name, one in found.bounds().items():
            misses[name] += one.lower > 0.005 or one.upper < 0.005
        misses["normal upper"] += found.estimates["ips"].upper < 0.005
    for name in ("betting", "cressie_read", "empirical_bernstein"):
        assert misses[name] <= stats.binom.ppf(0.999, 400, 0.10)
    assert misses["normal upper"] > stats.binom.ppf(0.999, 400, 0.10)  # the red twin: no reward at all, no width


def test_bounds_say_that_nothing_is_known_when_nothing_is() -> None:
    propensities, target = np.full(1_000, 0.999), np.full(1_000, 0.001)
    propensities[:2], target[:2] = 0.001, 0.999
    rewards = np.zeros(1_000)
    rewards[0] = 1.0
    found = evaluate(rewards=rewards, propensities=propensities, target_propensities=target, show_anyway=True)
    assert found.diagnostics.ess == pytest.approx(2.0, abs=0.1)
    bounds = found.bounds()["cressie_read"]
    assert bounds.lower < 0.05
    assert bounds.upper > 0.95


def test_bounds_are_in_units_of_the_reward(log: SimulatedLog) -> None:
    plain = evaluate(**arrays(log, model=False)).bounds()
    moved = arrays(log, model=False) | {"rewards": 10.0 * log.rewards - 5.0}
    shifted = evaluate(**moved, reward_bounds=(-5.0, 5.0)).bounds()
    for name, one in plain.items():
        assert shifted[name].lower == pytest.approx(10.0 * one.lower - 5.0, abs=1e-6)
        assert shifted[name].upper == pytest.approx(10.0 * one.upper - 5.0, abs=1e-6)


# Comparisons and streams


def test_a_paired_difference_is_surer_than_two_values(log: SimulatedLog) -> None:
    near = np.where(log.target_propensities == 0.5, 0.45, log.target_propensities + 0.025)
    found = compare(
        rewards=log.rewards,
        propensities=log.propensities,
        target_propensities=log.target_propensities,
        baseline_propensities=near,
        users=log.users,
    )
    one = found.estimates["snips"]
    alone = found.target.estimates["snips"], found.baseline.estimates["snips"]
    assert one.value == pytest.approx(alone[0].value - alone[1].value)
    assert one.standard_error < 0.2 * np.hypot(alone[0].standard_error, alone[1].standard_error)


def test_a_policy_against_itself_differs_by_nothing(log: SimulatedLog) -> None:
    for interval in ("normal", "bootstrap", "anytime"):
        found = compare(
            **arrays(log),
            baseline_propensities=log.target_propensities,
            q_baseline=log.q_target,
            interval=interval,
        )
        assert all(one.value == one.lower == one.upper == 0.0 for one in found.estimates.values())


def test_a_comparison_is_withheld_when_one_policy_is_not_covered() -> None:
    uncovered = uncovered_log()
    found = compare(**uncovered, baseline_propensities=uncovered["propensities"])
    assert not found.verdict.ok
    with pytest.raises(EstimatesWithheld, match="target: the mean weight"):
        found.estimates  # noqa: B018
    assert found.baseline.verdict.ok


def stream(cut: Callable[[int], int], log: SimulatedLog) -> Sums:
    """The log in batches, users hashed."""
    sums = Sums(n_groups=HASHED_GROUPS, with_model=False)
    first = 0
    while first < len(log.rewards):
        rows = slice(first, first + cut(first))
        sums.add(
            checked_batch(
                rewards=log.rewards[rows],
                propensities=log.propensities[rows],
                target_propensities=log.target_propensities[rows],
                groups=hashed_groups(np.array([f"user-{user}" for user in log.users[rows]])),
                reward_bounds=(0.0, 1.0),
                first_row=first,
            )
        )
        first = rows.stop
    return sums


def test_a_stream_with_hashed_users_has_the_clustered_errors_of_the_arrays(log: SimulatedLog) -> None:
    sums = stream(lambda first: 7 + first % 300, log)
    expected = evaluate(**arrays(log, model=False)).estimates
    assert 98 <= sums.clusters <= 100  # two users may share a hash
    for name, one in evaluation_of(sums).estimates.items():
        assert one.value == pytest.approx(expected[name].value, rel=1e-12)
        assert one.standard_error == pytest.approx(expected[name].standard_error, rel=0.02)


def test_a_stream_without_a_user_somewhere_is_refused() -> None:
    with pytest.raises(InvalidLog, match="users, row 1"):
        hashed_groups(np.array(["a", None], dtype=object))


def test_sums_of_other_kinds_are_not_added(log: SimulatedLog) -> None:
    with pytest.raises(InvalidLog, match="same settings"):
        Sums(n_groups=3, with_model=False) + Sums(n_groups=4, with_model=False)
    with pytest.raises(InvalidLog, match="no rows"):
        evaluation_of(Sums(n_groups=3, with_model=False))


# In and out of notebooks


def test_columns_of_a_frame_go_in_and_frames_dicts_and_pictures_come_out(log: SimulatedLog) -> None:
    names = ("rewards", "propensities", "target_propensities", "users")
    frame = pd.DataFrame({name: arrays(log)[name] for name in names})
    pmf = pd.DataFrame(np.tile(LOGGING, (len(frame), 1)), columns=["push", "email", "none"])
    columns: dict[str, Any] = {name: frame[name] for name in names}
    found = evaluate(**columns, logging_pmf=pmf, actions=pd.Series(log.arms))
    assert found.to_frame().loc["snips", "value"] == found.estimates["snips"].value
    assert found.to_dict()["diagnostics"]["n"] == len(frame)
    assert found.to_dict()["estimates"]["ips"]["interval"] == "normal"
    axes = found.plot()
    assert [label.get_text() for label in axes.get_yticklabels()] == list(found.estimates)
    difference = compare(**columns, baseline_propensities=frame["propensities"])
    assert list(difference.to_frame().index) == list(difference.estimates)
    assert difference.plot(axes) is axes
    assert difference.to_dict()["verdict"]["ok"] is difference.verdict.ok


def test_what_is_withheld_is_in_no_frame_dict_or_picture() -> None:
    found = evaluate(**uncovered_log())
    assert found.to_dict()["estimates"] == {}
    for ask in (found.to_frame, found.plot):
        with pytest.raises(EstimatesWithheld):
            ask()
