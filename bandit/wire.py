"""A request to decide as JSON: one schema for the wire and for what is stored of it."""

from typing import Annotated

from pydantic import AfterValidator, Discriminator, Field, Tag, ValidationError
from pydantic_core import PydanticCustomError

from bandit.campaign.document import ContentDocument, QuietHoursDocument
from bandit.campaign.fields import FeatureTable, Identifier, Instant, StrictModel, field_errors
from bandit.domain import CampaignId, DecideRequest, User, UserId
from bandit.errors import InvalidInput, UnknownTimeZone
from bandit.sendtimes import zone

MAX_CONTENTS = 2_000


def _known_zone(name: str) -> str:
    try:
        zone(name)
    except UnknownTimeZone as error:
        raise PydanticCustomError("timezone", "{message}", {"message": str(error)}) from None
    return name


class UserDocument(StrictModel):
    id: Identifier
    timezone: Annotated[str, AfterValidator(_known_zone)]
    channels: Annotated[tuple[Identifier, ...], Field(max_length=50)] | None = None
    quiet_hours: QuietHoursDocument | None = None
    features: FeatureTable = Field(default_factory=dict)


ContentChoice = Annotated[
    Annotated[Identifier, Tag("<id>")] | Annotated[ContentDocument, Tag("<content>")],
    Discriminator(lambda one: "<id>" if isinstance(one, str) else "<content>"),
]


class RequestDocument(StrictModel):
    campaign: Identifier
    user: UserDocument
    contents: Annotated[tuple[ContentChoice, ...], Field(max_length=MAX_CONTENTS)] | None = None
    now: Instant | None = None

    def to_domain(self, body: str) -> DecideRequest:
        """The request; `body` is its JSON text as received."""
        user = self.user
        contents = self.contents
        return DecideRequest(
            campaign=CampaignId(self.campaign),
            user=User(
                id=UserId(user.id),
                timezone=user.timezone,
                channels=None if user.channels is None else frozenset(user.channels),
                quiet_hours=None if user.quiet_hours is None else user.quiet_hours.to_domain(),
                features=user.features,
            ),
            contents=None
            if contents is None
            else tuple(one if isinstance(one, str) else one.to_domain() for one in contents),
            now=self.now,
            body=body,
        )


def stored_request(body: str) -> DecideRequest:
    """The request of the JSON text that a receipt quotes.

    Raises:
        InvalidInput: the text is no whole request (a decision made in-process may have been stored without it).
    """
    try:
        return RequestDocument.model_validate_json(body).to_domain(body)
    except ValidationError as error:
        raise InvalidInput(field_errors(error)) from None
