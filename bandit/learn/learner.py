"""Joined rewards -> trained models -> published versions, each decision once.

A pass closes what is due. Then, for each campaign and each alias that learns, it teaches the closed decisions after the
watermark, in order, and publishes. If a learner is killed at any moment, either the old version or the complete new one
remains, and the next learner continues from what was committed.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from bandit.campaign.document import Campaign
from bandit.errors import CorruptModel, StaleLearner, StoreUnavailable
from bandit.learn.close import Closer
from bandit.learn.publish import checked, publish, start_of
from bandit.learn.teach import Log, Progress, ProgressCallback, no_progress, teach
from bandit.serve.campaigns import Campaigns
from bandit.serve.clock import Clock
from bandit.store import closings
from bandit.store.models import CHALLENGER, CHAMPION, OK, ModelRow
from bandit.store.sql.database import Store

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassResult:
    """The result of one pass of the learner."""

    closed: int
    learned: int  # by all aliases, for published versions only
    published: tuple[tuple[str, int], ...]  # (campaign, version)
    quarantined: int = 0  # newly quarantined labels
    refused: tuple[tuple[str, int], ...] = ()  # (campaign, version) that the canary refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One version that was trained and stored."""

    row: ModelRow
    learned: int
    quarantined: int


def _versions(rows: Iterable[ModelRow]) -> tuple[tuple[str, int], ...]:
    return tuple((row.campaign_id, row.version) for row in rows)


class Learner:
    """Closes rewards, learns, publishes."""

    def __init__(self, store: Store, clock: Clock, campaigns: Campaigns) -> None:
        self._store = store
        self._clock = clock
        self._campaigns = campaigns
        self._log = Log(store=store, campaigns=campaigns)
        self._closer = Closer(store, clock, campaigns)

    def run_pass(self) -> PassResult:
        """Runs one pass over everything that is due at this moment.

        Raises:
            StaleLearner: another learner, a promotion or a rollback was faster; the next pass starts from the new
                state.
        """
        closed = self.close_due()
        steps = [step for stored in self._campaigns.list() for step in self._learn_campaign(stored.campaign)]
        return PassResult(
            closed=closed,
            learned=sum(step.learned for step in steps if step.row.health == OK),
            published=_versions(step.row for step in steps if step.row.health == OK),
            quarantined=sum(step.quarantined for step in steps),
            refused=_versions(step.row for step in steps if step.row.health != OK),
        )

    def close_due(self) -> int:
        """Closes rewards that are due, or makes them final; returns the number of these decisions."""
        return self._closer.close_due()

    def _learn_campaign(self, campaign: Campaign) -> list[Step]:
        """The versions taught in this pass; what goes wrong with one campaign does not stop the others."""
        steps: list[Step] = []
        try:
            for alias in (CHAMPION, CHALLENGER):
                steps.extend(self.learn_alias(campaign, alias))
        except (StoreUnavailable, StaleLearner):
            raise
        except Exception:
            log.exception("campaign_not_learned", campaign=campaign.id)
        return steps

    def learn_alias(self, campaign: Campaign, alias: str, report: ProgressCallback = no_progress) -> list[Step]:
        """The versions that were trained for an alias in this pass."""
        steps: list[Step] = []
        try:
            while (step := self._learn_step(campaign, alias, report)) is not None:
                steps.append(step)
        except CorruptModel as error:
            # This version cannot be trained further; the other campaigns must not wait for its repair.
            log.error("model_refused", campaign=campaign.id, alias=alias, error=str(error))
        return steps

    def _learn_step(self, campaign: Campaign, alias: str, report: ProgressCallback = no_progress) -> Step | None:
        """The next version; None if there is nothing new, in which case no model bytes are read."""
        with self._store.read() as connection:
            # Read together with the alias, because a promotion may change both: compared with an older document, the
            # promoted version would have other arguments than the campaign, and a new lineage would replace it.
            campaign = self._campaigns.live(connection, [campaign.id])[campaign.id].document
            start = start_of(connection, campaign, alias)
            head = closings.last_seq(connection, campaign.id)
            if start is None or not start.is_due(head):
                return None
            lineage = start.lineage
            parent = lineage.parent_row(connection)
        with lineage.learner(parent) as learner:
            begun = Progress.at_start_of(lineage)
            progress = teach(learner, self._log, lineage, begun, head=head, most=start.most_events, report=report)
            start = start.after(progress)
            row = start.next_version(learner, progress, self._clock.now())
        row = checked(row, campaign, None if start.lineage.parent is None else parent)
        quarantined = publish(self._store, start, row, progress.refused)
        _report(alias, row, progress, quarantined)
        return Step(row=row, learned=progress.learned, quarantined=quarantined)


def _report(alias: str, row: ModelRow, progress: Progress, quarantined: int) -> None:
    named = {"campaign": row.campaign_id, "alias": alias, "model_version": row.version}
    if row.health == OK:
        log.info("model_published", **named, learned=progress.learned)
    else:
        log.error("canary_failed", **named, health=row.health, rule=f"the {alias} does not change")
    if progress.restarts:
        log.warning("model_began_anew", **named, learned=progress.learned, rule="the learned policy earned far less")
    if progress.refused:
        example = progress.refused[0].detail
        log.error("labels_quarantined", **named, new=quarantined, reasons=progress.reasons, example=example)
