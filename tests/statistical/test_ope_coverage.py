"""Intervals, estimators and the gate over many simulated logs. Seeds are fixed; tolerances come from the counts."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats

from bandit.errors import InvalidLog, InvalidPropensity
from sim.common.arrays import Floats
from sim.ope import compare, evaluate
from sim.ope.gate import Evidence, Gate, Guardrail, decide_promotion, evidence_of, with_one_more
from sim.ope.intervals import anytime_reach
from sim.ope.reward_model import arm_features, cross_fitted_values
from sim.ope.special.embedding import embedding_codes, marginal_propensities, observed_code_propensities
from sim.ope.special.pseudo_inverse import additivity_test, pseudo_inverse_value, pseudo_inverse_weights
from sim.ope.special.steps import step_propensities
from sim.ope.trials.coverage import coverage_table
from sim.ope.trials.power import SHARE, HistoryPlan, daily_differences, draw_history, opening_days, power_curve
from sim.ope.trials.thinning import RandomisedLog, evaluator_table, thinned_rows

Flags = NDArray[np.bool_]
LOGS = 2_000


def by_estimator(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    figures = table.set_index("estimator").astype(np.float64)
    return {
        str(name): {str(key): value for key, value in row.items()} for name, row in figures.to_dict("index").items()
    }


def test_clustered_intervals_cover_and_row_level_ones_do_not() -> None:
    table = by_estimator(coverage_table(logs=LOGS, seed=11))
    for name in ("ips", "snips", "dr"):
        assert 0.93 <= table[name]["clustered"] <= 0.97
        assert table[name]["by row"] < 0.93  # the red twin: rows taken for independent


# The gate


def test_a_comparison_of_equals_promotes_in_at_most_one_history_of_twenty() -> None:
    plan = HistoryPlan(users=400, days=60)
    gate = Gate(tightest_at=12_000)
    opened = np.isfinite(opening_days(plan, gate, 0.0, histories=1_000, seed=21))
    assert opened.mean() <= 0.05
    # The red twin: the same histories and a one-sided 95 % normal bound, looked at every day.
    rng = np.random.default_rng(21)
    fooled = 0
    for _ in range(200):
        differences, errors = daily_differences(plan, 0.0, rng)
        fooled += bool(np.any(differences - stats.norm.ppf(0.95) * errors > 0.0))
    assert fooled / 200 > 0.15


def test_users_who_differ_in_what_the_challenger_does_to_them_do_not_fool_the_gate() -> None:
    plan = HistoryPlan(users=400, days=60, base=0.3, lift_spread=0.3)
    opened = np.isfinite(opening_days(plan, Gate(tightest_at=12_000), 0.0, histories=300, seed=22))
    assert opened.mean() <= 0.05


def test_the_gate_opens_more_often_the_larger_the_lift() -> None:
    plan = HistoryPlan(users=2_000, days=60)
    table = power_curve(plan, Gate(), [0.0, 0.05, 0.15], histories=40, seed=23)
    by_end = table["by day 60"]
    assert by_end[0] <= 0.10
    assert 0.4 < by_end[1] < 1.0
    assert by_end[2] == 1.0
    assert np.all(table["by day 15"] <= table["by day 30"])


def test_the_histories_of_the_power_curve_are_evaluated_as_compare_does() -> None:
    plan = HistoryPlan(users=150, days=4)
    differences, errors = daily_differences(plan, 0.1, np.random.default_rng(7))
    arms, rewards = draw_history(plan, 0.1, np.random.default_rng(7))
    found = compare(
        rewards=rewards.ravel(),
        propensities=np.full(arms.size, SHARE),
        target_propensities=arms.ravel(),
        baseline_propensities=1.0 - arms.ravel(),
        users=np.repeat(np.arange(plan.users), plan.days),
    )
    evidence = evidence_of(found, "snips")
    assert (evidence.value, evidence.standard_error) == pytest.approx((differences[-1], errors[-1]))
    assert (evidence.n, evidence.users) == (600, 150)


def test_the_gate_says_what_is_missing_and_for_how_long() -> None:
    gate = Gate(margin=0.001)
    good = Evidence(value=0.02, standard_error=0.003, n=100_000, users=5_000)
    assert decide_promotion(gate, good).promote
    unsure = Evidence(value=0.006, standard_error=0.003, n=100_000, users=5_000)
    found = decide_promotion(gate, unsure)
    assert not found.promote
    assert "must be above 0.001" in found.missing[0]
    assert found.more_decisions is not None
    then = unsure.n + found.more_decisions
    later = Evidence(value=0.006, standard_error=0.003 * (unsure.n / then) ** 0.5, n=then, users=5_000)
    earlier = Evidence(
        value=0.006, standard_error=0.003 * (unsure.n / (0.9 * then)) ** 0.5, n=int(0.9 * then), users=5_000
    )
    assert decide_promotion(gate, later).promote
    assert not decide_promotion(gate, earlier).promote
    worse = Evidence(value=-0.001, standard_error=0.001, n=100_000, users=5_000)
    assert decide_promotion(gate, worse).more_decisions is None
    few = Evidence(value=0.02, standard_error=0.001, n=1_000, users=50)
    assert decide_promotion(gate, few).missing == ("50 users are in the log: at least 100 are needed",)
    assert decide_promotion(gate, few).more_decisions == 1_000


def test_a_guardrail_must_be_shown_to_hold() -> None:
    reward = Evidence(value=0.02, standard_error=0.003, n=100_000, users=5_000)

    def opt_outs(value: float, error: float) -> Guardrail:
        rise = Evidence(value=value, standard_error=error, n=100_000, users=5_000)
        return Guardrail(name="opt-outs", difference=rise, most=0.001)

    assert decide_promotion(Gate(), reward, [opt_outs(0.0, 0.0001)]).promote
    for harm in (opt_outs(0.002, 0.0001), opt_outs(0.0, 0.001)):  # shown, and not excluded
        found = decide_promotion(Gate(), reward, [harm])
        assert not found.promote
        assert found.missing[0].startswith("opt-outs differ by")
    assert decide_promotion(Gate(), reward, [opt_outs(0.002, 0.0001)]).more_decisions is None


def test_what_was_never_seen_is_not_shown_to_be_impossible() -> None:
    reward = Evidence(value=0.2, standard_error=0.003, n=1_000, users=1_000)
    none = Evidence(value=0.0, standard_error=0.0, n=1_000, users=1_000)

    def promotes(difference: Evidence) -> bool:
        rise = Guardrail(name="opt-outs", difference=difference, most=0.002)
        return decide_promotion(Gate(), reward, [rise]).promote

    # Once in 300 decisions of the challenger's own, of which the log is worth 300: seen never in one log of three.
    assert promotes(none)  # the red twin
    assert not promotes(with_one_more(none, ess=300.0))
    rise = Guardrail(name="opt-outs", difference=with_one_more(none, ess=300.0), most=0.002)
    more = decide_promotion(Gate(), reward, [rise]).more_decisions
    assert more is not None
    times = 1.0 + more / 1_000
    later = Evidence(value=0.0, standard_error=0.0, n=1_000 + more, users=1_000 + more)
    assert promotes(with_one_more(later, ess=300.0 * times))
    earlier = Evidence(value=0.0, standard_error=0.0, n=int(900 + 0.9 * more), users=1_000)
    assert not promotes(with_one_more(earlier, ess=270.0 * times))


def test_the_anytime_boundary_holds_at_all_looks_together() -> None:
    rng = np.random.default_rng(31)
    crossed = {"anytime": 0, "mixed": 0, "normal": 0}
    n = np.arange(100, 20_001)
    looks = slice(0, None, 20)
    mixed = anytime_reach(n[looks], 0.95)
    for _ in range(1_000):
        mean = np.cumsum(rng.standard_normal(20_000))[99:] / n
        crossed["anytime"] += bool(np.any(np.abs(mean) * np.sqrt(n) > anytime_reach(n, 0.95, tightest_at=5_000)))
        crossed["mixed"] += bool(np.any((np.abs(mean) * np.sqrt(n))[looks] > mixed))
        crossed["normal"] += bool(np.any(np.abs(mean) * np.sqrt(n) > 1.96))
    assert crossed["anytime"] <= stats.binom.ppf(0.999, 1_000, 0.05)
    assert crossed["mixed"] <= stats.binom.ppf(0.999, 1_000, 0.05)
    assert crossed["normal"] > 300


# MIPS


def test_marginal_weights_have_a_tenth_of_the_error_among_a_thousand_actions() -> None:
    """Truth: the target's mean reward over the very contexts of each draw."""
    rng = np.random.default_rng(41)
    n, n_actions, kinds = 1_000, 1_000, 10
    kind = rng.integers(0, kinds, n_actions)
    effects = rng.normal(size=(3, kinds))
    squared: dict[str, list[float]] = {"ips": [], "mips": []}
    for _ in range(60):
        context = rng.integers(0, 3, n)
        logging = rng.dirichlet(np.ones(n_actions), size=3)
        scores = np.exp(0.5 * effects[:, kind] + 1.5 * rng.normal(size=(3, n_actions)))
        target = scores / scores.sum(axis=1, keepdims=True)
        cumulative = logging.cumsum(axis=1)
        actions = np.minimum((rng.random(n)[:, None] > cumulative[context]).sum(axis=1), n_actions - 1)
        chance = 1.0 / (1.0 + np.exp(-effects[:, kind]))
        rewards = (rng.random(n) < chance[context, actions]).astype(float)
        truth = np.sum(target[context] * chance[context], axis=1).mean()
        p_logged, p_target = marginal_propensities(
            logging_pmf=logging[context], target_pmf=target[context], codes=embedding_codes(kind), actions=actions
        )
        pairs = {"ips": (logging[context, actions], target[context, actions]), "mips": (p_logged, p_target)}
        for name, (one, other) in pairs.items():
            found = evaluate(rewards=rewards, propensities=one, target_propensities=other, show_anyway=True)
            squared[name].append((found.estimates["ips"].value - truth) ** 2)
    assert np.mean(squared["ips"]) >= 10.0 * np.mean(squared["mips"])


