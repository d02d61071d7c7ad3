"""A taught version is stored: manifest, bytes, watermark, quarantined labels and alias in one transaction.

The transaction is fenced on what the version was taught from: a learner that was overtaken by another one, by a
promotion or by a rollback is refused, and its work is gone. What it would have learned is still in the log.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from math import inf

from sqlalchemy import Connection

from bandit.campaign.document import Campaign
from bandit.engine.explorers import EngineArguments
from bandit.engine.learner import OnlineLearner
from bandit.engine.load import learner_of
from bandit.engine.vw import digest, engine_version
from bandit.errors import StaleLearner
from bandit.learn import canary
from bandit.learn.fall import Alarm
from bandit.learn.labels import Refused
from bandit.learn.overrides import Overrides
from bandit.learn.rewards_of import Rewards
from bandit.learn.teach import Progress
from bandit.serve.models import load_version
from bandit.store import models, pairs, quarantine
from bandit.store.models import CHALLENGER, CHAMPION, FALL, NEW_LINEAGE, OK, PURGE, Alias, Change, Manifest, ModelRow
from bandit.store.sql.database import Store

VERSIONS_KEPT = 50  # of a campaign, newest first
PUBLISH_EVERY = 10_000  # events; a crash never loses more work than this


def lock_name(campaign_id: str) -> str:
    """What every transaction locks that changes versions or aliases of the campaign."""
    return f"models:{campaign_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What the next version of an alias is taught from, and what must still hold when it is published."""

    campaign_id: str
    alias: str
    arguments: EngineArguments
    campaign_arguments: str  # the campaign's own, which the alias then remembers
    overrides: Overrides  # of the lineage
    parent: Manifest | None  # None: from nothing
    pointed: int | None  # the version that the alias names
    held: bool = False  # whether the alias is held there
    latest: int
    refused_at: int | None = None  # watermark of the last version from this parent that the canary refused
    cause: str = NEW_LINEAGE  # why it starts from nothing, where it does and there was something
    fell: bool = False  # the alarm rang, so that nothing of the parent is in what was taught

    @property
    def watermark(self) -> int:
        return 0 if self.parent is None else self.parent.watermark

    def is_due(self, head: int) -> bool:
        """Whether there is something to learn, up to this place in the learning order.

        After a refusal only once twice as much is there: whatever broke the version is still in the log and may be
        outweighed, and a version that goes on being refused costs ever less of the learner's time.
        """
        refused = 0 if self.refused_at is None else self.refused_at - self.watermark
        return head > self.watermark + max(2 * refused - 1, 0)

    @property
    def alarm(self) -> Alarm:
        """How the alarm stands at the watermark."""
        return Alarm.from_text(None if self.parent is None else self.parent.alarm)

    def after(self, progress: Progress) -> "Start":
        """The start as it turned out: once the alarm rang the next version was taught from nothing.

        The parent stays, for what it was refused for meanwhile may be in the log that was read.
        """
        return replace(self, fell=True, cause=FALL) if progress.began_anew and self.parent is not None else self

    @property
    def taught_from(self) -> Manifest | None:
        """The parent of the next version; None: from nothing."""
        return None if self.fell else self.parent

    @property
    def is_anew(self) -> bool:
        """Whether a lineage begins beside or instead of one that there is; the very first only grows with its log."""
        return self.taught_from is None and (self.pointed is not None or self.alias == CHALLENGER)

    @property
    def most_events(self) -> float:
        """Events before the next publication; a new lineage serves only once it knows the whole log."""
        return inf if self.is_anew or self.refused_at is not None else PUBLISH_EVERY

    @property
    def rewards(self) -> Rewards:
        """Which rewards the next version is taught."""
        return Rewards(overrides=self.overrides, hindsight=self.is_anew)

    def parent_row(self, connection: Connection) -> ModelRow | None:
        """The parent with its bytes; raises StaleLearner when it is no longer stored."""
        if self.parent is None:
            return None
        row = models.get(connection, self.campaign_id, self.parent.version)
        if row is None:
            raise StaleLearner(f"campaign {self.campaign_id!r}: version {self.parent.version} is no longer stored")
        return row

    def engine(self, parent: ModelRow | None) -> OnlineLearner:
        """The engine to teach; raises CorruptModel when the parent's bytes are not those that were published."""
        return learner_of(self.arguments) if parent is None else load_version(parent)

    def next_version(self, engine: OnlineLearner, progress: Progress, created_at: datetime) -> ModelRow:
        """The row of what was taught."""
        content, parent = engine.to_bytes(), self.taught_from
        return ModelRow(
            campaign_id=self.campaign_id,
            version=self.latest + 1,
            parent=0 if parent is None else parent.version,
            lineage=self.latest + 1 if parent is None else parent.lineage,
            arguments=self.arguments.text,
            engine_version=engine_version(),
            watermark=progress.watermark,
            events_learned=(0 if parent is None else parent.events_learned) + progress.learned,
            created_at=created_at,
            size=len(content),
            digest=digest(content),
            settings=self.overrides.to_text(),
            alarm=progress.alarm.to_text(),
            bytes=content,
        )


