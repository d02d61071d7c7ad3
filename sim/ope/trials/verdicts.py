"""How often a verdict says ok, and how often the interval that goes with it misses the truth, over logs of one kind.

Beside ours stand the habits of other evaluators: the effective sample size alone, or nothing at all, each with a normal
interval over rows. A habit is safe on a kind of log when it seldom says ok or its interval seldom misses.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bandit.errors import InvalidLog
from sim.ope.evaluation import Evaluation, evaluate
from sim.ope.trials.broken_logs import CASES, BrokenLog, Case
from sim.ope.verdict import LEAST_ESS

MOST_OK, MOST_MISSES = 0.1, 0.1  # one of both must be kept
NOT_FOR_ROWS = ("users", "order", "steps", "decision_ids", "codes", "logging_pmf", "actions", "feedback_missing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one habit made of one log."""

    ok: bool
    missed: bool


Habit = Callable[[BrokenLog], Outcome]


def ours(log: BrokenLog) -> Outcome:
    """The verdict and the default interval of `evaluate`."""
    try:
        found = evaluate(**log.arrays, show_anyway=True)
    except InvalidLog:
        return Outcome(ok=False, missed=True)
    return _outcome(log, found, ok=found.verdict.ok)


def ess_alone(log: BrokenLog) -> Outcome:
    """Ok from an effective sample size of 30 on, with a normal interval over rows."""
    found = _over_rows(log)
    return _outcome(log, found, ok=found.diagnostics.ess >= LEAST_ESS)


def nothing(log: BrokenLog) -> Outcome:
    """Always ok, with a normal interval over rows."""
    return _outcome(log, _over_rows(log), ok=True)


HABITS: dict[str, Habit] = {"ours": ours, "ESS alone": ess_alone, "nothing": nothing}


def _over_rows(log: BrokenLog) -> Evaluation:
    plain = {name: value for name, value in log.arrays.items() if name not in NOT_FOR_ROWS}
    return evaluate(**plain, interval="normal", show_anyway=True)


def _outcome(log: BrokenLog, found: Evaluation, *, ok: bool) -> Outcome:
    one = found.estimates["snips"]
    return Outcome(ok=ok, missed=not one.lower <= log.truth <= one.upper)


def verdict_table(*, logs: int, seed: int, cases: Sequence[Case] = CASES) -> pd.DataFrame:
    """For each kind of log and habit the shares of logs that are ok and whose interval misses.

    A share of 100 logs is known to 5 % (one standard error, at one half). The same seed gives the same table.
    """
    rows = []
    for place, case in enumerate(cases):
        rng = np.random.default_rng([seed, place])
        made = [case.maker(rng) for _ in range(logs)]
        for name, habit in HABITS.items():
            outcomes = [habit(one) for one in made]
            rows.append(
                {
                    "log": case.name,
                    "habit": name,
                    "is_clean": case.is_clean,
                    "arrays_show_it": made[0].refusable,
                    "says_ok": float(np.mean([one.ok for one in outcomes])),
                    "misses": float(np.mean([one.missed for one in outcomes])),
                }
            )
    return pd.DataFrame(rows)


def false_comfort(table: pd.DataFrame, habit: str) -> list[str]:
    """Kinds of logs whose arrays show what is wrong, and of which the habit says ok while its interval misses."""
    mine = table[(table["habit"] == habit) & table["arrays_show_it"]]
    bad = mine[(mine["says_ok"] > MOST_OK) & (mine["misses"] > MOST_MISSES)]
    return [str(name) for name in bad["log"]]
