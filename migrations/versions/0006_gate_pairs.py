"""Which versions of challenger and champion a gated promotion compares.

Downgrade is not offered: the schema before has no place for what this table says. To go back, restore a backup.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

# An instant: microseconds since 1970 where the database has no time type.
INSTANT = sa.BigInteger().with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    op.create_table(
        "gate_pairs",
        sa.Column("campaign_id", sa.String(128), nullable=False),
        sa.Column("challenger", sa.Integer(), nullable=False),
        sa.Column("champion", sa.Integer(), nullable=False),
        sa.Column("since", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaigns.id"], name="fk_gate_pairs_campaign_id_campaigns"),
        *(
            sa.ForeignKeyConstraint(
                ["campaign_id", version],
                ["models.campaign_id", "models.version"],
                name=f"fk_gate_pairs_campaign_id_{version}_models",
            )
            for version in ("challenger", "champion")
        ),
        sa.PrimaryKeyConstraint("campaign_id", name="pk_gate_pairs"),
    )
