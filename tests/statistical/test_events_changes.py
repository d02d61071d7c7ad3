"""A challenger takes over when users change, and not when their events get lost or their level moves."""

import numpy as np
import pytest

from bandit.engine.events import bank, feedback
from bandit.engine.events.designs import Floats
from tests.support.changing_users import Lost, Run

CHANGE = 8_000


def between(start: int, end: int, kept: float, channel: int | None = None) -> Lost:
    """Of the decisions from `start` to `end` a share is reported, on one channel or on all."""

    def lost(numbers: Floats, channels: Floats, _rng: np.random.Generator) -> Floats:
        inside = (numbers >= start) & (numbers < end)
        if channel is not None:
            inside &= channels == channel
        return np.where(inside, kept, 1.0)

    return lost


@pytest.mark.parametrize("seed", range(4))
def test_after_a_change_a_challenger_takes_over_soon(seed: int) -> None:
    run = Run(seed=seed, changes_at=CHANGE).run(15_000)
    assert run.taken_over_at
    assert CHANGE < run.taken_over_at[0] < CHANGE + 5_000


@pytest.mark.parametrize("seed", range(6))
def test_without_a_change_nobody_takes_over(seed: int) -> None:
    assert Run(seed=seed).run(15_000).taken_over_at == []


@pytest.mark.parametrize(
    "lost",
    [
        pytest.param(between(CHANGE, 11_000, 0.0), id="nothing comes"),
        pytest.param(between(CHANGE, 11_000, 0.0, channel=0), id="nothing comes of one channel"),
        pytest.param(between(CHANGE, 11_000, 0.5), id="half gets lost"),
        pytest.param(between(CHANGE, 99_000, 0.7), id="a third is lost for good"),
        pytest.param(between(CHANGE, 8_300, 0.0), id="a day comes too late"),
    ],
)
@pytest.mark.parametrize("seed", range(2))
def test_when_events_get_lost_nobody_takes_over(lost: Lost, seed: int) -> None:
    assert Run(seed=seed, lost=lost).run(15_000).taken_over_at == []


@pytest.mark.parametrize("seed", range(2))
def test_in_a_season_nobody_takes_over(seed: int) -> None:
    assert Run(seed=seed, season=0.8).run(15_000).taken_over_at == []


@pytest.mark.parametrize("seed", range(2))
def test_when_keen_users_are_asked_first_nobody_takes_over(seed: int) -> None:
    assert Run(seed=seed, keen_first=True).run(15_000).taken_over_at == []


def test_without_the_correction_of_levels_an_outage_looks_like_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank, "LEVEL_VARIANCE", 1e-12)
    monkeypatch.setattr(bank, "LEVEL_WALK", 1e-12)
    monkeypatch.setattr(feedback, "STOPPED", 0.0)
    runs = [Run(seed=seed, lost=between(CHANGE, 11_000, 0.0)).run(15_000) for seed in range(2)]
    assert any(run.taken_over_at for run in runs)
