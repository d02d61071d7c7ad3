"""The results of a contest: each figure as a mean over seeds with its interval, and curves over the decisions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

from bandit.errors import extras_named
from sim.common.arrays import Floats
from sim.common.means import Mean, mean_over_runs, ratio_over_runs
from sim.contest.runs import Job
from sim.world.presets import preset_named

with extras_named():
    import pandas as pd
    import pyarrow.parquet as pq

CURVE_POINTS = 60
SOON = 5_000  # decisions after an abrupt change within which a policy should be back
BACK_SHARE = 0.8  # of the level before an abrupt change, at which a policy is back
LEVEL_DECISIONS = 2_000  # decisions before the change that define the level
WINDOW_DECISIONS = 1_000  # latest decisions after the change that define the share


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A mean over seeds at growing numbers of decisions."""

    decisions: Floats
    means: Sequence[Mean]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One policy in one preset, over all its seeds."""

    preset: str
    policy: str
    runs: Sequence[pd.DataFrame]  # one per seed: sums over the decisions so far, ascending

    @cached_property
    def figures(self) -> Mapping[str, Mean]:
        """The columns of the table by name."""
        ends = [run.iloc[-1] for run in self.runs]
        figures: dict[str, Callable[[pd.Series], float]] = {
            "reward": lambda end: end.expected / end.decisions,
            "share": lambda end: _share(end),
            "sends /100": lambda end: 100 * end.sends / end.decisions,
            "visits /100": lambda end: 100 * end.visits / end.decisions,
            "opt-outs /1,000": lambda end: 1_000 * end.opt_outs / end.decisions,
        }
        means = {name: mean_over_runs([figure(end) for end in ends]) for name, figure in figures.items()}
        last = [_share(run.iloc[-1] - run.iloc[_row_at(run, 0.75 * run.decisions.iloc[-1])]) for run in self.runs]
        means["last quarter"] = mean_over_runs(last)
        if preset_named(self.preset).change.abrupt_days:
            after = np.array([decisions_until_back(run, self.change_day) for run in self.runs])
            means["back after"] = mean_over_runs(after)
            means[f"back in {SOON:,}"] = mean_over_runs(np.where(np.isnan(after), np.nan, after <= SOON))
        return means

    @property
    def shares(self) -> Floats:
        """The share of each run over all of its decisions."""
        return np.array([_share(run.iloc[-1]) for run in self.runs])

    def against(self, other: "Entry") -> Mapping[str, Mean]:
        """Difference and ratio of shares to another policy's in the same worlds, seed by seed."""
        return {
            f"less {other.policy}": mean_over_runs(self.shares - other.shares),
            f"over {other.policy}": ratio_over_runs(self.shares, other.shares),
        }

    def effort_against(self, other: "Entry") -> Mapping[str, Mean]:
        """Ratios of visits and sends to another policy's in the same worlds, seed by seed."""
        return {
            f"{what} over {other.policy}": ratio_over_runs(self._per_decision(what), other._per_decision(what))
            for what in ("visits", "sends")
        }

    def _per_decision(self, what: str) -> Floats:
        """The sum of a column of each run per decision."""
        return np.array([run[what].iloc[-1] / run.decisions.iloc[-1] for run in self.runs])

    @property
    def change_day(self) -> float:
        """The day of the first abrupt change."""
        return preset_named(self.preset).change.abrupt_days[0]

    def curve(self) -> Curve:
        """Share of the way from uniform choice to the oracle, in equal parts of the run."""
        edges = self._edges()
        shares = [[_share(run.iloc[end] - run.iloc[start]) for start, end in _steps(run, edges)] for run in self.runs]
        return Curve(decisions=edges[1:], means=[mean_over_runs(part) for part in np.array(shares).T])

    def regret(self) -> Curve:
        """Regret: the oracle's reward on the same opportunities minus the policy's, summed from the start."""
        edges = self._edges()
        sums = [(run.oracle - run.expected).iloc[[_row_at(run, edge) for edge in edges[1:]]] for run in self.runs]
        return Curve(decisions=edges[1:], means=[mean_over_runs(part) for part in np.array(sums).T])

    def _edges(self) -> Floats:
        shortest = min(run.decisions.iloc[-1] for run in self.runs)
        return np.linspace(0.0, shortest, min(CURVE_POINTS, len(self.runs[0]) // 2) + 1)


def _share(sums: pd.Series) -> float:
    """Share of the way from uniform choice to the oracle; NaN if they do not differ."""
    way = sums.oracle - sums.uniform
    return float((sums.expected - sums.uniform) / way) if way > 0 else float("nan")


def _row_at(run: pd.DataFrame, decisions: float) -> int:
    """Place of the last row with at most this many decisions; at least the first row, which has none."""
    return int(np.searchsorted(run.decisions.to_numpy(), decisions, side="right")) - 1


def _steps(run: pd.DataFrame, edges: Floats) -> list[tuple[int, int]]:
    rows = [_row_at(run, edge) for edge in edges]
    return list(pairwise(rows))


def decisions_until_back(run: pd.DataFrame, change_day: float) -> float:
    """Decisions after an abrupt change until the share is back at 80 % of its level before.

    The level is that of the 2,000 decisions before the change; the share is that of the last 1,000, all after the
    change. Infinite if the run is never back, NaN if the run ends before it could be.
    """
    change = int(np.searchsorted(run.day.to_numpy(), change_day)) - 1
    before = run.decisions.iloc[change]
    level = _share(run.iloc[change] - run.iloc[_row_at(run, before - LEVEL_DECISIONS)])
    ends = [row for row in range(change, len(run)) if run.decisions.iloc[row] - before >= WINDOW_DECISIONS]
    for end in ends:
        start = _row_at(run, run.decisions.iloc[end] - WINDOW_DECISIONS)
        if _share(run.iloc[end] - run.iloc[start]) >= BACK_SHARE * level:
            return float(run.decisions.iloc[end] - before)
    return float("inf") if ends else float("nan")


def entries_of(jobs: Sequence[Job], folder: Path) -> list[Entry]:
    """The results of these finished runs: one entry for each preset and policy, in the order of the runs."""
    together: dict[tuple[str, str], list[pd.DataFrame]] = {}
    for job in jobs:
        together.setdefault((job.preset, job.policy), []).append(_read(job.path(folder)))
    return [Entry(preset=preset, policy=policy, runs=runs) for (preset, policy), runs in together.items()]


def _read(path: Path) -> pd.DataFrame:
    """Sums so far, starting with a row of zeros."""
    run = pq.read_table(path).to_pandas().drop(columns=["preset", "policy", "seed"])
    start = pd.DataFrame([dict.fromkeys(run.columns, 0)])
    return pd.DataFrame(pd.concat([start, run], ignore_index=True)).astype(np.float64)


def shown(mean: Mean) -> str:
    """A mean with the half width of its interval, rounded to three relevant digits."""
    digits = 3 if abs(mean.value) < 10 else 1 if abs(mean.value) < 100 else 0
    if not np.isfinite(mean.value):
        return "never" if mean.value == np.inf else "-"
    reach = mean.upper - mean.value
    return f"{mean.value:,.{digits}f}" + (f" ± {reach:,.{digits}f}" if np.isfinite(reach) else "")
