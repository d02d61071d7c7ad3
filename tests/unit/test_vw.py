"""`vw`: the engine behind its gate. `_workspace` is the raw engine, where a red twin needs the gate open."""

import random
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from math import inf, isnan, nan
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vowpalwabbit import Workspace

import bandit
from bandit.decide.exploration import draw, with_floor
from bandit.engine import explorers, vw
from bandit.engine.explorers import SPREAD, EngineArguments, Explorer, engine_arguments
from bandit.engine.vw import Engine, Label, digest, engine_version
from bandit.errors import CorruptModel, InvalidInput, InvalidPropensity, SendoptError

ROOT = Path(bandit.__file__).parent.parent
EXPLORERS = ("squarecb", "regcb", "softmax", "bag", "cover", "rnd", "epsilon")
UNWEIGHTED = ("squarecb", "regcb")
SHARED = "shared |U country=us |H sent=2"
ACTIONS = ("|C ch=push |M id=a |T h=8", "|C ch=email |M id=b |T h=18", "|S silence")
DEFAULT = engine_arguments({}, floor=0.02)
GRADIENT = engine_arguments(
    {"explorer": "softmax", "lambda": 10.0, "coin": False}, floor=0.02
)  # whose faults are known in detail
LABEL = Label(action_index=0, reward=1.0, propensity=0.5)

Group = tuple[str, ...]
Event = tuple[str, Group, Label]


def catalogue(size: int = 73) -> Group:
    cells = [
        f"|C ch=c{place % 3} |M id=m{place % 7} fresh:{place / 73} |T h={place % 5} |R days=b{place % 4}"
        for place in range(size - 1)
    ]
    return (*(f"{line} cell={place}" for place, line in enumerate(cells)), "|S silence")


def shared_lines(seed: int) -> Iterator[str]:
    randomness = random.Random(seed)
    while True:
        yield (
            f"shared |U country=c{randomness.randrange(9)} visits:{randomness.random()!r} "
            f"|H sent=b{randomness.randrange(4)} opens:{randomness.randrange(5)}"
        )


def events(seed: int, number: int) -> list[Event]:
    randomness, actions = random.Random(seed), catalogue(12)
    return [
        (
            shared,
            actions,
            Label(
                action_index=randomness.randrange(12),
                reward=randomness.uniform(-1, 1),
                propensity=randomness.uniform(0.01, 1),
            ),
        )
        for shared, _ in zip(shared_lines(seed), range(number), strict=False)
    ]


def taught(arguments: EngineArguments, lessons: Sequence[Event]) -> Engine:
    engine = Engine(arguments)
    for lesson in lessons:
        engine.learn(*lesson)
    return engine


@cache
def taught_engine() -> Engine:
    """One engine for all tests that must leave it as it was."""
    return taught(DEFAULT, events(6, 60))


@cache
def weighted_engine() -> Engine:
    return Engine(engine_arguments({"explorer": "softmax"}, floor=0.02))


def answers(engine: Engine) -> list[list[float]]:
    return [engine.predict(shared, actions) for shared, actions, _ in events(99, 5)]


def answer_from_text(engine: Engine, shared: str, actions: Sequence[str]) -> list[float]:
    scores: list[float] = raw(engine).predict([shared, *actions])
    return scores


def raw(engine: Engine) -> Any:
    return engine._workspace


def output_of(script: str) -> str:
    """What the script prints in a process of its own, which must end well."""
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def prefers_push(engine: Engine) -> bool:
    """Whether push comes to be preferred after 200 lessons that it pays and 200 that email does not."""
    for _ in range(200):
        engine.learn(SHARED, ACTIONS, Label(action_index=0, reward=1.0, propensity=0.5))
        engine.learn(SHARED, ACTIONS, Label(action_index=1, reward=0.0, propensity=0.5))
    push, email, _ = engine.predict(SHARED, ACTIONS)
    return push > 2 * email


# --- Every explorer -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("explorer", EXPLORERS)
def test_every_explorer_of_the_allow_list_predicts_and_learns(explorer: str) -> None:
    with taught(engine_arguments({"explorer": explorer}, floor=0.02), events(1, 30)) as engine:
        for shared, actions, _ in events(2, 10):
            scores = engine.predict(shared, actions)
            assert len(scores) == len(actions)
            assert all(0 <= score <= 1 for score in scores)
            assert sum(scores) > 0.999


