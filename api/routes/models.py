"""GET /campaigns/{id}/models: the versions; promote and rollback choose the one that serves."""

from flask import Blueprint, Response

from api.edge.auth import Scope, needs
from api.edge.operations import describes
from api.edge.shared import answer, shared
from bandit.wire.campaign import Model, Models

blueprint = Blueprint("models", __name__)


@blueprint.get("/campaigns/<campaign_id>/models")
@needs(Scope.READ)
@describes("Models", "The model versions of a campaign, newest first", answers={200: Models}, errors=(404,))
def list_models(campaign_id: str) -> Response:
    rows = shared().service.versions.list(campaign_id)
    return answer(Models(models=[Model.model_validate(row) for row in rows]))


@blueprint.post("/campaigns/<campaign_id>/models/<int:version>/promote")
@needs(Scope.ADMIN)
@describes("Models", "Make a version the champion", answers={200: Model}, errors=(404, 409))
def promote_model(campaign_id: str, version: int) -> Response:
    return answer(Model.model_validate(shared().service.versions.promote(campaign_id, version)))


@blueprint.post("/campaigns/<campaign_id>/rollback")
@needs(Scope.ADMIN)
@describes("Models", "Go back to the champion before the last promotion", answers={200: Model}, errors=(404, 409))
def roll_back(campaign_id: str) -> Response:
    return answer(Model.model_validate(shared().service.versions.rollback(campaign_id)))