def test_real_vectors_are_put_together_by_nearness() -> None:
    rng = np.random.default_rng(42)
    centres = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    kind = rng.integers(0, 3, 60)
    vectors = centres[kind] + rng.normal(size=(60, 2))
    codes = embedding_codes(vectors, clusters=3)
    assert len(set(zip(codes.tolist(), kind.tolist(), strict=True))) == 3
    assert len(np.unique(embedding_codes(vectors))) == 60
    with pytest.raises(InvalidLog, match="clusters is 61"):
        embedding_codes(vectors, clusters=61)


def test_codes_that_an_action_has_by_chance_are_weighed_by_their_probabilities() -> None:
    rng = np.random.default_rng(43)
    n, kind = 4_000, np.array([0, 0, 1, 1])
    logging, target = (np.tile(one, (n, 1)) for one in ([0.4, 0.1, 0.4, 0.1], [0.1, 0.1, 0.4, 0.4]))
    actions = rng.choice(4, size=n, p=logging[0])
    sure = np.eye(2)[kind]
    same = marginal_propensities(logging_pmf=logging, target_pmf=target, codes=kind, actions=actions)
    found = observed_code_propensities(logging_pmf=logging, target_pmf=target, embedding=sure, observed=kind[actions])
    assert np.allclose(same, found)
    blurred = 0.8 * sure + 0.1
    codes = (rng.random(n) < blurred[actions, 1]).astype(np.intp)
    rewards = (rng.random(n) < np.array([0.2, 0.5])[codes]).astype(float)
    truth = float((target[0] @ blurred) @ [0.2, 0.5])
    for embedding in (blurred, np.tile(blurred, (n, 1, 1))):
        known, wanted = observed_code_propensities(
            logging_pmf=logging, target_pmf=target, embedding=embedding, observed=codes
        )
        one = evaluate(rewards=rewards, propensities=known, target_propensities=wanted).estimates["ips"]
        assert abs(one.value - truth) < 4.0 * one.standard_error
    with pytest.raises(InvalidPropensity, match="sum to 1"):
        observed_code_propensities(logging_pmf=logging, target_pmf=target, embedding=sure + 0.1, observed=codes)


