"""Weights and rewards over the course of a log, in memory that does not grow with it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from itertools import accumulate, pairwise

import numpy as np

from sim.common.arrays import Floats

MOST_SPANS = 128
EDGES = np.geomspace(1e-3, 1e4, 57)  # eight bins to a decade


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Sums over consecutive rows."""

    rows: int
    weight: float
    squared_weight: float
    reward: float
    weighted_reward: float
    until: datetime | None  # moment of the last row

    @property
    def ess(self) -> float:
        """Effective sample size: the number of equally weighted rows with the same information."""
        return self.weight**2 / self.squared_weight if self.squared_weight else 0.0

    def __add__(self, other: "Span") -> "Span":
        return Span(
            rows=self.rows + other.rows,
            weight=self.weight + other.weight,
            squared_weight=self.squared_weight + other.squared_weight,
            reward=self.reward + other.reward,
            weighted_reward=self.weighted_reward + other.weighted_reward,
            until=other.until,
        )


@dataclass(slots=True)
class Timeline:
    """At most 128 spans of about equal numbers of rows, in the order of the log."""

    spans: list[Span] = field(default_factory=list)
    _rows_each: int = 1

    def add(self, rewards: Floats, weights: Floats, moments: Sequence[datetime | None]) -> None:
        columns = zip(weights.tolist(), rewards.tolist(), moments, strict=True)
        for weight, reward, moment in columns:
            self._append(
                Span(
                    rows=1,
                    weight=weight,
                    squared_weight=weight * weight,
                    reward=reward,
                    weighted_reward=weight * reward,
                    until=moment,
                )
            )

    def _append(self, row: Span) -> None:
        if self.spans and self.spans[-1].rows < self._rows_each:
            self.spans[-1] += row
            return
        if len(self.spans) == MOST_SPANS:
            self.spans = [one + other for one, other in zip(self.spans[::2], self.spans[1::2], strict=True)]
            self._rows_each *= 2
        self.spans.append(row)

    def merged(self, most: int) -> list[Span]:
        """The log in at most this many parts of about equal numbers of rows."""
        cuts = np.linspace(0, len(self.spans), min(most, len(self.spans)) + 1).astype(int)
        return [reduce(Span.__add__, self.spans[start:end]) for start, end in pairwise(cuts)]

    def cumulative(self) -> Iterator[Span]:
        """Sums from the start of the log to the end of each span."""
        yield from accumulate(self.spans)


@dataclass(slots=True)
class WeightHistogram:
    """Numbers of weights by size."""

    zeros: int = 0
    counts: Floats = field(default_factory=lambda: np.zeros(len(EDGES) - 1))

    def add(self, weights: Floats) -> None:
        self.zeros += int(np.count_nonzero(weights == 0.0))
        positive = np.clip(weights[weights > 0.0], EDGES[0], EDGES[-1])
        self.counts += np.histogram(positive, EDGES)[0]

    def bins(self) -> list[tuple[float, float, float]]:
        """(lower edge, upper edge, number); the outermost bins contain everything outside."""
        return [(low, high, number) for (low, high), number in zip(pairwise(EDGES), self.counts, strict=True)]
