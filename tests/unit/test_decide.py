"""One decision, by any policy, and the evidence that it leaves."""

from datetime import datetime, timedelta
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from bandit.campaign.document import Campaign
from bandit.decide.decision import DecisionRecord, LiveCampaign, Model, Predictor, decide
from bandit.decide.exploration import draw, draw_number, with_floor
from bandit.decide.history import NO_HISTORY, History, Response, Send
from bandit.decide.logged import decode_actions, encode_actions
from bandit.decide.policies import assigned_policy
from bandit.domain import SILENCE, Action, Content, DecideRequest, DecisionId, Policy, Reason, UserId
from bandit.engine.lines import ActionLines
from bandit.errors import ImpossibleInput, UnknownTimeZone
from tests.support.builders import MORNING, campaign, request
from tests.support.predictors import BrokenPredictor, FakePredictor

BASELINE = {"channel": "push", "content": "streak", "local_hour": 18}
EVENING = Action(channel="push", content="streak", send_at=MORNING + timedelta(hours=9))
ALWAYS_QUIET = {"send_times": {"quiet_hours": {"start": "00:00", "end": "23:59"}}}
MODEL = Model(version=7, predictor=FakePredictor())
IDS = [DecisionId(f"decision-{number}") for number in range(200)]


def made(
    document: Campaign,
    about: DecideRequest | None = None,
    *,
    past: History = NO_HISTORY,
    model: Model | None = MODEL,
    decision_id: DecisionId = IDS[0],
    paused: bool = False,
    now: datetime = MORNING,
) -> DecisionRecord:
    live = LiveCampaign(document=document, version=3, paused=paused)
    return decide(live, about or request(), past, model, decision_id=decision_id, now=now)


def broken(*scores: float) -> Model:
    return Model(version=7, predictor=BrokenPredictor(scores=scores))


def user_in(document: Campaign, policy: Policy) -> str:
    """A user whom the hash puts there."""
    users = (UserId(f"u-{number}") for number in range(10_000))
    return next(user for user in users if assigned_policy(document, user) is policy)


# --- the learned policy


def test_the_decision_says_what_was_decided_by_whom_and_until_when() -> None:
    record = made(campaign())
    decision = record.decision

    assert (decision.id, decision.campaign, decision.policy, decision.model_version) == (IDS[0], "spring", "learned", 7)
    assert (decision.decided_at, decision.reward_deadline) == (MORNING, MORNING + timedelta(hours=48))
    assert record.campaign_version == 3
    assert decision.action == record.eligible.action(record.action_index)
    assert record.learned_pmf is None


def test_the_pmf_is_the_predictors_scores_with_the_floor_mixed_in() -> None:
    document = campaign(policy={"floor": 0.3})
    record = made(document)

    scores = FakePredictor().predict(record.shared_line, record.action_lines)
    assert record.pmf.tolist() == with_floor(scores, 0.3).tolist()
    assert record.pmf.shape == (19,)


def test_the_draw_can_be_repeated_from_the_campaign_and_the_decision_alone() -> None:
    indices = set()
    for decision_id in IDS:
        record = made(campaign(), decision_id=decision_id)
        assert record.draw_number == draw_number("spring", decision_id)
        assert record.action_index == draw(record.pmf, record.draw_number)
        assert record.decision.propensity == record.pmf[record.action_index]
        indices.add(record.action_index)
    assert len(indices) > 10


def test_the_same_question_is_answered_the_same() -> None:
    one, other = made(campaign()), made(campaign())

    assert one.decision == other.decision
    assert one.pmf.tolist() == other.pmf.tolist()


def test_silence_that_the_policy_prefers_says_so_and_a_send_gives_no_reason() -> None:
    silent = made(campaign(policy={"floor": 1e-6}), model=broken(1.0, *[0.0] * 18))
    sending = made(campaign(policy={"floor": 1e-6}), model=broken(0.0, 1.0, *[0.0] * 17))

    assert (silent.decision.action, silent.decision.reason) == (SILENCE, Reason.POLICY)
    assert silent.reserved_send is None
    assert sending.decision.action.send
    assert sending.decision.reason is None


