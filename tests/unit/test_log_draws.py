"""The arms over which a log's draws are checked: few, whatever the log offers, and blind to what was drawn."""

import numpy as np
import pytest

from bandit.decide.logged import LoggedActions
from bandit.engine.lines import ActionLines
from sim.evaluate.draws import ARMS, ArmDraws
from sim.logs.event import LoggedEvent
from tests.support.logs import event, pmf


def logged_actions(n_times: int) -> LoggedActions:
    """One channel, one content, so many moments."""
    times = tuple(f"2026-03-02T{hour:02d}:00:00Z" for hour in range(n_times))
    lines = ActionLines(("|C id=push",), ("|M id=a |R since=never",), times, f"{2**n_times - 1:x}")
    return LoggedActions(channels=("push",), contents=("a",), times=times, shared_line="shared |U", action_lines=lines)


def drawn_from(probabilities: list[float], n: int, actions: object) -> list[LoggedEvent]:
    """Events of which the logged pmf is `probabilities`, drawn evenly."""
    rng = np.random.default_rng(5)
    places = rng.integers(len(probabilities), size=n)
    numbers = pmf(probabilities)
    return [
        event(action_index=int(place), propensity=probabilities[place], pmf=numbers, actions=actions)
        for place in places
    ]


def test_moments_of_one_message_are_one_arm() -> None:
    """Which moment was drawn is not looked at: even draws pass a pmf that is even between silence and send alone."""
    draws = ArmDraws()
    draws.add(drawn_from([0.25, 0.5, 0.125, 0.125], 4_000, logged_actions(3)))
    assert draws.draws is not None
    assert draws.draws.sample_ratio_p_value() > 0.001
    assert np.count_nonzero(draws.draws.surplus) == 2


def test_a_wrong_share_of_silence_is_seen() -> None:
    draws = ArmDraws()
    draws.add(drawn_from([0.5, 0.25, 0.125, 0.125], 4_000, logged_actions(3)))
    assert draws.draws is not None
    assert draws.draws.sample_ratio_p_value() < 1e-6


def test_more_arms_than_are_kept_share_the_last() -> None:
    n = 2 * ARMS
    draws = ArmDraws()
    draws.add(drawn_from([1.0 / n] * n, 4_000, tuple({"id": place} for place in range(n))))
    assert draws.draws is not None
    assert draws.draws.surplus.shape == (ARMS,)
    assert len(draws._arms) == ARMS - 1
    assert draws.draws.sample_ratio_p_value() > 0.001


@pytest.mark.parametrize("change", [{"pmf": None}, {"actions": None}])
def test_a_row_without_its_pmf_ends_the_check(change: dict[str, None]) -> None:
    draws = ArmDraws()
    draws.add([event()])
    assert draws.draws is not None
    draws.add([event(**change)])
    assert draws.draws is None
