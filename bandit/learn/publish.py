"""Stores a trained version: manifest, bytes, watermark, quarantined labels and alias in one transaction.

The transaction has a fence, the state from which the version was trained. A learner that was overtaken by another
learner, a promotion or a rollback is refused, and its work is lost. The events are still in the log.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import inf

from sqlalchemy import Connection

from bandit.campaign.document import Campaign
from bandit.engine.learner import OnlineLearner
from bandit.engine.load import arguments_of
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
PUBLISH_EVERY = 10_000  # events; a crash loses at most this much work


def lock_name(campaign_id: str) -> str:
    """The name of the lock for transactions that change versions or aliases of the campaign."""
    return f"models:{campaign_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """Conditions that must still be true when a version is published.

    Otherwise another learner or a person was faster.
    """

    alias: str
    pointed: int | None  # the version that the alias names
    held: bool = False  # whether the alias is held there
    latest: int  # version of the campaign
    parent: int | None = None  # the parent version; must not be refused

    @property
    def begins_lineage(self) -> bool:
        """Whether a version without a parent starts a further lineage, not the first one of the campaign."""
        return self.pointed is not None or self.alias == CHALLENGER


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The start of the next version of an alias."""

    lineage: Lineage
    fence: Fence
    campaign_arguments: str  # the campaign's own arguments, which the alias then stores
    refused_at: int | None = None  # watermark of the last version with this parent that the canary refused
    cause: str = NEW_LINEAGE  # why it starts from nothing although there was a version

    def is_due(self, head: int) -> bool:
        """Whether there is something to learn, up to this place in the learning order.

        After a refusal it is due only when there is twice as much to learn: the cause is still in the log, but more
        data may outweigh it. And repeated refusals take less and less of the learner's time.
        """
        watermark = self.lineage.watermark
        refused = 0 if self.refused_at is None else self.refused_at - watermark
        return head > watermark + max(2 * refused - 1, 0)

    def after(self, progress: Progress) -> "Start":
        """The actual start: after a fall, the next version was trained from nothing.

        The fence still contains the parent: if it was refused meanwhile, the reason may be in the log that was read.
        """
        if not progress.restarts or self.lineage.parent is None:
            return self
        return replace(self, lineage=self.lineage.restarted(), cause=FALL)

    @property
    def begins_lineage(self) -> bool:
        """Whether this starts a further lineage of the campaign; the first one grows with its log."""
        return self.lineage.parent is None and self.fence.begins_lineage

    @property
    def most_events(self) -> float:
        """Maximum of events before the next publication.

        A new lineage serves only after it has learned the whole log.
        """
        return inf if self.begins_lineage or self.refused_at is not None else PUBLISH_EVERY

    def next_version(self, learner: OnlineLearner, progress: Progress, created_at: datetime) -> ModelRow:
        """The row of the trained version."""
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
    """The start of the alias's next version; None if the learner must not move the alias.

    The champion starts again from nothing if the campaign's engine arguments have changed since the alias was set. A
    difference from the champion's own arguments is no reason: a promoted challenger keeps its settings. Any alias
    starts again from nothing, with the settings of its lineage, if its version was purged; even a held alias, because a
    purged version must not serve.
    """
    named = models.aliases(connection, campaign.id).get(alias)
    if named is None and alias != CHAMPION:
        return None
    current = None if named is None else models.manifest(connection, campaign.id, named.version)
    if named is not None and current is not None and named.held and current.health == OK:
        return None
    own = campaign.learner_arguments
    if named is None or (alias == CHAMPION and named.campaign_arguments != own.text):
        current = None
    parent = current if current is not None and current.health == OK else None
    arguments = own if current is None else arguments_of(current.arguments)
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
    """The version with the canary's result; if it must not serve, only the manifest is kept."""
    fault = canary.fault(row, campaign, parent)
    return row if fault is None else replace(row, health=fault, bytes=b"")


def publish(store: Store, start: Start, row: ModelRow, refused: Sequence[Refused]) -> int:
    """Stores the version, and sets the alias to it if it is healthy; returns the number of newly quarantined labels.

    Raises:
        StaleLearner: the alias or the latest version has changed since the start, or the parent was refused meanwhile;
            nothing is stored.
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
    # `held` is compared too: after a promotion and its rollback the alias is the same, but now it must stay there.
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
