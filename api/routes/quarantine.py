"""GET /campaigns/{id}/quarantine: the decisions that no model may learn, and why."""

from typing import Any

from flask import Blueprint, Response
from sqlalchemy import Row

from api.edge.auth import Scope, needs
from api.edge.shared import answer, how_many, shared
from bandit.decide.logged import utc_text
from bandit.store import quarantine

blueprint = Blueprint("quarantine", __name__)


@blueprint.get("/campaigns/<campaign_id>/quarantine")
@needs(Scope.READ)
def list_quarantined(campaign_id: str) -> Response:
    service = shared().service
    service.campaigns.get(campaign_id)
    limit = how_many()
    with service.store.read() as connection:
        return answer({"quarantine": [_document(row) for row in quarantine.latest(connection, campaign_id, limit)]})


def _document(row: Row[*tuple[Any, ...]]) -> dict[str, Any]:
    return {
        "decision_id": row.decision_id,
        "seq": row.seq,
        "reason": row.reason,
        "detail": row.detail,
        "quarantined_at": utc_text(row.quarantined_at),
    }
