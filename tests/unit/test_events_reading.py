"""The factor lines as the event models read them."""

from math import log1p

import numpy as np
import pytest

from bandit.decide.features import shared_line, squash
from bandit.engine.events.reading import FOLDED, Kind, Token, send_at, tokens_of, unsquashed, user_tokens
from bandit.errors import InvalidInput
from tests.support.event_logs import lines


def test_the_separator_of_a_name_tells_the_type() -> None:
    shared = shared_line({"a": "x", "b": True, "c": ("p", "q"), "d": 0.5, "e": (0.25, -0.5)}, {})
    assert user_tokens(shared).user == (
        Token("a=x", 1.0, Kind.FLAG),
        Token("b!true", 1.0, Kind.FLAG),
        Token("c~p", 1.0, Kind.FLAG),
        Token("c~q", 1.0, Kind.FLAG),
        Token("d", 0.5, Kind.NUMBER),
        Token("e#0", 0.25, Kind.PLACE),
        Token("e#1", -0.5, Kind.PLACE),
    )


def test_a_long_list_of_numbers_is_folded() -> None:
    values = tuple(np.linspace(-1.0, 1.0, 100).tolist())
    tokens = user_tokens(shared_line({"e": values}, {})).user
    assert len(tokens) == FOLDED
    kept = sum(token.value**2 for token in tokens)
    assert kept == pytest.approx(sum(value**2 for value in values), rel=1.0)


def test_history_counts_all_channels_together_as_they_were_before_squashing() -> None:
    history = {"sent_7d_push": 3.0, "sent_7d_email": 2.0, "sent_30d_push": 5.0, "ignored_streak": 4.0}
    read = user_tokens(shared_line({}, history)).history
    assert read == pytest.approx((0.0, log1p(5.0), log1p(5.0), 1.0 - np.exp(-0.5), log1p(4.0), 0.0))


@pytest.mark.parametrize("count", [0.0, 0.5, 1.0, 7.0, 1e6])
def test_unsquashing_gives_the_count_back(count: float) -> None:
    assert unsquashed(squash(count)) == pytest.approx(count)


def test_the_lines_of_an_action_are_found_by_its_index() -> None:
    actions = lines(mask="8001")
    assert send_at(actions, 0) is None
    assert send_at(actions, 1) == (actions.channels[0], actions.contents[0], actions.times[0])
    assert send_at(actions, 2) == (actions.channels[1], actions.contents[3], actions.times[1])
    with pytest.raises(InvalidInput, match="outside"):
        send_at(actions, 3)


@pytest.mark.parametrize("word", ["a#:nan", "a#:inf", "a#:1e16", "a#:x", "a#0:nan"])
def test_a_number_that_is_none_is_refused(word: str) -> None:
    with pytest.raises(InvalidInput, match="not a number"):
        tokens_of(word)


@pytest.mark.parametrize("line", ["|U a=b |H", "shared |U a\nb", "shared |U \u00e9"])
def test_what_is_no_shared_line_is_refused(line: str) -> None:
    with pytest.raises(InvalidInput, match="shared"):
        user_tokens(line)
