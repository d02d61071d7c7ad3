"""Text that would mean something to the engine, in every place where a caller's text reaches it.

What the lines say is read back by a parser written here from the encoding's description: a line from which the table
can be read belongs to no other table.
"""

import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import combinations, islice
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vowpalwabbit import LabelType, Workspace

from api.edge.payloads import parse_decide
from bandit.campaign.document import Channel
from bandit.decide import features
from bandit.decide.decision import DecisionRecord, LiveCampaign, Model, decide
from bandit.decide.features import features_text, shared_line, squash
from bandit.decide.history import NO_HISTORY
from bandit.domain import Content, DecisionId, Features, FeatureValue, Policy
from bandit.engine.explorers import engine_arguments
from bandit.engine.lines import encode
from bandit.engine.vw import Engine, Label
from bandit.errors import InvalidInput
from tests.support.builders import campaign, request
from tests.support.predictors import EnginePredictor

DECISIONS = 1_000
STRINGS = DECISIONS * 100
CHANNELS, CONTENTS = 2, 8
ACTIONS = 1 + CHANNELS * CONTENTS  # one time: now
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
DOCUMENT = campaign(send_times={"local_hours": []}, policy={"no_send_holdout": 1e-12})

FRAGMENTS = (
    *("|", ":", " ", "\t", "\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x01", "\x7f", "\x85", "\u2028", "\u2029"),
    *("=", "~", "!", "#", ".", "-", "_", "%", "%%", "%7C", "%0A", "%25", "'", '"', "\\", "\\n", "^", "*", ",", ";"),
    *("0:-1:0.5 |C", "\n0:-1:0.5 |C x", "shared |U", "\nshared |U a", "|S silence", "'tag|C", "1:1:1 ", "\n\n"),
    *(":inf", ":nan", ":-1", ":1e39", ":1e-300", "0.5:", "true", "false", "null", "id=", "0", "1", "05", "a", "b"),
    *("é", "e\u0301", "Ω", "你好", "🎉", "👩\u200d👩\u200d👧", "\u200b", "\u202e", "مرحبا", "שלום", "\ufeff"),
    *("\ud7ff", "\ue000", "\uffff", "\U00010000", "\U0010ffff"),  # beside the surrogates, and the ends
)


def hostile_strings(seed: int) -> Iterator[str]:
    """Strings without end, each another one; one in a hundred of the length that a document may have at most."""
    luck = random.Random(seed)
    seen: set[str] = set()
    while True:
        text = "".join(luck.choices(FRAGMENTS, k=luck.randint(1, 8)))
        if luck.random() < 0.01:
            text = (text * 1_024)[:1_024]
        if text not in seen:
            seen.add(text)
            yield text


def hostile_number(luck: random.Random) -> float:
    return luck.choice((-1, 1)) * 10 ** luck.uniform(-20, 15)


# --- the other way: from a line to what it was made of

TOKEN = re.compile(r"([A-Za-z0-9_.%-]+)([=!~#])([A-Za-z0-9_.%-]*)(?::([0-9.e-]+))?")


def read_back(text: str) -> dict[str, FeatureValue]:
    """The table of features; numbers squashed, and without empty lists, of which nothing is written."""
    table: dict[str, Any] = {}
    for token in text.split():
        match = TOKEN.fullmatch(token)
        assert match is not None, token
        name, mark, rest, number = unquote(match[1], errors="strict"), match[2], match[3], match[4]
        if mark == "=":
            table[name] = unquote(rest, errors="strict")
        elif mark == "!":
            table[name] = {"true": True, "false": False}[rest]
        elif mark == "~":
            table[name] = (*table.get(name, ()), unquote(rest, errors="strict"))
        elif rest:
            assert int(rest) == len(table.get(name, ()))
            table[name] = (*table.get(name, ()), float(number))
        else:
            table[name] = float(number)
    return table


def as_written(table: Features) -> dict[str, FeatureValue]:
    """What of the table must be readable from its line."""
    return {name: _as_written(value) for name, value in table.items() if value != ()}


