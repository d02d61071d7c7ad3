"""Simulated user-days a minute, and the memory they take, in a process of its own."""

import json
import subprocess
import sys
from time import perf_counter

from benchmarks.measure import Bar, Figure, Run

USERS, QUICK_USERS = 100_000, 5_000
DAYS, QUICK_DAYS = 30, 3


def simulation(run: Run) -> list[Figure]:
    users, days = (QUICK_USERS, QUICK_DAYS) if run.quick else (USERS, DAYS)
    command = [sys.executable, "-m", "benchmarks.simulation", str(users), str(days)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    what = f"{users:,} users x {days} days in the small_team world, every action of every user valued every day"
    facts = {"seconds": found["seconds"], "users": users, "days": days}
    return [
        Figure(
            name="user-days",
            what=what,
            value=users * days / found["seconds"] * 60 / 1e6,
            bar=Bar(least=1.0, unit="million a minute"),
            facts=facts,
        ),
        Figure(
            name="simulation memory",
            what="largest resident memory of that process",
            value=found["megabytes"],
            bar=Bar(most=2_000.0, unit="MB"),
            facts={},
        ),
    ]


def measured(users: int, days: int) -> dict[str, float]:
    """Seconds of living with the myopic oracle, the slowest of the policies on arrays, and the memory it took."""
    import resource

    from sim.world.daily import live
    from sim.world.presets import SMALL_TEAM
    from sim.world.truth import MYOPIC
    from sim.world.world import build_world

    world = build_world(seed=1, preset=SMALL_TEAM, n_users=users)
    start = perf_counter()
    for _ in live(world, MYOPIC, days=days, seed=1):
        pass
    seconds = perf_counter() - start
    return {"seconds": seconds, "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024}


if __name__ == "__main__":
    print(json.dumps(measured(int(sys.argv[1]), int(sys.argv[2]))))