# Decisions of parts

PARTS = np.array([[c, k, t] for c in range(3) for k in range(4) for t in range(3)])
CHANNEL, CONTENT, TIME = np.array([0.1, 0.15, 0.05]), np.array([0.0, 0.1, 0.05, 0.2]), np.array([0.1, 0.0, 0.2])


def parts_log(rng: np.random.Generator, n: int, *, interaction: float) -> dict[str, Any]:
    mean = CHANNEL[PARTS[:, 0]] + CONTENT[PARTS[:, 1]] + TIME[PARTS[:, 2]]
    mean = mean + interaction * ((PARTS[:, 0] == 0) & (PARTS[:, 1] == 3))
    logging = rng.dirichlet(np.full(len(PARTS), 5.0), size=n)
    target = np.tile(np.where((PARTS[:, 0] == 0) & (PARTS[:, 1] == 3), 1 / 3, 0.0), (n, 1))
    actions = np.minimum((rng.random(n)[:, None] > logging.cumsum(axis=1)).sum(axis=1), len(PARTS) - 1)
    rewards = (rng.random(n) < mean[actions]).astype(float)
    return {"logging": logging, "target": target, "actions": actions, "rewards": rewards, "truth": target[0] @ mean}


def test_the_pseudo_inverse_needs_parts_only_and_is_right_when_they_add_up() -> None:
    rng = np.random.default_rng(51)
    errors: dict[str, list[float]] = {"ips": [], "pi": []}
    for _ in range(40):
        log = parts_log(rng, 1_000, interaction=0.0)
        rows = np.arange(1_000)
        weights = pseudo_inverse_weights(
            logging_pmf=log["logging"], target_pmf=log["target"], parts=PARTS, actions=log["actions"]
        )
        ips = log["target"][rows, log["actions"]] / log["logging"][rows, log["actions"]]
        errors["pi"].append(pseudo_inverse_value(log["rewards"], weights).value - log["truth"])
        errors["ips"].append(float(np.mean(ips * log["rewards"]) - log["truth"]))
    pi, plain = np.array(errors["pi"]), np.array(errors["ips"])
    assert abs(pi.mean()) < 4.0 * pi.std() / np.sqrt(40)
    assert pi.var() < 0.5 * plain.var()