def _as_written(value: FeatureValue) -> FeatureValue:
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        return squash(float(value))
    return tuple(one if isinstance(one, str) else squash(float(one)) for one in value)  # type: ignore[return-value]


def assert_reads_back(text: str, table: Features) -> None:
    found = read_back(text)
    assert found == as_written(table)
    assert [type(value) for value in found.values()] == [type(value) for value in as_written(table).values()]


# --- a decision made of nothing but hostile strings


def hostile_decision(strings: Iterator[str], luck: random.Random, engine: Engine) -> DecisionRecord:
    """Takes 100 strings: 2 channels, 8 contents of 10 each, the user's id and 17 in the user's features."""
    channels = [next(strings) for _ in range(CHANNELS)]
    contents = [hostile_content(strings, luck) for _ in range(CONTENTS)]
    live = LiveCampaign(
        document=DOCUMENT.model_copy(update={"channels": {name: Channel() for name in channels}}),
        version=1,
        paused=False,
    )
    table = {**hostile_table(strings, luck, 5), "topics": (next(strings), next(strings))}
    asked = request(user=next(strings), now=NOW, features=table, contents=contents)
    model = Model(version=1, predictor=EnginePredictor(engine=engine))
    return decide(live, asked, NO_HISTORY, model, decision_id=DecisionId("d"), now=NOW)


def hostile_content(strings: Iterator[str], luck: random.Random) -> Content:
    return Content(id=next(strings), features=hostile_table(strings, luck, 3))


def hostile_table(strings: Iterator[str], luck: random.Random, size: int) -> Features:
    """Of 3 x size strings: a third name texts, a third are these texts, a third name lists, numbers and booleans."""
    table: dict[str, Any] = {}
    for _ in range(size):
        text = next(strings)
        table[next(strings)] = text
        table[next(strings)] = luck.choice(
            [(text, *text[:2]), hostile_number(luck), (hostile_number(luck), 1.0), luck.random() < 0.5]
        )
    return table


def lines_of(record: DecisionRecord) -> list[str]:
    return [record.shared_line, *record.action_lines.joined()]


def raw(engine: Engine) -> Workspace:
    """The engine behind its gate."""
    assert engine._workspace is not None
    return engine._workspace


def parsed_labels(engine: Engine, lines: list[str]) -> list[list[tuple[float, float]]]:
    """Cost and propensity of every label, per example that the engine reads from the lines."""
    examples = raw(engine).parse(lines)
    labels = [example.get_label(LabelType.CONTEXTUAL_BANDIT).costs for example in examples]
    found = [[(label.cost, label.probability) for label in of_one] for of_one in labels]
    raw(engine).finish_example(examples)
    return found


def weights_seen(engine: Engine, line: str) -> list[tuple[int, float]]:
    """What the engine makes of a line: places in its table, and their weights."""
    return sorted(raw(engine).example(line, LabelType.CONTEXTUAL_BANDIT).iter_features())


