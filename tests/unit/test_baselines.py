"""Baselines: every formula by numbers worked by hand, and what each part of it is needed for."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from bandit.campaign.document import Campaign
from bandit.decide.eligibility import eligible_set
from bandit.decide.history import NO_HISTORY, History, Send
from bandit.domain import Content, Features
from bandit.errors import InvalidInput
from bandit.sendtimes import zone
from bandit.times import HOUR
from sim.baselines import registry
from sim.baselines.fixed_time import FixedTime
from sim.baselines.joint import JointFeatures
from sim.baselines.linear_thompson import LinearThompson
from sim.baselines.mabwiser_linear import MabWiser
from sim.baselines.posterior import Posterior
from sim.baselines.protocol import Baseline, Opportunity, Outcome
from sim.baselines.recovering import Difference, Recovering, recovered, softmax
from sim.baselines.relative_lift import RelativeLift, relative_lift
from sim.baselines.responses import responded
from sim.baselines.reuse_last import ReuseLast
from sim.baselines.slot_thompson import SlotThompson, posterior
from sim.baselines.slots import Slot, slots_of
from sim.baselines.vw_epsilon import ENGINE_DEFAULTS, EpsilonGreedy
from sim.contest.runs import jobs_of, playable
from tests.support.builders import MORNING, campaign, request

EVENINGS: dict[str, Any] = {"local_hours": [12, 18], "allow_now": False}
SPRING = campaign(send_times=EVENINGS)  # 2 channels x 3 contents x 2 hours
AT_SIX = campaign(send_times={"local_hours": [18], "allow_now": False})


def opportunity(
    of: Campaign = SPRING,
    *,
    number: int = 0,
    history: History = NO_HISTORY,
    features: Features | None = None,
    contents: Sequence[str | Content] | None = None,
    channels: Sequence[str] | None = None,
) -> Opportunity:
    asked = request(features=features, contents=contents, channels=channels)
    eligible = eligible_set(of, asked, history, now=MORNING, local=zone("UTC"))
    return Opportunity(number=number, user=asked.user, now=MORNING, history=history, eligible=eligible)


def three_arms(number: int, history: History = NO_HISTORY) -> Opportunity:
    """Three contents by e-mail at 18 h."""
    return opportunity(AT_SIX, number=number, history=history, channels=["email"])


def sent(content: str, hours_ago: float, *, channel: str = "push") -> Send:
    at = MORNING - hours_ago * HOUR
    return Send(decision_id="d-0", channel=channel, content=content, kind=None, send_at=at)


def outcome(made: Opportunity, place: int, reward: float) -> Outcome:
    return Outcome(opportunity=made, place=place, reward=reward)


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def test_slots_are_in_the_order_of_the_eligible_places() -> None:
    asked = opportunity()
    slots = slots_of(asked.eligible)
    assert slots[:3] == [Slot("push", "streak", 12), Slot("push", "streak", 18), Slot("push", "digest", 12)]
    assert asked.eligible.action(2).content == "streak"
    assert len(slots) == 12


@pytest.mark.parametrize(("channel", "reward", "expected"), [(1, -0.01, False), (1, 0.09, True), (0, 0.0, False)])
def test_a_response_is_a_reward_above_the_cost_of_the_send(channel: int, reward: float, expected: bool) -> None:
    assert responded(SPRING, outcome(opportunity(), channel, reward)) is expected  # a push costs 0.01


# Duolingo's formulas.


def test_a_score_recovers_by_half_lives_of_fifteen_days() -> None:
    scores = recovered(np.full(4, 0.02), np.array([0.0, 15.0, 30.0, np.inf]))
    assert scores == pytest.approx([0.003, 0.0115, 0.01575, 0.02])  # less .017, .0085, .00425, nothing


def test_the_common_misreading_of_the_penalty_is_another_number() -> None:
    misread = (0.017 * 0.5) ** (30.0 / 15.0)
    assert -recovered(np.zeros(1), np.array([30.0]))[0] == pytest.approx(0.00425)
    assert misread == pytest.approx(0.00007225)


def test_a_score_higher_by_the_temperature_is_e_times_as_likely() -> None:
    chances = softmax(np.array([0.0025, 0.0, -np.inf]))
    assert chances == pytest.approx([np.e / (1 + np.e), 1 / (1 + np.e), 0.0])


def three_rounds(sigma: float) -> Difference:
    """Arm 0: chosen with .5 and answered, chosen with .25 and not, passed over at .2 while another was answered."""
    difference = Difference(1, sigma=sigma)
    chosen, chances = np.array([True, True, False]), np.array([0.5, 0.25, 0.2])
    difference.add(np.zeros(3, dtype=np.intp), chosen, chances, np.array([1.0, 0.0, 1.0]))
    return difference


def test_means_are_weighted_by_the_probability_of_what_was_done() -> None:
    plus, minus = three_rounds(0.0).means()
    assert plus[0] == pytest.approx((1 / 0.5) / (1 / 0.5 + 1 / 0.25))  # 2 of 6
    assert minus[0] == pytest.approx(1.0)  # 1.25 of 1.25
    assert three_rounds(0.0).scores()[0] == pytest.approx((1 / 3 - 1) / 1)


def test_both_means_are_shrunk_towards_the_arms_own() -> None:
    """m = 2/3, SIGMA = 3: (2 + 2) / (6 + 3) and (1.25 + 2) / (1.25 + 3)."""
    plus, minus = three_rounds(3.0).means()
    assert plus[0] == pytest.approx(4 / 9)
    assert minus[0] == pytest.approx(3.25 / 4.25)
    assert three_rounds(3.0).scores()[0] == pytest.approx((4 / 9) / (3.25 / 4.25) - 1)
    assert three_rounds(1e12).scores()[0] == pytest.approx(0.0, abs=1e-9)


def test_an_arm_of_which_nothing_is_known_scores_nothing() -> None:
    difference = Difference(1)
    difference.grow(3)
    assert difference.scores().tolist() == [0.0, 0.0, 0.0]


def logged(chances: np.ndarray, answered: np.ndarray, n: int = 40_000) -> tuple[np.ndarray, ...]:
    """Two arms in every round, the users of half of the rounds keen; the keen ones get arm 1 more often."""
    luck, keen = rng(), np.arange(n) % 2
    chosen = (luck.random(n) < chances[keen]).astype(np.intp)
    rewards = (luck.random(n) < answered[keen]).astype(np.float64)
    return np.stack([1 - chances[keen], chances[keen]], axis=1), chosen, rewards


def test_the_weights_undo_what_the_policy_preferred() -> None:
    """Two arms that are alike, the second given to users who answer anyway: unweighted, it looks twice as good."""
    chances, chosen, rewards = logged(np.array([0.1, 0.9]), np.array([0.2, 0.6]))
    arms = np.tile([0, 1], len(chosen))
    was = np.repeat(chosen, 2) == arms
    weighted, unweighted = Difference(2, sigma=0.0), Difference(2, sigma=0.0)
    weighted.add(arms, was, chances.ravel(), np.repeat(rewards, 2))
    unweighted.add(arms, was, np.full(len(arms), 0.5), np.repeat(rewards, 2))
    assert weighted.scores()[1] == pytest.approx(0.0, abs=4.5 * 0.03)  # mu .4, of weights up to 10 and 40,000 rounds
    assert unweighted.scores()[1] > 1.0


def test_the_recovering_bandit_weighs_by_its_own_probabilities() -> None:
    """Three arms of 1/3 each, so weights 3 and 1.5; the first is answered, the second not. All m are 1/2.

    First: (50,003 / 100,003) / (50,000 / 100,001.5) - 1. Second: (50,000 / 100,003) / (50,001.5 / 100,001.5) - 1.
    """
    baseline = Recovering(AT_SIX, rng())
    made = [three_arms(number) for number in range(2)]
    for one in made:
        baseline.choose(one)
    baseline.learn([outcome(made[0], 1, 0.995), outcome(made[1], 2, -0.005)])  # the cost of an e-mail
    assert baseline._scores == pytest.approx([4.5e-5, -4.5e-5, 0.0], rel=1e-3, abs=1e-12)


def taught(gamma: float) -> Recovering:
    """Has seen nothing but answers, to whatever it sent."""
    baseline = Recovering(AT_SIX, rng(), gamma=gamma)
    for number in range(30):
        made = three_arms(number)
        place = baseline.choose(made)
        baseline.learn([outcome(made, place, 0.1)])
    return baseline


def test_the_recovering_bandit_leaves_out_what_was_sent_today() -> None:
    """All scores are 0: of three contents the one sent an hour ago is e^(.017 / .0025), or 900 times, less likely."""
    yesterday = History(sends=(sent("streak", 1.0, channel="email"),))
    baseline = taught(0.017)
    places = [baseline.choose(three_arms(n, yesterday)) for n in range(100, 400)]
    assert places.count(1) <= 3
    forgetful = taught(0.0)
    places = [forgetful.choose(three_arms(n, yesterday)) for n in range(100, 400)]
    assert places.count(1) > 60


def test_the_recovering_bandit_is_silent_only_where_nothing_can_be_sent() -> None:
    baseline = Recovering(SPRING, rng())
    assert all(baseline.choose(opportunity(number=n)) > 0 for n in range(50))
    nothing = opportunity(number=50, contents=[])
    assert baseline.choose(nothing) == 0
    baseline.learn([outcome(nothing, 0, 0.0)])


# Rules that learn nothing.


def test_fixed_time_sends_one_thing_no_sooner_than_its_gap() -> None:
    baseline = FixedTime(SPRING, rng(), gap_hours=48.0)
    place = baseline.choose(opportunity())
    assert slots_of(opportunity().eligible)[place - 1] == Slot("push", "streak", 18)
    at_six = opportunity().eligible.action(place).send_at
    assert at_six is not None
    hours = (at_six - MORNING) / HOUR
    assert baseline.choose(opportunity(history=History(sends=(sent("offer", 47.9 - hours),)))) == 0
    assert baseline.choose(opportunity(history=History(sends=(sent("offer", 48.0 - hours),)))) == place


def test_without_a_gap_fixed_time_sends_at_every_chance() -> None:
    baseline = FixedTime(SPRING, rng(), gap_hours=0.0)
    assert baseline.choose(opportunity(history=History(sends=(sent("offer", 0.1),)))) > 0


def test_reuse_last_repeats_channel_content_and_hour() -> None:
    at_noon = sent("digest", 21.0, channel="email")  # 12 h UTC of the day before
    place = ReuseLast(SPRING, rng()).choose(opportunity(history=History(sends=(sent("offer", 60.0), at_noon))))
    assert slots_of(opportunity().eligible)[place - 1] == Slot("email", "digest", 12)


def test_reuse_last_draws_where_there_is_nothing_to_reuse() -> None:
    baseline = ReuseLast(SPRING, rng())
    gone = History(sends=(sent("discontinued", 21.0),))
    for history in (NO_HISTORY, gone):
        assert len({baseline.choose(opportunity(history=history)) for _ in range(300)}) == 13


# LinkedIn's rule.


@pytest.mark.parametrize(
    ("sent_chance", "silent_chance", "expected"),
    [(0.3, 0.2, 0.5), (0.1, 0.2, -0.5), (0.2, 0.2, 0.0), (0.003, -1.0, 2.0)],
)
def test_the_lift_is_relative_to_what_comes_anyway(sent_chance: float, silent_chance: float, expected: float) -> None:
    assert relative_lift(sent_chance, silent_chance) == pytest.approx(expected)


def lift_taught(threshold: float, answered: int) -> RelativeLift:
    """After 200 sends of which so many of 10 were answered, and 200 silences of which 4 of 10 were visits."""
    baseline = RelativeLift(SPRING, rng(), threshold=threshold)
    for number in range(400):
        made = opportunity(number=number)
        baseline.choose(made)
        place, good = (1, answered) if number % 2 else (0, 4)
        cost = 0.01 if place else 0.0
        baseline.learn([outcome(made, place, (1.0 if number // 2 % 10 < good else 0.0) - cost)])
    return baseline


@pytest.mark.parametrize(("answered", "sends"), [(6, True), (4, False), (5, False)])
def test_a_message_goes_out_where_its_lift_is_above_the_threshold(answered: int, sends: bool) -> None:
    """.6 against .4 is a lift of .5, .5 a lift of .25; the threshold is .35. One in twenty is drawn."""
    baseline = lift_taught(0.35, answered)
    sent_count = sum(baseline.choose(opportunity(number=n)) > 0 for n in range(1_000, 1_200))
    assert (sent_count > 180) is sends
    assert (sent_count < 20) is not sends


# Thompson sampling.


def test_the_posterior_of_a_slot_by_hand() -> None:
    means, spreads = posterior(np.array([0, 3]), np.array([0.0, 2.0]))
    assert means == pytest.approx([0.0, 0.5])
    assert spreads == pytest.approx([0.1, 0.05])


def test_slots_are_told_apart_and_users_are_not() -> None:
    baseline = SlotThompson(SPRING, rng())
    made = opportunity(features={"country": "DE"})
    baseline.learn([outcome(made, 5, 1.0)] * 50)
    other = opportunity(features={"country": "JP"})
    assert {baseline.choose(other) for _ in range(50)} == {5}


def test_the_posterior_of_linear_weights_by_hand() -> None:
    """Ridge 1, one weight, features 1, 1, 2 and rewards 1, 0, 1: A = 1 + 6, b = 3."""
    one = Posterior(ridge=1.0)
    one.grow(1)
    one.add(np.array([[1.0], [1.0], [2.0]]), np.array([1.0, 0.0, 1.0]))
    assert one.mean() == pytest.approx([3 / 7])
    luck = rng()
    drawn = np.array([one.draw(luck, v=0.1)[0] for _ in range(20_000)])
    assert drawn.mean() == pytest.approx(3 / 7, abs=4.5 * 0.1 / 7**0.5 / 20_000**0.5)
    assert drawn.std() == pytest.approx(0.1 / 7**0.5, rel=4.5 / 40_000**0.5)
    assert one.draw(luck, v=0.0) == pytest.approx([3 / 7])


def test_two_weights_by_hand_and_draws_with_their_covariance() -> None:
    """Features (1, 1) and (1, 0), rewards 1 and 0: A = [[3, 1], [1, 2]], b = (1, 1), A^-1 b = (1, 2) / 5."""
    two = Posterior(ridge=1.0)
    two.grow(1)
    two.grow(2)
    two.add(np.array([[1.0, 1.0], [1.0, 0.0]]), np.array([1.0, 0.0]))
    assert two.mean() == pytest.approx([0.2, 0.4])
    luck = rng()
    drawn = np.array([two.draw(luck, v=1.0) for _ in range(20_000)])
    assert np.cov(drawn.T) == pytest.approx(np.array([[2, -1], [-1, 3]]) / 5, abs=4.5 * 0.85 / 20_000**0.5)


def test_what_was_learned_before_a_weight_was_met_stays() -> None:
    posterior_ = Posterior(ridge=1.0)
    posterior_.grow(1)
    posterior_.add(np.array([[1.0]]), np.array([1.0]))
    posterior_.grow(2)
    assert posterior_.mean() == pytest.approx([0.5, 0.0])


def test_joint_features_are_the_user_alone_and_by_each_token_of_the_action() -> None:
    """User: a constant and country; push x streak (id, kind) x 12 h: 2 features x (1 + 1 + 2 + 1) and one pair."""
    joint = JointFeatures(campaign().catalogue)
    made = opportunity(features={"country": "DE"})
    features = joint.of(made)
    # Tokens: alone, silent, 2 channels, 3 ids, 2 kinds, 2 hours: 11 by 2 of the user; 4 pairs.
    assert joint.size == 11 * 2 + 4
    silence, first = joint.vector(features, 0), joint.vector(features, 1)
    assert silence.sum() == 4
    assert first.sum() == 2 * 5 + 1
    assert silence @ first == 2  # the user alone
    weights = rng().normal(size=joint.size)
    expected = [joint.vector(features, place) @ weights for place in range(len(made.eligible))]
    assert joint.scores(weights, features) == pytest.approx(expected)


def test_a_content_that_came_with_the_request_is_known_by_its_features_alone() -> None:
    """User: a constant and country; push x a story of kind news x 12 h: alone, channel, kind and hour, and one pair."""
    joint = JointFeatures(campaign().catalogue)
    brought = [Content(id=f"story-{number}", features={"kind": "news"}) for number in range(3)]
    features = joint.of(opportunity(features={"country": "DE"}, contents=brought))
    # Tokens: alone, silent, 2 channels, 1 kind, 2 hours: 7 by 2 of the user; 4 pairs.
    assert joint.size == 7 * 2 + 4
    assert joint.vector(features, 1).sum() == 2 * 4 + 1


def test_joint_features_keep_their_places_when_new_ones_are_met() -> None:
    joint = JointFeatures(campaign().catalogue)
    features = joint.of(opportunity(features={"country": "DE"}))
    before = joint.vector(features, 1)
    joint.of(opportunity(features={"country": "JP", "visits": 0.5}))
    after = joint.vector(features, 1)
    assert len(after) == joint.size > len(before)
    assert np.flatnonzero(after).tolist() == np.flatnonzero(before).tolist()
    jp = joint.of(opportunity(features={"country": "JP", "visits": 0.5}))
    assert joint.vector(jp, 1).sum() == pytest.approx(2.5 * 5 + 1)


def earns_by_country(baseline: Baseline, *, rounds: int = 12) -> float:
    """Share of the right choices at the end, where one country answers at noon only and the other at 18 h only."""
    right, number = 0, 0
    for turn in range(rounds):
        outcomes = []
        for country, hour in [("DE", 12), ("JP", 18)] * 20:
            made = opportunity(number=number, features={"country": country})
            place = baseline.choose(made)
            good = place > 0 and slots_of(made.eligible)[place - 1].hour == hour
            outcomes.append(outcome(made, place, 1.0 if good else 0.0))
            right += good and turn == rounds - 1
            number += 1
        baseline.learn(outcomes)
    return right / 40


def test_linear_thompson_learns_who_wants_what() -> None:
    assert earns_by_country(LinearThompson(SPRING, rng())) > 0.9


def test_slots_alone_cannot_learn_who_wants_what() -> None:
    assert earns_by_country(SlotThompson(SPRING, rng())) < 0.8


def test_linear_thompson_without_noise_does_the_same_again_and_again() -> None:
    baseline = LinearThompson(SPRING, rng(), v=0.0)
    assert len({baseline.choose(opportunity(number=n)) for n in range(30)}) == 1
    exploring = LinearThompson(SPRING, rng())
    assert len({exploring.choose(opportunity(number=n)) for n in range(30)}) > 5


# Vowpal Wabbit as it comes, and MABWiser.


def test_the_engine_runs_with_its_own_defaults() -> None:
    words = EpsilonGreedy(SPRING, rng())._engine.arguments.text
    for option in ("--cb_type mtr", "--epsilon 0.05", "--learning_rate 0.5", "--power_t 0.5", "-b 18"):
        assert option in words
    assert "--coin" not in words
    assert ENGINE_DEFAULTS["explorer"] == "epsilon"


def test_the_engine_learns_with_the_propensities_that_it_drew_with() -> None:
    """Untaught all 13 actions are alike; then the best one has .95, and all share the .05."""
    baseline = EpsilonGreedy(SPRING, rng())
    for start, chance in ((0, 1 / 13), (400, 0.95 + 0.05 / 13)):
        made = [opportunity(number=start + n) for n in range(400)]
        places = [baseline.choose(one) for one in made]
        propensities = {place: baseline._made[one.number][2] for one, place in zip(made, places, strict=True)}
        assert propensities[3] == pytest.approx(chance, rel=1e-5)
        baseline.learn([outcome(one, place, float(place == 3)) for one, place in zip(made, places, strict=True)])
    assert places.count(3) > 350
    assert not baseline._made


@pytest.mark.parametrize(("policy", "alpha"), [("LinUCB", 0.5), ("LinTS", 0.3)])
def test_mabwiser_learns_who_wants_what(policy: str, alpha: float) -> None:
    assert earns_by_country(MabWiser(SPRING, rng(), policy=policy, alpha=alpha)) > 0.8


def test_without_mabwiser_the_contest_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "mabwiser_lints" in playable()
    monkeypatch.setattr(registry, "find_spec", lambda name: None if name == "mabwiser" else find_spec(name))
    with pytest.raises(InvalidInput) as raised:
        jobs_of(["demo"], ["mabwiser_lints"], [1], decisions=None)
    assert "needs the package mabwiser, which is not installed: it is in the extra 'dev'" in str(raised.value)
    assert {"mabwiser_linucb", "mabwiser_lints"}.isdisjoint(playable())
    assert "linear_thompson" in playable()
