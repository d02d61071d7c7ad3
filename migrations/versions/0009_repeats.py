"""A repeat of feedback is its event and its key, no longer the key alone.

Providers give one id to every event of a message, so that `delivered` hid `clicked` and `unsubscribed`. Keys that are
stored stay as they are: what was a repeat before still is one where the event is the same.

Downgrade is not offered: rows that differ only by their event would break the constraint before. To go back, restore a
backup.
"""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    with op.batch_alter_table("feedback") as batch:
        batch.drop_constraint("uq_feedback_decision_id_dedupe_key", type_="unique")
        batch.create_unique_constraint(
            "uq_feedback_decision_id_event_dedupe_key", ["decision_id", "event", "dedupe_key"]
        )
