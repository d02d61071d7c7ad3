"""What repeats in the background goes on after any error, at intervals of a clock that cannot be set back."""

import ast
from contextlib import nullcontext
from io import StringIO
from pathlib import Path
from queue import Queue
from threading import Event

import pytest
import structlog

from api.edge.rate import RateLimiter
from api.edge.repeat import Repeated, attempt
from api.logging_setup import Unfailing
from bandit.errors import SendoptError
from tests.support.lines import Log

ROOT = Path(__file__).parents[2]
# Who may ask what time it is: the clock of the service, the moment of a key, and a timestamp for graphs.
WALL_CLOCK = {"bandit/serve/clock.py", "api/commands/main.py", "api/edge/poller.py"}


class Full(StringIO):
    """A stream to a full disk."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_line_that_cannot_be_written_fails_nothing() -> None:
    for stream in (Full(), Unfailing(Full())):
        logger = structlog.PrintLoggerFactory(stream)()  # type: ignore[arg-type]  # all that it uses
        with nullcontext() if isinstance(stream, Unfailing) else pytest.raises(OSError, match="No space left"):
            logger.msg("a line")


@pytest.mark.parametrize("error", [OSError(28, "no space"), SendoptError("away"), MemoryError(), ArithmeticError()])
def test_whatever_goes_wrong_once_is_logged_and_tried_again(error: Exception, json_log: Log) -> None:
    tried: Queue[int] = Queue()

    def work() -> None:
        tried.put(1)
        raise error

    job = Repeated("models", work, 0.01)
    job.start()
    for _ in range(3):
        tried.get(timeout=10)
    job.stop()
    assert len(json_log.events) >= 3
    expected = "job_failed" if isinstance(error, SendoptError) else "job_crashed"
    assert {(line["event"], line["job"]) for line in json_log.events} == {(expected, "models")}


def test_an_attempt_says_whether_it_was_one() -> None:
    assert attempt("models", lambda: None)
    assert not attempt("models", lambda: 1 / 0)


def test_stopping_waits_for_the_attempt_that_is_under_way() -> None:
    begun, go_on, ended = Event(), Event(), Event()

    def work() -> None:
        begun.set()
        go_on.wait(10)
        ended.set()

    job = Repeated("models", work, 60)
    job.start()
    assert begun.wait(10)
    go_on.set()
    job.stop()
    assert ended.is_set()


def reads_wall_clock(path: Path) -> bool:
    """Whether a file calls `datetime.now`, `datetime.utcnow`, `time.time` or an imported `time`."""
    tree = ast.parse(path.read_text("utf-8"))
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "time"
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in ("datetime.now", "datetime.utcnow", "time.time", "date.today"):
                return True
            if called == "time" and "time" in imported:
                return True
    return False


def test_no_interval_hangs_on_the_systems_clock() -> None:
    """Set back by N, it would stop whatever waits for it for N; what begins with `datetime.now` hides there."""
    found = {
        str(path.relative_to(ROOT))
        for room in ("bandit", "api")
        for path in (ROOT / room).rglob("*.py")
        if reads_wall_clock(path)
    }
    assert found == WALL_CLOCK


def test_a_key_is_let_through_as_often_as_it_may_in_any_second() -> None:
    now = 100.0
    limiter = RateLimiter(lambda: now)
    assert [limiter.wait_seconds("k", 3) for _ in range(3)] == [0.0] * 3
    now = 100.25
    assert limiter.wait_seconds("k", 3) == pytest.approx(0.75)
    assert limiter.wait_seconds("other", 3) == 0.0
    now = 101.0
    assert [limiter.wait_seconds("k", 3) for _ in range(3)] == [0.0] * 3
    assert limiter.wait_seconds("k", 3) == pytest.approx(1.0)
