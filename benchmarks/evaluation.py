"""Evaluating a log: time and memory against only reading it, the bootstrap, and the coverage of the intervals."""

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.evaluate_file import evaluated, make_file, read_only
from benchmarks.measure import Bar, Figure, Run, interleaved, ratio_figure
from sim.ope import evaluate
from sim.ope.gate import Gate
from sim.ope.intervals import RESAMPLES
from sim.ope.trials.coverage import coverage_table
from sim.ope.trials.power import HistoryPlan, power_curve

ROWS, QUICK_ROWS = 10_000_000, 1_000_000
BOOTSTRAP_ROWS, QUICK_BOOTSTRAP_ROWS = 1_000_000, 50_000
ROWS_A_USER = 10
LOGS, QUICK_LOGS = 2_000, 100
HISTORIES, QUICK_HISTORIES = 1_000, 20
LIFTS = (0.0, 0.02, 0.05, 0.10, 0.20)
SEED = 2026


def evaluation(run: Run) -> list[Figure]:
    """Time and memory of all closed-form estimators, clustered errors and diagnostics on a Parquet file."""
    rows = QUICK_ROWS if run.quick else ROWS
    whole, quarter = run.folder / "whole.parquet", run.folder / "quarter.parquet"
    make_file(whole, rows, seed=SEED)
    make_file(quarter, rows // 4, seed=SEED)
    spent, reading = interleaved(
        partial(_seconds, partial(evaluated, whole)), partial(_seconds, partial(read_only, whole)), run.pairs
    )
    facts = {"evaluating, s": median(spent), "reading, s": median(reading)}
    what = f"evaluating {rows:,} rows of Parquet against only reading their columns"
    small, large = _peak_megabytes(quarter), _peak_megabytes(whole)
    size = f"peak resident memory of a process that evaluates {rows:,} rows"
    growth = f"the same less that at {rows // 4:,} rows"
    return [
        ratio_figure("evaluation", what, Bar(most=3.0), over=spent, under=reading, facts=facts),
        Figure(name="evaluation, memory", what=size, value=large, bar=Bar(most=1_000.0, unit="MB")),
        Figure(name="evaluation, growth", what=growth, value=large - small, bar=Bar(most=100.0, unit="MB")),
    ]


def bootstrap(run: Run) -> list[Figure]:
    """Time of the clustered bootstrap of all estimators, from arrays to intervals."""
    rows = QUICK_BOOTSTRAP_ROWS if run.quick else BOOTSTRAP_ROWS
    rng = np.random.default_rng(SEED)
    arrays: dict[str, Any] = {
        "rewards": (rng.random(rows) < 0.005).astype(np.float64),
        "propensities": np.full(rows, 0.1),
        "target_propensities": rng.uniform(0.0, 0.2, rows),
        "q_logged": rng.uniform(0.003, 0.007, rows),
        "q_target": rng.uniform(0.003, 0.007, rows),
        "users": rng.integers(0, rows // ROWS_A_USER, rows),
    }
    times = [_seconds(lambda: evaluate(**arrays, interval="bootstrap", seed=SEED)) for _ in range(3)]
    what = f"{RESAMPLES:,} clustered bootstraps of {rows:,} rows, {rows // ROWS_A_USER:,} users, nine estimators"
    return [Figure(name="bootstrap", what=what, value=median(times), bar=Bar(most=10.0, unit="s"), pairs=times)]


def coverage(run: Run) -> list[Figure]:
    """How often 95 % intervals contain the truth, and how often the promotion gate opens in simulated histories."""
    logs = QUICK_LOGS if run.quick else LOGS
    table = coverage_table(logs=logs, seed=SEED).set_index("estimator").astype(np.float64).to_dict("index")
    found = []
    for name in ("ips", "snips", "dr"):
        off = abs(table[name]["clustered"] - 0.95)
        what = f"distance of the coverage of {name} from 95 % over {logs:,} logs with user effects"
        facts: dict[str, float | str] = {str(kind): share for kind, share in table[name].items()}
        found.append(Figure(name=f"coverage, {name}", what=what, value=off, bar=Bar(most=0.02, unit=""), facts=facts))
    return [*found, _gate(QUICK_HISTORIES if run.quick else HISTORIES)]


def _gate(histories: int) -> Figure:
    plan = HistoryPlan()
    curve = power_curve(plan, Gate(), LIFTS, histories=histories, seed=SEED)
    shares = dict(zip(LIFTS, curve[f"by day {plan.days}"].to_numpy(dtype=np.float64).tolist(), strict=True))
    what = f"share of {histories:,} histories of {plan.days} daily looks that promote a challenger who is no better"
    facts: dict[str, float | str] = {f"with a lift of {lift:.0%}": share for lift, share in shares.items() if lift}
    return Figure(name="gate", what=what, value=shares[0.0], bar=Bar(most=0.05, unit=""), facts=facts)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _peak_megabytes(path: Path) -> float:
    """Peak memory of a process that evaluates the file and does nothing else."""
    command = [sys.executable, "-m", "benchmarks.evaluate_file", str(path)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
