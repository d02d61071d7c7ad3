"""Group commit: the caller that gets the turn processes everything that is queued, in one transaction.

A durable commit costs about as much for one decision as for twenty. Requests that arrive while a commit is under way
wait for it anyway; when it ends, one of them takes the turn and runs them all together. One caller leads at a time, and
hands over when its own call is done: if all callers tried to take the lock, finished callers would have to wait.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from threading import Lock
from typing import Generic, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


@dataclass(slots=True)
class _Waiting(Generic[Item, Outcome]):
    items: Sequence[Item]
    outcomes: list[Outcome] = field(default_factory=list)
    error: Exception | None = None
    done: bool = False
    asleep: Lock = field(default_factory=Lock)  # held until it is done or must lead; an Event costs ten times as much


class Grouped(Generic[Item, Outcome]):
    """Calls `run_many` for one group of items at a time."""

    def __init__(self, run_many: Callable[[Sequence[Item]], list[Outcome]], *, turn: Lock, most: int) -> None:
        """
        Args:
            run_many: gives one outcome per item, in order, or raises for all of them.
            turn: held while `run_many` runs; may be shared with another group that writes to the same database.
            most: items after which a group takes no further waiting call in.
        """
        self._run_many = run_many
        self._turn = turn
        self._most = most
        self._queue: list[_Waiting[Item, Outcome]] = []
        self._queue_lock = Lock()
        self._is_led = False

    def run(self, items: Sequence[Item]) -> list[Outcome]:
        """Outcomes of the items, in order; raises what `run_many` raised for their group."""
        waiting: _Waiting[Item, Outcome] = _Waiting(items)
        waiting.asleep.acquire()
        if not self._enqueue(waiting):
            waiting.asleep.acquire()
        if not waiting.done:
            self._lead(waiting)
        if waiting.error is not None:
            raise waiting.error
        return waiting.outcomes

    def _enqueue(self, waiting: _Waiting[Item, Outcome]) -> bool:
        """Queues the call; whether nobody leads yet, so that it must."""
        with self._queue_lock:
            self._queue.append(waiting)
            must_lead, self._is_led = not self._is_led, True
        return must_lead

    def _lead(self, waiting: _Waiting[Item, Outcome]) -> None:
        """Processes groups until the call is done, then hands over to the call that has waited longest."""
        try:
            while not waiting.done:
                with self._turn:
                    self._work_off(self._next_group(), waiting)
        finally:
            with self._queue_lock:
                if self._queue:
                    self._queue[0].asleep.release()
                else:
                    self._is_led = False

    def _next_group(self) -> list[_Waiting[Item, Outcome]]:
        with self._queue_lock:
            sizes = accumulate(len(waiting.items) for waiting in self._queue)
            taken = next((place for place, size in enumerate(sizes, start=1) if size >= self._most), len(self._queue))
            group, self._queue = self._queue[:taken], self._queue[taken:]
        return group

    def _work_off(self, group: list[_Waiting[Item, Outcome]], leader: _Waiting[Item, Outcome]) -> None:
        try:
            outcomes = iter(self._run_many([item for waiting in group for item in waiting.items]))
            for waiting in group:
                waiting.outcomes = [next(outcomes) for _ in waiting.items]
        except Exception as error:
            # Not swallowed: every caller of the group raises it in its own thread.
            for waiting in group:
                waiting.error = error
        finally:
            for waiting in group:
                waiting.done = True
                if waiting is not leader:
                    waiting.asleep.release()