@pytest.mark.parametrize("explorer", EXPLORERS)
def test_the_order_of_the_actions_is_irrelevant(explorer: str) -> None:
    engine = taught(engine_arguments({"explorer": explorer}, floor=0.02), events(24, 60))
    for shared, actions, _ in events(25, 10):
        straight = engine.predict(shared, actions)
        turned = engine.predict(shared, actions[::-1])
        assert turned[::-1] == pytest.approx(straight, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("explorer", EXPLORERS)
def test_features_that_were_never_seen_leave_a_pmf_above_the_floor(explorer: str) -> None:
    engine = taught(engine_arguments({"explorer": explorer}, floor=0.02), events(26, 60))
    strange = (*catalogue(12), "|C ch=fax |M id=new topic=unheard weight:7.5 |T h=3 |R days=never")
    scores = engine.predict("shared |U planet=mars visits:123.0 |H sent_moon:4", strange)
    pmf = with_floor(scores, 0.02)
    assert len(pmf) == 13
    assert float(pmf.sum()) == pytest.approx(1.0, abs=1e-12)
    assert float(pmf.min()) >= 0.02 / 13


def extremes(explorer: str) -> Iterator[Explorer]:
    for name, option in {**explorers._options_of(explorer), **explorers._COMMON}.items():
        if option.kind is bool:
            yield from ({"explorer": explorer, name: value} for value in (False, True))
        elif name not in ("min_reward", "max_reward"):
            values = (option.lowest, option.highest)
            yield from ({"explorer": explorer, name: option.kind(value)} for value in values)
    if explorer == "regcb":
        yield {"explorer": explorer, "min_reward": -1e9, "max_reward": 1e9}
        yield {"explorer": explorer, "min_reward": 0.9, "max_reward": 1.0}


@pytest.mark.parametrize("explorer", EXPLORERS)
def test_those_that_learn_unweighted_do_so_at_a_rate_unless_coin_betting_is_asked_for(explorer: str) -> None:
    by_default = "--coin" in engine_arguments({"explorer": explorer}, floor=0.02).text
    assert by_default is (explorer not in UNWEIGHTED)
    assert "--coin" in engine_arguments({"explorer": explorer, "coin": True}, floor=0.02).text


@pytest.mark.parametrize("explorer", EXPLORERS)
def test_at_the_ends_of_every_range_the_scores_still_make_a_pmf(explorer: str) -> None:
    for document in extremes(explorer):
        with Engine(engine_arguments(document, floor=0.02)) as engine:
            for lesson in events(23, 25):
                with_floor(engine.predict(*lesson[:2]), 0.02)
                engine.learn(*lesson)


# --- Prediction -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("explorer", EXPLORERS)
def test_a_cached_prediction_equals_the_prediction_from_text_exactly(explorer: str) -> None:
    randomness, actions = random.Random(3), catalogue(20)
    engine = Engine(engine_arguments({"explorer": explorer}, floor=0.02))
    for place, (shared, lesson) in enumerate(zip(shared_lines(4), events(5, 60), strict=False)):
        eligible = randomness.sample(actions, randomness.randrange(1, 21))
        assert engine.predict(shared, eligible) == answer_from_text(engine, shared, eligible)
        assert engine.predict(shared, actions) == answer_from_text(engine, shared, actions)
        engine.learn(*lesson)
        if place % 20 == 19:
            engine = Engine(engine.arguments, engine.to_bytes())


words = st.text("abcUCMTHSR019_.=%-~!", min_size=1, max_size=6)
features = st.one_of(words, st.builds("{}:{!r}".format, words, st.floats(-9, 9).map(lambda x: round(x, 12))))
namespaces = st.builds("|{} {}".format, st.sampled_from("UHCMTRSXa"), st.lists(features, max_size=4).map(" ".join))
lines = st.lists(namespaces, min_size=1, max_size=4).map(" ".join)


@settings(derandomize=True, deadline=None)
@given(lines, st.lists(lines, min_size=1, max_size=6))
def test_any_lines_that_are_accepted_give_the_prediction_from_text(context: str, actions: list[str]) -> None:
    assert taught_engine().predict(f"shared {context}", actions) == answer_from_text(
        taught_engine(), f"shared {context}", actions
    )


def test_an_engine_that_forgot_what_it_parsed_predicts_the_same() -> None:
    engine = taught_engine()
    before = answers(engine)
    engine.forget_parsed()
    assert (engine._examples, engine._older_examples, engine._groups) == ({}, {}, {})
    assert answers(engine) == before


@pytest.mark.parametrize("explorer", EXPLORERS)
@pytest.mark.parametrize("coin", [True, False])
def test_experience_grows_with_what_is_taught_and_is_saved(explorer: str, coin: bool) -> None:
    arguments = engine_arguments({"explorer": explorer, "coin": coin}, floor=0.02)
    engine = Engine(arguments)
    found = [engine.experience()]
    for seed in range(4):
        for lesson in events(seed, 15):
            engine.learn(*lesson)
        found.append(engine.experience())
    assert found[0] == 0.0
    assert all(one < two for one, two in pairwise(found))
    assert Engine(arguments, engine.to_bytes()).experience() == found[-1]


def test_equal_lines_in_one_group_are_separate_actions() -> None:
    engine = taught(DEFAULT, events(7, 40))
    actions = [*catalogue(12)[:3], catalogue(12)[1]]

    assert engine.predict(SHARED, actions) == answer_from_text(engine, SHARED, actions)


def test_one_example_twice_in_a_group_would_give_wrong_numbers() -> None:
    engine = taught(DEFAULT, events(7, 40))
    actions = [*catalogue(12)[:3], catalogue(12)[1]]
    examples = {line: raw(engine).example(line) for line in set(actions)}
    scores = raw(engine).predict([raw(engine).example(SHARED), *(examples[line] for line in actions)])

    assert scores != answer_from_text(engine, SHARED, actions)


def test_the_cache_stays_small_whatever_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vw, "CACHED_EXAMPLES", 50)
    monkeypatch.setattr(vw, "CACHED_GROUP_LINES", 35)
    engine = taught(DEFAULT, events(8, 20))
    for turn in range(60):
        actions = [f"|C ch=push |M id=m{turn // 3}_{place}" for place in range(7)][turn % 3 :]
        assert engine.predict(SHARED, actions) == answer_from_text(engine, SHARED, actions)
        assert len(engine._examples) < 50 + 7
        assert sum(map(len, engine._groups)) < 35 + 7


