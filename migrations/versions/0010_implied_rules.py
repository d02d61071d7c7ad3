"""Stored campaigns say what they implied: no quiet hours, sending at once, consent that is assumed.

From now on a document that does not speak of these means the careful choice. What is stored was written, and is served
and evaluated, under the old one.

Downgrade is not offered: the program before does not know these words. To go back, restore a backup.
"""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_VERSIONS = sa.table(
    "campaign_versions",
    sa.column("campaign_id", sa.String()),
    sa.column("version", sa.Integer()),
    sa.column("document", sa.Text()),
)


def upgrade() -> None:
    connection, table = op.get_bind(), _VERSIONS
    for campaign_id, version in connection.execute(sa.select(table.c.campaign_id, table.c.version)).all():
        chosen = (table.c.campaign_id == campaign_id) & (table.c.version == version)
        document = json.loads(connection.execute(sa.select(table.c.document).where(chosen)).scalar_one())
        connection.execute(sa.update(table).where(chosen).values(document=_text(_with_implied(document))))


def _with_implied(document: dict[str, Any]) -> dict[str, Any]:
    """The document with what its absence meant until now; an empty window meant that there is none."""
    send_times = {"allow_now": True, "quiet_hours": "none", **document.get("send_times", {})}
    quiet = send_times["quiet_hours"]
    if quiet is None or (isinstance(quiet, dict) and quiet.get("start") == quiet.get("end")):
        send_times["quiet_hours"] = "none"
    return {"consent": "assumed", **document, "send_times": send_times}


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
