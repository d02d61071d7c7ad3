"""What the verdict says of sound and of broken logs, and whether the interval that goes with it holds."""

from functools import partial
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bandit.errors import InvalidLog
from sim.ope import compare, evaluate
from sim.ope.checks.sensitivity import sensitivity
from sim.ope.trials.broken_logs import (
    CASES,
    Case,
    clean,
    clicks_lost,
    confounded,
    embedded,
    fatigue,
    few_users,
    heavy,
    one_large_user,
    rare,
    reversed_half_way,
    rewarded_doubled,
    spend,
    tripled,
    unrewarded,
)
from sim.ope.trials.verdicts import HABITS, false_comfort, verdict_table

LOGS = 20


def test_the_verdict_gives_no_false_comfort_where_the_habits_of_others_do() -> None:
    """A short form of `python -m benchmarks --only verdict`."""
    short = [case for case in CASES if case.name not in ("fatigue, 5 steps", "fatigue, 7 steps", "3 users", "5 users")]
    table = verdict_table(logs=LOGS, seed=11, cases=short)
    assert false_comfort(table, "ours") == []
    assert len(false_comfort(table, "ESS alone")) > 8  # the red twins
    assert len(false_comfort(table, "nothing")) > 8
    assert set(table["habit"]) == set(HABITS)
    sound = table[table["is_clean"] & (table["habit"] == "ours")]
    assert (sound["says_ok"] >= 0.9).all()


@pytest.mark.parametrize(("n", "logs"), [(500, 150), (2_000, 100), (20_000, 10)])
@pytest.mark.parametrize("rows_each", [1, 10])
def test_sound_logs_are_answered(n: int, logs: int, rows_each: int) -> None:
    rng = np.random.default_rng([n, rows_each])
    refused = [not evaluate(**clean(rng, n=n, rows_each=rows_each).arrays).verdict.ok for _ in range(logs)]
    assert sum(refused) <= stats.binom.ppf(0.999, logs, 0.01)


@pytest.mark.parametrize("name", ["dros", "sub_gaussian_dr"])
def test_intervals_of_shrinking_estimators_hold_where_the_estimate_is_far_off(name: str) -> None:
    rng = np.random.default_rng(21)
    held, plain = 0, 0
    for _ in range(100):
        log = heavy(rng)
        found = evaluate(**log.arrays)
        one = found.estimates[name]
        held += one.lower <= log.truth <= one.upper
        sums, reach = found.sums, 1.96
        own = sums.standard_error(_estimator(name))
        plain += abs(one.value - log.truth) <= reach * own
        assert any("holding large ones down moves estimates" in note for note in found.verdict.notes)
    assert held >= stats.binom.ppf(0.001, 100, 0.95)
    assert plain < 10  # the red twin: its own spread alone


def _estimator(name: str) -> Any:
    from sim.ope.estimators import estimators

    return estimators(with_model=True)[name]


def ok(maker: Any, seed: int = 31) -> Any:
    return evaluate(**maker(np.random.default_rng(seed)).arrays)


def reasons(maker: Any, seed: int = 31) -> str:
    return " ".join(ok(maker, seed).verdict.reasons)


def test_rare_rewards_get_an_interval_that_holds_and_a_note_that_says_why() -> None:
    found = ok(partial(rare, truth=0.005))
    one = found.estimates["snips"]
    assert found.verdict.ok
    assert one.interval == "betting"
    assert one.lower <= 0.005 <= one.upper
    assert any("users carry the estimate" in note for note in found.verdict.notes)
    assert ok(clean).estimates["snips"].interval == "normal"


def test_no_reward_at_all_is_no_certainty_of_none() -> None:
    one = ok(unrewarded).estimates["snips"]
    assert (one.value, one.lower) == (0.0, 0.0)
    assert one.upper > 0.001


def test_a_heavy_tail_is_told_and_its_interval_uses_the_bounds() -> None:
    found = ok(spend)
    assert found.estimates["snips"].interval == "betting"
    assert found.diagnostics.influential_clusters < 50 or found.diagnostics.tail_index < 2


def test_few_or_unequal_users_are_refused() -> None:
    assert "the weight of 5 users is worth that of 5.0 equal ones" in reasons(partial(few_users, users=5))
    found = evaluate(**one_large_user(np.random.default_rng(1)).arrays)
    assert "equal ones; it must be that of at least 10" in " ".join(found.verdict.reasons)
    assert found.diagnostics.effective_clusters < 4