@pytest.mark.parametrize("explorer", ["squarecb", "regcb", "softmax", "bag", "cover", "rnd", "epsilon"])
def test_predictions_between_lessons_are_those_from_text(explorer: str) -> None:
    engine = Engine(engine_arguments({"explorer": explorer}, floor=0.02))
    for place, lesson in enumerate(events(11, 60)):
        shared, actions, _ = lesson
        eligible = actions[: 1 + place % len(actions)]
        assert engine.predict(shared, eligible) == engine.predict(shared, eligible)
        engine.learn(*lesson)
        assert engine.predict(shared, eligible) == answer_from_text(engine, shared, eligible)


def test_the_cache_grows_to_one_group_that_is_larger_and_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vw, "CACHED_EXAMPLES", 10)
    engine, actions = Engine(DEFAULT), catalogue(30)
    engine.predict(SHARED, actions)
    first = engine._examples[actions[0]]
    for place in range(3):
        engine.predict(SHARED, [*actions, f"|C ch=push |M id=new{place}"])
    engine.predict(SHARED, actions)

    assert engine._examples[actions[0]] is first
    assert len(engine._examples) + len(engine._older_examples) <= 2 * len(actions) + 3


def test_a_group_larger_than_the_cache_is_predicted_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vw, "CACHED_EXAMPLES", 10)
    engine, actions = taught(DEFAULT, events(8, 20)), catalogue(73)

    assert engine.predict(SHARED, actions) == answer_from_text(engine, SHARED, actions)
    assert engine.predict(SHARED, actions[:9]) == answer_from_text(engine, SHARED, actions[:9])


