"""The model of one event: what comes after a send, and what comes after silence.

Two accounts of each are kept, and the one that predicted better serves:

    after a send   the bank of response models (of an event that is bad: the hazard), or the organic model
    after silence  the organic model, in which a send changes little, or a model of silence alone

An event that was never seen after silence cannot come after it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bandit.engine.events.bank import DISCOUNT, LEAD, PASS, Bank, Block
from bandit.engine.events.designs import HAZARD, ORGANIC, RESPONSE, Columns, Floats, Rows, Shape
from bandit.engine.events.feedback import Watch
from bandit.engine.events.posterior import LOGISTIC, Gaussian, Likelihood, Pooled, Posterior

SETTLED = 1_000  # decisions with a number, over which its size is taken
USUAL = 100.0  # rows that the first guess of a variance counts


class Served(NamedTuple):
    """A posterior that predicts."""

    name: str  # of the event, and when
    shape: Shape
    posterior: Posterior


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """The decisions of one block as the models read them."""

    before: int  # decisions of the lineage that came earlier
    decisions: int  # of the block, those left out included
    sends: NDArray[np.bool_]  # of each decision
    channels: Sequence[str]  # of each decision; "" for silence
    columns: Columns
    rows: Rows  # of all weights

    def some(self, chosen: NDArray[np.bool_]) -> "Batch":
        """The chosen decisions."""
        channels = [channel for channel, kept in zip(self.channels, chosen, strict=True) if kept]
        return replace(self, sends=self.sends[chosen], channels=channels, rows=self.rows.some(chosen))

    def part(self, shape: Shape, chosen: NDArray[np.bool_] | None = None) -> Rows:
        """The decisions, or the chosen ones, as rows of one shape."""
        rows = self.rows if chosen is None else self.rows.some(chosen)
        return rows.part(self.columns.parts[shape.name])


@dataclass(slots=True, kw_only=True)
class Better:
    """Which of two accounts predicts better; the second serves once it leads."""

    first: float = 0.0  # discounted losses
    second: float = 0.0
    is_second: bool = False

    def take(self, first: float, second: float, discount: float) -> None:
        """The losses of one block."""
        self.first, self.second = discount * self.first + first, discount * self.second + second
        lead = self.second - self.first if self.is_second else self.first - self.second
        if lead > LEAD:
            self.is_second = not self.is_second


@dataclass(slots=True, kw_only=True)
class Sizes:
    """The usual size of a number, by which its outcomes are divided."""

    decisions: int = 0
    squares: float = 0.0
    size: float = 1.0

    def take(self, outcomes: Floats) -> float:
        """Takes the outcomes of a block, and returns by what factor numbers in the old units are to be multiplied."""
        before, is_first = self.size, self.squares == 0.0
        if self.decisions < SETTLED:
            self.decisions += len(outcomes)
            self.squares += float(outcomes @ outcomes)
            self.size = float(np.sqrt(self.squares / self.decisions)) or before
        # Outcomes of nothing but 0 are 0 in every unit: before the first other one there was no unit to change from.
        return 1.0 if is_first else before / self.size


@dataclass(slots=True, kw_only=True, eq=False)
class EventModel:
    """What is known of one event."""

    name: str
    is_numeric: bool
    is_bad: bool  # worth less than nothing
    is_wide: bool  # important enough for more than one response model
    bank: Bank = field(default_factory=Bank.begun)
    hazard: Posterior = field(default_factory=Posterior)
    organic: Posterior = field(default_factory=Posterior)
    alone: Posterior = field(default_factory=Posterior)  # of silence
    sends: Better = field(default_factory=Better)  # bank or hazard, organic
    silence: Better = field(default_factory=Better)  # organic, alone
    seen_after_silence: int = 0
    watch: Watch = field(default_factory=Watch)
    sizes: Sizes = field(default_factory=Sizes)
    gaussian: Gaussian = field(default_factory=Gaussian)

    @property
    def likelihood(self) -> Likelihood:
        return self.gaussian if self.is_numeric else LOGISTIC

    @property
    def comes_after_silence(self) -> bool:
        """Whether it was ever seen without a send."""
        return self.seen_after_silence > 0

    @property
    def is_organic(self) -> bool:
        """Whether the organic model says what comes after a send."""
        return self.sends.is_second

    @property
    def after_send(self) -> Served:
        """What says what comes after a send."""
        name = f"after send {self.name}"
        if self.is_organic:
            return Served(name, ORGANIC, self.organic)
        if self.is_bad:
            return Served(name, HAZARD, self.hazard)
        return Served(name, RESPONSE, self.bank.serving.posterior)

    @property
    def after_silence(self) -> Served | None:
        """What says what comes after silence; None where nothing does."""
        if not self.comes_after_silence:
            return None
        return Served(f"after silence {self.name}", ORGANIC, self.alone if self.silence.is_second else self.organic)

    @property
    def serving(self) -> list[Served]:
        """Both."""
        after_silence = self.after_silence
        return [self.after_send] if after_silence is None else [self.after_send, after_silence]

    @property
    def size(self) -> float:
        """The number that an outcome of 1 stands for."""
        return self.sizes.size if self.is_numeric else 1.0

    def grow(self, columns: Columns, start: Mapping[str, Pooled]) -> None:
        """Gives the weights that are new their prior.

        Args:
            start: beliefs that go before the priors, by shape.
        """
        if self.is_bad:
            self.hazard.grow(columns, HAZARD, start.get(HAZARD.name, {}))
        else:
            for member in self.bank.members:
                beliefs = start.get(RESPONSE.name, {}) if member.born == 0 else {}
                member.posterior.grow(columns, RESPONSE, beliefs, is_numeric=self.is_numeric)
        for posterior in (self.organic, self.alone):
            posterior.grow(columns, ORGANIC, start.get(ORGANIC.name, {}), is_numeric=self.is_numeric)

    def learn(self, batch: Batch, outcomes: Floats, start: Mapping[str, Pooled]) -> None:
        """Takes a block.

        Args:
            outcomes: of each decision: 0 or 1, or a number.
        """
        silent = ~batch.sends
        was_organic = self.comes_after_silence
        self.seen_after_silence += int(np.count_nonzero(outcomes[silent]))
        if self.comes_after_silence and not was_organic and not self.is_bad:
            self.sends.is_second = True  # until what sends cause shows
        self.watch.take(batch.channels, outcomes.tolist())
        stopped = self.watch.stopped
        if stopped:
            told = np.array([channel not in stopped for channel in batch.channels])
            batch, outcomes = batch.some(told), outcomes[told]
        if self.is_numeric:
            self._rescale(self.sizes.take(outcomes))
            outcomes = outcomes / self.sizes.size
        if not self.is_bad:
            self.bank.set_out(batch.before, is_wide=self.is_wide and not self.is_organic)
        self.grow(batch.columns, start)
        caused = self._learn_sends(batch, outcomes)
        self._learn_organic(batch, outcomes, caused)

    def _learn_sends(self, batch: Batch, outcomes: Floats) -> Floats:
        """Teaches what comes after sends; returns the losses on them of what served."""
        outcomes = outcomes[batch.sends]
        if self.is_bad:
            rows = batch.part(HAZARD, batch.sends)
            losses = self.likelihood.losses(self.hazard.linear(rows), outcomes)
            self.hazard.learn(rows, outcomes, self.likelihood)
            return losses
        block = Block(
            before=batch.before,
            decisions=batch.decisions,
            rows=batch.part(RESPONSE, batch.sends),
            outcomes=outcomes,
            channels=[channel for channel, sent in zip(batch.channels, batch.sends, strict=True) if sent],
        )
        return self.bank.learn(block, batch.columns, self.likelihood)

    def _learn_organic(self, batch: Batch, outcomes: Floats, caused: Floats) -> None:
        silent = ~batch.sends
        every, rows = batch.part(ORGANIC), batch.part(ORGANIC, silent)
        linear = self.organic.linear(every)
        losses = self.likelihood.losses(linear, outcomes)
        lone = self.likelihood.losses(self.alone.linear(rows), outcomes[silent])
        if self.comes_after_silence:
            discount = DISCOUNT ** (batch.decisions / PASS)
            self.sends.take(float(caused.sum()), float(losses[batch.sends].sum()), discount)
            self.silence.take(float(losses[silent].sum()), float(lone.sum()), discount)
        if self.is_numeric and len(outcomes):
            self._spread(outcomes - linear)
        self.organic.learn(every, outcomes, self.likelihood)
        self.alone.learn(rows, outcomes[silent], self.likelihood)

    def _rescale(self, factor: float) -> None:
        if factor != 1.0:
            for posterior in (self.organic, self.alone, self.hazard, *(one.posterior for one in self.bank.members)):
                posterior.rescale(factor)

    def _spread(self, residuals: Floats) -> None:
        """Lets the variance follow the squared residuals, over the last ten thousand decisions or so."""
        rows = min(self.sizes.decisions, 10_000)
        weight = len(residuals) / (rows + USUAL + len(residuals))
        self.gaussian.variance += weight * (float(np.mean(residuals**2)) - self.gaussian.variance)
        self.gaussian.variance = max(self.gaussian.variance, 1e-6)
