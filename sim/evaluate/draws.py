"""The draws of a log compared with its pmf, over few arms: each channel with each content, at any send time."""

from collections.abc import Hashable, Sequence

import numpy as np

from bandit.decide.logged import LoggedActions
from sim.logs.event import LoggedEvent
from sim.ope.checks.draws import Draws

ARMS = 64  # the last arm stands for all further ones


class ArmDraws:
    """Sums over the rows of a log, in memory that does not grow with them."""

    def __init__(self) -> None:
        self._draws = Draws(n_arms=ARMS)
        self._arms: dict[Hashable, int] = {}
        self._all_known = True

    @property
    def draws(self) -> Draws | None:
        """The draws; None if a row has no pmf, or does not say what its actions were."""
        return self._draws if self._all_known else None

    def add(self, events: Sequence[LoggedEvent]) -> None:
        pmfs, drawn = np.zeros((len(events), ARMS)), np.zeros(len(events), dtype=np.intp)
        for row, event in enumerate(events):
            if event.pmf is None or event.actions is None:
                self._all_known = False
                return
            arms = self._arms_of(event.actions)
            # Other systems' numbers have 32 bits; the draws are checked as if they summed to 1.
            np.add.at(pmfs[row], arms, event.pmf / event.pmf.sum())
            drawn[row] = arms[event.action_index]
        told = any(event.feedback_missing is not None for event in events)
        missing = np.array([bool(event.feedback_missing) for event in events])
        self._draws.add(pmfs, drawn, missing if told else None)

    def _arms_of(self, actions: LoggedActions | Sequence[object]) -> list[int]:
        """The arm of each action.

        Arms are numbered in the order in which they appear in eligible sets, not in draws.
        """
        if not isinstance(actions, LoggedActions):
            return [self._arm(place) for place in range(len(actions))]
        sends = [self._arm((actions.channels[cell.channel], actions.contents[cell.content])) for cell in actions.cells]
        return [self._arm(None), *sends]

    def _arm(self, label: Hashable) -> int:
        if len(self._arms) < ARMS - 1:
            return self._arms.setdefault(label, len(self._arms))
        return self._arms.get(label, ARMS - 1)
