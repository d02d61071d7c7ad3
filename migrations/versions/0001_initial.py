"""Campaigns, decisions, feedback, closings, models: the first schema.

Downgrade is not offered: before the first schema there is nothing to keep. To go back, restore a backup.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# An instant: microseconds since 1970 where the database has no time type.
INSTANT = sa.BigInteger().with_variant(sa.DateTime(timezone=True), "postgresql")
# SQLite counts up only a column declared INTEGER.
SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _create_campaigns()
    _create_decisions()
    _create_feedback()
    _create_models()


def _create_campaigns() -> None:
    op.create_table(
        "campaigns",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("current_version", sa.Integer(), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_campaigns"),
    )
    op.create_table(
        "campaign_versions",
        sa.Column("campaign_id", sa.String(length=128), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaigns.id"], name="fk_campaign_versions_campaign_id_campaigns"),
        sa.PrimaryKeyConstraint("campaign_id", "version", name="pk_campaign_versions"),
    )


def _create_decisions() -> None:
    op.create_table(
        "decisions",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("campaign_id", sa.String(length=128), nullable=False),
        sa.Column("campaign_version", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("decided_at", INSTANT, nullable=False),
        sa.Column("reward_deadline", INSTANT, nullable=False),
        sa.Column("policy", sa.String(length=16), nullable=False),
        sa.Column("model_version", sa.Integer(), nullable=False),
        sa.Column("channel", sa.String(length=255)),
        sa.Column("content", sa.String(length=255)),
        sa.Column("send_at", INSTANT),
        sa.Column("reason", sa.String(length=32)),
        sa.Column("propensity", sa.Float(precision=53), nullable=False),
        sa.Column("action_index", sa.Integer(), nullable=False),
        sa.Column("pmf", sa.LargeBinary(), nullable=False),
        sa.Column("actions", sa.Text(), nullable=False),
        sa.Column("actions_digest", sa.LargeBinary(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id", "campaign_version"],
            ["campaign_versions.campaign_id", "campaign_versions.version"],
            name="fk_decisions_campaign_id_campaign_version_campaign_versions",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_decisions"),
    )
    op.create_index("ix_decisions_decided_at", "decisions", ["decided_at"])
    op.create_index("ix_decisions_user_id_decided_at", "decisions", ["user_id", "decided_at"])
    op.create_table(
        "sends",
        sa.Column("decision_id", sa.String(length=26), nullable=False),
        sa.Column("campaign_id", sa.String(length=128), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("channel", sa.String(length=255), nullable=False),
        sa.Column("content", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(length=1024)),
        sa.Column("send_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["decision_id"], ["decisions.id"], name="fk_sends_decision_id_decisions"),
        sa.PrimaryKeyConstraint("decision_id", name="pk_sends"),
    )
    op.create_index("ix_sends_user_id_campaign_id_send_at", "sends", ["user_id", "campaign_id", "send_at"])
    op.create_table(
        "open_decisions",
        sa.Column("decision_id", sa.String(length=26), nullable=False),
        sa.Column("due_at", INSTANT, nullable=False),
        sa.Column("learned", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["decision_id"], ["decisions.id"], name="fk_open_decisions_decision_id_decisions"),
        sa.PrimaryKeyConstraint("decision_id", name="pk_open_decisions"),
    )
    op.create_index("ix_open_decisions_due_at_decision_id", "open_decisions", ["due_at", "decision_id"])
    op.create_table(
        "idempotency",
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("body_digest", sa.LargeBinary(), nullable=False),
        sa.Column("decision_id", sa.String(length=26), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["decision_id"], ["decisions.id"], name="fk_idempotency_decision_id_decisions"),
        sa.PrimaryKeyConstraint("key", name="pk_idempotency"),
    )
    op.create_index("ix_idempotency_created_at", "idempotency", ["created_at"])
    op.create_index("ix_idempotency_decision_id", "idempotency", ["decision_id"])


def _create_feedback() -> None:
    op.create_table(
        "feedback",
        sa.Column("seq", SEQUENCE, nullable=False),
        sa.Column("decision_id", sa.String(length=26), nullable=False),
        sa.Column("campaign_id", sa.String(length=128), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("event", sa.String(length=255), nullable=False),
        sa.Column("occurred_at", INSTANT, nullable=False),
        sa.Column("received_at", INSTANT, nullable=False),
        sa.Column("value", sa.Float(precision=53)),
        sa.Column("event_id", sa.String(length=255)),
        sa.Column("dedupe_key", sa.LargeBinary(), nullable=False),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["decision_id"], ["decisions.id"], name="fk_feedback_decision_id_decisions"),
        sa.PrimaryKeyConstraint("seq", name="pk_feedback"),
        sa.UniqueConstraint("decision_id", "dedupe_key", name="uq_feedback_decision_id_dedupe_key"),
    )
    op.create_index("ix_feedback_received_at", "feedback", ["received_at"])
    op.create_index(
        "ix_feedback_user_id_campaign_id_occurred_at", "feedback", ["user_id", "campaign_id", "occurred_at"]
    )
    op.create_table(
        "closings",
        sa.Column("seq", SEQUENCE, nullable=False),
        sa.Column("decision_id", sa.String(length=26), nullable=False),
        sa.Column("campaign_id", sa.String(length=128), nullable=False),
        sa.Column("reward", sa.Float(precision=53)),
        sa.Column("skipped", sa.String(length=32)),
        sa.Column("closed_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["decision_id"], ["decisions.id"], name="fk_closings_decision_id_decisions"),
        sa.PrimaryKeyConstraint("seq", name="pk_closings"),
        sa.UniqueConstraint("decision_id", name="uq_closings_decision_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_closings_campaign_id_seq", "closings", ["campaign_id", "seq"])
    op.create_table(
        "final_rewards",
        sa.Column("decision_id", sa.String(length=26), nullable=False),
        sa.Column("reward", sa.Float(precision=53)),
        sa.Column("final_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["decision_id"], ["decisions.id"], name="fk_final_rewards_decision_id_decisions"),
        sa.PrimaryKeyConstraint("decision_id", name="pk_final_rewards"),
    )


def _create_models() -> None:
    op.create_table(
        "models",
        sa.Column("campaign_id", sa.String(length=128), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("parent", sa.Integer(), nullable=False),
        sa.Column("arguments", sa.Text(), nullable=False),
        sa.Column("engine_version", sa.String(length=32), nullable=False),
        sa.Column("watermark", sa.BigInteger(), nullable=False),
        sa.Column("events_learned", sa.BigInteger(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("bytes", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaigns.id"], name="fk_models_campaign_id_campaigns"),
        sa.PrimaryKeyConstraint("campaign_id", "version", name="pk_models"),
    )
    op.create_table(
        "model_aliases",
        sa.Column("campaign_id", sa.String(length=128), nullable=False),
        sa.Column("alias", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id", "version"],
            ["models.campaign_id", "models.version"],
            name="fk_model_aliases_campaign_id_version_models",
        ),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaigns.id"], name="fk_model_aliases_campaign_id_campaigns"),
        sa.PrimaryKeyConstraint("campaign_id", "alias", name="pk_model_aliases"),
    )