def test_parts_that_interact_are_found_out_and_parts_that_do_not_are_not() -> None:
    rng = np.random.default_rng(52)

    def p_value(interaction: float) -> float:
        log = parts_log(rng, 2_000, interaction=interaction)
        return additivity_test(rewards=log["rewards"], parts=PARTS, actions=log["actions"]).p_value

    assert stats.kstest([p_value(0.0) for _ in range(40)], "uniform").pvalue > 0.001
    assert p_value(-0.3) < 0.001
    with pytest.raises(InvalidLog, match="nothing to test"):
        additivity_test(rewards=np.zeros(9), parts=PARTS, actions=np.zeros(9, int))


def test_a_part_that_is_never_logged_is_an_error() -> None:
    logging = np.where(PARTS[:, 0] == 1, 0.0, 1.0)[None, :] / 24.0
    target = np.where(PARTS[:, 0] == 1, 1.0, 0.0)[None, :] / 12.0
    with pytest.raises(InvalidPropensity, match="row 0"):
        pseudo_inverse_weights(logging_pmf=logging, target_pmf=target, parts=PARTS, actions=np.array([0]))


# Several steps


def test_per_decision_weights_see_what_one_step_does_not() -> None:
    """Sending lowers the reward of the next decision: a one-step estimate takes that history as logged."""
    rng = np.random.default_rng(61)
    users = 20_000
    sent = rng.random((users, 2)) < 0.5
    chance = np.stack([np.full(users, 0.2) + 0.2 * sent[:, 0], 0.2 + 0.2 * sent[:, 1] - 0.2 * sent[:, 0]], axis=1)
    rewards = (rng.random((users, 2)) < chance).astype(float)
    order, user = np.tile([2, 1], users), np.repeat(np.arange(users), 2)  # the second decision is stored first

    def flat(values: Floats | Flags) -> Floats:
        return values[:, ::-1].ravel().astype(np.float64)

    one_step: dict[str, Any] = {"propensities": np.full(2 * users, 0.5), "target_propensities": flat(sent)}
    logging, target = step_propensities(**one_step, users=user, order=order, length=2)
    truth = (0.4 + 0.2) / 2  # always send
    steps = evaluate(rewards=flat(rewards), propensities=logging, target_propensities=target, users=user)
    naive = evaluate(rewards=flat(rewards), **one_step, users=user)
    found, wrong = steps.estimates["ips"], naive.estimates["ips"]
    assert abs(found.value - truth) < 4.0 * found.standard_error
    assert abs(wrong.value - truth) > 4.0 * wrong.standard_error