def test_a_send_reserves_its_slot() -> None:
    record = made(campaign(policy={"baseline": BASELINE}, mode="shadow"))

    assert record.reserved_send == Send(
        decision_id=IDS[0], channel="push", content="streak", kind="habit", send_at=MORNING + timedelta(hours=9)
    )


def test_a_kind_that_is_no_text_is_none() -> None:
    document = campaign(policy={"floor": 1e-6})
    for kind, expected in (("news", "news"), (3, None), (("a", "b"), None), (True, None)):
        about = request(contents=[Content(id="pin-9", features={"kind": kind})])
        send = made(document, about, model=broken(0.0, 1.0, *[0.0] * 5)).reserved_send
        assert send is not None
        assert send.kind == expected


# --- an empty rest


@pytest.mark.parametrize("model", [MODEL, None], ids=["model", "no model"])
def test_when_the_rules_leave_nothing_the_answer_is_silence_for_certain(model: Model | None) -> None:
    decision = made(campaign(**ALWAYS_QUIET), model=model).decision

    assert (decision.action, decision.propensity, decision.reason) == (SILENCE, 1.0, Reason.NO_ELIGIBLE_ACTION)


@settings(derandomize=True, deadline=None)
@given(st.floats(1e-6, 1.0), st.floats(1e-6, 1.0))
def test_silence_alone_has_propensity_1_exactly_whatever_the_floor(floor: float, score: float) -> None:
    assert with_floor([score], floor).tolist() == [1.0]


def test_a_uniform_holdout_with_nothing_left_is_silent_for_the_same_reason() -> None:
    document = campaign(policy={"uniform_holdout": 1.0}, **ALWAYS_QUIET)
    decision = made(document).decision

    assert (decision.policy, decision.propensity) == (Policy.UNIFORM_HOLDOUT, 1.0)
    assert decision.reason is Reason.NO_ELIGIBLE_ACTION


# --- holdouts


def test_a_user_of_the_no_send_holdout_is_never_sent_anything() -> None:
    document = campaign(policy={"no_send_holdout": 0.2})
    user = user_in(document, Policy.NO_SEND_HOLDOUT)

    for decision_id in IDS[:50]:
        record = made(document, request(user), decision_id=decision_id)
        decision = record.decision
        assert (decision.policy, decision.action, decision.reason) == (
            Policy.NO_SEND_HOLDOUT,
            SILENCE,
            Reason.HOLDOUT,
        )
        assert record.pmf.tolist() == [1.0] + [0.0] * 18


def test_a_user_of_the_uniform_holdout_is_decided_evenly_without_the_model() -> None:
    document = campaign(policy={"uniform_holdout": 0.2})
    record = made(document, request(user_in(document, Policy.UNIFORM_HOLDOUT)), model=broken(nan))

    assert record.decision.policy is Policy.UNIFORM_HOLDOUT
    assert record.pmf.tolist() == [1 / 19] * 19
    assert record.decision.propensity == 1 / 19


@pytest.mark.parametrize("policy", [Policy.UNIFORM_HOLDOUT, Policy.NO_SEND_HOLDOUT])
def test_holdouts_stay_what_they_are_in_shadow_mode_and_without_a_model(policy: Policy) -> None:
    shares = {"uniform_holdout": 0.2, "no_send_holdout": 0.2, "baseline": BASELINE}
    document = campaign(mode="shadow", policy=shares)
    about = request(user_in(document, policy))

    assert made(document, about).decision.policy is policy
    assert made(document, about, model=None).decision.policy is policy


# --- shadow mode


