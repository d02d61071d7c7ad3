"""The draws match the pmf that is logged. Every number here is a fixed function of the ids: nothing is flaky."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from bandit.decide.exploration import Pmf, draw, draw_number, one_hot, uniform, with_floor
from tests.support.chisquare import p_value

N = 20_000
LEAST_P_VALUE = 0.001

RARE = np.array([0.992, *[0.0004] * 20])
PMFS = {
    "uniform": uniform(73),
    "greedy with a floor": with_floor(one_hot(73, 40), 0.02),
    "many rare ones": RARE,
    "one rare one": np.array([0.0004, 0.9996]),
    "geometric": with_floor([0.5**place for place in range(30)], 0.0),
    "engine-like": with_floor([1 / (73 + 1_000 * gap / 73) for gap in range(73)], 0.02),
}


def exact(pmf: Pmf, u: float) -> int:
    return draw(pmf, u)


def bucketed(pmf: Pmf, u: float) -> int:
    """A sampler with 1,000 buckets, each action getting its rounded share; the first takes what is left over."""
    shares = np.round(pmf * 1_000).astype(int)
    shares[0] += 1_000 - shares.sum()
    return int(np.cumsum(shares).searchsorted(int(u * 1_000), side="right"))


def counts(pmf: Pmf, sampler: Callable[[Pmf, float], int], salt: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    drawn = [sampler(pmf, draw_number(salt, f"decision-{place}")) for place in range(N)]
    return np.bincount(drawn, minlength=len(pmf))


@pytest.mark.parametrize("name", PMFS)
def test_the_draws_match_the_pmf(name: str) -> None:
    assert p_value(PMFS[name], counts(PMFS[name], exact, name)) > LEAST_P_VALUE


def test_the_draws_of_a_sampler_with_a_thousand_buckets_do_not_match_the_pmf() -> None:
    assert p_value(RARE, counts(RARE, bucketed, "many rare ones")) < LEAST_P_VALUE


def test_an_action_of_probability_four_in_ten_thousand_is_drawn_as_often_as_that() -> None:
    observed = counts(RARE, exact, "rare")[1:]
    expected = 20 * 0.0004 * N

    assert abs(observed.sum() - expected) < 4 * expected**0.5
    assert observed.min() >= 1
    assert counts(RARE, bucketed, "rare")[1:].sum() == 0


def test_the_numbers_to_draw_with_are_uniform() -> None:
    numbers = [draw_number("salt", f"decision-{place}") for place in range(N)]

    assert stats.kstest(numbers, "uniform").pvalue > LEAST_P_VALUE


def test_two_salts_give_unrelated_numbers_for_the_same_decisions() -> None:
    one, other = (np.array([draw_number(salt, str(place)) for place in range(N)]) for salt in ("a", "b"))

    assert abs(np.corrcoef(one, other)[0, 1]) < 4 / N**0.5
