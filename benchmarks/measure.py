"""Ratios measured side by side: A B A B, so that a machine that slows down slows both."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import median

from rich.console import Console

PAIRS = 9
QUICK_PAIRS = 3
RELEARNED = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The settings that all figures of one run share."""

    folder: Path  # on a real disk; emptied afterwards
    quick: bool  # small sizes, only to check that the benchmarks run
    now: datetime  # aware; when the run began
    console: Console
    relearned: int = RELEARNED  # events of the log that is relearned

    @property
    def pairs(self) -> int:
        return QUICK_PAIRS if self.quick else PAIRS

    @property
    def window_seconds(self) -> float:
        return 0.7 if self.quick else 3.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """The bar that a figure must reach."""

    least: float | None = None
    most: float | None = None
    unit: str = "x"

    def holds(self, value: float) -> bool:
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def __str__(self) -> str:
        if self.least is not None and self.most is not None:
            return f"{self.least:g} to {self.most:g} {self.unit}"
        return (
            f"at least {self.least:g} {self.unit}" if self.least is not None else f"at most {self.most:g} {self.unit}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured figure and its bar."""

    name: str
    what: str
    value: float
    bar: Bar | None  # None: shown beside the others, promised nowhere
    pairs: Sequence[float] = ()  # of which the value is the median; over worlds, the mean
    facts: Mapping[str, float | str] = field(default_factory=dict)  # absolute, so of this machine and moment only

    @property
    def verdict(self) -> str:
        if self.bar is None:
            return ""
        return "holds" if self.bar.holds(self.value) else "missed"


def interleaved(
    first: Callable[[], float], second: Callable[[], float], pairs: int
) -> tuple[Sequence[float], Sequence[float]]:
    """The measurements of both, each `pairs` times, in turns, after a warm-up turn of each."""
    first()
    second()
    found = [(first(), second()) for _ in range(pairs)]
    return [one for one, _ in found], [other for _, other in found]


def ratio_figure(
    name: str,
    what: str,
    bar: Bar | None,
    *,
    over: Sequence[float],
    under: Sequence[float],
    facts: Mapping[str, float | str],
) -> Figure:
    """The figure whose value is the median of over / under, pair by pair."""
    ratios = [one / other for one, other in zip(over, under, strict=True)]
    return Figure(name=name, what=what, value=median(ratios), bar=bar, pairs=ratios, facts=facts)
