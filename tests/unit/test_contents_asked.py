"""Which contents a request puts up for choice, and under which rules."""

from datetime import UTC, datetime, timedelta

from bandit.decide.eligibility import eligible_set
from bandit.decide.history import NO_HISTORY
from bandit.domain import Action, Content
from bandit.sendtimes import zone
from tests.support.builders import MORNING, campaign, request

SOON = MORNING + timedelta(hours=4)
LATE = datetime(2026, 12, 1, tzinfo=UTC)
LISTED = {"id": "streak", "channels": ["push"], "repeat_after_hours": 48, "expires_at": SOON.isoformat()}


def sent(asked: Content) -> set[Action]:
    """The sends that remain when a request brings this content with it."""
    found = eligible_set(
        campaign(contents=[LISTED]), request(contents=[asked]), NO_HISTORY, now=MORNING, local=zone("UTC")
    )
    return {found.action(place) for place in range(1, len(found))}


def test_a_content_of_the_catalogue_that_comes_with_its_own_features_keeps_the_catalogues_rules() -> None:
    actions = sent(Content(id="streak", features={"fresh": 1.0}))

    assert {action.channel for action in actions} == {"push"}
    assert all(action.send_at is not None and action.send_at < SOON for action in actions)


def test_its_own_rules_can_only_narrow_those_of_the_catalogue() -> None:
    assert sent(Content(id="streak", channels=frozenset({"push", "email"}), expires_at=LATE)) == sent(
        Content(id="streak")
    )
    assert sent(Content(id="streak", channels=frozenset({"email"}))) == set()


def test_a_content_that_the_catalogue_does_not_have_brings_its_own_rules() -> None:
    actions = sent(Content(id="pin-9", channels=frozenset({"email"})))

    assert {action.channel for action in actions} == {"email"}
    assert len(actions) == 3
