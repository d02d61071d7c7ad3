"""The canary lets every healthy version through and holds back poisoned, frozen, amnesic and mislabelled ones."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from bandit.campaign.document import Campaign
from bandit.decide.features import shared_line
from bandit.engine.explorers import EngineArguments
from bandit.engine.load import learner_of
from bandit.engine.vw import Engine, Label, digest, engine_version
from bandit.learn import canary
from bandit.learn.canary import contexts, fault
from bandit.serve.models import load_version
from bandit.store.models import ModelRow
from tests.support.builders import MORNING, campaign

EXPLORERS: list[dict[str, Any]] = [
    {"explorer": "squarecb"},
    {"explorer": "squarecb", "coin": False},
    {"explorer": "regcb"},
    {"explorer": "softmax"},
    {"explorer": "bag"},
    {"explorer": "cover"},
    {"explorer": "rnd"},
    {"explorer": "epsilon"},
]
NAMES = ["squarecb", "squarecb without coin", "regcb", "softmax", "bag", "cover", "rnd", "epsilon"]


def document(explorer: dict[str, Any]) -> Campaign:
    return campaign(policy={"vw": explorer})


def teach(engine: Engine, of: Campaign, events: int, seed: int = 1, best: int = 7) -> None:
    """Events of real users: one action is liked most, and each user has one of their own."""
    rng, actions = random.Random(seed), contexts(of).actions.joined()
    for _ in range(events):
        user, taken = rng.randrange(30), rng.randrange(len(actions))
        likes = 0.1 + 0.5 * (taken == best) + 0.3 * ((taken + user) % 5 == 0)
        reward = 1.0 if rng.random() < likes else -0.01
        line = shared_line({"id": f"u-{user}", "age": user / 30}, {})
        engine.learn(line, actions, Label(action_index=taken, reward=reward, propensity=1 / len(actions)))


def row(engine: Engine, events: int, arguments: EngineArguments | None = None) -> ModelRow:
    content = engine.to_bytes()
    return ModelRow(
        campaign_id="spring",
        version=2,
        parent=1,
        lineage=1,
        arguments=(arguments or engine.arguments).text,
        engine_version=engine_version(),
        watermark=events,
        events_learned=events,
        created_at=MORNING,
        size=len(content),
        digest=digest(content),
        bytes=content,
    )


def learned(of: Campaign, events: int, arguments: EngineArguments | None = None, **how: Any) -> ModelRow:
    with Engine(arguments or of.engine_arguments) as engine:
        teach(engine, of, events, **how)
        return row(engine, events)


def teach_raw(engine: Engine, of: Campaign, label: str, times: int) -> None:
    """Teaches a label as text, past every check."""
    for place in range(times):
        lines = list(contexts(of).actions.joined())
        lines[place] = f"{label} {lines[place]}"
        workspace = engine._opened()
        examples = workspace.parse([shared_line({"id": "u-1"}, {}), *lines])
        workspace.learn(examples)
        workspace.finish_example(examples)


@pytest.mark.parametrize("explorer", EXPLORERS, ids=NAMES)
def test_healthy_versions_pass_from_the_first_to_a_mature_one(explorer: dict[str, Any]) -> None:
    of, parent, known = document(explorer), None, 0
    with Engine(of.engine_arguments) as engine:
        for number, new in enumerate([1, 20, 20, 60, 100, 100, 100, 200, 400, 40, 40]):
            teach(engine, of, new, seed=number)
            known += new
            version = row(engine, known)
            assert fault(version, of, parent) is None
            parent = version


@pytest.mark.parametrize("explorer", EXPLORERS, ids=NAMES)
def test_a_model_with_nan_weights_is_refused(explorer: dict[str, Any]) -> None:
    of = document(explorer)
    parent = learned(of, 300)
    with Engine(of.engine_arguments, parent.bytes) as engine:
        teach_raw(engine, of, "0:inf:0.5", times=12)
        said = fault(row(engine, 312), of, parent)
    assert said == "its weights are not finite"


# The others hide what is not finite behind a pmf that looks valid.
@pytest.mark.parametrize("explorer", [{}, {"coin": True}, {"explorer": "softmax"}, {"explorer": "rnd"}])
def test_scores_that_are_not_finite_are_enough_to_refuse_it(
    explorer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    of = document(explorer)
    with Engine(of.engine_arguments) as engine:
        teach(engine, of, 300)
        teach_raw(engine, of, "0:inf:0.5", times=12)
        version = row(engine, 312)
    monkeypatch.setattr(Engine, "experience", lambda _: 1.0)  # without looking at the weights
    said = fault(version, of, None)
    assert said is not None
    assert "its scores are no pmf" in said


@pytest.mark.parametrize("explorer", [{"explorer": "epsilon"}, {"explorer": "softmax"}, {"explorer": "rnd"}])
@pytest.mark.parametrize("coin", [True, False])
def test_a_model_frozen_by_a_label_of_propensity_0_is_refused_twice_over(
    explorer: dict[str, Any], coin: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = document({**explorer, "coin": coin})
    unclipped = EngineArguments(text=of.engine_arguments.text.replace("--clip_p 0.05", "--clip_p 0.0"))
    parent = learned(of, 300, unclipped)
    assert fault(parent, of, None) is None
    with Engine(unclipped, parent.bytes) as engine:
        teach_raw(engine, of, "0:-1.0:0", times=1)
        frozen = row(engine, 301)
    assert fault(frozen, of, parent) == "its weights are not finite"
    monkeypatch.setattr(Engine, "experience", lambda _: 1.0)  # without looking at the weights
    said = fault(frozen, of, parent)
    assert said is not None
    assert "does not move" in said or "no pmf" in said


@pytest.mark.parametrize("explorer", EXPLORERS, ids=NAMES)
def test_a_model_that_forgot_everything_is_refused(explorer: dict[str, Any]) -> None:
    of = document(explorer)
    parent = learned(of, 600)
    with Engine(of.engine_arguments) as engine:
        teach(engine, of, 20, seed=9)
        said = fault(row(engine, 620), of, parent)
    assert said is not None
    assert "what was learned is gone" in said


@pytest.mark.parametrize("explorer", EXPLORERS, ids=NAMES)
def test_a_model_as_large_as_its_parent_that_was_taught_less_is_refused(explorer: dict[str, Any]) -> None:
    of = document(explorer)
    parent = learned(of, 600)
    with Engine(of.engine_arguments) as engine:
        teach(engine, of, 300, seed=9)
        small = row(engine, 620)
    said = fault(small, of, parent)
    assert said is not None
    assert "what was learned is gone" in said


@pytest.mark.parametrize("explorer", EXPLORERS, ids=NAMES)
def test_versions_pass_where_no_action_is_better_than_another(explorer: dict[str, Any]) -> None:
    of, parent, rng = document(explorer), None, random.Random(5)
    actions = contexts(of).actions.joined()
    with Engine(of.engine_arguments) as engine:
        for number in range(1, 16):
            for _ in range(60):
                label = Label(
                    action_index=rng.randrange(len(actions)),
                    reward=rng.choice([0.0, 0.0, 0.1, 1.0, -5.0 if rng.random() < 0.05 else 0.0]),
                    propensity=1 / len(actions),
                )
                engine.learn(shared_line({"likes": rng.choice("ab")}, {}), actions, label)
            version = row(engine, 60 * number)
            assert fault(version, of, parent) is None
            parent = version


def after_costly_opt_outs(of: Campaign) -> ModelRow:
    """A version that saw one action end in opt-outs that cost fifty clicks."""
    asked = contexts(of)
    with Engine(of.engine_arguments) as engine:
        teach(engine, of, 800)
        for user in asked.users:
            engine.learn(user, asked.actions.joined(), Label(action_index=9, reward=-50.0, propensity=0.5))
        return row(engine, 804)


def test_a_costly_opt_out_does_not_hold_the_next_version_back() -> None:
    of = campaign(reward={"bounds": [-50.1, 1.0]})
    assert fault(after_costly_opt_outs(of), of, None) is None


def test_asked_whether_that_action_grows_likelier_it_would_be() -> None:
    of = campaign(reward={"bounds": [-50.1, 1.0]})
    asked = contexts(of)
    with load_version(after_costly_opt_outs(of)) as engine:
        before = canary.pmfs(engine, asked)[0]
        target = int(before.argmin())
        for number in range(canary.ROUNDS):
            canary._teach(engine, asked, target, number)
        assert canary.pmfs(engine, asked)[0][target] - before[target] < canary.MOVE


@pytest.mark.parametrize("explorer", [{"explorer": "squarecb"}, {"explorer": "regcb"}])
def test_a_model_that_learns_nothing_is_refused_although_its_exploration_fades(
    explorer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    of = document(explorer)
    version = learned(of, 600)
    assert fault(version, of, None) is None

    monkeypatch.setattr(Engine, "expected", lambda _engine, _shared, action: len(action) / 100)
    with load_version(version) as frozen:
        assert not canary._moves(frozen, contexts(of))


def test_a_model_of_other_arguments_than_its_manifest_is_refused() -> None:
    of, other = document({"explorer": "squarecb"}), document({"explorer": "softmax"})
    with Engine(other.engine_arguments) as engine:
        said = fault(row(engine, 1, of.engine_arguments), of, None)
    assert said is not None
    assert "does not load: the model was trained with" in said


@pytest.mark.parametrize("harm", [lambda content: content[:30], lambda content: b"", lambda content: b"garbage" * 9])
def test_bytes_that_are_no_model_are_refused(harm: Any) -> None:
    of = campaign()
    good = learned(of, 50)
    content = harm(good.bytes)
    said = fault(replace(good, bytes=content, size=len(content), digest=digest(content)), of, None)
    assert said is not None


def test_an_explorer_whose_pmf_shows_nothing_of_what_it_learned_is_not_held_back() -> None:
    of = document({"explorer": "softmax", "lambda": 0.0})
    assert fault(learned(of, 100), of, None) is None


def test_without_the_comparison_to_an_untaught_engine_it_would_be(monkeypatch: pytest.MonkeyPatch) -> None:
    of = document({"explorer": "softmax", "lambda": 0.0})
    answers = iter([False, True])  # the version's own, and that an untaught engine would move
    monkeypatch.setattr(canary, "_moves", lambda *_: next(answers))
    assert fault(learned(of, 100), of, None) is not None


@pytest.mark.parametrize(
    ("bounds", "rewards"),
    [
        ((-5.0, 5.0), (-5.0, 5.0)),
        ((0.0, 1.0), (0.0, 1.0)),
        ((-1e15, 1e15), (-5.0, 5.0)),
        ((100.0, 200.0), (100.0, 110.0)),
        ((-1e9, -100.0), (-110.0, -100.0)),
    ],
)
def test_synthetic_rewards_differ_and_keep_the_bounds(bounds: Sequence[float], rewards: Sequence[float]) -> None:
    assert canary._rewards(*bounds) == rewards


@pytest.mark.parametrize(
    "changes",
    [
        {"contents": []},
        {"contents": [{"id": f"c-{place}"} for place in range(500)]},
        {"contents": [{"id": "only"}], "send_times": {"local_hours": []}, "channels": {"push": {"cost": 0.1}}},
        {"reward": {"bounds": [-1e15, 1e15]}},
        {"reward": {"bounds": [0.0, 1.0], "events": {"opened": 1.0}}},
    ],
    ids=["contents of requests only", "many contents", "one action", "wide bounds", "narrow bounds"],
)
def test_every_campaign_gets_questions_that_an_untaught_engine_answers_and_learns(changes: dict[str, Any]) -> None:
    of = campaign(**changes)
    asked = contexts(of)
    lines = asked.actions.joined()
    assert len(set(lines)) == len(lines) <= canary.MOST_ACTIONS + 1
    with learner_of(of.engine_arguments) as learner:
        assert canary._moves(learner, asked)