SHARED_MARK = [(3.4028234663852886e38, -1.0)]  # how the engine says "this line is shared"
PROBE = ("shared |U country=us", ("|C id=push |M id=a", "|C id=email |M id=b", "|S silence"))


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine that has learned something, so that it would show if it learned more."""
    with Engine(engine_arguments({}, floor=0.02)) as engine:
        for turn in range(50):
            engine.learn(*PROBE, Label(action_index=turn % 3, reward=float(turn % 3), propensity=1 / 3))
        yield engine


def test_a_hundred_thousand_hostile_strings_add_no_action_no_label_and_no_feature(engine: Engine) -> None:
    luck, strings = random.Random(1), list(islice(hostile_strings(20261120), STRINGS))
    coming = iter(strings)
    before = engine.predict(*PROBE)
    assert max(before) - min(before) > 0.1
    distinct: set[str] = set()

    for _ in range(DECISIONS):
        record = hostile_decision(coming, luck, engine)
        assert (len(record.eligible), record.pmf.size, record.decision.policy) == (ACTIONS, ACTIONS, Policy.LEARNED)
        lines = lines_of(record)
        assert parsed_labels(engine, lines) == [SHARED_MARK, *[[]] * ACTIONS]
        assert_line_says_what_was_asked(engine, record)
        distinct.update(lines)

    assert next(coming, None) is None
    assert len(distinct) == DECISIONS * ACTIONS + 1  # silence is the same everywhere
    assert engine.predict(*PROBE) == before


def assert_line_says_what_was_asked(engine: Engine, record: DecisionRecord) -> None:
    user, history = record.shared_line.removeprefix("shared |U ").split(" |H ")
    assert history == ""
    assert_reads_back(user, record.request.user.features)
    assert len(weights_seen(engine, record.shared_line)) == len(user.split()) + 1  # and the constant

    candidates, lines = record.eligible.candidates, record.action_lines
    assert [read_back(line.removeprefix("|C ")) for line in lines.channels] == [
        {"id": channel} for channel in candidates.channels
    ]
    for content, line in zip(candidates.contents, lines.contents, strict=True):
        own, recency = line.removeprefix("|M ").split(" |R ")
        name, _, table = own.partition(" ")
        assert read_back(name) == {"id": content.id}
        assert_reads_back(table, content.features)
        assert recency == "since=never kind_since=never"


# --- red twins


@pytest.fixture
def identity_encoding(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lines as they would be without percent-encoding; nothing of it stays in a cache."""
    clear_caches()
    monkeypatch.setattr(features, "encode", str)
    yield
    clear_caches()


def clear_caches() -> None:
    for cache in vars(features).values():
        if hasattr(cache, "cache_clear"):
            cache.cache_clear()


@pytest.mark.usefixtures("identity_encoding")
def test_without_encoding_the_engines_gate_would_refuse_the_decision(engine: Engine) -> None:
    with pytest.raises(InvalidInput):
        hostile_decision(hostile_strings(20261120), random.Random(1), engine)


@pytest.mark.usefixtures("identity_encoding")
@pytest.mark.parametrize(
    "hostile", ["pin\n|M id=free", "pin\n\nshared |U a", "\n", "pin\r\n|C x", "pin\n0:-1:0.5 |C x"]
)
def test_without_encoding_the_number_of_actions_would_be_wrong(engine: Engine, hostile: str) -> None:
    tables: list[Features] = [{hostile: "a"}, {"a": hostile}, {"a": ("b", hostile)}, {hostile: True}]
    for lines in ([shared_line(table, {}), *PROBE[1]] for table in tables):
        assert len(parsed_labels(engine, lines)) > len(lines)


@pytest.mark.usefixtures("identity_encoding")
def test_without_encoding_a_content_id_would_bring_a_label() -> None:
    with Engine(engine_arguments({}, floor=0.02)) as engine:
        line = features.content_line(Content(id="x\n0:-1:0.5 |C free"), None, None)
        assert parsed_labels(engine, ["shared |U a", line]) == [SHARED_MARK, [], [(-1.0, 0.5)]]


@pytest.mark.usefixtures("identity_encoding")
def test_without_encoding_two_tables_would_share_a_line() -> None:
    assert features_text({"a=b": "c"}) == features_text({"a": "b=c"})
    assert features_text({"a": "b c=d"}) == features_text({"a": "b", "c": "d"})


# --- injective

values = st.one_of(
    st.text(max_size=8),
    st.booleans(),
    st.integers(-(10**15), 10**15),
    st.floats(-1e15, 1e15),
    st.lists(st.text(max_size=4), max_size=4).map(tuple),
    st.lists(st.floats(-1e15, 1e15), max_size=4).map(tuple),
)
tables = st.dictionaries(st.text(min_size=1, max_size=6), values, max_size=5)


@settings(derandomize=True, deadline=None, max_examples=400)
@given(tables)
def test_the_table_can_be_read_from_its_text(table: Features) -> None:
    assert_reads_back(features_text(table), table)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.text())
def test_encoded_text_has_nothing_that_the_engine_acts_on_and_reads_back(text: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_.%-]*", encode(text))
    assert unquote(encode(text), errors="strict") == text


