"""Targets do what the service would have done: the same functions, the same holdouts, the same floor."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from bandit.campaign.document import Campaign
from bandit.decide.decision import DecisionRecord, LiveCampaign, Model, decide
from bandit.decide.exploration import with_floor
from bandit.decide.history import NO_HISTORY
from bandit.decide.logged import LoggedActions
from bandit.domain import DecisionId
from bandit.engine.lines import ActionLines
from bandit.engine.load import learner_of
from bandit.errors import InvalidInput, InvalidLog, NotFound
from bandit.service import Service
from bandit.store.sql.database import Store
from bandit.store.sql.schema import decisions
from bandit.wire.request import request_of
from sim.evaluate.target_names import CampaignTargets, target_named
from sim.evaluate.targets import Likelihood, OfCampaign, OfColumn, OfFunction, Target, taught_by
from sim.logs.event import Document, LoggedEvent
from sim.logs.open import export_log, open_log
from sim.logs.store import StoreLog
from tests.support.builders import campaign
from tests.support.logs import event, logged_service, rows_of

HOLDOUTS = {"floor": 0.2, "uniform_holdout": 0.2, "no_send_holdout": 0.1}
BASELINE = {"channel": "push", "content": "streak", "local_hour": 18}


def rows(service: Service) -> list[LoggedEvent]:
    return rows_of(StoreLog(service.store, service.campaigns, "spring"))


def named(service: Service, name: str) -> Target:
    mine = CampaignTargets(store=service.store, campaigns=service.campaigns, campaign_id="spring")
    return target_named(name, mine)


def document_target(service: Service, document: Campaign, model: Model | None = None) -> OfCampaign:
    logged = {1: service.campaigns.get("spring").campaign}
    untaught = Model(version=0, predictor=learner_of(document.engine_arguments))
    return OfCampaign(name="document", document=document, model=model or untaught, logged_documents=logged)


def with_pmf(likelihood: Likelihood, row: LoggedEvent) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The pmf of a likelihood that keeps what every likelihood must keep."""
    assert likelihood.pmf is not None
    assert likelihood.pmf.size == row.n_actions
    assert likelihood.pmf[row.action_index] == likelihood.propensity
    assert abs(likelihood.pmf.sum() + likelihood.unlogged - 1.0) < 1e-9
    return likelihood.pmf


def test_a_version_is_asked_what_it_answered_when_it_served(store: Store) -> None:
    service = logged_service(store, document=campaign(policy=HOLDOUTS))
    logged = [row for row in rows(service) if row.model_version == 1]
    assert {row.policy for row in logged} == {"learned", "uniform_holdout", "no_send_holdout"}
    target = named(service, "version:1")
    for row in logged:
        assert row.pmf is not None
        assert with_pmf(target.likelihood(row), row).tolist() == row.pmf.tolist()


def test_a_set_that_is_cut_anew_is_the_logged_one_when_the_rules_are_the_same(sqlite_store: Store) -> None:
    """Caps, gaps and repeats that shut moments of the log stay in force; the model sees the very same lines."""
    rules = campaign(
        policy={"floor": 0.2}, caps={"count": 1, "hours": 90, "min_gap_hours": 80}, contents=[{"id": "a"}, {"id": "b"}]
    )
    service = logged_service(sqlite_store, document=rules)
    other_worth = rules.model_copy(update={"reward": campaign(reward={"events": {"clicked": 0.5}}).reward})
    target = document_target(service, other_worth, service.models.model_for(rules))
    same = document_target(service, rules, service.models.model_for(rules))
    cut = 0
    for row in rows(service):
        likelihood = target.likelihood(row)
        assert likelihood.unlogged == 0.0
        assert with_pmf(likelihood, row).tolist() == with_pmf(same.likelihood(row), row).tolist()
        cut += row.n_actions != 1 + 2 * 2 * 3
    assert cut > 10


def served(document: Campaign, row: LoggedEvent) -> DecisionRecord:
    """What the service would decide under the document, for a user without history."""
    request = request_of(row.context["request"])
    model = Model(version=0, predictor=learner_of(document.engine_arguments))
    live = LiveCampaign(document=document, version=1, paused=False)
    assert row.decided_at is not None
    return decide(live, request, NO_HISTORY, model, decision_id=DecisionId("d"), now=row.decided_at)


