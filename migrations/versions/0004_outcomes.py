"""The local hour of a send, and sums over final decisions.

Decisions made before have no local hour, and are not in the sums: they begin with what becomes final from now on.
Downgrade is not offered: the schemas before have no place for what these tables say. To go back, restore a backup.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

# An instant: microseconds since 1970 where the database has no time type.
INSTANT = sa.BigInteger().with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    op.add_column("decisions", sa.Column("local_hour", sa.Integer()))
    op.create_table(
        "reward_sums",
        sa.Column("campaign_id", sa.String(length=128), nullable=False),
        sa.Column("day", INSTANT, nullable=False),
        sa.Column("policy", sa.String(length=16), nullable=False),
        sa.Column("user_group", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("decisions", sa.BigInteger(), nullable=False),
        sa.Column("reward", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("campaign_id", "day", "policy", "user_group", name="pk_reward_sums"),
    )
    op.create_table(
        "choice_sums",
        sa.Column("campaign_id", sa.String(length=128), nullable=False),
        sa.Column("day", INSTANT, nullable=False),
        sa.Column("policy", sa.String(length=16), nullable=False),
        sa.Column("channel", sa.String(length=255), nullable=False),
        sa.Column("content", sa.String(length=255), nullable=False),
        sa.Column("local_hour", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("decisions", sa.BigInteger(), nullable=False),
        sa.Column("voided", sa.BigInteger(), nullable=False),
        sa.Column("reward", sa.Float(precision=53), nullable=False),
        sa.Column("explored", sa.BigInteger(), nullable=False),
        sa.Column("entropy", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint(
            "campaign_id", "day", "policy", "channel", "content", "local_hour", name="pk_choice_sums"
        ),
    )
