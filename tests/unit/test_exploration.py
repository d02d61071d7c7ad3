"""`exploration`: what a pmf must hold whatever the engine answers."""

from hashlib import blake2b
from math import fsum, inf, nan, nextafter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandit.decide.exploration import Pmf, draw, draw_number, one_hot, uniform, with_floor
from bandit.errors import InvalidPropensity

LAST_NUMBER = 1 - 2.0**-53
scores_lists = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=300).filter(lambda scores: sum(scores) > 0)
floors = st.floats(0, 1)
seeded = settings(derandomize=True, deadline=None)


@seeded
@given(scores_lists, floors)
def test_a_pmf_with_a_floor_sums_to_one_in_float64(scores: list[float], floor: float) -> None:
    pmf = with_floor(scores, floor)

    assert pmf.dtype == np.float64
    assert abs(fsum(pmf) - 1) <= 4e-16 * max(4, len(scores) ** 0.5)


@seeded
@given(scores_lists, floors)
def test_no_action_is_below_its_share_of_the_floor(scores: list[float], floor: float) -> None:
    assert with_floor(scores, floor).min() >= floor / len(scores)


def test_a_floor_made_by_clipping_and_renormalising_is_broken() -> None:
    scores, floor = np.array([0.9, 0.1, 0.0, 0.0]), 0.2
    clipped = np.maximum(scores, floor / 4)

    assert (clipped / clipped.sum()).min() < floor / 4
    assert with_floor(scores, floor).min() >= floor / 4


@seeded
@given(scores_lists, floors)
def test_the_order_of_the_scores_is_kept(scores: list[float], floor: float) -> None:
    pmf = with_floor(scores, floor)
    order = np.argsort(scores, kind="stable")

    assert (np.diff(pmf[order]) >= 0).all()


def test_scores_of_any_sum_are_renormalised_before_the_floor_is_mixed_in() -> None:
    np.testing.assert_allclose(with_floor([1.0, 0.0, 1.0], 0.3), [0.45, 0.1, 0.45], rtol=1e-15)


def test_the_scores_are_left_as_they_were() -> None:
    scores = np.array([2.0, 2.0])
    with_floor(scores, 0.5)

    assert scores.tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    "scores",
    [[], [nan, 1.0], [inf, 1.0], [-inf, 1.0], [inf, -inf], [-0.1, 1.1], [0.0, 0.0], [1e308, 1e308], [[0.5, 0.5]]],
)
def test_scores_that_are_no_pmf_are_refused(scores: list[float]) -> None:
    with pytest.raises(InvalidPropensity):
        with_floor(scores, 0.02)


@pytest.mark.parametrize("floor", [nan, inf, -0.01, 1.01])
def test_a_floor_outside_zero_to_one_is_refused(floor: float) -> None:
    with pytest.raises(InvalidPropensity, match="floor"):
        with_floor([0.5, 0.5], floor)


@pytest.mark.parametrize("k", [1, 3, 73, 4_999])
def test_a_uniform_pmf_sums_to_one(k: int) -> None:
    assert abs(fsum(uniform(k)) - 1) <= 1e-12


def test_a_one_hot_pmf_draws_its_action_whatever_the_number() -> None:
    pmf = one_hot(5, 3)

    assert pmf.tolist() == [0, 0, 0, 1, 0]
    assert {draw(pmf, u) for u in (0.0, 0.5, LAST_NUMBER)} == {3}


@pytest.mark.parametrize("k", [0, -1])
def test_a_uniform_pmf_over_nothing_is_refused(k: int) -> None:
    with pytest.raises(InvalidPropensity):
        uniform(k)


@pytest.mark.parametrize(("k", "index"), [(0, 0), (3, 3), (3, -1)])
def test_a_one_hot_pmf_outside_its_actions_is_refused(k: int, index: int) -> None:
    with pytest.raises(InvalidPropensity):
        one_hot(k, index)


@seeded
@given(st.text(max_size=8), st.text(max_size=8))
def test_a_draw_number_is_in_zero_to_one(salt: str, decision_id: str) -> None:
    assert 0 <= draw_number(salt, decision_id) < 1


def test_a_draw_number_is_the_same_for_anyone_who_computes_it() -> None:
    bits = int.from_bytes(blake2b(b"8:reengage01JD", digest_size=8).digest(), "big") >> 11

    assert draw_number("reengage", "01JD") == bits / 2**53 == 0.4299542200501162


@seeded
@given(
    st.tuples(st.text("0:1a", max_size=4), st.text("0:1a", max_size=4)),
    st.tuples(st.text("0:1a", max_size=4), st.text("0:1a", max_size=4)),
)
def test_two_pairs_of_salt_and_id_share_a_number_only_if_they_are_equal(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    assert (draw_number(*one) == draw_number(*other)) is (one == other)


def test_without_the_length_in_front_two_pairs_would_share_a_number() -> None:
    def joined(salt: str, decision_id: str) -> bytes:
        return blake2b(f"{salt}{decision_id}".encode()).digest()

    assert joined("ab", "c") == joined("a", "bc")
    assert draw_number("ab", "c") != draw_number("a", "bc")


@seeded
@given(scores_lists, floors, st.floats(0, LAST_NUMBER))
def test_a_draw_is_the_inverse_of_the_cumulated_pmf(scores: list[float], floor: float, u: float) -> None:
    pmf = with_floor(scores, floor)
    index = draw(pmf, u)
    cumulated = np.cumsum(pmf)

    assert pmf[index] > 0
    assert index == 0 or cumulated[index - 1] <= u or cumulated[index] == cumulated[-1]
    assert u < cumulated[index] or cumulated[index] == cumulated[-1]


@pytest.mark.parametrize(
    ("pmf", "u", "index"),
    [
        ([0.0, 0.0, 1.0], 0.0, 2),
        ([0.5, 0.0, 0.5], 0.5, 2),
        ([0.5, 0.0, 0.5], nextafter(0.5, 0), 0),
        ([1.0, 0.0, 0.0], LAST_NUMBER, 0),
        ([0.5, 0.5 - 1e-10, 0.0], LAST_NUMBER, 1),  # sums to just below 1
        ([0.5, 0.5 + 1e-10, 0.0], LAST_NUMBER, 1),
    ],
)
def test_an_action_of_probability_zero_is_never_drawn(pmf: list[float], u: float, index: int) -> None:
    assert draw(np.array(pmf), u) == index


def test_a_search_from_the_left_would_draw_an_action_of_probability_zero() -> None:
    pmf = np.array([0.0, 0.0, 1.0])

    assert pmf[np.cumsum(pmf).searchsorted(0.0, side="left")] == 0
    assert pmf[draw(pmf, 0.0)] == 1


@pytest.mark.parametrize("pmf", [[], [0.5], [0.6, 0.5], [nan, 1.0], [0.5, 0.5 - 1e-8]])
def test_a_pmf_that_does_not_sum_to_one_is_not_drawn_from(pmf: list[float]) -> None:
    with pytest.raises(InvalidPropensity, match="sum"):
        draw(np.array(pmf, dtype=np.float64), 0.5)


@pytest.mark.parametrize("u", [-0.1, 1.0, nan])
def test_a_number_outside_zero_to_one_draws_nothing(u: float) -> None:
    pmf: Pmf = uniform(2)
    with pytest.raises(InvalidPropensity, match="number"):
        draw(pmf, u)