def test_shadow_mode_serves_the_baseline_and_keeps_what_the_learned_policy_would_have_drawn_from() -> None:
    live, shadow = campaign(), campaign(mode="shadow", policy={"baseline": BASELINE})
    record = made(shadow)

    decision = record.decision
    assert (decision.policy, decision.action, decision.propensity) == (Policy.BASELINE, EVENING, 1.0)
    assert decision.reason is None
    assert record.pmf[record.action_index] == record.pmf.sum() == 1.0
    assert record.learned_pmf is not None
    assert record.learned_pmf.tolist() == made(live).pmf.tolist()


def test_shadow_mode_is_silent_where_the_rules_block_the_baseline() -> None:
    shadow = campaign(mode="shadow", policy={"baseline": BASELINE})
    record = made(shadow, request(channels=["email"]))

    assert (record.decision.action, record.decision.propensity) == (SILENCE, 1.0)
    assert (record.decision.policy, record.decision.reason) == (Policy.BASELINE, Reason.POLICY)
    assert record.learned_pmf is not None
    assert record.learned_pmf.size == len(record.eligible) == 10


def test_shadow_mode_keeps_to_the_caps() -> None:
    shadow = campaign(mode="shadow", policy={"baseline": BASELINE}, caps={"count": 1, "hours": 24})
    first = made(shadow)
    assert first.reserved_send is not None

    second = made(shadow, past=NO_HISTORY.with_send(first.reserved_send), decision_id=IDS[1])
    assert (first.decision.action, second.decision.action) == (EVENING, SILENCE)


@pytest.mark.parametrize("model", [None, broken(nan)])
def test_shadow_mode_without_a_usable_model_serves_the_baseline_all_the_same(model: Model | None) -> None:
    record = made(campaign(mode="shadow", policy={"baseline": BASELINE}), model=model)

    assert (record.decision.policy, record.decision.action) == (Policy.BASELINE, EVENING)
    assert record.learned_pmf is None


# --- pause


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"policy": {"no_send_holdout": 1.0}},
        {"policy": {"uniform_holdout": 1.0}},
        {"mode": "shadow", "policy": {"baseline": BASELINE}},
        ALWAYS_QUIET,
    ],
)
def test_a_paused_campaign_sends_nothing_whoever_would_decide(changes: dict[str, Any]) -> None:
    decision = made(campaign(**changes), paused=True).decision

    assert (decision.action, decision.propensity, decision.reason) == (SILENCE, 1.0, Reason.PAUSED)
    assert decision.policy is Policy.FALLBACK


# --- fallback

UNUSABLE = {
    "nothing": (),
    "a NaN": (nan, *[0.1] * 18),
    "infinite": (inf, *[0.1] * 18),
    "negative": (-0.1, *[0.1] * 18),
    "zeros": (0.0,) * 19,
}


@pytest.mark.parametrize("model", [None, *(broken(*scores) for scores in UNUSABLE.values())], ids=["none", *UNUSABLE])
def test_without_a_usable_model_the_baseline_answers_as_a_fallback(model: Model | None) -> None:
    record = made(campaign(policy={"baseline": BASELINE}), model=model)

    decision = record.decision
    assert (decision.policy, decision.action, decision.propensity) == (Policy.FALLBACK, EVENING, 1.0)
    assert decision.model_version == (0 if model is None else 7)
    assert record.learned_pmf is None


@pytest.mark.parametrize(
    ("policy", "asked"), [({}, {}), ({"baseline": BASELINE}, {"channels": ["email"]})], ids=["no baseline", "blocked"]
)
def test_a_fallback_is_silence_where_there_is_no_baseline_or_the_rules_block_it(
    policy: dict[str, Any], asked: dict[str, Any]
) -> None:
    decision = made(campaign(policy=policy), request(**asked), model=None).decision

    assert (decision.policy, decision.action, decision.reason) == (Policy.FALLBACK, SILENCE, Reason.POLICY)
    assert decision.propensity == 1.0


def test_the_operator_is_told_why_a_model_was_not_used() -> None:
    with capture_logs() as logs:
        made(campaign(), model=broken(*[0.0] * 19))

    why, what = logs
    assert (why["event"], why["log_level"], why["model_version"]) == ("model_unusable", "error", 7)
    assert "not all zero" in why["error"]
    assert (what["event"], what["log_level"]) == ("decided_by_fallback", "warning")