GROWTH = """
import os
from pathlib import Path
from tests.unit.test_vw import DEFAULT, SHARED, Engine, catalogue, raw, shared_lines
def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
engine, actions, lines = Engine(DEFAULT), catalogue(), shared_lines(9)
def predict(times):
    for _ in range(times):
        engine.predict(next(lines), actions)
predict(500)
before = resident_mb()
predict(10_000)
after = resident_mb()
kept = [raw(engine).example(SHARED) for _ in range(1_000)]
print(after - before, resident_mb() - after)
"""


@pytest.mark.process
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_ten_thousand_predictions_do_not_grow_the_memory_and_one_leak_in_ten_would_show() -> None:
    predicted, leaked = map(float, output_of(GROWTH).split())

    assert predicted < 5
    assert leaked > 5


HOSTILE_ACTIONS = (
    "",
    "C ch=push",
    "0:-1:0.5 |C ch=push",
    "shared |U country=us",
    "|C ch=push\n|C ch=email",
    "|C ch=push\r|C ch=email",
    "|C ch=push\0",
    "|C ch=push\t|C ch=email",
    "|C ch=p\u00fcsh",
    "|C ch=push\u2028",
    "|C x:nan",
    "|C x:inf",
    "|C x:-inf",
    "|C x:1e10",
    "|C x:1e309",
    "|C x:abc",
    "|C x:",
    "|C x: ",
    "|C x:2.2e-178",
)
HOSTILE_SHARED = (
    "",
    "|U country=us",
    "shared",
    "shared country=us",
    " shared |U country=us",
    "shared |U country=us\n|C ch=push",
    "shared |U country=us\r",
    "shared |U country=us\0",
    "shared |U x:nan",
    "shared |U x:1e10",
)


@pytest.mark.parametrize("line", HOSTILE_ACTIONS)
def test_a_hostile_action_line_never_reaches_the_engine(line: str) -> None:
    before = answers(taught_engine())
    with pytest.raises(InvalidInput, match="actions"):
        taught_engine().predict(SHARED, (ACTIONS[0], line))
    with pytest.raises(InvalidInput, match="actions"):
        taught_engine().learn(SHARED, (ACTIONS[0], line), LABEL)

    assert answers(taught_engine()) == before
    assert line not in taught_engine()._examples


@pytest.mark.parametrize("line", HOSTILE_SHARED)
def test_a_hostile_shared_line_never_reaches_the_engine(line: str) -> None:
    before = answers(taught_engine())
    with pytest.raises(InvalidInput, match="shared"):
        taught_engine().predict(line, ACTIONS)
    with pytest.raises(InvalidInput, match="shared"):
        taught_engine().learn(line, ACTIONS, LABEL)

    assert answers(taught_engine()) == before


def test_no_actions_never_reach_the_engine() -> None:
    with pytest.raises(InvalidInput, match="at least one"):
        taught_engine().predict(SHARED, ())
    with pytest.raises(InvalidInput, match="action_index"):
        taught_engine().learn(SHARED, (), LABEL)


def test_the_raw_engine_answers_a_line_break_with_another_action() -> None:
    assert len(answer_from_text(taught_engine(), SHARED, ["|C ch=push\n|C ch=email", "|S silence"])) == 3


def test_the_raw_engine_learns_a_label_from_an_action_line() -> None:
    engine = taught(GRADIENT, events(12, 20))
    before = engine.predict(SHARED, ACTIONS)
    raw(engine).learn([SHARED, "0:-1:0.5 " + ACTIONS[0], *ACTIONS[1:]])

    assert engine.predict(SHARED, ACTIONS) != before


def test_with_the_check_of_lines_off_the_number_of_examples_gives_a_line_break_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vw, "_check_line", lambda *_: None)
    engine = taught(DEFAULT, events(12, 20))
    before = engine.predict(SHARED, ACTIONS)
    with pytest.raises(InvalidInput, match="read as"):
        engine.learn(SHARED, ("|C ch=push\n|C ch=email", "|S silence"), LABEL)

    assert engine.predict(SHARED, ACTIONS) == before


def with_weight(weight: str) -> tuple[str, Group]:
    return f"shared |U visits:{weight} |H sent:{weight}", (f"|C ch=push x:{weight}", f"|C ch=email x:{weight}")