@pytest.mark.parametrize(
    "changes",
    [
        {"contents": [{"id": "streak", "features": {"kind": "other", "new": True}}]},
        {"contents": [{"id": "digest"}, {"id": "fresh"}, {"id": "streak"}]},
        {"channels": {"email": {}}},
        {"send_times": {"local_hours": [6, 18]}},
        {"send_times": {"quiet_hours": {"start": "17:00", "end": "19:00"}}},
        {"contents": [{"id": "streak", "channels": ["push"]}, {"id": "offer", "expires_at": "2026-03-02T13:00:00Z"}]},
        {"policy": {"floor": 0.5, "uniform_holdout": 0.5}},
        {"mode": "shadow", "policy": {"baseline": BASELINE}},
        {"mode": "shadow", "policy": {"baseline": {**BASELINE, "local_hour": None}}},
    ],
    ids=lambda changes: "+".join(changes),
)
def test_a_document_is_asked_what_it_would_have_served(sqlite_store: Store, changes: dict[str, Any]) -> None:
    service = logged_service(sqlite_store, rounds=1)
    document = campaign(**changes)
    if "channels" in changes:
        document = document.model_copy(update={"channels": {"email": document.channels["email"]}})
    target = document_target(service, document)
    found = 0.0
    for row in rows(service):
        assert isinstance(row.actions, LoggedActions)
        likelihood, record = target.likelihood(row), served(document, row)
        expected = dict(zip(map(record.eligible.action, range(len(record.eligible))), record.pmf, strict=True))
        pmf = with_pmf(likelihood, row)
        for index in range(len(row.actions)):
            assert pmf[index] == expected.pop(row.actions.action(index), 0.0)
        assert likelihood.unlogged == pytest.approx(sum(expected.values()), abs=1e-12)
        found = max(found, likelihood.unlogged)
    has_news = any(word in json.dumps(changes) for word in ("fresh", "6, 18"))
    assert (found > 0.0) == has_news


def test_a_document_without_a_channel_that_a_request_names_is_asked_about_the_others(sqlite_store: Store) -> None:
    service = logged_service(sqlite_store, n_users=2, rounds=1)
    row = rows(service)[0]
    contents = [{"id": "streak", "channels": ["push"]}, {"id": "offer", "channels": ["email", "push"]}]
    row = replace(row, context={"request": {**row.context["request"], "contents": contents}})
    document = campaign()
    document = document.model_copy(update={"channels": {"email": document.channels["email"]}})
    likelihood = document_target(service, document).likelihood(row)
    assert isinstance(row.actions, LoggedActions)
    chosen = {row.actions.action(index) for index, share in enumerate(with_pmf(likelihood, row)) if share > 0.0}
    assert {(one.channel, one.content) for one in chosen} == {(None, None), ("email", "offer")}


def test_the_shadowed_model_is_asked_what_it_would_have_drawn_from(sqlite_store: Store) -> None:
    shadow = campaign(mode="shadow", policy={"floor": 0.2, "baseline": BASELINE})
    service = logged_service(sqlite_store, document=shadow)
    target, baseline = named(service, "version:1"), named(service, "baseline")
    with sqlite_store.read() as connection:
        found = connection.execute(select(decisions.c.id, decisions.c.evidence)).all()
        evidence = {row.id: row.evidence for row in found}
    logged = [row for row in rows(service) if row.model_version == 1]
    assert {row.policy for row in logged} == {"baseline"}
    for row in logged:
        assert with_pmf(target.likelihood(row), row).tolist() == json.loads(evidence[row.decision_id])["learned_pmf"]
        assert baseline.likelihood(row).propensity == row.propensity == 1.0


def test_a_model_that_answers_nonsense_is_asked_as_the_service_asks_it(sqlite_store: Store) -> None:
    class Broken:
        def predict(self, shared: str, actions: ActionLines) -> list[float]:
            return [float("nan")] * len(actions.joined())

    document = campaign(policy={"floor": 0.2, "baseline": BASELINE})
    service = logged_service(sqlite_store, rounds=1, document=document)
    target = document_target(service, document, Model(version=9, predictor=Broken()))
    baseline = named(service, "baseline")
    for row in rows(service):
        assert target.likelihood(row).propensity == baseline.likelihood(row).propensity


