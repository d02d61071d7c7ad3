"""How much the faults are driven: little when every test runs, all of it under `make faults`."""

import pytest

KILLS, LABELS, ROUNDS, READINGS = 10, 3_000, 3, 600


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=KILLS, help=f"kills of the learner in tests/faults ({KILLS})")
    parser.addoption("--labels", type=int, default=LABELS, help=f"labels, a fifth of them hostile ({LABELS})")
    parser.addoption("--rounds", type=int, default=ROUNDS, help=f"rounds of eight learners at once ({ROUNDS})")
    parser.addoption("--readings", type=int, default=READINGS, help=f"readings of broken logs ({READINGS})")


def _number(request: pytest.FixtureRequest, name: str, default: int) -> int:
    # The default once more: when all tests run, this file is found after the command line was read.
    number: int = request.config.getoption(name, default)
    return number


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    return _number(request, "--kills", KILLS)


@pytest.fixture
def labels(request: pytest.FixtureRequest) -> int:
    return _number(request, "--labels", LABELS)


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    return _number(request, "--rounds", ROUNDS)


@pytest.fixture
def readings(request: pytest.FixtureRequest) -> int:
    return _number(request, "--readings", READINGS)