def test_any_other_failure_of_the_model_is_not_hidden_behind_a_fallback() -> None:
    class Failing:
        def predict(self, shared: str, actions: ActionLines) -> list[float]:
            raise RuntimeError("out of memory")

    predictor: Predictor = Failing()
    with pytest.raises(RuntimeError, match="out of memory"):
        made(campaign(), model=Model(version=1, predictor=predictor))


# --- what cannot be decided


def test_an_unknown_zone_or_content_decides_nothing() -> None:
    with pytest.raises(UnknownTimeZone, match="Europe/Atlantis"):
        made(campaign(), request(timezone="Europe/Atlantis"))
    with pytest.raises(ImpossibleInput, match="gone"):
        made(campaign(), request(contents=["gone"]))


# --- what the model sees


def test_the_model_sees_the_user_the_history_and_the_eligible_actions_alone() -> None:
    past = Send(decision_id="d", channel="push", content="streak", kind="habit", send_at=MORNING - timedelta(days=2.5))
    response = Response(decision_id="d", occurred_at=MORNING - timedelta(days=2))
    about = request(features={"country": "US"}, channels=["email"], contents=["streak", "digest"])
    record = made(campaign(), about, past=History(sends=(past,), responses=(response,)))

    history = {"sent_7d_push": 1.0, "sent_30d_push": 1.0, "ignored_streak": 0.0, "responses_30d": 1.0}
    assert record.history_features == history
    assert record.shared_line == "shared |U country=US |H " + " ".join(f"{name}#:{n}" for name, n in history.items())
    streak = "|C id=email |M id=streak kind=habit |R since=lt3 kind_since=lt3"
    digest = "|C id=email |M id=digest kind=news |R since=never kind_since=never"
    times = ("|T hour=9 lead=now", "|T hour=12", "|T hour=18")
    assert record.action_lines.joined() == ("|S silence", *(f"{one} {at}" for one in (streak, digest) for at in times))


def test_recency_of_a_kind_counts_every_content_of_it() -> None:
    past = Send(decision_id="d", channel="push", content="gone", kind="habit", send_at=MORNING - timedelta(days=5))
    record = made(campaign(), past=History(sends=(past,)))

    streak, digest, offer = (line.split(" |R ")[1] for line in record.action_lines.contents)
    assert (streak, digest) == ("since=never kind_since=lt7", "since=never kind_since=never")
    assert offer == "since=never kind_since=never"  # no kind is not a kind


def test_the_stored_actions_give_back_the_lines_that_were_predicted_from() -> None:
    past = Send(decision_id="d", channel="push", content="streak", kind="habit", send_at=MORNING - timedelta(hours=5))
    own = Content(id="pin|9\n", features={"kind": "é", "vector": (0.5, -2.0), "new": True})
    document = campaign(caps={"min_gap_hours": 8})
    record = made(document, request(contents=["streak", own, "offer"]), past=History(sends=(past,)))

    logged = decode_actions(encode_actions(record))
    assert logged.shared_line == record.shared_line
    assert logged.action_lines.joined() == record.action_lines.joined()
    assert len(logged.action_lines.joined()) == len(record.eligible) == 1 + 2 * 3 * 2
    actions = [record.eligible.action(place) for place in range(len(record.eligible))]
    assert [logged.action(place) for place in range(len(record.eligible))] == actions


def test_the_history_is_the_only_thing_that_ties_two_decisions() -> None:
    document = campaign(caps={"count": 1, "hours": 168}, policy={"floor": 1e-6})
    eager = Model(version=1, predictor=FakePredictor(silence=1e-12))
    first = made(document, model=eager)
    assert first.reserved_send is not None

    again = made(document, model=eager)
    assert len(again.eligible) == len(first.eligible)
    after = made(document, model=eager, past=NO_HISTORY.with_send(first.reserved_send))
    assert len(after.eligible) == 1
