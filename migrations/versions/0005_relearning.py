"""Settings of a lineage, excluded feedback, and up to which event a closed reward was known.

Downgrade is not offered: the schema before has no place for what these columns say. To go back, restore a backup.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

# An instant: microseconds since 1970 where the database has no time type.
INSTANT = sa.BigInteger().with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    op.add_column("models", sa.Column("settings", sa.Text()))
    op.add_column("feedback", sa.Column("excluded_at", INSTANT))
    op.add_column("feedback", sa.Column("excluded_for", sa.Text()))
    op.add_column("closings", sa.Column("seen", sa.BigInteger()))
    # Until now the moments are all that tells: an event that was received at the very moment counts as seen.
    op.execute(
        "UPDATE closings SET seen = (SELECT max(feedback.seq) FROM feedback "
        "WHERE feedback.decision_id = closings.decision_id AND NOT feedback.late "
        "AND feedback.received_at <= closings.closed_at)"
    )