# Tables that differ in type, or in where a name ends.
DIFFERENT: tuple[Features, ...] = (
    *({"a": value} for value in (True, False, 1, 2.0, -1, 0.5, "", "1", "1.0", "true", "True", "false")),
    *({"a": value} for value in (("true",), ("",), ("0",), ("1",), ("a",), ("a", "a"), ("a", "b"), (1.0,), (0.5,))),
    *({"a": value} for value in ((1.0, 2.0), (2.0, 1.0), (0.5, 0.5), "=b", "b=c", "b c=d", "a~b", "a#0:1.0", "%62")),
    *({"a=": "b"}, {"a=b": "c"}, {"a": "b", "c": "d"}, {"a~b": 1}, {"a~a": 1}, {"a~0": 1}, {"a!true": 1}, {"a#": 1}),
    *({"a#0": 1}, {"a:": 1}, {"a:1": "x"}, {"a|": "b"}, {"|a": "b"}, {"5": 1}, {"05": 1}, {"005": 1}, {"0": (1.0,)}),
    *({"A": "b"}, {"a ": "b"}, {" a": "b"}, {"é": "b"}, {"e\u0301": "b"}, {"a%20": "b"}, {"a%2520": "b"}, {}),
)


def test_tables_that_differ_only_in_type_or_boundary_differ_in_their_line_and_to_the_engine(engine: Engine) -> None:
    lines = [shared_line(table, {}) for table in DIFFERENT]
    seen = [weights_seen(engine, line) for line in lines]

    assert len(set(lines)) == len(lines)
    assert not [(one, other) for one, other in combinations(range(len(seen)), 2) if seen[one] == seen[other]]


def test_without_the_mark_a_number_named_in_digits_would_be_another_of_the_same_value(engine: Engine) -> None:
    assert weights_seen(engine, "|U 5:1.0") == weights_seen(engine, "|U 05:1.0")
    assert weights_seen(engine, f"|U {features_text({'5': 1})}") != weights_seen(
        engine, f"|U {features_text({'05': 1})}"
    )


def test_the_order_of_texts_in_a_list_is_kept_in_the_line_but_means_nothing_to_the_engine(engine: Engine) -> None:
    one, other = (shared_line({"topics": topics}, {}) for topics in (("art", "food"), ("food", "art")))
    assert one != other
    assert weights_seen(engine, one) == weights_seen(engine, other)


# --- what is the same on purpose


def test_an_empty_list_writes_nothing() -> None:
    assert features_text({"a": (), "b": "c"}).split() == features_text({"b": "c"}).split()


@pytest.mark.parametrize("same", [(1, 1.0), (0, 0.0, -0.0, 9e-21, -9e-21, 5e-324), (3, 3.0), ((1, 2), (1.0, 2.0))])
def test_equal_numbers_are_one_number_and_those_below_what_the_engine_reads_are_zero(
    same: tuple[FeatureValue, ...],
) -> None:
    assert len({features_text({"a": value}) for value in same}) == 1


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.floats(1e-20, 1e15), st.sampled_from((-1.0, 1.0)))
def test_numbers_that_differ_by_a_billionth_stay_different_and_in_order(number: float, sign: float) -> None:
    smaller, larger = sorted((sign * number, sign * number * (1 + 1e-9)))
    assert squash(smaller) < squash(larger)


def test_neighbouring_large_numbers_may_become_one_as_their_logarithms_do() -> None:
    assert features_text({"a": 1e15}) == features_text({"a": 1e15 - 1})


# --- what never gets this far


@pytest.mark.parametrize(
    "place", ['"id": "%s"', '"id": "u", "features": {"%s": 1}', '"id": "u", "features": {"a": "%s"}']
)
def test_half_a_surrogate_pair_is_refused_at_the_edge(place: str) -> None:
    def body(text: str) -> bytes:
        return ('{"campaign": "spring", "user": {"timezone": "UTC", %s}}' % (place % text)).encode()

    assert parse_decide(body(r"\ud83c\udf89")).user.id
    for half in (r"\ud800", r"\udfff", r"\udf89\ud83c"):
        with pytest.raises(InvalidInput):
            parse_decide(body(half))