def learned_share(weight: str) -> float:
    context, actions = with_weight(weight)
    lesson = (context, actions, Label(action_index=0, reward=1.0, propensity=0.5))
    return taught(GRADIENT, [lesson] * 50).predict(context, actions)[0]


def test_a_weight_that_is_too_large_is_refused_because_it_would_teach_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="10000000000"):
        learned_share("10000000000.0")
    assert learned_share("999999999.0") > 0.9

    monkeypatch.setattr(vw, "_check_line", lambda *_: None)
    assert learned_share("10000000000.0") == 0.5


@pytest.mark.parametrize("weight", ["2.225106706158453e-178", "1e300", "inf"])
def test_a_weight_that_the_engine_misreads_is_refused_because_the_pmf_would_be_nan(
    weight: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidInput, match="weight"):
        taught_engine().predict(*with_weight(weight))

    monkeypatch.setattr(vw, "_check_line", lambda *_: None)
    assert all(isnan(score) for score in taught_engine().predict(*with_weight(weight)))


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.floats(-1e9, 1e9), st.integers(-120, 0))
def test_an_accepted_weight_is_read_by_the_engine_as_written(mantissa: float, exponent: int) -> None:
    weight = mantissa * 10.0**exponent
    line = f"|C x:{weight!r}"
    if vw._BAD_WEIGHT.search(line):
        assert abs(weight) < 1e-99 or abs(weight) >= 1e9
        return
    example = raw(taught_engine()).example(line)
    read = example.feature_weight("C", 0) if example.num_features_in("C") else 0.0
    assert read == pytest.approx(weight, rel=1e-5, abs=1e-18)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.floats(-1e15, 1e15), st.floats(1e-25, 1))
def test_a_label_is_read_by_the_engine_as_written(reward: float, propensity: float) -> None:
    example = raw(weighted_engine()).parse(f"{vw._label_text(reward, propensity)} |C x")[0]

    assert example.get_cbandits_cost(0) == pytest.approx(-reward, rel=1e-6, abs=1e-24)
    assert example.get_cbandits_probability(0) == pytest.approx(propensity, rel=1e-6)
    raw(weighted_engine()).finish_example([example])


# --- The gate for labels ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("propensity", [0.0, -0.5, 1.0000001, nan, inf, -inf, 1e-46])
def test_a_propensity_outside_zero_to_one_is_refused(propensity: float) -> None:
    before = answers(taught_engine())
    with pytest.raises(InvalidPropensity):
        taught_engine().learn(SHARED, ACTIONS, Label(action_index=0, reward=1.0, propensity=propensity))

    assert answers(taught_engine()) == before


@pytest.mark.parametrize(("index", "reward"), [(0, nan), (0, inf), (0, -inf), (0, 1e16), (3, 1.0), (-1, 1.0)])
def test_a_reward_or_an_index_that_cannot_be_is_refused(index: int, reward: float) -> None:
    before = answers(taught_engine())
    with pytest.raises(InvalidInput):
        taught_engine().learn(SHARED, ACTIONS, Label(action_index=index, reward=reward, propensity=0.5))

    assert answers(taught_engine()) == before


def test_the_lowest_propensity_and_the_largest_rewards_leave_an_engine_that_learns() -> None:
    engine = Engine(engine_arguments({"explorer": "softmax", "lambda": 10.0}, floor=0.02))
    engine.learn(SHARED, ACTIONS, Label(action_index=1, reward=-1.0, propensity=vw.SMALLEST_NUMBER))
    assert prefers_push(engine)

    engine.learn(SHARED, ACTIONS, Label(action_index=1, reward=1e15, propensity=1e-6))
    engine.learn(SHARED, ACTIONS, Label(action_index=1, reward=-1e15, propensity=1e-6))
    assert not any(isnan(score) for score in engine.predict(SHARED, ACTIONS))


def weighted_arguments(clip: str) -> EngineArguments:
    text = engine_arguments({"explorer": "softmax", "lambda": 10.0, "coin": False}, floor=0.02).text
    return EngineArguments(text=text.replace("--clip_p 0.02", f"--clip_p {clip}"))


