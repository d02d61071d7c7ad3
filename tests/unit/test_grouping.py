"""Grouped: the caller that has the turn processes everything that is queued; each caller gets its own outcomes."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier, Event, Lock
from time import sleep
from typing import Any, TypeVar

import pytest

from api.edge.grouping import Grouped

THREADS = 16
CALLS = 200
Item = tuple[int, int, int]  # thread, call, place
Result = TypeVar("Result")


class Recorder:
    """Runs groups, remembers them, and notices two at once."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.groups: list[list[Item]] = []
        self.overlapped = False
        self._seconds = seconds
        self._running = Lock()

    def run_many(self, items: Sequence[Item]) -> list[str]:
        if not self._running.acquire(blocking=False):
            self.overlapped = True
            return []
        try:
            self.groups.append(list(items))
            sleep(self._seconds)
            return [f"{item}" for item in items]
        finally:
            self._running.release()


def in_threads(call: Callable[[int], Result], threads: int = THREADS) -> list[Result]:
    """What each thread's call returned; all start together."""
    start = Barrier(threads)

    def run(thread: int) -> Result:
        start.wait()
        return call(thread)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads)))


def test_every_caller_gets_its_own_outcomes_in_order() -> None:
    recorder = Recorder()
    grouped = Grouped(recorder.run_many, turn=Lock(), most=64)

    def calls(thread: int) -> int:
        right = 0
        for call in range(CALLS):
            items = [(thread, call, place) for place in range(1 + call % 3)]
            right += grouped.run(items) == [f"{item}" for item in items]
        return right

    assert in_threads(calls) == [CALLS] * THREADS
    ran = [item for group in recorder.groups for item in group]
    assert len(ran) == len(set(ran)) == THREADS * sum(1 + call % 3 for call in range(CALLS))
    assert not recorder.overlapped


def test_under_load_calls_share_a_run() -> None:
    recorder = Recorder(seconds=0.002)
    grouped = Grouped(recorder.run_many, turn=Lock(), most=64)
    in_threads(lambda thread: [grouped.run([(thread, call, 0)]) for call in range(10)])
    # Each run takes in all callers that waited during the run before: far fewer than one run per call.
    assert len(recorder.groups) < THREADS * 10 / 2


def test_with_groups_of_one_every_call_has_a_run_of_its_own() -> None:
    recorder = Recorder(seconds=0.002)
    grouped = Grouped(recorder.run_many, turn=Lock(), most=1)
    in_threads(lambda thread: [grouped.run([(thread, call, 0)]) for call in range(10)])
    assert len(recorder.groups) == THREADS * 10


def test_a_call_alone_runs_at_once() -> None:
    recorder = Recorder()
    grouped = Grouped(recorder.run_many, turn=Lock(), most=64)
    assert grouped.run([(0, 0, 0), (0, 0, 1)]) == ["(0, 0, 0)", "(0, 0, 1)"]
    assert grouped.run([]) == []
    assert [len(group) for group in recorder.groups] == [2, 0]


def waiting_behind_the_turn(grouped: Grouped[int, str], turn: Lock, calls: Sequence[Sequence[int]]) -> list[object]:
    """What each call gives when all of them were queued, in order, while another held the turn."""
    outcomes: list[object] = [None] * len(calls)

    def call(place: int) -> None:
        try:
            outcomes[place] = grouped.run(calls[place])
        except Exception as error:
            outcomes[place] = error

    threads = [threading.Thread(target=call, args=[place]) for place in range(len(calls))]
    start_in_order(grouped, turn, threads)
    for thread in threads:
        thread.join()
    return outcomes


def test_a_group_is_cut_after_the_call_that_fills_it() -> None:
    groups: list[list[int]] = []

    def run_many(items: Sequence[int]) -> list[str]:
        groups.append(list(items))
        return [str(item) for item in items]

    turn = Lock()
    grouped = Grouped(run_many, turn=turn, most=3)
    outcomes = waiting_behind_the_turn(grouped, turn, [[1], [2, 3], [4], [5, 6, 7, 8], [], [9]])
    assert outcomes == [["1"], ["2", "3"], ["4"], ["5", "6", "7", "8"], [], ["9"]]
    assert groups == [[1, 2, 3], [4, 5, 6, 7, 8], [9]]  # a call is never split


class Unlucky(Exception):
    """What the run below raises."""


