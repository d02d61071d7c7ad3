"""How often the learner is killed."""

import pytest

KILLS = 20


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=KILLS, help=f"kills of the learner in tests/faults ({KILLS})")


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    # The default once more: when all tests run, this file is found after the command line was read.
    number: int = request.config.getoption("--kills", KILLS)
    return number
