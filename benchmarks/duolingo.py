"""Duolingo's published table: its order in fitted worlds, with scores learned from the log of a random policy."""

from collections.abc import Sequence

from benchmarks.measure import Bar, Figure, Run
from benchmarks.published_table import RANDOM, RECENCY, REUSE_LAST, TEMPLATE, published_table
from sim.common.means import mean_over_runs
from sim.world.presets import DUOLINGO
from sim.world.world import build_world

SEEDS, QUICK_SEEDS = range(11, 21), range(11, 14)
USERS, QUICK_USERS = 20_000, 1_000
LEARNED_DAYS, VALUED_DAYS = 100, 10


def duolingo(run: Run) -> list[Figure]:
    users, seeds = (QUICK_USERS, QUICK_SEEDS) if run.quick else (USERS, SEEDS)
    tables = [_table(seed, users) for seed in seeds]
    template = [_percent(one, TEMPLATE, RANDOM) for one in tables]
    recency = [_percent(one, RECENCY, TEMPLATE) for one in tables]
    reused = [_percent(one, REUSE_LAST, RANDOM) for one in tables]
    return [
        _figure("template over random", template, Bar(least=1.0, most=2.0, unit="%"), "+1.2 %"),
        _figure("recency over template", recency, Bar(least=0.0, unit="%"), "+0.15 % over template + language"),
        _figure("reuse-last over random", reused, Bar(most=0.0, unit="%"), "-0.5 %"),
    ]


def _table(seed: int, users: int) -> dict[str, float]:
    world = build_world(seed=seed, preset=DUOLINGO, n_users=users)
    return published_table(world, from_day=LEARNED_DAYS, days=VALUED_DAYS, seed=seed)


def _percent(table: dict[str, float], one: str, other: str) -> float:
    return 100 * (table[one] / table[other] - 1)


def _figure(name: str, lifts: Sequence[float], bar: Bar, published: str) -> Figure:
    mean = mean_over_runs(lifts)
    facts: dict[str, float | str] = {
        "95 % interval over worlds": f"{mean.lower:+.2f} to {mean.upper:+.2f} %",
        "worlds above 0": f"{sum(one > 0 for one in lifts)} of {len(lifts)}",
        "published": published,
    }
    what = f"one-step value over a random policy's histories, scores learned in {LEARNED_DAYS} days"
    return Figure(name=f"duolingo, {name}", what=what, value=mean.value, bar=bar, pairs=lifts, facts=facts)