def test_an_exception_reaches_every_caller_of_its_group_and_no_other() -> None:
    def run_many(items: Sequence[int]) -> list[str]:
        if 13 in items:
            raise Unlucky
        return [str(item) for item in items]

    turn = Lock()
    grouped = Grouped(run_many, turn=turn, most=2)
    outcomes = waiting_behind_the_turn(grouped, turn, [[1], [2], [13], [4], [5], [6]])
    assert outcomes[:2] == [["1"], ["2"]]
    assert [type(one) for one in outcomes[2:4]] == [Unlucky, Unlucky]
    assert outcomes[4:] == [["5"], ["6"]]
    assert grouped.run([7]) == ["7"]


def test_too_few_outcomes_are_an_error_for_the_whole_group() -> None:
    turn = Lock()
    grouped: Grouped[int, str] = Grouped(lambda items: [str(items[0])], turn=turn, most=64)
    outcomes = waiting_behind_the_turn(grouped, turn, [[1], [2], [3]])
    assert all(isinstance(one, Exception) for one in outcomes)


def test_two_groups_that_share_a_turn_never_run_at_once() -> None:
    recorder = Recorder(seconds=0.0005)
    turn = Lock()
    pair = [Grouped(recorder.run_many, turn=turn, most=8) for _ in range(2)]
    in_threads(lambda thread: [pair[thread % 2].run([(thread, call, 0)]) for call in range(10)])
    assert not recorder.overlapped


def test_two_groups_with_a_turn_each_do_run_at_once() -> None:
    both_are_in, seen = Barrier(2, timeout=5), Event()

    def run_many(items: Sequence[int]) -> list[int]:
        both_are_in.wait()
        seen.set()
        return list(items)

    pair = [Grouped(run_many, turn=Lock(), most=8) for _ in range(2)]
    in_threads(lambda thread: pair[thread].run([1]), threads=2)
    assert seen.is_set()


def test_whoever_is_done_leaves_while_the_next_group_still_runs() -> None:
    gate = Event()

    def run_many(items: Sequence[int]) -> list[int]:
        if 3 in items:
            gate.wait(10)
        return list(items)

    def eager() -> None:
        grouped.run([1])
        grouped.run([3])  # at once: this thread is still awake, the one that waited beside it is not

    turn = Lock()
    grouped = Grouped(run_many, turn=turn, most=2)
    threads = [threading.Thread(target=eager), threading.Thread(target=grouped.run, args=[[2]])]
    start_in_order(grouped, turn, threads)
    threads[1].join(5)
    has_left = not threads[1].is_alive()
    gate.set()
    for thread in threads:
        thread.join()
    assert has_left


def start_in_order(grouped: Grouped[int, Any], turn: Lock, threads: Sequence[threading.Thread]) -> None:
    """Starts threads that each make a call, all queued in order while another holds the turn."""
    with turn:
        for queued, thread in enumerate(threads, start=1):
            thread.start()
            while len(grouped._queue) < queued:
                sleep(0.001)


def test_a_call_that_comes_after_a_rest_is_worked_off() -> None:
    grouped = Grouped(Recorder().run_many, turn=Lock(), most=4)
    for call in range(20):
        assert in_threads(partial(one_call, grouped, call), threads=3) == [[f"{(one, call, 0)}"] for one in range(3)]


def one_call(grouped: Grouped[Item, str], call: int, thread: int) -> list[str]:
    return grouped.run([(thread, call, 0)])


@pytest.mark.parametrize("most", [1, 2, 64])
def test_errors_and_outcomes_stay_apart_under_load(most: int) -> None:
    def run_many(items: Sequence[Item]) -> list[Item]:
        if any(call % 7 == 0 for _, call, _ in items):
            raise Unlucky
        return list(items)

    grouped = Grouped(run_many, turn=Lock(), most=most)

    def calls(thread: int) -> set[str]:
        return {outcome_of(thread, call) for call in range(CALLS)}

    def outcome_of(thread: int, call: int) -> str:
        item = (thread, call, 0)
        try:
            return "own" if grouped.run([item]) == [item] else "another's"
        except Unlucky:
            return "own error" if call % 7 == 0 else "error of the group"

    seen = {outcome for outcomes in in_threads(calls) for outcome in outcomes}
    assert "another's" not in seen
    assert "own error" in seen
    assert "error of the group" not in seen or most > 1
