"""An HTTP server whose serving processes are started again as long as one of them can live.

Granian alone ends the whole service, a healthy process and the learner included, when a process dies twice within 5.5
seconds of being started.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any

import structlog
from granian import Granian

from api.edge.repeat import attempt

JOB = "serving-processes"
STEADY_SECONDS = 30.0  # a process that lived as long died of something new
FIRST_PAUSE_SECONDS = 0.25
MOST_PAUSE_SECONDS = 10.0
MOST_DEATHS = 8  # of every process in a row, after which none can live; 20 seconds and eight starts

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Deaths:
    """How often a process died in a row, each time young."""

    in_a_row: int = 0

    def died(self, lived_seconds: float) -> float:
        """Seconds to wait before it is started again: none at first, then twice as long each time."""
        self.in_a_row = 1 if lived_seconds >= STEADY_SECONDS else self.in_a_row + 1
        if self.in_a_row == 1:
            return 0.0
        return min(MOST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** (self.in_a_row - 2))


class KeepingServer(Granian):  # type: ignore[misc,valid-type]  # which class it is depends on the build of Python
    """Granian's server with another answer to the death of a serving process."""

    def _serve_loop(self, spawn_target: Any, target_loader: Any) -> None:
        deaths = [Deaths() for _ in range(self.workers)]
        due: dict[int, float] = {}  # when a dead process is started again, by its place
        while True:
            self.main_loop_interrupt.wait(_pause(due.values()))
            self.main_loop_interrupt.clear()  # before the looks below: what happens after them wakes it again
            if self.interrupt_signal:
                return
            if self.reload_signal:
                self._reload(spawn_target, target_loader)
            while self.interrupt_children:
                place = self.interrupt_children.pop(0)
                due[place] = monotonic() + self._note(deaths[place], place)
            if len(due) == self.workers and min(one.in_a_row for one in deaths) >= MOST_DEATHS:
                log.error("no_process_lives", deaths=MOST_DEATHS, rule="what keeps dying at its start cannot serve")
                self.interrupt_children.extend(due)  # so that the service ends with an error
                return
            for place in [place for place, at in due.items() if at <= monotonic()]:
                if attempt(JOB, partial(self._start_again, place, spawn_target, target_loader)):
                    del due[place]
                else:  # no memory for a process, or too many of them
                    due[place] = monotonic() + MOST_PAUSE_SECONDS

    def _note(self, deaths: Deaths, place: int) -> float:
        """Seconds until the process is started again."""
        pause = deaths.died(monotonic() - self.wrks[place].birth)
        log.error("serving_process_died", place=place + 1, deaths_in_a_row=deaths.in_a_row, pause_seconds=pause)
        return pause

    def _start_again(self, place: int, spawn_target: Any, target_loader: Any) -> None:
        process = self._spawn_worker(idx=place, target=spawn_target, callback_loader=target_loader)
        process.start()
        self.wrks[place] = process


def _pause(due: Collection[float]) -> float | None:
    """Seconds until the next process is due; None: nothing is."""
    return max(0.0, min(due) - monotonic()) if due else None