@pytest.mark.parametrize("propensity", [0.0, -1.0, nan])
def test_without_the_gate_one_label_freezes_an_unclipped_model_for_good(
    propensity: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vw, "_check_label", lambda *_: None)
    poison = (SHARED, ACTIONS, Label(action_index=1, reward=-1.0, propensity=propensity))

    frozen = taught(weighted_arguments("0.0"), [poison])
    before = frozen.predict(SHARED, ACTIONS)
    assert not prefers_push(frozen)
    assert frozen.predict(SHARED, ACTIONS) == before


@pytest.mark.parametrize("clip", ["0.0", "0.02"])
def test_behind_the_gate_a_model_that_was_offered_the_same_label_learns(clip: str) -> None:
    engine = Engine(weighted_arguments(clip))
    with pytest.raises(InvalidPropensity):
        engine.learn(SHARED, ACTIONS, Label(action_index=1, reward=-1.0, propensity=0.0))

    assert prefers_push(engine)


def test_the_clip_alone_also_withstands_a_propensity_of_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vw, "_check_label", lambda *_: None)
    poison = (SHARED, ACTIONS, Label(action_index=1, reward=-1.0, propensity=0.0))

    assert prefers_push(taught(weighted_arguments("0.02"), [poison]))


def test_without_the_gate_an_infinite_reward_leaves_nothing_but_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vw, "_check_label", lambda *_: None)
    engine = taught(GRADIENT, [(SHARED, ACTIONS, Label(action_index=1, reward=-inf, propensity=0.5))])

    assert any(isnan(score) for score in engine.predict(SHARED, ACTIONS))


def test_a_higher_reward_makes_an_action_likelier() -> None:
    assert prefers_push(Engine(DEFAULT))


def weights_of_one_lesson(engine: Engine, lesson_at: int, *, through_the_gate: bool) -> list[float]:
    """What is learned of push, when it is the first or the last of two actions."""
    actions = ACTIONS[:2] if lesson_at == 0 else ACTIONS[1::-1]
    if through_the_gate:
        engine.learn(SHARED, actions, Label(action_index=lesson_at, reward=1.0, propensity=0.03))
    else:
        lines = list(actions)
        lines[lesson_at] = f"0:-1:0.03 {lines[lesson_at]}"
        raw(engine).learn([SHARED, *lines])
    return [raw(engine).get_weight(index) for index in range(2**18)]


@pytest.mark.parametrize("explorer", [name for name in EXPLORERS if name != "cover"])  # learns of every action at once
def test_what_is_learned_does_not_depend_on_the_place_of_the_action_in_its_group(explorer: str) -> None:
    arguments = engine_arguments({"explorer": explorer, "bits": 18, "coin": False}, floor=0.02)
    first, last = (weights_of_one_lesson(Engine(arguments), place, through_the_gate=True) for place in (0, 1))

    assert any(first)
    assert first == last


@pytest.mark.parametrize("explorer", UNWEIGHTED)
def test_the_raw_engine_learns_the_last_action_of_a_group_with_another_weight(explorer: str) -> None:
    arguments = engine_arguments({"explorer": explorer, "bits": 18, "coin": False}, floor=0.02)
    first, last = (weights_of_one_lesson(Engine(arguments), place, through_the_gate=False) for place in (0, 1))

    assert first != last


def weights_of_lessons(arguments: EngineArguments, among: int, *, whole_group: bool) -> list[float]:
    """What 20 events of one user teach, each with its action among so many."""
    engine = Engine(arguments)
    for place in range(20):
        actions = [catalogue()[place], *catalogue()[20 : 19 + among]]
        if whole_group:
            raw(engine).learn([SHARED, f"0:-1:1 {actions[0]}", *actions[1:]])
        else:
            engine.learn(SHARED, actions, LABEL)
    return [raw(engine).get_weight(index) for index in range(2**18)]


@pytest.mark.parametrize("explorer", UNWEIGHTED)
def test_what_is_learned_does_not_depend_on_how_many_other_actions_there_were(explorer: str) -> None:
    arguments = engine_arguments({"explorer": explorer, "bits": 18}, floor=0.02)
    few, many = (weights_of_lessons(arguments, among, whole_group=False) for among in (3, 40))

    assert any(few)
    assert few == many