def test_what_one_decision_does_to_the_next_is_found_and_seven_steps_are_enough() -> None:
    assert "what was done to a user changes what later decisions earn" in reasons(partial(fatigue, steps=1))
    assert "what was done to a user" in reasons(partial(fatigue, steps=3))
    assert "what was done to a user" not in reasons(partial(fatigue, steps=7))
    assert ok(partial(clean, rows_each=10)).diagnostics.carry_over is not None


def test_a_target_that_is_better_in_one_half_and_worse_in_the_other_is_refused() -> None:
    assert "against the logging policy in the first half" in reasons(reversed_half_way)
    log = reversed_half_way(np.random.default_rng(31)).arrays
    mixed = np.random.default_rng(2).permutation(len(log["rewards"]))
    shuffled: dict[str, Any] = {name: np.asarray(value)[mixed] for name, value in log.items()}
    assert evaluate(**shuffled).verdict.ok
    assert "first half" in " ".join(evaluate(**shuffled, order=mixed).verdict.reasons)


def test_rows_that_are_sorted_by_what_was_done_are_not_taken_for_a_change_of_rewards() -> None:
    log = clean(np.random.default_rng(3)).arrays
    by_arm = np.argsort(log["actions"], kind="stable")
    sorted_rows: dict[str, Any] = {name: np.asarray(value)[by_arm] for name, value in log.items()}
    found = evaluate(**sorted_rows)
    assert found.verdict.ok
    assert found.diagnostics.drift is None


@pytest.mark.parametrize("maker", [tripled, rewarded_doubled])
def test_a_decision_that_is_there_twice_is_refused_with_its_row(maker: Any) -> None:
    log = maker(np.random.default_rng(4))
    with pytest.raises(InvalidLog, match=r"decision_ids, row \d+: '\d+' is there twice"):
        evaluate(**log.arrays)
    blind = evaluate(**{name: value for name, value in log.arrays.items() if name != "decision_ids"})
    assert not any("twice" in reason for reason in blind.verdict.reasons)  # the red twin


def test_lost_feedback_is_found_when_the_log_tells_it() -> None:
    assert "whether feedback is missing depends on the action" in reasons(partial(clicks_lost, told=True))


def test_actions_that_matter_beyond_their_code_are_found() -> None:
    assert "actions of one embedding code do not earn the same" in reasons(partial(embedded, matters=0.15))
    rng = np.random.default_rng(5)
    refused = [not evaluate(**embedded(rng, matters=0.0).arrays).verdict.ok for _ in range(60)]
    assert sum(refused) <= stats.binom.ppf(0.999, 60, 0.01)


# What is known to be unlogged, and what is only rounded


@pytest.mark.parametrize("n", [2_000, 200_000])
def test_a_known_share_that_the_logger_never_takes_widens_the_interval_and_is_no_fault(n: int) -> None:
    rng = np.random.default_rng(6)
    arms = rng.integers(0, 2, n)
    rewards = (rng.random(n) < 0.3).astype(float)
    arrays: dict[str, Any] = {
        "rewards": rewards,
        "propensities": np.full(n, 0.5),
        "target_propensities": np.where(arms == 0, 0.6, 0.36),
    }
    found = evaluate(**arrays, unlogged_mass=np.full(n, 0.04))
    bare = evaluate(**arrays, show_anyway=True)
    assert found.verdict.ok
    for name in ("ips", "snips"):
        wide, narrow = found.estimates[name], bare.estimates[name]
        width = (wide.upper - wide.lower) - (narrow.upper - narrow.lower)
        assert width == pytest.approx(0.04)
    assert not bare.verdict.ok  # the red twin: without being told, something is missing
    compared = compare(
        **arrays,
        baseline_propensities=np.full(n, 0.5),
        unlogged_mass=np.full(n, 0.04),
        baseline_unlogged_mass=np.zeros(n),
    )
    assert compared.verdict.ok
    assert compared.target.estimates["ips"].upper == found.estimates["ips"].upper


@pytest.mark.parametrize("arms", [3, 5, 6, 7])
@pytest.mark.parametrize("rounded", ["32 bits", "four digits"])
def test_probabilities_that_were_rounded_are_no_fault(arms: int, rounded: str) -> None:
    n = 200_000
    probability = float(np.float32(1 / arms)) if rounded == "32 bits" else round(1 / arms, 4)
    rewards = (np.random.default_rng(7).random(n) < 0.3).astype(float)
    found = evaluate(
        rewards=rewards,
        propensities=np.full(n, probability),
        target_propensities=np.full(n, 1 / arms),
        users=np.arange(n),
    )
    assert found.verdict.ok, found.verdict.reasons


