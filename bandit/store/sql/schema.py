"""The declared schema. Migrations must add up to exactly this, on both databases."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.exc import DontWrapMixin
from sqlalchemy.types import TypeEngine

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class NaiveTimeError(DontWrapMixin, ValueError):
    """A time without an offset was about to be stored or compared; it does not define an instant."""


class UtcTime(TypeDecorator[datetime]):
    """An aware instant: `timestamptz` on PostgreSQL, microseconds since 1970 on SQLite.

    SQLite has no time type and its drivers drop the offset; an integer keeps the order and the instant.
    Raises NaiveTimeError for a datetime without an offset.
    """

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(DateTime(timezone=True))
        return dialect.type_descriptor(BigInteger())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.utcoffset() is None:
            raise NaiveTimeError(f"{value!r} has no UTC offset; only aware datetimes are stored")
        if dialect.name == "postgresql":
            return value
        return (value - EPOCH) // MICROSECOND

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if isinstance(value, datetime):  # PostgreSQL, in the time zone of the session
            return value.astimezone(UTC)
        return EPOCH + timedelta(microseconds=value)


# SQLite counts up only a column declared INTEGER; PostgreSQL wants 64 bits.
Sequence64 = BigInteger().with_variant(Integer(), "sqlite")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

campaigns = Table(
    "campaigns",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("current_version", Integer, nullable=False),
    Column("paused", Boolean, nullable=False),
)

campaign_versions = Table(
    "campaign_versions",
    metadata,
    Column("campaign_id", ForeignKey("campaigns.id"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("document", Text, nullable=False),  # canonical JSON
    Column("created_at", UtcTime, nullable=False),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("campaign_id", String(128), nullable=False),
    Column("campaign_version", Integer, nullable=False),
    Column("user_id", String(255), nullable=False),
    Column("decided_at", UtcTime, nullable=False),
    Column("reward_deadline", UtcTime, nullable=False),
    Column("policy", String(16), nullable=False),
    Column("model_version", Integer, nullable=False),
    Column("channel", String(255)),  # null: silence, as are content and send_at
    Column("content", String(255)),
    Column("send_at", UtcTime),
    Column("reason", String(32)),
    Column("propensity", Float(53), nullable=False),
    Column("action_index", Integer, nullable=False),  # place of the action in the pmf
    Column("pmf", LargeBinary, nullable=False),  # float64, little-endian, silence first
    Column("actions", Text, nullable=False),  # JSON: the eligible set and its feature lines
    # of `actions`: proves that the learned set is the one that was drawn from
    Column("actions_digest", LargeBinary, nullable=False),
    Column("evidence", Text, nullable=False),  # JSON: request, blocked actions, history
    Column("local_hour", Integer),  # on the user's clock at send_at
    ForeignKeyConstraint(
        ["campaign_id", "campaign_version"], ["campaign_versions.campaign_id", "campaign_versions.version"]
    ),
    Index(None, "user_id", "decided_at"),
    Index(None, "decided_at"),
)

# One row per message that takes a slot under the caps; removed if the message was not sent.
sends = Table(
    "sends",
    metadata,
    Column("decision_id", ForeignKey("decisions.id"), primary_key=True),
    Column("campaign_id", String(128), nullable=False),
    Column("user_id", String(255), nullable=False),
    Column("channel", String(255), nullable=False),
    Column("content", String(255), nullable=False),
    Column("kind", String(1024)),  # the content's feature "kind", for recency by kind
    Column("send_at", UtcTime, nullable=False),
    Index(None, "user_id", "campaign_id", "send_at"),
)

# The queue of rewards that are still open; a row is removed when its reward is final.
open_decisions = Table(
    "open_decisions",
    metadata,
    Column("decision_id", ForeignKey("decisions.id"), primary_key=True),
    Column("due_at", UtcTime, nullable=False),
    Column("learned", Boolean, nullable=False),  # already in `closings`, only the final reward is missing
    Index(None, "due_at", "decision_id"),
)

feedback = Table(
    "feedback",
    metadata,
    Column("seq", Sequence64, primary_key=True),
    Column("decision_id", ForeignKey("decisions.id"), nullable=False),
    Column("campaign_id", String(128), nullable=False),
    Column("user_id", String(255), nullable=False),
    Column("event", String(255), nullable=False),
    Column("occurred_at", UtcTime, nullable=False),
    Column("received_at", UtcTime, nullable=False),
    Column("value", Float(53)),
    Column("event_id", String(255)),
    Column("dedupe_key", LargeBinary, nullable=False),
    Column("late", Boolean, nullable=False),
    Column("source", String(64)),  # id of the API key with which it was sent; null: no key was needed
    Column("excluded_at", UtcTime),  # time since when it does not count; null: it counts
    Column("excluded_for", Text),  # why
    UniqueConstraint("decision_id", "event", "dedupe_key"),
    Index(None, "user_id", "campaign_id", "occurred_at"),
    Index(None, "received_at"),
)

# The order in which decisions are learned: the learner's watermark is a `seq` of this table.
closings = Table(
    "closings",
    metadata,
    Column("seq", Sequence64, primary_key=True),
    Column("decision_id", ForeignKey("decisions.id"), nullable=False, unique=True),
    Column("campaign_id", String(128), nullable=False),
    Column("reward", Float(53)),  # as known at that moment; null if the decision is not learned
    Column("skipped", String(32)),  # why it is not learned from
    Column("closed_at", UtcTime, nullable=False),
    Column("seen", BigInteger),  # highest `feedback.seq` of the decision at that moment; null: there was none
    Column("events", Text),  # JSON: worth of each event that the reward was made of; null: from before it was stored
    Index(None, "campaign_id", "seq"),
    sqlite_autoincrement=True,  # a number is never used again, even after its row was erased
)

final_rewards = Table(
    "final_rewards",
    metadata,
    Column("decision_id", ForeignKey("decisions.id"), primary_key=True),
    Column("reward", Float(53)),  # null if the message was not sent
    Column("final_at", UtcTime, nullable=False),
    Index(None, "final_at"),
)

# Sums over final decisions, because reading the log itself would take too long for a page.
reward_sums = Table(
    "reward_sums",
    metadata,
    Column("campaign_id", String(128), primary_key=True),
    Column("day", UtcTime, primary_key=True),  # UTC midnight of the decision
    Column("policy", String(16), primary_key=True),
    Column("user_group", Integer, primary_key=True, autoincrement=False),  # by a hash of the user's id
    Column("decisions", BigInteger, nullable=False),
    Column("reward", Float(53), nullable=False),
)

choice_sums = Table(
    "choice_sums",
    metadata,
    Column("campaign_id", String(128), primary_key=True),
    Column("day", UtcTime, primary_key=True),
    Column("policy", String(16), primary_key=True),
    Column("channel", String(255), primary_key=True),  # "" is silence, also in `content`
    Column("content", String(255), primary_key=True),
    Column("local_hour", Integer, primary_key=True, autoincrement=False),  # -1 is silence
    Column("decisions", BigInteger, nullable=False),
    Column("voided", BigInteger, nullable=False),
    Column("reward", Float(53), nullable=False),
    Column("explored", BigInteger, nullable=False),
    Column("entropy", Float(53), nullable=False),
)

models = Table(
    "models",
    metadata,
    Column("campaign_id", ForeignKey("campaigns.id"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("parent", Integer, nullable=False),  # 0: trained from nothing
    Column("arguments", Text, nullable=False),
    Column("engine_version", String(32), nullable=False),
    Column("watermark", BigInteger, nullable=False),  # last learned `closings.seq`
    Column("events_learned", BigInteger, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("size", Integer, nullable=False),
    Column("digest", String(64), nullable=False),  # SHA-256 of bytes
    Column("bytes", LargeBinary, nullable=False),  # empty for a version that the canary refused
    Column("lineage", Integer, nullable=False),  # the first version of its lineage
    Column("health", Text, nullable=False),  # "ok", or why it was refused
    Column("champion_since", UtcTime),  # null while it is not the champion
    Column("champion_seconds", Float(53), nullable=False),  # as champion in earlier times, in all
    Column("settings", Text),  # JSON: settings of its lineage that differ from the campaign's; null: none
    Column("alarm", Text),  # JSON: the detector of falls at the watermark; null: from before there was one
)

model_aliases = Table(
    "model_aliases",
    metadata,
    Column("campaign_id", ForeignKey("campaigns.id"), primary_key=True),
    Column("alias", String(16), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("held", Boolean, nullable=False),  # the learner does not move it
    # The campaign's engine arguments when the alias was last set: if they differ now, a new lineage is needed.
    Column("campaign_arguments", Text, nullable=False),
    ForeignKeyConstraint(["campaign_id", "version"], ["models.campaign_id", "models.version"]),
)

# Every change of an alias to anything other than the next version of its lineage.
promotions = Table(
    "promotions",
    metadata,
    Column("seq", Sequence64, primary_key=True),
    Column("campaign_id", ForeignKey("campaigns.id"), nullable=False),
    Column("alias", String(16), nullable=False),
    Column("version", Integer),  # null: the alias was cleared
    Column("previous", Integer),  # null: the alias was not set
    Column("at", UtcTime, nullable=False),
    Column("cause", String(16), nullable=False),
    Column("undoes", BigInteger),  # the `seq` of the change that a rollback undid
    Index(None, "campaign_id", "seq"),
)

# The pair that a gated promotion compares: the versions of both aliases when they were last first side by side.
gate_pairs = Table(
    "gate_pairs",
    metadata,
    Column("campaign_id", ForeignKey("campaigns.id"), primary_key=True),
    Column("challenger", Integer, nullable=False),
    Column("champion", Integer, nullable=False),
    Column("since", UtcTime, nullable=False),
    ForeignKeyConstraint(["campaign_id", "challenger"], ["models.campaign_id", "models.version"]),
    ForeignKeyConstraint(["campaign_id", "champion"], ["models.campaign_id", "models.version"]),
)

# Closed decisions that the label check refused: never learned by any version.
quarantine = Table(
    "quarantine",
    metadata,
    Column("decision_id", ForeignKey("decisions.id"), primary_key=True),
    Column("campaign_id", String(128), nullable=False),
    Column("seq", BigInteger, nullable=False),  # of its closing
    Column("reason", String(32), nullable=False),
    Column("detail", Text, nullable=False),  # the value, and the rule that it breaks
    Column("quarantined_at", UtcTime, nullable=False),
    Index(None, "campaign_id", "seq"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("key", String(255), primary_key=True),
    Column("body_digest", LargeBinary, nullable=False),
    Column("decision_id", ForeignKey("decisions.id"), nullable=False, index=True),
    Column("answer", LargeBinary, nullable=False),  # the bytes that were answered
    Column("created_at", UtcTime, nullable=False, index=True),
)

# A revoked key stays: if the database ever had a key, a service without valid keys refuses everybody.
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of the secret, which is not stored
    Column("scopes", String(255), nullable=False),  # separated by spaces
    Column("per_second", Integer, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("revoked_at", UtcTime),
    UniqueConstraint("digest"),
)
