"""The verdict on sound and on broken logs, beside the habits of other evaluators: which ones give false comfort."""

from functools import partial

import numpy as np
from rich.table import Table

from benchmarks.measure import Bar, Figure, Run
from sim.ope import evaluate
from sim.ope.trials.broken_logs import clean, heavy
from sim.ope.trials.verdicts import HABITS, false_comfort, verdict_table

LOGS, QUICK_LOGS = 100, 10
SIZES = ((500, 1_000), (2_000, 1_000), (20_000, 200), (200_000, 40))  # rows of a log, and logs
QUICK_SIZES = ((500, 30), (2_000, 30))
SHRUNK_LOGS, QUICK_SHRUNK_LOGS = 400, 20
SEED = 2026


def verdict(run: Run) -> list[Figure]:
    """The table, and how often sound logs are refused."""
    table = verdict_table(logs=QUICK_LOGS if run.quick else LOGS, seed=SEED)
    shown = Table("log", *(f"{name}: ok, misses" for name in HABITS), title=f"seed {SEED}")
    for name, rows in table.groupby("log", sort=False):
        cells = [f"{row.says_ok:.2f}, {row.misses:.2f}" for row in rows.itertuples()]
        shown.add_row(str(name) if rows["arrays_show_it"].all() else f"{name} (arrays cannot tell)", *cells)
    run.console.print(shown)
    comfort = {name: false_comfort(table, name) for name in HABITS}
    facts: dict[str, float | str] = {name: ", ".join(kinds) or "none" for name, kinds in comfort.items()}
    what = "kinds of logs of which the verdict says ok above 10 % while its interval misses above 10 %"
    mine = Figure(name="verdict", what=what, value=len(comfort["ours"]), bar=Bar(most=0.0, unit=""), facts=facts)
    return [mine, *_refusals(run), *_shrinkage(run)]


def _refusals(run: Run) -> list[Figure]:
    """Sound logs, with one row a user and with ten."""
    found = []
    for rows, logs in QUICK_SIZES if run.quick else SIZES:
        shares: dict[str, float | str] = {}
        for rows_each in (1, 10):
            rng = np.random.default_rng([SEED, rows, rows_each])
            make = partial(clean, n=rows, rows_each=rows_each)
            shares[f"{rows_each} a user"] = float(
                np.mean([not evaluate(**make(rng).arrays).verdict.ok for _ in range(logs)])
            )
        what = f"share of {logs:,} sound logs of {rows:,} rows that are refused, the larger one of both"
        value = max(float(one) for one in shares.values())
        found.append(
            Figure(name=f"verdict, {rows:,} rows", what=what, value=value, bar=Bar(most=0.01, unit=""), facts=shares)
        )
    return found


def _shrinkage(run: Run) -> list[Figure]:
    """Coverage of the shrinking estimators where they are far from the truth."""
    logs = QUICK_SHRUNK_LOGS if run.quick else SHRUNK_LOGS
    rng = np.random.default_rng([SEED, 7])
    held: dict[str, list[bool]] = {"dros": [], "sub_gaussian_dr": []}
    for _ in range(logs):
        log = heavy(rng)
        estimates = evaluate(**log.arrays, show_anyway=True).estimates
        for name, one in held.items():
            one.append(estimates[name].lower <= log.truth <= estimates[name].upper)
    what = f"distance of the coverage from 95 % over {logs:,} logs whose largest weight is 45"
    return [
        Figure(name=f"coverage, {name}", what=what, value=abs(float(np.mean(one)) - 0.95), bar=Bar(most=0.03, unit=""))
        for name, one in held.items()
    ]
