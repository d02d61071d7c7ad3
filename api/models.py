"""GET /campaigns/{id}/models: the published versions."""

from typing import Any

from flask import Blueprint, Response
from sqlalchemy import Row

from api.auth import Scope, needs
from api.http import answer, shared
from bandit.receipts import utc_text
from bandit.store import models

blueprint = Blueprint("models", __name__)


@blueprint.get("/campaigns/<campaign_id>/models")
@needs(Scope.READ)
def list_models(campaign_id: str) -> Response:
    service = shared().service
    service.campaigns.get(campaign_id)
    with service.store.read() as connection:
        return answer({"models": [_document(row) for row in models.manifests(connection, campaign_id)]})


def _document(row: Row[*tuple[Any, ...]]) -> dict[str, Any]:
    return {
        "version": row.version,
        "parent": row.parent,
        "events_learned": row.events_learned,
        "watermark": row.watermark,
        "created_at": utc_text(row.created_at),
        "alias": row.alias,
        "health": "ok",
        "arguments": row.arguments,
        "engine_version": row.engine_version,
        "size": row.size,
        "digest": row.digest,
    }