@pytest.mark.parametrize("explorer", UNWEIGHTED)
def test_the_raw_engine_learns_less_of_an_action_that_was_one_of_many(explorer: str) -> None:
    arguments = engine_arguments({"explorer": explorer, "bits": 18}, floor=0.02)
    few, many = (weights_of_lessons(arguments, among, whole_group=True) for among in (3, 40))

    assert sum(map(abs, many)) < 0.8 * sum(map(abs, few))


def silent_share_where_clicks_are_rare(spread: float) -> float:
    """Share of silence in the second half of 3,000 decisions; every send brings five times its cost, in rare clicks."""
    engine = Engine(engine_arguments({"spread": spread, "bits": 18}, floor=0.02))
    actions, randomness, users, silent = catalogue(), random.Random(31), shared_lines(31), 0
    for number in range(3_000):
        user = next(users)
        pmf = with_floor(engine.predict(user, actions), 0.02)
        place = draw(pmf, randomness.random())
        clicked = randomness.random() < 0.005
        reward = 0.0 if place == 72 else clicked - 0.001
        engine.learn(user, actions, Label(action_index=place, reward=reward, propensity=float(pmf[place])))
        silent += number >= 1_500 and place == 72
    return silent / 1_500


def test_rare_rewards_do_not_silence_the_policy_although_every_send_pays() -> None:
    assert silent_share_where_clicks_are_rare(SPREAD) < 0.3


def test_without_the_spread_they_would() -> None:
    assert silent_share_where_clicks_are_rare(0.0) > 0.6


def test_the_two_lessons_of_an_event_leave_its_reward_as_it_is() -> None:
    engine = Engine(engine_arguments({"gamma_scale": 1.0, "gamma_exponent": 0.0}, floor=0.02))
    for _ in range(300):
        engine.learn(SHARED, ACTIONS, Label(action_index=0, reward=0.5, propensity=0.5))
        engine.learn(SHARED, ACTIONS, Label(action_index=1, reward=0.5, propensity=0.5))
        engine.learn(SHARED, ACTIONS, Label(action_index=2, reward=0.0, propensity=0.5))

    # squarecb gives what is worse by a gap of 0.5 a probability of 1 / (3 + gamma 0.5).
    assert engine.predict(SHARED, ACTIONS)[2] == pytest.approx(1 / 3.5, rel=0.03)


# --- Bytes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("explorer", EXPLORERS)
def test_a_loaded_model_predicts_exactly_what_the_saved_one_did(explorer: str) -> None:
    engine = taught(engine_arguments({"explorer": explorer}, floor=0.02), events(13, 50))

    assert answers(Engine(engine.arguments, engine.to_bytes())) == answers(engine)


@pytest.mark.parametrize("explorer", EXPLORERS)
def test_ten_saves_and_loads_equal_one_uninterrupted_run_exactly(explorer: str) -> None:
    lessons = events(14, 100)
    engine = Engine(engine_arguments({"explorer": explorer}, floor=0.02))
    for start in range(0, 100, 10):
        for lesson in lessons[start : start + 10]:
            engine.learn(*lesson)
            engine.predict(*lesson[:2])
        engine = Engine(engine.arguments, engine.to_bytes())

    assert answers(engine) == answers(taught(engine.arguments, lessons))


@pytest.mark.parametrize("explorer", ["cover", "rnd"])
def test_without_the_state_of_every_learner_a_loaded_model_learns_on_differently(explorer: str) -> None:
    text = engine_arguments({"explorer": explorer, "coin": False, "power_t": 0.5}, floor=0.02).text
    engine = taught(EngineArguments(text=text.replace(" --per_model_save_load", "")), events(14, 50))
    loaded = Engine(engine.arguments, engine.to_bytes())
    assert answers(loaded) == answers(engine)

    for lesson in events(22, 50):
        engine.learn(*lesson)
        loaded.learn(*lesson)
    assert answers(loaded) != answers(engine)


@pytest.mark.parametrize(
    "other",
    [{"gamma_scale": 999.0}, {"bits": 18}, {"coin": True}, {"explorer": "epsilon"}, {"explorer": "bag"}],
)
def test_a_model_with_other_arguments_than_its_manifest_is_refused(other: dict[str, str | float]) -> None:
    model = taught(engine_arguments(other, floor=0.02), events(15, 20)).to_bytes()
    with pytest.raises(CorruptModel, match="manifest"):
        Engine(DEFAULT, model)


