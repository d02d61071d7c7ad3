"""`make quick` starts no process: a test that starts one without saying so fails."""

import subprocess
import sys
from collections.abc import Callable
from multiprocessing import get_context

import pytest


@pytest.mark.parametrize(
    "start", [lambda: subprocess.run(["true"], check=True), lambda: get_context("spawn").Process().start()]
)
def test_a_process_that_is_started_unmarked_fails_the_test(start: Callable[[], object]) -> None:
    with pytest.raises(pytest.fail.Exception, match="mark it with `process`"):
        start()


@pytest.mark.process
def test_a_marked_test_may_start_one() -> None:
    assert subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, check=True).stdout == b"1\n"
