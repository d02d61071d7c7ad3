"""Against servers that fail in every way the client gives the caller's fallback, in time.

`pytest tests/integration/test_client_fallback.py --calls 1000` makes a thousand calls to each.
"""

import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from time import monotonic

import pytest

from api import deadlines
from api.client import TIMEOUT_SECONDS, Choice, SendoptClient
from tests.support.failing import WAYS, failing_server

ALLOWED_SECONDS = 0.3
THREADS = 8
FALLBACK = Choice(send=True, channel="push", content="my-own")


@contextmanager
def nobody() -> Iterator[str]:
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


def server(kind: str) -> AbstractContextManager[str]:
    return nobody() if kind == "dead" else failing_server(kind)


@pytest.mark.parametrize("kind", ["dead", *WAYS])
def test_every_call_gets_the_fallback_in_time(
    kind: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: int = request.config.getoption("--calls")
    with server(kind) as url, SendoptClient(url) as client, ThreadPoolExecutor(THREADS) as threads:

        def call(number: int) -> tuple[Choice, float]:
            start = monotonic()
            choice = client.decide({"campaign": "c", "user": {"id": f"u-{number}"}}, fallback=FALLBACK)
            return choice, monotonic() - start

        outcomes = list(threads.map(call, range(calls)))
    slowest = max(seconds for _, seconds in outcomes)
    with capsys.disabled():
        sys.stdout.write(f"[{kind}: {calls} calls, slowest {1e3 * slowest:.0f} ms]")
    assert len(outcomes) == calls
    assert all(choice.degraded and choice.content == "my-own" for choice, _ in outcomes)
    assert slowest < ALLOWED_SECONDS


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
