"""Progressive validation: each decision is put to the version that had not yet learned from it.

A young campaign's champion has learned all of the log, so no row is unseen. Its ancestors had not: each row is put to
the newest one of them that was taught only from rows before it. The value is that of learning on along the log, which
the champion, who has learned more, is likely to exceed.

Source: Blum, Kalai and Langford (1999), Beating the hold-out: bounds for k-fold and progressive cross-validation.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bandit.errors import InvalidLog
from sim.evaluate.targets import Likelihood, OfCampaign
from sim.logs.event import LoggedEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A version of the lineage."""

    watermark: int  # last place in the learning order that it was taught from
    version: int | None  # None: the untaught engine


@dataclass(slots=True, kw_only=True)
class Progressive:
    """The champion's lineage as a target. One version is in memory at a time."""

    stages: Sequence[Stage]  # oldest first
    load: Callable[[int | None], OfCampaign]
    name: str = "progressive"
    changes_own_features: bool = True
    identity: str = ""
    _current: tuple[Stage, OfCampaign] | None = field(default=None, repr=False)

    @property
    def watermark(self) -> int:
        """Rows up to the oldest version's watermark were learned by all that are stored."""
        return self.stages[0].watermark

    def likelihood(self, event: LoggedEvent) -> Likelihood:
        if event.learning_place is None:
            raise InvalidLog(f"row {event.row}: learning_place: is missing: {self.name} needs it")
        place = bisect_left([stage.watermark for stage in self.stages], event.learning_place)
        stage = self.stages[max(0, place - 1)]
        if self._current is None or self._current[0] != stage:
            self._current = (stage, self.load(stage.version))
        return self._current[1].likelihood(event)
