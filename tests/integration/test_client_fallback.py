"""Against servers that fail in every way the client gives the caller's fallback, in time.

`pytest tests/integration/test_client_fallback.py --calls 1000` makes a thousand calls to each.
"""

import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from threading import Event, Thread
from time import monotonic, sleep

import pytest

from api import deadlines
from api.client import TIMEOUT_SECONDS, Choice, SendoptClient
from tests.support.failing import WAYS, failing_server

ALLOWED_SECONDS = 0.3
THREADS = 4
TICK_SECONDS = 0.005
FALLBACK = Choice(send=True, channel="push", content="my-own")


@contextmanager
def nobody() -> Iterator[str]:
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


def server(kind: str) -> AbstractContextManager[str]:
    return nobody() if kind == "dead" else failing_server(kind)


class Metronome:
    """Measures for how long this process was kept from running, by what else the machine does."""

    def __init__(self) -> None:
        self._ended = Event()
        self._late: list[tuple[float, float]] = []  # when a tick came, and by how much too late
        self._thread = Thread(target=self._run)

    def _run(self) -> None:
        before = monotonic()
        while not self._ended.is_set():
            sleep(TICK_SECONDS)
            now = monotonic()
            self._late.append((now, now - before - TICK_SECONDS))
            before = now

    def __enter__(self) -> "Metronome":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def stolen(self, start: float, end: float) -> float:
        """Seconds of the span in which a thread that wanted to run could not."""
        return sum(late for tick, late in self._late if start <= tick <= end and late > TICK_SECONDS)


@pytest.mark.parametrize("kind", ["dead", *WAYS])
def test_every_call_gets_the_fallback_in_time(
    kind: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: int = request.config.getoption("--calls")
    with (
        server(kind) as url,
        SendoptClient(url) as client,
        Metronome() as metronome,
        ThreadPoolExecutor(THREADS) as threads,
    ):

        def call(number: int) -> tuple[Choice, float, float]:
            start = monotonic()
            choice = client.decide({"campaign": "c", "user": {"id": f"u-{number}"}}, fallback=FALLBACK)
            return choice, start, monotonic()

        outcomes = list(threads.map(call, range(calls)))
    slowest = max(end - start for _, start, end in outcomes)
    own = max(end - start - metronome.stolen(start, end) for _, start, end in outcomes)
    with capsys.disabled():
        seconds = f"slowest {1e3 * slowest:.0f} ms, {1e3 * own:.0f} ms but for waiting for a core"
        sys.stdout.write(f"\n{kind}: {calls} calls, {seconds} ")
    assert len(outcomes) == calls
    assert all(choice.degraded and choice.content == "my-own" for choice, *_ in outcomes)
    assert own < ALLOWED_SECONDS


def test_with_a_timeout_for_each_wait_instead_a_drip_would_hold_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "_remaining", lambda: TIMEOUT_SECONDS)
    # The threads first, so that the server is gone before the call is waited for.
    with ThreadPoolExecutor(1) as threads, failing_server("slow") as url, SendoptClient(url) as client:
        held = threads.submit(client.decide, {}, fallback=FALLBACK)
        with pytest.raises(TimeoutError):
            held.result(4 * TIMEOUT_SECONDS)


def test_feedback_ends_in_time_as_well() -> None:
    with failing_server("slow") as url, SendoptClient(url) as client:
        start = monotonic()
        assert client.feedback({"decision_id": "d-1"}) is None
        assert monotonic() - start < ALLOWED_SECONDS
