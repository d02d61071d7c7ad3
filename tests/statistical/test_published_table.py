"""The order of Duolingo's table, with scores learned from a random policy's log; and what its parts are needed for."""

import numpy as np
import pytest

from benchmarks.published_table import RANDOM, RECENCY, REUSE_LAST, TEMPLATE, published_table
from sim.baselines.recovering import GAMMA
from sim.world.presets import DUOLINGO
from sim.world.world import build_world

SEEDS = (11, 12, 13)
USERS, DAYS = 10_000, 40  # 400,000 logged decisions in each world


def table_of(seed: int, *, users: int = USERS, gamma: float = GAMMA) -> dict[str, float]:
    world = build_world(seed=seed, preset=DUOLINGO, n_users=users)
    return published_table(world, from_day=DAYS, days=5, seed=seed, gamma=gamma)


def lifts(found: list[dict[str, float]], one: str, other: str) -> np.ndarray:
    return np.array([table[one] / table[other] - 1 for table in found])


@pytest.fixture(scope="module")
def found() -> list[dict[str, float]]:
    return [table_of(seed) for seed in SEEDS]


def test_templates_by_score_earn_one_to_two_percent_more_than_random_ones(found: list[dict[str, float]]) -> None:
    assert 0.01 < lifts(found, TEMPLATE, RANDOM).mean() < 0.02
    assert (lifts(found, TEMPLATE, RANDOM) > 0).all()


def test_recency_adds_and_reuse_last_loses(found: list[dict[str, float]]) -> None:
    assert lifts(found, RECENCY, TEMPLATE).mean() > 0.0003
    assert (lifts(found, REUSE_LAST, RANDOM) < -0.002).all()
    order = [np.mean([table[name] for table in found]) for name in (RECENCY, TEMPLATE, RANDOM, REUSE_LAST)]
    assert order == sorted(order, reverse=True)


def test_without_the_penalty_recency_adds_nothing() -> None:
    table = table_of(SEEDS[0], users=500, gamma=0.0)
    assert table[RECENCY] == table[TEMPLATE]
