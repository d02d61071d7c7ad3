"""Lineage, health and reign of model versions, held aliases and their changes, quarantined labels, sources of feedback.

Downgrade is not offered: the first schema has no place for what these columns say. To go back, restore a backup.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

# An instant: microseconds since 1970 where the database has no time type.
INSTANT = sa.BigInteger().with_variant(sa.DateTime(timezone=True), "postgresql")
# SQLite counts up only a column declared INTEGER.
SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("feedback", sa.Column("source", sa.String(length=64)))
    _widen_models()
    _widen_aliases()
    _create_promotions()
    _create_quarantine()


def _widen_models() -> None:
    op.add_column("models", sa.Column("lineage", sa.Integer()))
    op.add_column("models", sa.Column("health", sa.Text()))
    op.add_column("models", sa.Column("champion_since", INSTANT))
    op.add_column("models", sa.Column("champion_seconds", sa.Float(precision=53)))
    # Until now every version was taught from the one before it or from nothing. Of the oldest that are kept the
    # beginning may be forgotten: they are one line, which began with version 1.
    op.execute(
        "UPDATE models SET health = 'ok', champion_seconds = 0, lineage = coalesce("
        "(SELECT max(root.version) FROM models AS root WHERE root.campaign_id = models.campaign_id "
        "AND root.version <= models.version AND root.parent = 0), 1)"
    )
    op.execute(
        "UPDATE models SET champion_since = created_at WHERE EXISTS (SELECT 1 FROM model_aliases AS named "
        "WHERE named.campaign_id = models.campaign_id AND named.version = models.version "
        "AND named.alias = 'champion')"
    )
    with op.batch_alter_table("models") as batch:
        batch.alter_column("lineage", existing_type=sa.Integer(), nullable=False)
        batch.alter_column("health", existing_type=sa.Text(), nullable=False)
        batch.alter_column("champion_seconds", existing_type=sa.Float(precision=53), nullable=False)


def _widen_aliases() -> None:
    op.add_column("model_aliases", sa.Column("held", sa.Boolean()))
    op.add_column("model_aliases", sa.Column("campaign_arguments", sa.Text()))
    op.execute(
        "UPDATE model_aliases SET held = false, campaign_arguments = (SELECT named.arguments FROM models AS named "
        "WHERE named.campaign_id = model_aliases.campaign_id AND named.version = model_aliases.version)"
    )
    with op.batch_alter_table("model_aliases") as batch:
        batch.alter_column("held", existing_type=sa.Boolean(), nullable=False)
        batch.alter_column("campaign_arguments", existing_type=sa.Text(), nullable=False)


def _create_promotions() -> None:
    op.create_table(
        "promotions",
        sa.Column("seq", SEQUENCE, nullable=False),
        sa.Column("campaign_id", sa.String(length=128), nullable=False),
        sa.Column("alias", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer()),
        sa.Column("previous", sa.Integer()),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("cause", sa.String(length=16), nullable=False),
        sa.Column("undoes", sa.BigInteger()),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaigns.id"], name="fk_promotions_campaign_id_campaigns"),
        sa.PrimaryKeyConstraint("seq", name="pk_promotions"),
    )
    op.create_index("ix_promotions_campaign_id_seq", "promotions", ["campaign_id", "seq"])


def _create_quarantine() -> None:
    op.create_table(
        "quarantine",
        sa.Column("decision_id", sa.String(length=26), nullable=False),
        sa.Column("campaign_id", sa.String(length=128), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("quarantined_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["decision_id"], ["decisions.id"], name="fk_quarantine_decision_id_decisions"),
        sa.PrimaryKeyConstraint("decision_id", name="pk_quarantine"),
    )
    op.create_index("ix_quarantine_campaign_id_seq", "quarantine", ["campaign_id", "seq"])
