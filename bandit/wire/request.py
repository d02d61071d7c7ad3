"""A request to decide: one schema for HTTP, for the simulation, and for the stored request."""

from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from bandit.campaign.document import ContentDocument, QuietHoursChoice, quiet_window
from bandit.campaign.fields import (
    AS_TUPLE,
    FeatureTable,
    Identifier,
    Instant,
    StrictModel,
    about,
    validated,
)
from bandit.domain import CampaignId, DecideRequest, User, UserId
from bandit.errors import UnknownTimeZone
from bandit.sendtimes import zone
from bandit.wire.fields import MAX_BATCH

MAX_CONTENTS = 2_000


def _known_zone(name: str) -> str:
    try:
        zone(name)
    except UnknownTimeZone as error:
        raise PydanticCustomError("timezone", "{message}", {"message": str(error)}) from None
    return name


class UserDocument(StrictModel):
    """The user who may receive the message, as the caller knows them before the decision."""

    id: Annotated[Identifier, about("The caller's id of the user.", example="u-123")]
    timezone: Annotated[
        str,
        AfterValidator(_known_zone),
        about(
            "IANA name of the user's time zone; local hours and quiet hours are read on it.", example="America/New_York"
        ),
    ]
    channels: Annotated[
        Annotated[tuple[Identifier, ...], AS_TUPLE, Field(max_length=50)] | None,
        about(
            "Channels on which the user can be reached and has consented; may be absent only where the campaign says "
            '`consent = "assumed"`: every channel of the campaign then.',
            example=["push", "email"],
            rule="each is a channel of the campaign",
        ),
    ] = None
    quiet_hours: Annotated[
        QuietHoursChoice | None,
        about(
            "The user's own do-not-disturb window, added to the campaign's; or `none`, or `all_day`.",
            example={"start": "21:00", "end": "09:30"},
        ),
    ] = None
    features: Annotated[
        FeatureTable,
        about(
            "What is known of the user before the decision.",
            example={"country": "US", "days_since_visit": 3.0, "premium": False, "topics": ["art", "food"]},
        ),
    ] = Field(default_factory=dict)

    def to_domain(self) -> User:
        return User(
            id=UserId(self.id),
            timezone=self.timezone,
            channels=None if self.channels is None else frozenset(self.channels),
            quiet_hours=None if self.quiet_hours is None else quiet_window(self.quiet_hours),
            features=self.features,
        )


ContentChoice = Annotated[
    Annotated[Identifier, Tag("<id>")] | Annotated[ContentDocument, Tag("<content>")],
    Discriminator(lambda one: "<id>" if isinstance(one, str) else "<content>"),
]


class RequestDocument(StrictModel):
    """A request for one user and one campaign."""

    campaign: Annotated[Identifier, about("Id of the campaign.", example="reengage")]
    user: Annotated[UserDocument, about("The user.")]
    contents: Annotated[
        Annotated[tuple[ContentChoice, ...], AS_TUPLE, Field(max_length=MAX_CONTENTS)] | None,
        about(
            "The candidates for this user: ids of the catalogue, or contents with features of their own; absent: the "
            "whole catalogue.",
            example=["streak", {"id": "pin-9", "features": {"topic": "food", "fresh_hours": 5}}],
        ),
    ] = None
    now: Annotated[
        Instant | None,
        about(
            "The moment of the decision; accepted only by a service on the request clock (simulation and replay).",
            example="2026-11-20T17:03:00Z",
        ),
    ] = None

    def to_domain(self, body: str) -> DecideRequest:
        """The request; `body` is its JSON text as received."""
        contents = self.contents
        return DecideRequest(
            campaign=CampaignId(self.campaign),
            user=self.user.to_domain(),
            contents=None
            if contents is None
            else tuple(one if isinstance(one, str) else one.to_domain() for one in contents),
            now=self.now,
            body=body,
        )


class DecideBatch(StrictModel):
    """Requests that are decided together."""

    requests: Annotated[
        tuple[RequestDocument, ...],
        AS_TUPLE,
        Field(max_length=MAX_BATCH),
        about("The requests, each with its own answer."),
    ]


def request_of(document: object) -> DecideRequest:
    """The request of a document that was read from JSON: an item of a batch, what a receipt quotes, a simulated one.

    Raises:
        InvalidInput: with every fault of the document, each by its path and rule.
    """
    return validated(RequestDocument, document).to_domain(orjson.dumps(document).decode())


def stored_request(document: dict[str, Any]) -> DecideRequest:
    """The request that a receipt or a log quotes, by the rules of its own time.

    Until 0.1 equal `start` and `end` of a user's quiet hours meant that there are none.
    """
    user = document["user"]
    own = user.get("quiet_hours")
    if isinstance(own, dict) and own.get("start") == own.get("end"):
        document = {**document, "user": {**user, "quiet_hours": "none"}}
    return request_of(document)