def test_episodes_are_cut_by_user_and_length() -> None:
    logging, target = step_propensities(
        propensities=np.array([0.5, 0.4, 0.3, 0.2, 0.9]),
        target_propensities=np.array([1.0, 0.5, 1.0, 1.0, 0.1]),
        users=np.array(["a", "b", "a", "a", "b"]),
        order=np.array([1, 1, 2, 3, 2]),
        length=2,
    )
    assert logging == pytest.approx([0.5, 0.4, 0.15, 0.2, 0.36])
    assert target == pytest.approx([1.0, 0.5, 1.0, 1.0, 0.05])
    with pytest.raises(InvalidLog, match="length 0"):
        step_propensities(propensities=[1.0], target_propensities=[1.0], users=[1], order=[1], length=0)


# The reward model


def rare_rewards(rng: np.random.Generator, n: int) -> tuple[Any, Any, Any, Any]:
    users = np.repeat(np.arange(n // 4), 4)
    context = rng.normal(size=(n, 2))
    arms = rng.integers(0, 2, n)
    chance = 1.0 / (1.0 + np.exp(5.5 - 0.8 * context[:, 0] - 0.5 * arms))
    return arm_features(context, arms, 2), (rng.random(n) < chance).astype(float), users, chance


def test_the_reward_model_is_calibrated_for_rare_rewards() -> None:
    from sklearn.linear_model import LogisticRegression

    features, rewards, users, chance = rare_rewards(np.random.default_rng(71), 20_000)
    q = cross_fitted_values(
        features=features, rewards=rewards, option_features=features, option_rows=np.arange(20_000), users=users
    )
    assert np.allclose(q.logged, q.options)
    assert q.logged.mean() == pytest.approx(rewards.mean(), rel=0.1)
    assert np.corrcoef(q.logged, chance)[0, 1] > 0.9
    top = np.argsort(q.logged)[-4_000:]
    assert q.logged[top].mean() == pytest.approx(chance[top].mean(), rel=0.2)
    # The red twin: what is usually done about rare classes predicts half a success for everybody.
    balanced = LogisticRegression(class_weight="balanced").fit(features, rewards)
    assert balanced.predict_proba(features)[:, 1].mean() > 20.0 * rewards.mean()
    # The caller's own classifier may be just that: it is calibrated.
    own = cross_fitted_values(
        features=features,
        rewards=rewards,
        option_features=features[:1],
        option_rows=np.array([0]),
        users=users,
        estimator=LogisticRegression(class_weight="balanced"),
    )
    assert own.logged.mean() == pytest.approx(rewards.mean(), rel=0.1)


def test_no_users_own_rows_are_in_the_model_that_speaks_of_them() -> None:
    """One feature per user: a model that saw the user would know the reward, one that did not knows nothing."""
    users = np.repeat(np.arange(40), 5)
    rewards = np.random.default_rng(72).normal(size=40)[users]
    features = np.eye(40)[users]
    q = cross_fitted_values(
        features=features, rewards=rewards, option_features=features, option_rows=np.arange(200), users=users
    )
    by_row = cross_fitted_values(
        features=features, rewards=rewards, option_features=features, option_rows=np.arange(200)
    )
    assert abs(np.corrcoef(q.logged, rewards)[0, 1]) < 0.5
    assert np.corrcoef(by_row.logged, rewards)[0, 1] > 0.9  # the red twin


def test_rewards_too_rare_for_a_classifier_are_modelled_by_their_mean() -> None:
    rewards = np.zeros(100)
    rewards[:3] = 1.0
    q = cross_fitted_values(
        features=np.ones((100, 1)), rewards=rewards, option_features=np.ones((1, 1)), option_rows=np.array([5])
    )
    assert 0.0 < q.logged.min() <= q.logged.max() < 0.06
    with pytest.raises(InvalidLog, match="folds is 101"):
        cross_fitted_values(
            features=np.ones((100, 1)),
            rewards=rewards,
            option_features=np.ones((1, 1)),
            option_rows=np.array([5]),
            folds=101,
        )


# Thinning


def randomised(rng: np.random.Generator, n: int = 12_000) -> tuple[RandomisedLog, Any]:
    context = rng.normal(size=(n, 1))
    arms = rng.integers(0, 3, n)
    chance = 0.2 + 0.1 * (arms == 1) + 0.1 * (context[:, 0] > 0.0)
    log = RandomisedLog(
        rewards=(rng.random(n) < chance).astype(float),
        arms=arms,
        pmf=np.full((n, 3), 1 / 3),
        users=np.arange(n) // 3,
        context=context,
    )
    return log, np.where(context > 0.0, [[0.1, 0.2, 0.7]], [[0.2, 0.7, 0.1]])


def test_a_thinned_log_looks_as_if_the_skewed_logger_had_made_it() -> None:
    rng = np.random.default_rng(81)
    log, skewed = randomised(rng, 30_000)
    rows = thinned_rows(log, skewed, rng)
    thin = log.of(rows)
    for high in (False, True):
        mine = (thin.context[:, 0] > 0.0) == high
        counts = np.bincount(thin.arms[mine], minlength=3)
        expected = (skewed[rows][mine]).sum(axis=0)
        assert stats.chisquare(counts, expected).pvalue > 0.001
    assert abs((thin.context[:, 0] > 0.0).mean() - 0.5) < 4.0 * 0.5 / np.sqrt(len(rows))


def test_the_table_of_evaluators_shows_which_ones_a_skewed_logger_fools() -> None:
    rng = np.random.default_rng(82)
    log, skewed = randomised(rng)
    table = by_estimator(evaluator_table(log, skewed, target_arm=1, repeats=15, seed=5))
    assert set(table) >= {"ips", "snips", "dm", "dr", "sndr", "switch_dr", "dros", "sub_gaussian_dr"}
    for name in ("ips", "snips", "dr"):
        assert abs(table[name]["bias"]) < 0.02
        assert table[name]["coverage"] >= 0.8
    # The red twin: the plain mean of the arm's logged rewards, which forgets who was more likely to get it.
    thin_rows = thinned_rows(log, skewed, rng)
    thin = log.of(thin_rows)
    naive = thin.rewards[thin.arms == 1].mean()
    assert log.rewards[log.arms == 1].mean() - naive > 0.02
    assert all(row["rmse"] > abs(row["bias"]) for row in table.values())
