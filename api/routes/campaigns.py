"""PUT, GET and list of campaigns; pause and resume."""

from typing import Any

from flask import Blueprint, Response, request

from api.edge.auth import Scope, needs
from api.edge.operations import Parameter, describes
from api.edge.payloads import read_json
from api.edge.shared import answer, body, shared
from bandit.campaign.checks import campaign_of
from bandit.campaign.document import Campaign
from bandit.errors import FieldError, InvalidInput
from bandit.serve import campaigns
from bandit.wire.campaign import CampaignBody, StoredCampaign, StoredCampaigns

IF_VERSION = Parameter(
    name="if_version",
    place="query",
    what="The version believed to be current (0: none); else 409.",
    schema={"type": "integer"},
    example=3,
)

blueprint = Blueprint("campaigns", __name__)


@blueprint.get("/campaigns")
@needs(Scope.READ)
@describes("Campaigns", "Every campaign's current version", answers={200: StoredCampaigns})
def list_campaigns() -> Response:
    return answer(StoredCampaigns(campaigns=[_document(stored) for stored in shared().service.campaigns.list()]))


@blueprint.get("/campaigns/<campaign_id>")
@needs(Scope.READ)
@describes("Campaigns", "A campaign's current version", answers={200: StoredCampaign}, errors=(404,))
def get_campaign(campaign_id: str) -> Response:
    return answer(_document(shared().service.campaigns.get(campaign_id)))


@blueprint.put("/campaigns/<campaign_id>")
@needs(Scope.ADMIN)
@describes(
    "Campaigns",
    "Create a campaign, or add a version; an unchanged document adds none",
    body=CampaignBody,
    answers={200: StoredCampaign, 201: StoredCampaign},
    errors=(409,),
    parameters=(IF_VERSION,),
)
def put_campaign(campaign_id: str) -> Response:
    campaign, if_version = _parsed_body(campaign_id)
    stored = shared().service.campaigns.put(campaign, if_version=if_version)
    return answer(_document(stored), status=201 if stored.is_new else 200)


@blueprint.post("/campaigns/<campaign_id>/pause")
@needs(Scope.ADMIN)
@describes("Campaigns", "Decide silence from now on", answers={200: StoredCampaign}, errors=(404,))
def pause_campaign(campaign_id: str) -> Response:
    return answer(_document(shared().service.campaigns.set_paused(campaign_id, True)))


@blueprint.post("/campaigns/<campaign_id>/resume")
@needs(Scope.ADMIN)
@describes("Campaigns", "Decide again", answers={200: StoredCampaign}, errors=(404,))
def resume_campaign(campaign_id: str) -> Response:
    return answer(_document(shared().service.campaigns.set_paused(campaign_id, False)))


def _parsed_body(campaign_id: str) -> tuple[Campaign, int | None]:
    """The campaign of the body, and the version that the caller believes to be current."""
    document = read_json(body())
    if not isinstance(document, dict):
        raise InvalidInput([FieldError(field="body", message="is not a JSON object")])
    if_version = _if_version(document)
    campaign = campaign_of({"id": campaign_id, **document})
    if campaign.id != campaign_id:
        message = f"{campaign.id!r}: is not the id of the address, {campaign_id!r}"
        raise InvalidInput([FieldError(field="id", message=message)])
    return campaign, if_version


def _if_version(document: dict[str, Any]) -> int | None:
    """Takes the field out of the document; without it, or with null, the parameter of the address counts."""
    text = request.args.get("if_version", "")
    is_whole = text.isascii() and text.isdigit() and len(text) < 10
    of_address = int(text) if is_whole else text or None
    in_body = document.pop("if_version", None)
    if None not in (in_body, of_address) and in_body != of_address:
        message = f"{in_body!r} in the body is not {of_address!r} in the address"
        raise InvalidInput([FieldError(field="if_version", message=message)])
    value = of_address if in_body is None else in_body
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise InvalidInput([FieldError(field="if_version", message=f"{value!r} is not a whole number")])
    return value


def _document(stored: campaigns.StoredCampaign) -> StoredCampaign:
    return StoredCampaign(id=stored.campaign.id, version=stored.version, paused=stored.paused, document=stored.campaign)
