"""GET /metrics: what is counted, what the store says, and that a false propensity shows."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import insert

from api.app import serving
from api.edge.metrics import Metrics
from api.edge.payloads import parse_decide
from api.edge.problems import problem_of as problem_of_error
from bandit.decide.decision import DecisionRecord, Pmf, decide
from bandit.domain import SILENCE as SILENT
from bandit.domain import Action, Reason
from bandit.errors import InvalidPropensity
from bandit.serve.decisions import Ask
from bandit.settings import Settings
from bandit.store.models import CHALLENGER, CHAMPION, FALL, PROMOTE
from bandit.store.sql.schema import models, promotions, quarantine
from tests.support.databases import sqlite_file_url
from tests.support.wire import (
    DECIDE_TEXT,
    DECIDED_AT,
    decide_about,
    decided,
    feedback_document,
    json_of,
    put_campaign,
    row_counts,
    running,
    seeded_app,
)

DRAWS = 4_000
SENT = Action(channel="push", content="streak", send_at=datetime(2026, 3, 2, tzinfo=UTC))
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples_of(text: str) -> Samples:
    families = text_string_to_metric_families(text)
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


def scraped(client: FlaskClient) -> Samples:
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.content_type.startswith("text/plain")
    return samples_of(response.get_data(as_text=True))


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, tuple(sorted(labels.items()))]


def total(samples: Samples, name: str, **labels: str) -> float:
    """The sum over all samples that have these labels among theirs."""
    return sum(
        number for (found, with_labels), number in samples.items() if found == name and labels.items() <= {*with_labels}
    )


def test_decisions_are_counted_by_campaign_policy_channel_and_outcome(any_client: FlaskClient) -> None:
    answers = [decided(any_client, decide_about(f"u-{number}")) for number in range(60)]
    samples = scraped(any_client)
    expected: dict[tuple[str, str, str], int] = {}
    for one in answers:
        key = (one["policy"], one["channel"] or "", one["reason"] or "send")
        expected[key] = expected.get(key, 0) + 1
    assert len(expected) > 2
    for (policy, channel, outcome), count in expected.items():
        labels = {"campaign": "reengage", "policy": policy, "channel": channel, "outcome": outcome}
        assert value(samples, "sendopt_decisions_total", **labels) == count
    assert total(samples, "sendopt_decisions_total") == 60
    inverse = sum(1 / one["propensity"] for one in answers)
    assert total(samples, "sendopt_inverse_propensity_total") == pytest.approx(inverse)


def test_batches_repeats_refusals_and_paused_campaigns_are_counted_for_what_they_are(client: FlaskClient) -> None:
    batch = {"requests": [decide_about("u-1"), decide_about("u-2", campaign="nope"), decide_about("u-3")]}
    json_of(client.post("/decide/batch", json=batch))
    for _ in range(3):
        client.post("/decide", data=DECIDE_TEXT, headers={"Idempotency-Key": "k-1"})
    client.post("/campaigns/reengage/pause")
    decided(client, decide_about("u-4"))
    samples = scraped(client)
    assert total(samples, "sendopt_decisions_total") == 4
    assert total(samples, "sendopt_decisions_total", outcome="paused") == 1


def test_feedback_is_counted_by_what_became_of_it(client: FlaskClient) -> None:
    event = feedback_document(decided(client)["decision_id"])
    for document in (event, event, {**event, "decision_id": "nope"}):
        client.post("/feedback", json=document)
    samples = scraped(client)
    counts = {status: value(samples, "sendopt_feedback_total", status=status) for status in ("accepted", "duplicate")}
    assert counts == {"accepted": 1, "duplicate": 1}
    assert value(samples, "sendopt_feedback_total", status="refused") == 1


def test_answers_are_timed_by_route_method_and_status(client: FlaskClient) -> None:
    decided(client)
    client.post("/decide", data=b"{")
    client.get("/campaigns/reengage")
    client.get("/nope")
    client.open("/decide", method="INVENTED")
    samples = scraped(client)
    count = "sendopt_request_seconds_count"
    assert value(samples, count, route="/decide", method="POST", status="200") == 1
    assert value(samples, count, route="/decide", method="POST", status="400") == 1
    assert value(samples, count, route="/campaigns/<campaign_id>", method="GET", status="200") == 1
    assert total(samples, count, route="none") == 2
    assert "INVENTED" not in str(samples)
    assert (
        value(samples, "sendopt_request_seconds_bucket", route="/decide", method="POST", status="200", le="+Inf") == 1
    )


def test_two_applications_count_for_themselves(sqlite_template: Path, tmp_path: Path) -> None:
    urls = [sqlite_file_url(shutil.copyfile(sqlite_template, tmp_path / f"{name}.db")) for name in "ab"]
    with running(urls[0]) as first, running(urls[1]) as second:
        put_campaign(first)
        put_campaign(second)
        decided(first)
        assert total(scraped(first), "sendopt_decisions_total") == 1
        assert total(scraped(second), "sendopt_decisions_total") == 0


def one_record(client: FlaskClient) -> DecisionRecord:
    """A decision of the learned policy."""
    service = serving(client.application).service
    for number in range(100):
        (outcome,) = service.decider.decide_many([Ask(request=parse_decide(body_about(f"v-{number}")))])
        assert isinstance(outcome, DecisionRecord)
        if outcome.decision.policy.value == "learned" and len(outcome.pmf) > 5:
            return outcome
    raise AssertionError("nobody was decided by the learned policy")


def body_about(user: str) -> bytes:
    return DECIDE_TEXT.replace("u-123", user).encode()


def z_of_draws(client: FlaskClient, drawn_from: Pmf, logged: Pmf, silenced: float = 0.0) -> dict[str, float]:
    """By how many standard errors the mean of 1/p differs from what it should be, by part, read from the metrics.

    Args:
        silenced: share of the sends that become silence after the draw.
    """
    record, luck, metrics = one_record(client), np.random.default_rng(7), Metrics(None)
    for index in luck.choice(len(drawn_from), size=DRAWS, p=drawn_from):
        action = SILENT if index == 0 or luck.random() < silenced else SENT
        decision = replace(record.decision, propensity=float(logged[index]), action=action)
        metrics.decided(replace(record, decision=decision, pmf=logged))
    samples = samples_of(metrics.exposition().decode())
    assert total(samples, "sendopt_decisions_total") == DRAWS
    assert total(samples, "sendopt_drawable_actions_total") == DRAWS * len(logged)
    return {part: z_of(samples, part) for part in ("send", "silence")}


def z_of(samples: Samples, part: str) -> float:
    n = total(samples, "sendopt_decisions_total")
    mean = total(samples, "sendopt_inverse_propensity_total", part=part) / n
    expected = total(samples, "sendopt_drawable_actions_total", part=part) / n
    variance = total(samples, "sendopt_inverse_propensity_squares_total", part=part) / n - mean**2
    return (mean - expected) / sqrt(variance / n)


def skewed(size: int, floor: float = 0.2) -> Pmf:
    weights = np.arange(1.0, size + 1) ** 2
    pmf: Pmf = (1 - floor) * weights / weights.sum() + floor / size
    return pmf


def test_true_propensities_give_a_mean_of_one_over_p_that_is_the_number_of_actions(client: FlaskClient) -> None:
    pmf = skewed(12)
    assert all(abs(z) < 4 for z in z_of_draws(client, drawn_from=pmf, logged=pmf).values())


def test_propensities_that_are_not_those_drawn_from_show_in_it(client: FlaskClient) -> None:
    pmf = skewed(12)
    sharper = pmf**1.3 / (pmf**1.3).sum()
    assert all(abs(z) > 5 for z in z_of_draws(client, drawn_from=sharper, logged=pmf).values())


def test_sends_that_become_silence_after_the_draw_show_in_it(client: FlaskClient) -> None:
    pmf = skewed(12)
    found = z_of_draws(client, drawn_from=pmf, logged=pmf, silenced=0.1)
    assert found["send"] < -5
    assert found["silence"] > 5


def altered(record: DecisionRecord, change: str) -> DecisionRecord:
    decision = record.decision
    if change == "propensity":
        return replace(record, decision=replace(decision, propensity=decision.propensity * 0.999))
    if change == "silenced":
        return replace(record, decision=replace(decision, action=SILENT, reason=Reason.POLICY))
    return replace(record, action_index=record.action_index - 1)


@pytest.mark.parametrize("change", ["propensity", "silenced", "index"])
def test_a_decision_that_is_not_what_was_drawn_is_never_stored(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(
        "bandit.serve.decisions.decide", lambda *given, **named: altered(decide(*given, **named), change)
    )
    service = serving(client.application).service
    asks = [Ask(request=parse_decide(body_about(f"v-{number}"))) for number in range(20)]
    outcomes = service.decider.decide_many(asks)
    refused = [outcome for outcome in outcomes if isinstance(outcome, InvalidPropensity)]
    # Of the silenced ones, silence that was drawn is what it was.
    assert len(refused) == 20 if change != "silenced" else 10 < len(refused) < 20
    assert row_counts(client)["decisions"] == 20 - len(refused)
    assert all(problem_of_error(error)[0] == 500 for error in refused)


def later(client: FlaskClient, now: str) -> None:
    decided(client, decide_about("u-clock", now=now))


def test_the_state_of_the_store_is_read(any_client: FlaskClient) -> None:
    samples = scraped(any_client)
    assert value(samples, "sendopt_store_up") == 1
    assert value(samples, "sendopt_open_decisions") == 0
    assert value(samples, "sendopt_model_version", campaign="reengage") == 0
    answers = [decided(any_client, decide_about(f"u-{number}")) for number in range(40)]
    for one in answers:
        json_of(any_client.post("/feedback", json=feedback_document(one["decision_id"], event="opened")), 202)
    later(any_client, "2026-11-22T17:04:00Z")  # past the window: 26 h to learn, 48 h until final
    samples = scraped(any_client)
    assert value(samples, "sendopt_open_decisions") == 41
    assert value(samples, "sendopt_learner_lag_seconds") == 22 * 3600 + 60
    serving(any_client.application).service.learner.run_pass()
    samples = scraped(any_client)
    assert value(samples, "sendopt_open_decisions") == 1
    assert value(samples, "sendopt_learner_lag_seconds") == 0
    assert value(samples, "sendopt_unlearned_decisions", campaign="reengage") == 0
    assert value(samples, "sendopt_model_version", campaign="reengage") == 1
    assert value(samples, "sendopt_model_age_seconds", campaign="reengage") == 0
    check_rewards(any_client, samples, [one["decision_id"] for one in answers])
    later(any_client, "2026-11-22T18:04:00Z")
    assert value(scraped(any_client), "sendopt_model_age_seconds", campaign="reengage") == 3600


def check_rewards(client: FlaskClient, samples: Samples, decision_ids: Sequence[str]) -> None:
    receipts = [json_of(client.get(f"/decisions/{one}")) for one in decision_ids]
    for policy in {one["policy"] for one in receipts}:
        rewards = [one["reward"] for one in receipts if one["policy"] == policy]
        labels = {"campaign": "reengage", "policy": policy}
        assert value(samples, "sendopt_recent_rewards", **labels) == len(rewards)
        assert value(samples, "sendopt_recent_reward_sum", **labels) == pytest.approx(sum(rewards))
        squares = sum(reward**2 for reward in rewards)
        assert value(samples, "sendopt_recent_reward_squares", **labels) == pytest.approx(squares)


def test_what_the_gate_and_the_canary_refused_shows(any_client: FlaskClient) -> None:
    decision_id = decided(any_client)["decision_id"]
    held = {"decision_id": decision_id, "campaign_id": "reengage", "seq": 1, "reason": "reward", "detail": "x"}
    broken = {"campaign_id": "reengage", "version": 1, "parent": 0, "lineage": 1, "arguments": "", "watermark": 0}
    broken |= {"engine_version": "9", "events_learned": 0, "created_at": DECIDED_AT, "size": 7, "digest": ""}
    broken |= {"bytes": b"", "health": "a score is not finite", "champion_seconds": 0.0}
    with serving(any_client.application).service.store.write() as connection:
        connection.execute(insert(quarantine).values(**held, quarantined_at=DECIDED_AT))
        connection.execute(insert(models).values(**broken))
    samples = scraped(any_client)
    assert value(samples, "sendopt_quarantined_decisions", campaign="reengage", reason="reward") == 1
    assert value(samples, "sendopt_refused_versions", campaign="reengage") == 1


def test_a_champion_that_began_anew_shows(any_client: FlaskClient) -> None:
    decided(any_client)
    assert value(scraped(any_client), "sendopt_models_begun_anew", campaign="reengage") == 0
    change = {"campaign_id": "reengage", "alias": CHAMPION, "version": 2, "previous": 1, "at": DECIDED_AT}
    others = ({"alias": CHALLENGER}, {"cause": PROMOTE})
    with serving(any_client.application).service.store.write() as connection:
        for one in ({}, *others):
            connection.execute(insert(promotions).values(**{**change, "cause": FALL, **one}))
    assert value(scraped(any_client), "sendopt_models_begun_anew", campaign="reengage") == 1


def test_a_learner_that_stands_still_shows(client: FlaskClient) -> None:
    for number in range(5):
        decided(client, decide_about(f"u-{number}"))
    later(client, "2026-11-22T17:04:00Z")
    serving(client.application).service.learner.close_due()
    assert value(scraped(client), "sendopt_unlearned_decisions", campaign="reengage") >= 4


def test_without_the_store_what_was_counted_is_still_answered(sqlite_url: str, tmp_path: Path) -> None:
    app = seeded_app(Settings(database_url=sqlite_url, clock="request"))
    client = app.test_client()
    put_campaign(client)
    decided(client)
    (tmp_path / "sendopt.db").unlink()
    tmp_path.chmod(0o500)
    try:
        samples = scraped(client)
    finally:
        tmp_path.chmod(0o700)
        serving(app).close()
    assert value(samples, "sendopt_store_up") == 0
    assert total(samples, "sendopt_decisions_total") == 1
    assert "sendopt_open_decisions" not in {name for name, _ in samples}