def test_a_probability_of_32_bits_that_exceeds_one_is_one() -> None:
    found = evaluate(rewards=np.ones(50), propensities=np.full(50, 1.0000001), target_propensities=np.full(50, 1.0))
    assert found.diagnostics.mean_weight == 1.0


def test_intervals_end_at_the_bounds_of_the_reward() -> None:
    rng = np.random.default_rng(8)
    found = evaluate(
        rewards=(rng.random(60) < 0.98).astype(float),
        propensities=np.full(60, 0.5),
        target_propensities=np.full(60, 0.5),
    )
    assert all(0.0 <= one.lower <= one.upper <= 1.0 for one in found.estimates.values())


def test_a_difference_of_rare_rewards_gets_a_betting_interval() -> None:
    log = dict(rare(np.random.default_rng(9), truth=0.005).arrays)
    found = compare(**log, baseline_propensities=log["propensities"])
    one = found.estimates["snips"]
    assert one.interval == "betting"
    assert one.lower < 0.0 < one.upper


# Decisions of parts


def parts_log(rng: np.random.Generator, *, interaction: float) -> dict[str, Any]:
    parts = np.array([[one, other] for one in range(3) for other in range(3)])
    means = 0.2 + 0.1 * parts[:, 0] + 0.1 * parts[:, 1] + interaction * ((parts[:, 0] == 2) & (parts[:, 1] == 2))
    actions = rng.integers(0, 9, 4_000)
    target = np.where((parts[:, 0] == 2) & (parts[:, 1] == 2), 1.0, 0.0)
    return {
        "rewards": (rng.random(4_000) < means[actions]).astype(float),
        "propensities": np.full(4_000, 1 / 9),
        "target_propensities": target[actions],
        "logging_pmf": np.full((4_000, 9), 1 / 9),
        "target_pmf": np.tile(target, (4_000, 1)),
        "actions": actions,
        "parts": parts,
    }


def test_the_pseudo_inverse_is_evaluated_with_a_verdict_and_a_standard_error() -> None:
    rng = np.random.default_rng(10)
    log = parts_log(rng, interaction=0.0)
    found, plain = (
        evaluate(**log),
        evaluate(**{name: log[name] for name in ("rewards", "propensities", "target_propensities")}),
    )
    assert found.verdict.ok
    one, other = found.estimates["ips"], plain.estimates["ips"]
    assert one.lower <= 0.6 <= one.upper
    assert one.standard_error < 0.75 * other.standard_error
    wrong = evaluate(**parts_log(rng, interaction=-0.3), show_anyway=True)
    assert "parts of the decision do together" in " ".join(wrong.verdict.reasons)


def test_every_case_has_a_name_of_its_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert all(isinstance(case, Case) for case in CASES)


# What no array shows


def test_the_sensitivity_holds_the_truth_under_a_logger_that_knew_more_than_it_logged() -> None:
    """It drew the best arm with 0.35 or 0.05 where 0.2 was logged: weights are wrong by up to a factor of four."""
    log = confounded(np.random.default_rng(12))
    found = evaluate(**log.arrays)
    one, wide = found.estimates["snips"], sensitivity(found, 4.0)
    assert found.verdict.ok
    assert not one.lower <= log.truth <= one.upper
    assert wide.lower <= log.truth <= wide.upper
    assert sensitivity(found, 1.0).upper == pytest.approx(one.value)
    with pytest.raises(InvalidLog, match=r"factor is 0\.5"):
        sensitivity(found, 0.5)


def test_a_log_that_is_too_short_says_how_much_longer_it_must_be() -> None:
    rng = np.random.default_rng(13)

    def found(n: int) -> Any:
        taken = rng.random(n) < 0.02
        return evaluate(
            rewards=np.zeros(n), propensities=np.where(taken, 0.02, 0.98), target_propensities=taken.astype(float)
        ).verdict

    short = found(600)
    assert short.needed is not None
    assert any("effective sample size" in reason for reason in short.reasons)
    assert found(int(1.6 * (600 + short.needed.decisions))).needed is None
    assert short.needed.propensity == pytest.approx(30 / 600)
    assert ok(clean).verdict.needed is None
