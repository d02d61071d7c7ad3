"""GET /campaigns/{id}/models: the versions; which one serves is set by promote and rollback."""

from typing import Any

from flask import Blueprint, Response

from api.edge.auth import Scope, needs
from api.edge.shared import answer, shared
from bandit.decide.logged import utc_text
from bandit.learn.versions import Listed

blueprint = Blueprint("models", __name__)


@blueprint.get("/campaigns/<campaign_id>/models")
@needs(Scope.READ)
def list_models(campaign_id: str) -> Response:
    return answer({"models": [_document(row) for row in shared().service.versions.list(campaign_id)]})


@blueprint.post("/campaigns/<campaign_id>/models/<int:version>/promote")
@needs(Scope.ADMIN)
def promote(campaign_id: str, version: int) -> Response:
    return answer(_document(shared().service.versions.promote(campaign_id, version)))


@blueprint.post("/campaigns/<campaign_id>/rollback")
@needs(Scope.ADMIN)
def rollback(campaign_id: str) -> Response:
    return answer(_document(shared().service.versions.rollback(campaign_id)))


def _document(row: Listed) -> dict[str, Any]:
    return {
        "version": row.version,
        "parent": row.parent,
        "events_learned": row.events_learned,
        "watermark": row.watermark,
        "created_at": utc_text(row.created_at),
        "alias": row.alias,
        "held": row.held,
        "health": row.health,
        "lineage": row.lineage,
        "arguments": row.arguments,
        "engine_version": row.engine_version,
        "size": row.size,
        "digest": row.digest,
        "champion_since": None if row.champion_since is None else utc_text(row.champion_since),
    }
