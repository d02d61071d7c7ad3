"""Several models of one event side by side, of which the best serves.

They differ in how fast contents may change: the weights of contents walk at random, in one model not at all. The one
with the lowest log loss on events that it had not seen serves; older losses count less.

After an abrupt change all of them are wrong and sure of it. So two challengers are always on their way, each begun
from nothing. One takes over when it predicts clearly better than the one that serves, and stays in the bank; nothing
that was learned is thrown away, and a model that was left behind serves again once it is better. As the winner may
still remember much from before the change, the next challenger begins at once.

A level that moves is no change of what users prefer: events that get lost, a season, keener users. Both are therefore
compared with the level of each channel set to what it was in the very block, for both alike; and in all models the
levels walk at random. Nobody takes over because events get lost.

All lengths are counted in learned decisions of the lineage, so that nothing depends on how the log is cut.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import sqrt

import numpy as np

from bandit.engine.events.designs import Columns, Family, Floats, Rows, summed
from bandit.engine.events.posterior import FARTHEST_STEP, Likelihood, Posterior

PASS = 200  # decisions in which the constants below were measured
WALKS = (0.0, 0.004, 0.02)  # variance a pass by which a content's weight may change
LEVEL_WALK = 0.004  # variance a pass by which the level of everything, and of a channel, may change
_LEVELS = (Family.BASE, Family.CHANNEL)
DISCOUNT = 0.97  # of losses, a pass
LEAD = 2.0  # in log loss, by which another must be better before it serves
MOST_SETTLED = 4  # beside the challengers
LIFE = 24 * PASS  # decisions after which a challenger ends
STAGGER = LIFE // 2
WINDOW = 4 * PASS  # decisions over which a challenger is compared
SURE = 1.5  # standard errors by which it must be better
LEAST_BETTER = 6.0  # in log loss, and by which: 400 times as likely
LEVEL_VARIANCE = 4.0  # of the level of a channel in one block, in log-odds
LEVEL_STEPS = 5
YOUNG = 5 * PASS  # decisions before which one model says all that there is to say


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """Sends of one block for one event."""

    before: int  # decisions of the lineage that came earlier
    decisions: int  # of the block, silence included
    rows: Rows
    outcomes: Floats
    channels: Sequence[str]  # of each row

    @property
    def discount(self) -> float:
        """Of losses from before the block."""
        return float(DISCOUNT ** (self.decisions / PASS))


def losses_at_level(linear: Floats, block: Block, likelihood: Likelihood) -> Floats:
    """The loss of each row once the level of each channel is what it was in this very block."""
    names = {name: number for number, name in enumerate(dict.fromkeys(block.channels))}
    channels = np.array([names[channel] for channel in block.channels], dtype=np.int64)
    levels = np.zeros(len(names))
    for _ in range(LEVEL_STEPS):
        means = likelihood.means(linear + levels[channels])
        residuals = (block.outcomes - means) * likelihood.slope()
        slopes = summed(channels, residuals, len(names)) - levels / LEVEL_VARIANCE
        step = slopes / (summed(channels, likelihood.weights(means), len(names)) + 1.0 / LEVEL_VARIANCE)
        levels = levels + np.clip(step, -FARTHEST_STEP, FARTHEST_STEP)
    return likelihood.losses(linear + levels[channels], block.outcomes)


@dataclass(slots=True, kw_only=True)
class Duel:
    """How a challenger does against the model that serves, over the latest blocks."""

    blocks: list[tuple[int, int, float, float]] = field(default_factory=list)  # decisions, rows, sum, sum of squares

    def take(self, block: Block, differences: Floats) -> None:
        """Loss of the model that serves less that of the challenger, row by row."""
        sums = float(differences.sum()), float(differences @ differences)
        self.blocks.append((block.decisions, len(differences), *sums))
        while sum(one[0] for one in self.blocks[1:]) >= WINDOW:
            self.blocks.pop(0)

    @property
    def is_won(self) -> bool:
        """Whether the challenger is clearly better."""
        decisions, rows, total, squares = map(sum, zip(*self.blocks, strict=True)) if self.blocks else (0, 0, 0.0, 0.0)
        if decisions < WINDOW or rows < 2:
            return False
        variance = max(squares / rows - (total / rows) ** 2, 0.0)
        return total > max(SURE * sqrt(rows * variance), LEAST_BETTER)


@dataclass(slots=True, kw_only=True, eq=False)
class Member:
    """One model, and how well it predicted."""

    walk: float
    born: int  # decisions of the lineage before it
    posterior: Posterior = field(default_factory=Posterior)
    loss: float = 0.0  # discounted
    duel: Duel = field(default_factory=Duel)  # of a challenger

    def learn(self, block: Block, likelihood: Likelihood, levels: Sequence[int], contents: Sequence[int]) -> None:
        """Takes the block, before which levels and contents may have changed.

        Args:
            levels: places of the weights that are levels.
            contents: places of the weights of contents.
        """
        passes = block.decisions / PASS
        walks = dict.fromkeys(levels, LEVEL_WALK * passes)
        self.posterior.walk(walks | dict.fromkeys(contents, self.walk * passes) if self.walk else walks)
        self.posterior.learn(block.rows, block.outcomes, likelihood)


def _own(columns: Columns, families: tuple[Family, ...]) -> list[int]:
    """Places of the dense weights of these families that are the same for every user."""
    places = [columns.own(code) for code in columns.codes if code[0] in families]
    return [place for place in places if 0 <= place < len(columns.dense)]


@dataclass(slots=True, kw_only=True, eq=False)
class Bank:
    """The models of one event."""

    settled: list[Member]
    challengers: list[Member] = field(default_factory=list)
    place: int = 0  # of the one that serves, among the settled
    takeovers: int = 0
    has_changed: bool = False  # whether one took over in the latest block

    @classmethod
    def begun(cls) -> "Bank":
        """A bank that has learned nothing."""
        return cls(settled=[Member(walk=WALKS[0], born=0)])

    @property
    def serving(self) -> Member:
        """The model that predicts."""
        return self.settled[self.place]

    @property
    def members(self) -> Iterator[Member]:
        """All of them."""
        yield from self.settled
        yield from self.challengers

    def learn(self, block: Block, columns: Columns, likelihood: Likelihood) -> Floats:
        """Takes a block, and returns the losses of the model that served on rows that it had not seen."""
        served = self._score(block, likelihood)
        winners = [one for one in self.challengers if one.duel.is_won]
        self.has_changed = bool(winners)
        if winners:
            self._take_over(winners[-1])
        levels, contents = _own(columns, _LEVELS), _own(columns, (Family.CONTENT,))
        for member in self.members:
            member.learn(block, likelihood, levels, contents)
        self._choose()
        return served

    def set_out(self, before: int, *, is_wide: bool) -> None:
        """Makes the models that are due before the next block, and ends those whose time is over.

        Args:
            before: decisions of the lineage that came earlier.
            is_wide: more than one model is worth its time.
        """
        if not is_wide:
            self.settled, self.place = [self.serving], 0
            self.challengers = []
            return
        if len(self.settled) == 1 and before - self.settled[0].born >= YOUNG:
            first = self.settled[0]
            copies = [Member(walk=one, born=first.born, posterior=first.posterior.copy()) for one in WALKS[1:]]
            for copy in copies:
                copy.loss = first.loss
            self.settled += copies
        if self.challengers and before - self.challengers[0].born >= LIFE:
            self.challengers.pop(0)
        latest = self.challengers[-1].born if self.challengers else 0
        if before - latest >= STAGGER or self.has_changed:
            self.challengers.append(Member(walk=WALKS[0], born=before))

    def _score(self, block: Block, likelihood: Likelihood) -> Floats:
        """Counts what each model lost on the block, and returns the losses of the one that serves."""
        linears = {id(member): member.posterior.linear(block.rows) for member in self.members}
        losses = {key: likelihood.losses(linear, block.outcomes) for key, linear in linears.items()}
        for member in self.members:
            member.loss = block.discount * member.loss + float(losses[id(member)].sum())
        for one in self.challengers:
            ours = losses_at_level(linears[id(self.serving)], block, likelihood)
            theirs = losses_at_level(linears[id(one)], block, likelihood)
            one.duel.take(block, ours - theirs)
        return losses[id(self.serving)]

    def _take_over(self, winner: Member) -> None:
        """A challenger serves from now on; of too many models the worst is let go, and so are older challengers."""
        self.challengers = [one for one in self.challengers if one.born > winner.born]
        winner.loss = self.serving.loss - LEAD
        others = sorted(self.settled, key=lambda one: one.loss)[: MOST_SETTLED - 1]
        self.settled, self.place = [*(one for one in self.settled if one in others), winner], len(others)
        self.takeovers += 1
        for one in self.challengers:
            one.duel = Duel()

    def _choose(self) -> None:
        """Serves with the best, when it is clearly better."""
        best = min(range(len(self.settled)), key=lambda place: self.settled[place].loss)
        if self.settled[best].loss < self.serving.loss - LEAD:
            self.place = best
