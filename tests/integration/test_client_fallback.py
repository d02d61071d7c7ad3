"""Against servers that fail in every way the client gives the caller's fallback, in time.

`pytest tests/integration/test_client_fallback.py --calls 1000` makes a thousand calls to each.
"""

import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from multiprocessing import get_context
from time import monotonic

import pytest

from api.client import TIMEOUT_SECONDS, SendoptClient
from api.demo.service import held_port
from sendopt_client import deadlines
from tests.support.calls import FALLBACK, call_many
from tests.support.failing import WAYS, failing_server

ALLOWED_SECONDS = 0.3
CALLERS = 4


@contextmanager
def nobody() -> Iterator[str]:
    """An address at which nobody listens."""
    with held_port() as port:
        yield f"http://127.0.0.1:{port}"


def server(kind: str) -> AbstractContextManager[str]:
    return nobody() if kind == "dead" else failing_server(kind)


@pytest.fixture(scope="module")
def callers() -> Iterator[ProcessPoolExecutor]:
    """Processes that call: threads would also wait for one another."""
    with ProcessPoolExecutor(CALLERS, mp_context=get_context("spawn")) as processes:
        yield processes


@pytest.mark.parametrize("kind", ["dead", *WAYS])
def test_every_call_gets_the_fallback_in_time(
    kind: str, callers: ProcessPoolExecutor, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: int = request.config.getoption("--calls")
    with server(kind) as url:
        parts = list(callers.map(call_many, [url] * CALLERS, [calls // CALLERS] * CALLERS))
    outcomes = [one for part in parts for one in part]
    slowest = max(one.seconds for one in outcomes)
    own = max(one.seconds - one.waited_seconds for one in outcomes)
    with capsys.disabled():
        seconds = f"slowest {1e3 * slowest:.0f} ms, {1e3 * own:.0f} ms but for waiting for a core"
        sys.stdout.write(f"\n{kind}: {len(outcomes)} calls, {seconds} ")
    assert len(outcomes) == calls
    assert all(one.is_fallback for one in outcomes)
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
        assert monotonic() - start < 4 * TIMEOUT_SECONDS  # the drip goes on for twenty seconds
