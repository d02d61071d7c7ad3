"""A taught version is stored: manifest, bytes, watermark, quarantined labels and alias in one transaction.

The transaction is fenced on what the version was taught from: a learner that was overtaken by another one, by a
promotion or by a rollback is refused, and its work is gone. What it would have learned is still in the log.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import inf

from sqlalchemy import Connection

from bandit.campaign.document import Campaign
from bandit.engine.explorers import EngineArguments
from bandit.engine.learner import OnlineLearner
from bandit.engine.vw import digest, engine_version
from bandit.errors import StaleLearner
from bandit.learn import canary
from bandit.learn.labels import Refused
from bandit.learn.lineage import Lineage
from bandit.learn.overrides import Overrides
from bandit.learn.teach import Progress
from bandit.store import models, pairs, quarantine
from bandit.store.models import CHALLENGER, CHAMPION, FALL, NEW_LINEAGE, OK, PURGE, Alias, Change, ModelRow
from bandit.store.sql.database import Store

VERSIONS_KEPT = 50  # of a campaign, newest first
PUBLISH_EVERY = 10_000  # events; a crash never loses more work than this


def lock_name(campaign_id: str) -> str:
    """What every transaction locks that changes versions or aliases of the campaign."""
    return f"models:{campaign_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """What must still hold when a version is published; otherwise another learner, or a person, was first."""

    alias: str
    pointed: int | None  # the version that the alias names
    held: bool = False  # whether the alias is held there
    latest: int  # version of the campaign
    parent: int | None = None  # the version that was taught on; must not be refused

    @property
    def begins_lineage(self) -> bool:
        """Whether a version without a parent begins a lineage beside or instead of another, not the very first one."""
        return self.pointed is not None or self.alias == CHALLENGER


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where the next version of an alias starts."""

    lineage: Lineage
    fence: Fence
    campaign_arguments: str  # the campaign's own, which the alias then remembers
    refused_at: int | None = None  # watermark of the last version from this parent that the canary refused
    cause: str = NEW_LINEAGE  # why it starts from nothing, where it does and there was something

    def is_due(self, head: int) -> bool:
        """Whether there is something to learn, up to this place in the learning order.

        After a refusal only once twice as much is there: whatever broke the version is still in the log and may be
        outweighed, and a version that goes on being refused costs ever less of the learner's time.
        """
        watermark = self.lineage.watermark
        refused = 0 if self.refused_at is None else self.refused_at - watermark
        return head > watermark + max(2 * refused - 1, 0)

    def after(self, progress: Progress) -> "Start":
        """The start as it turned out: after a fall the next version was taught from nothing.

        The fence still asks for the parent: what it was refused for meanwhile may be in the log that was read.
        """
        if not progress.restarts or self.lineage.parent is None:
            return self
        return replace(self, lineage=self.lineage.restarted(), cause=FALL)

    @property
    def begins_lineage(self) -> bool:
        """Whether a lineage begins beside or instead of another one; the very first only grows with its log."""
        return self.lineage.parent is None and self.fence.begins_lineage

    @property
    def most_events(self) -> float:
        """Events before the next publication; a new lineage serves only once it knows the whole log."""
        return inf if self.begins_lineage or self.refused_at is not None else PUBLISH_EVERY

    def next_version(self, learner: OnlineLearner, progress: Progress, created_at: datetime) -> ModelRow:
        """The row of what was taught."""
        content, parent, version = learner.to_bytes(), self.lineage.parent, self.fence.latest + 1
        return ModelRow(
            campaign_id=self.lineage.campaign_id,
            version=version,
            parent=0 if parent is None else parent.version,
            lineage=version if parent is None else parent.lineage,
            arguments=self.lineage.settings.text,
            engine_version=engine_version(),
            watermark=progress.watermark,
            events_learned=(0 if parent is None else parent.events_learned) + progress.learned,
            created_at=created_at,
            size=len(content),
            digest=digest(content),
            settings=self.lineage.overrides.to_text(),
            alarm=progress.detector.to_text(),
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
    fence = Fence(
        alias=alias,
        pointed=None if named is None else named.version,
        held=named is not None and named.held,
        latest=models.latest_version(connection, campaign.id),
        parent=None if parent is None else parent.version,
    )
    lineage = Lineage(
        campaign_id=campaign.id,
        settings=arguments,
        overrides=Overrides.from_text(None if current is None else current.settings),
        hindsight=parent is None and fence.begins_lineage,
        parent=parent,
    )
    return Start(
        lineage=lineage,
        fence=fence,
        campaign_arguments=own.text,
        refused_at=models.refused_at(connection, campaign.id, fence.parent or 0, arguments.text),
        cause=NEW_LINEAGE if current is None else PURGE,
    )


def checked(row: ModelRow, campaign: Campaign, parent: ModelRow | None) -> ModelRow:
    """The version with what the canary says of it; of one that must not serve only the manifest is kept."""
    fault = canary.fault(row, campaign, parent)
    return row if fault is None else replace(row, health=fault, bytes=b"")


def publish(store: Store, start: Start, row: ModelRow, refused: Sequence[Refused]) -> int:
    """Number of labels that went to quarantine now, when the version is stored; one that is healthy is
    what its alias names from then on.

    Raises:
        StaleLearner: the alias or the latest version is not what it was at the start, or the parent was refused
            meanwhile; nothing is stored.
    """
    with store.write() as connection:
        store.lock(connection, [lock_name(row.campaign_id)])
        _check_fence(connection, start.fence, row)
        models.add(connection, row)
        if row.health == OK:
            _move(connection, start, row)
        quarantined = quarantine.add(connection, [_quarantine_row(row, one) for one in refused])
        models.forget_old(connection, row.campaign_id, VERSIONS_KEPT)
    return quarantined


def _check_fence(connection: Connection, fence: Fence, row: ModelRow) -> None:
    named = models.aliases(connection, row.campaign_id).get(fence.alias)
    pointed, held = (None, False) if named is None else (named.version, named.held)
    latest = models.latest_version(connection, row.campaign_id)
    # Held as well: a promotion that was rolled back leaves the alias where it was, but now it must stay there.
    if (pointed, held, latest) != (fence.pointed, fence.held, fence.latest):
        raise StaleLearner(
            f"campaign {row.campaign_id!r}: version {row.version} was taught from {fence.alias} {fence.pointed}, "
            f"but by now the {fence.alias} is {pointed}{', held,' if held else ''} and the latest version {latest}"
        )
    parent = None if fence.parent is None else models.manifest(connection, row.campaign_id, fence.parent)
    if parent is not None and parent.health != OK:
        raise StaleLearner(
            f"campaign {row.campaign_id!r}: version {row.version} was taught from {parent.version}, which by now is "
            f"refused: {parent.health}"
        )


def _move(connection: Connection, start: Start, row: ModelRow) -> None:
    named = Alias(alias=start.fence.alias, version=row.version, held=False, campaign_arguments=start.campaign_arguments)
    models.point(connection, row.campaign_id, named, row.created_at)
    if start.begins_lineage:
        change = Change(
            campaign_id=row.campaign_id,
            alias=start.fence.alias,
            version=row.version,
            previous=start.fence.pointed,
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
