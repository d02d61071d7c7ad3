"""The result of a replay: the rows that counted, and the mean of each arm in the whole log."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sim.common.means import Mean, clustered_mean

SHARE_BINS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmInLog:
    """The mean of an arm in the whole log, which always choosing this arm would earn."""

    name: str
    sends: bool
    gross: Mean  # without the cost of sending
    net: Mean


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedRow:
    """A row that counted: the service chose the same arm as the trial."""

    place: int  # in the log as replayed, from 0
    cluster: int
    arm: int
    reward: float  # minus the cost of sending


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayResult:
    """The rewards of a replay, and those of each arm in the log."""

    dataset: str
    title: str
    reward_name: str
    seed: int
    rows_in_log: int
    arms: tuple[ArmInLog, ...]
    used: tuple[UsedRow, ...]  # in the order of the replay
    versions_published: int

    @property
    def mean(self) -> Mean:
        """Net reward over the used rows."""
        return _mean(self.used)

    @property
    def last_half(self) -> Mean:
        """Net reward over the last half of the used rows."""
        return _mean(self.used[len(self.used) // 2 :])

    def shares(self, bins: int = SHARE_BINS) -> tuple[tuple[float, ...], ...]:
        """Share of each arm in equal parts of the used rows: one tuple per part, one number per arm."""
        parts = np.array_split(np.array([row.arm for row in self.used], dtype=np.intp), bins)
        counts = [np.bincount(part, minlength=len(self.arms)) / max(1, part.size) for part in parts]
        return tuple(tuple(float(share) for share in part) for part in counts)

    def sent_share(self, used: Sequence[UsedRow]) -> float:
        """Share of these rows with a send; 0 if there are no rows."""
        return sum(self.arms[row.arm].sends for row in used) / max(1, len(used))


def _mean(used: Sequence[UsedRow]) -> Mean:
    return clustered_mean([row.reward for row in used], [row.cluster for row in used])


def summary(result: ReplayResult) -> tuple[tuple[str, str], ...]:
    """The result as rows of a table: name and value as text."""
    used, log = len(result.used), result.rows_in_log
    last_quarter = result.used[used - used // 4 :]
    return (
        ("reward", result.reward_name),
        ("rows in the log", f"{log:,}"),
        ("rows used", f"{used:,} ({used / max(1, log):.1%})"),
        ("mean reward", _with_interval(result.mean)),
        ("mean reward, last half of the used rows", _with_interval(result.last_half)),
        *((f"always {arm.name}, in the log", _with_cost(arm)) for arm in result.arms),
        *(
            (f"share of {arm.name}, first and last 5 % of the used rows", f"{first:.1%}, {last:.1%}")
            for arm, first, last in zip(result.arms, result.shares()[0], result.shares()[-1], strict=True)
        ),
        ("sent, last quarter of the used rows", f"{result.sent_share(last_quarter):.1%}"),
        ("models published", f"{result.versions_published:,}"),
        ("seed", str(result.seed)),
    )


def _with_interval(mean: Mean) -> str:
    return f"{mean.value:.4f} (95 % interval {mean.lower:.4f} to {mean.upper:.4f})"


def _with_cost(arm: ArmInLog) -> str:
    text = _with_interval(arm.net)
    return text if arm.gross.value == arm.net.value else f"{text}; {arm.gross.value:.4f} before the cost of sending"
