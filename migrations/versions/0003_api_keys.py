"""API keys, and final rewards by their moment.

Downgrade is not offered: it would open a service that keys protect. To go back, restore a backup.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

# An instant: microseconds since 1970 where the database has no time type.
INSTANT = sa.BigInteger().with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.String(length=255), nullable=False),
        sa.Column("per_second", sa.Integer(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("revoked_at", INSTANT),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("digest", name="uq_api_keys_digest"),
    )
    op.create_index("ix_final_rewards_final_at", "final_rewards", ["final_at"])
