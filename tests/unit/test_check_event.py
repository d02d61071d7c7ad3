"""When an event cannot have happened."""

from datetime import UTC, datetime, timedelta

import pytest

from bandit.domain import DecisionId, Feedback
from bandit.errors import ImpossibleInput
from bandit.serve.feedback import check_event
from tests.support.builders import campaign

DECIDED_AT = datetime(2026, 11, 20, 17, 3, 0, 700_000, tzinfo=UTC)


def check(occurred_at: datetime) -> None:
    event = Feedback(decision_id=DecisionId("d"), event="clicked", occurred_at=occurred_at)
    check_event(campaign(), event, DECIDED_AT)


def test_an_event_known_to_the_second_may_happen_in_the_second_of_the_decision() -> None:
    check(DECIDED_AT.replace(microsecond=0))

    with pytest.raises(ImpossibleInput, match="before the decision"):
        check(DECIDED_AT.replace(microsecond=0) - timedelta(seconds=1))


def test_an_event_known_more_exactly_is_held_to_it() -> None:
    with pytest.raises(ImpossibleInput, match="before the decision"):
        check(DECIDED_AT - timedelta(microseconds=1))