def test_a_change_of_what_serves_is_a_change_of_what_is_evaluated(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a copy of the policy this would see nothing."""
    service = logged_service(sqlite_store)
    row = next(row for row in rows(service) if row.model_version == 1)
    target = named(service, "version:1")
    before = target.likelihood(row).propensity
    monkeypatch.setattr("bandit.decide.decision.with_floor", lambda scores, floor: with_floor(scores, 1.0))
    assert target.likelihood(row).propensity == pytest.approx(1.0 / (row.n_actions or 0))
    assert target.likelihood(row).propensity != before


def test_a_log_that_was_exported_is_asked_the_same(sqlite_store: Store, tmp_path: Path) -> None:
    service = logged_service(sqlite_store)
    log = StoreLog(service.store, service.campaigns, "spring")
    asked = [named(service, name) for name in ("champion", "uniform", "silence", "logged")]
    for kind in ("parquet", "dsjson"):
        path = tmp_path / f"log.{kind}"
        export_log(log, path, file_format=None, progress=lambda rows: None)
        copies = rows_of(open_log(path, reward_bounds=(-5.0, 5.0)))
        for row, copy in zip(rows(service), copies, strict=True):
            for target in asked:
                assert target.likelihood(copy).propensity == target.likelihood(row).propensity


def test_the_rows_that_taught_a_version_are_known(sqlite_store: Store) -> None:
    service = logged_service(sqlite_store)
    found = rows(service)
    first, champion = named(service, "version:1"), named(service, "champion")
    learned_first = [row for row in found if taught_by(first, row)]
    assert {row.model_version for row in learned_first} == {0}
    assert len(learned_first) == sum(row.model_version == 0 for row in found)
    assert all(taught_by(champion, row) for row in found)
    assert not any(taught_by(named(service, "uniform"), row) for row in found)


def test_simple_targets_over_the_eligible_set(sqlite_store: Store) -> None:
    service = logged_service(sqlite_store, rounds=1)
    uniform, silence, logged = (named(service, name) for name in ("uniform", "silence", "logged"))
    for row in rows(service):
        assert uniform.likelihood(row).propensity == 1.0 / (row.n_actions or 0)
        assert silence.likelihood(row).propensity == float(row.action_index == 0)
        assert logged.likelihood(row).propensity == row.propensity


def test_uniform_looks_back_only_where_rules_do(sqlite_store: Store) -> None:
    service = logged_service(sqlite_store, n_users=2, rounds=1)
    assert not named(service, "uniform").changes_own_features
    assert named(service, "champion").changes_own_features
    service.campaigns.put(campaign(caps={"min_gap_hours": 4}))
    assert named(service, "uniform").changes_own_features


FUNCTION = """
def evening(context, actions):
    weights = [2.0 if action["content"] == "streak" else 1.0 for action in actions]
    assert context["request"]["user"]["timezone"] == "UTC"
    return [weight / sum(weights) for weight in weights]
nothing = 3
"""


def test_a_function_of_a_file_sees_context_and_actions(sqlite_store: Store, tmp_path: Path) -> None:
    service = logged_service(sqlite_store, rounds=1)
    path = tmp_path / "mine.py"
    path.write_text(FUNCTION)
    target = named(service, f"function:{path}:evening")
    for row in rows(service):
        pmf = with_pmf(target.likelihood(row), row)
        assert isinstance(row.actions, LoggedActions)
        streak = [row.actions.action(index).content == "streak" for index in range(len(pmf))]
        assert pmf[streak].min() == pytest.approx(2 * pmf[~np.array(streak)].max())


@pytest.mark.parametrize(
    "answer", [[0.5, 0.5], [0.5, 0.6, 0.1], [float("nan")] * 3, [-0.5, 1.0, 0.5], "abc", None, [[1.0], [0.0], [0.0]]]
)
def test_a_function_that_answers_no_pmf_is_told_by_row(answer: Any) -> None:
    def mine(context: Document, actions: Sequence[Document]) -> Any:
        return answer

    with pytest.raises(InvalidLog, match=r"^row 7: mine answered .*must be 3 probabilities that sum to 1"):
        OfFunction(name="mine", function=mine).likelihood(event())


def test_a_column_is_the_targets_probability_of_the_logged_action() -> None:
    target = OfColumn(name="column:theirs", column="theirs")
    assert target.likelihood(event(columns={"theirs": 0.5})) == Likelihood(propensity=0.5, pmf=None)
    with pytest.raises(InvalidLog, match=r"^row 7: theirs: 1\.5: must be in \[0, 1\]"):
        target.likelihood(event(columns={"theirs": 1.5}))


@pytest.mark.parametrize("name", ["champion", "silence"])
def test_what_only_this_service_knows_cannot_be_asked_of_other_logs(sqlite_store: Store, name: str) -> None:
    service = logged_service(sqlite_store, n_users=2, rounds=1)
    with pytest.raises(InvalidLog, match=r"^row 7: actions: "):
        named(service, name).likelihood(event())


def test_a_log_without_eligible_actions_cannot_be_asked_for_uniform(sqlite_store: Store) -> None:
    service = logged_service(sqlite_store, n_users=2, rounds=1)
    with pytest.raises(InvalidLog, match=r"^row 7: actions: the log does not say how many"):
        named(service, "uniform").likelihood(event(pmf=None, actions=None))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"context": {}}, "context: has no request with the user's time zone"),
        ({"campaign_version": 99}, "campaign_version: 99: is not in the store"),
        ({"decided_at": None}, "decided_at: is missing"),
    ],
)
def test_a_row_that_lacks_what_serving_needs_is_told(sqlite_store: Store, change: dict[str, Any], rule: str) -> None:
    service = logged_service(sqlite_store, n_users=2, rounds=1)
    row = rows(service)[0]
    values = {name: getattr(row, name) for name in row.__slots__}
    with pytest.raises(InvalidLog, match=f"^row {row.row}: {rule}"):
        named(service, "champion").likelihood(LoggedEvent(**{**values, **change}))


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("surprise", InvalidInput, "is not one of logged, uniform"),
        ("champion:3", InvalidInput, "is not one of"),
        ("version", InvalidInput, "is not one of"),
        ("version:last", InvalidInput, "must be a model version"),
        ("version:0", InvalidInput, "must be a model version"),
        ("version:77", NotFound, "spring/77"),
        ("version:2147483648", InvalidInput, "must be a model version, 1 to 2147483647"),
        (f"version:{'9' * 5_000}", InvalidInput, "must be a model version"),
        ("baseline", NotFound, "baseline of campaign"),
        ("document:missing.toml", InvalidInput, "cannot be read"),
        ("function:missing.py:f", InvalidInput, "must be function:FILE.py:NAME"),
        ("function:f", InvalidInput, "must be function:FILE.py:NAME"),
    ],
)
def test_a_name_that_names_no_target_is_told(
    sqlite_store: Store, name: str, error: type[Exception], words: str
) -> None:
    service = logged_service(sqlite_store, n_users=2, rounds=1)
    with pytest.raises(error, match=words):
        named(service, name)


def test_a_file_without_the_function_is_told(sqlite_store: Store, tmp_path: Path) -> None:
    service = logged_service(sqlite_store, n_users=2, rounds=1)
    path = tmp_path / "mine.py"
    path.write_text(FUNCTION)
    for name in ("missing", "nothing"):
        with pytest.raises(InvalidInput, match=f"has no function '{name}'"):
            named(service, f"function:{path}:{name}")


@pytest.mark.parametrize("name", ["baseline", "champion", "version:1", "document:x.toml"])
def test_what_a_campaign_serves_needs_a_campaign(name: str) -> None:
    with pytest.raises(InvalidInput, match="needs a campaign of the store"):
        target_named(name, None)


def test_progressive_validation_puts_each_row_to_the_version_that_had_not_learned_it(sqlite_store: Store) -> None:
    service = logged_service(sqlite_store)
    progressive, first, champion = (named(service, name) for name in ("progressive", "version:1", "champion"))
    known = [row for row in rows(service) if row.learning_place is not None]
    seen = [row for row in known if taught_by(first, row)]
    unseen = [row for row in known if not taught_by(first, row)]
    assert len(seen) > 20
    assert len(unseen) > 20
    assert all(taught_by(champion, row) for row in known)  # the red twin: nothing is left for the champion itself
    assert not any(taught_by(progressive, row) for row in known)
    for row in unseen:
        assert with_pmf(progressive.likelihood(row), row).tolist() == with_pmf(first.likelihood(row), row).tolist()
    untaught = document_target(service, service.campaigns.get("spring").campaign)
    for row in seen:
        assert with_pmf(progressive.likelihood(row), row).tolist() == with_pmf(untaught.likelihood(row), row).tolist()
    with pytest.raises(InvalidLog, match="learning_place: is missing"):
        progressive.likelihood(event())