def start_of(connection: Connection, campaign: Campaign, alias: str) -> Start | None:
    """Where the alias's next version starts, None when the learner is not to move it.

    The champion starts anew once the campaign's engine arguments are others than when it was set. Not when they
    differ from its own: a promoted challenger that was taught with other settings keeps them. Any alias starts anew,
    with the settings of its lineage, once what it names was purged; even one that is held, for that must not serve.
    """
    named = models.aliases(connection, campaign.id).get(alias)
    if named is None and alias != CHAMPION:
        return None
    current = None if named is None else models.manifest(connection, campaign.id, named.version)
    if named is not None and current is not None and named.held and current.health == OK:
        return None
    own = campaign.engine_arguments
    if named is None or (alias == CHAMPION and named.campaign_arguments != own.text):
        current = None
    parent = current if current is not None and current.health == OK else None
    arguments = own if current is None else EngineArguments(text=current.arguments)
    return Start(
        campaign_id=campaign.id,
        alias=alias,
        arguments=arguments,
        campaign_arguments=own.text,
        overrides=Overrides.from_text(None if current is None else current.settings),
        parent=parent,
        pointed=None if named is None else named.version,
        held=named is not None and named.held,
        latest=models.latest_version(connection, campaign.id),
        refused_at=models.refused_at(connection, campaign.id, 0 if parent is None else parent.version, arguments.text),
        cause=NEW_LINEAGE if current is None else PURGE,
    )


def checked(row: ModelRow, campaign: Campaign, parent: ModelRow | None) -> ModelRow:
    """The version with what the canary says of it; of one that must not serve only the manifest is kept."""
    fault = canary.fault(row, campaign, parent)
    return row if fault is None else replace(row, health=fault, bytes=b"")


def publish(store: Store, start: Start, row: ModelRow, refused: list[Refused]) -> int:
    """Number of labels that went to quarantine now, when the version is stored; one that is healthy is
    what its alias names from then on.

    Raises:
        StaleLearner: the alias or the latest version is not what it was at the start, or the parent was refused
            meanwhile; nothing is stored.
    """
    with store.write() as connection:
        store.lock(connection, [lock_name(row.campaign_id)])
        _check_fence(connection, start, row)
        models.add(connection, row)
        if row.health == OK:
            _move(connection, start, row)
        quarantined = quarantine.add(connection, [_quarantine_row(row, one) for one in refused])
        models.forget_old(connection, row.campaign_id, VERSIONS_KEPT)
    return quarantined


def _check_fence(connection: Connection, start: Start, row: ModelRow) -> None:
    named = models.aliases(connection, row.campaign_id).get(start.alias)
    pointed, held = (None, False) if named is None else (named.version, named.held)
    latest = models.latest_version(connection, row.campaign_id)
    # Held as well: a promotion that was rolled back leaves the alias where it was, but now it must stay there.
    if (pointed, held, latest) != (start.pointed, start.held, start.latest):
        raise StaleLearner(
            f"campaign {row.campaign_id!r}: version {row.version} was taught from {start.alias} {start.pointed}, "
            f"but by now the {start.alias} is {pointed}{', held,' if held else ''} and the latest version {latest}"
        )
    parent = None if start.parent is None else models.manifest(connection, row.campaign_id, start.parent.version)
    if parent is not None and parent.health != OK:
        raise StaleLearner(
            f"campaign {row.campaign_id!r}: version {row.version} was taught from {parent.version}, which by now is "
            f"refused: {parent.health}"
        )


def _move(connection: Connection, start: Start, row: ModelRow) -> None:
    named = Alias(alias=start.alias, version=row.version, held=False, campaign_arguments=start.campaign_arguments)
    models.point(connection, row.campaign_id, named, row.created_at)
    if start.is_anew:
        change = Change(
            campaign_id=row.campaign_id,
            alias=start.alias,
            version=row.version,
            previous=start.pointed,
            at=row.created_at,
            cause=start.cause,
        )
        models.note(connection, change)
        pairs.begin(connection, row.campaign_id, row.created_at)
    else:
        pairs.begin_first(connection, row.campaign_id, row.created_at)


def _quarantine_row(row: ModelRow, refused: Refused) -> dict[str, object]:
    return {
        "decision_id": refused.decision_id,
        "campaign_id": row.campaign_id,
        "seq": refused.seq,
        "reason": refused.reason.value,
        "detail": refused.detail,
        "quarantined_at": row.created_at,
    }
