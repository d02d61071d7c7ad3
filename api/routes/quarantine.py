"""GET /campaigns/{id}/quarantine: the decisions that no model may learn, and why."""

from flask import Blueprint, Response

from api.edge.auth import Scope, needs
from api.edge.operations import describes
from api.edge.shared import LIMIT, answer, how_many, shared
from bandit.store import quarantine
from bandit.wire.campaign import Quarantine, QuarantinedDecision

blueprint = Blueprint("quarantine", __name__)


@blueprint.get("/campaigns/<campaign_id>/quarantine")
@needs(Scope.READ)
@describes(
    "Models",
    "Decisions that no model may learn, and why; the last closed first",
    answers={200: Quarantine},
    errors=(404,),
    parameters=(LIMIT,),
)
def list_quarantined(campaign_id: str) -> Response:
    service = shared().service
    service.campaigns.get(campaign_id)
    limit = how_many()
    with service.store.read() as connection:
        rows = quarantine.latest(connection, campaign_id, limit)
    return answer(Quarantine(quarantine=[QuarantinedDecision.model_validate(row) for row in rows]))