def test_a_model_with_another_floor_is_refused() -> None:
    with pytest.raises(CorruptModel, match="manifest"):
        Engine(DEFAULT, Engine(engine_arguments({}, floor=0.05)).to_bytes())


@pytest.mark.parametrize("model", [b"", b"\x00", b"not a model" * 100])
def test_bytes_that_are_no_model_are_refused(model: bytes) -> None:
    with pytest.raises(CorruptModel, match="do not load"):
        Engine(DEFAULT, model)


ALTERED_BYTES = """
import random
from tests.unit.test_vw import DEFAULT, Engine, CorruptModel, answers, digest, events, taught
randomness, model = random.Random(16), taught(DEFAULT, events(16, 60)).to_bytes()
tally = {"refused": 0, "loaded": 0}
for turn in range(120):
    place = randomness.randrange(len(model) if turn % 3 else 600)
    flipped = model[:place] + bytes([model[place] ^ 1 << randomness.randrange(8)]) + model[place + 1:]
    altered = model[:place] if turn % 2 else flipped
    assert digest(altered) != digest(model)
    try:
        with Engine(DEFAULT, altered) as engine:
            answers(engine)
            engine.learn(*events(17, 1)[0])
            engine.to_bytes()
        tally["loaded"] += 1
    except CorruptModel:
        tally["refused"] += 1
print(tally["refused"], tally["loaded"])
"""


@pytest.mark.process
def test_altered_bytes_are_refused_or_load_but_never_kill_the_process() -> None:
    refused, loaded = map(int, output_of(ALTERED_BYTES).split())

    assert refused > 10
    assert loaded > 10  # which is why the digest is compared first


def test_a_model_is_loaded_from_a_private_file_with_no_option_of_its_own_and_the_file_is_gone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = taught(DEFAULT, events(18, 20)).to_bytes()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    loads: list[list[str]] = []

    def spied(arg_list: list[str]) -> Any:
        if "-i" in arg_list:
            loads.append(arg_list)
            assert stat.S_IMODE(Path(arg_list[1]).stat().st_mode) == 0o600
        return Workspace(arg_list=arg_list)

    monkeypatch.setattr(vw, "Workspace", spied)
    engine = Engine(DEFAULT, model)

    assert [[load[0], *load[2:]] for load in loads] == [["-i", "--quiet"]]
    assert engine.to_bytes()
    assert list(tmp_path.iterdir()) == []


def test_a_temporary_folder_with_a_space_in_its_name_is_no_obstacle(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    engine = taught(DEFAULT, events(19, 20))

    assert answers(Engine(DEFAULT, engine.to_bytes())) == answers(engine)


def test_an_option_given_at_load_would_silently_replace_the_saved_one(tmp_path: Path) -> None:
    path = tmp_path / "model"
    engine = taught(engine_arguments({"explorer": "epsilon", "epsilon": 0.5}, floor=0.02), events(20, 20))
    path.write_bytes(engine.to_bytes())
    replaced = Workspace(arg_list=["-i", str(path), "--quiet", "--epsilon", "0"])

    assert min(engine.predict(SHARED, ACTIONS)) > 0.1
    assert min(replaced.predict([SHARED, *ACTIONS])) == 0.0


# --- The end ----------------------------------------------------------------------------------------------------


def test_closing_twice_does_nothing_and_a_closed_engine_refuses_work() -> None:
    with taught(DEFAULT, events(21, 5)) as engine:
        engine.predict(SHARED, ACTIONS)
        engine.close()
    with pytest.raises(SendoptError, match="closed"):
        engine.predict(SHARED, ACTIONS)
    with pytest.raises(SendoptError, match="closed"):
        engine.learn(SHARED, ACTIONS, LABEL)
    with pytest.raises(SendoptError, match="closed"):
        engine.to_bytes()


def test_a_digest_is_sha_256_in_hexadecimal() -> None:
    assert digest(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_version_of_the_engine_is_the_one_that_the_notes_were_measured_with() -> None:
    assert engine_version().startswith("9.")
