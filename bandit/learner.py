"""Joined rewards -> trained models -> published versions, each decision once.

A pass closes what is due, then for each campaign and each alias that learns teaches the closed decisions after the
watermark, in order, and publishes. A learner killed at any moment leaves either the old version or the new one, never
half of it, and the next one starts again from what was committed.
"""

from dataclasses import dataclass

import structlog

from bandit.campaign import Campaign
from bandit.clock import Clock
from bandit.closing import Closer
from bandit.errors import CorruptModel
from bandit.publishing import publish, start_of
from bandit.registry import Campaigns
from bandit.store import closings
from bandit.store.engine import Store
from bandit.store.models import CHALLENGER, CHAMPION
from bandit.teaching import Shown, teach, unseen

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassResult:
    """What one pass of the learner did."""

    closed: int
    learned: int  # by all aliases together
    published: tuple[tuple[str, int], ...]  # (campaign, version)
    quarantined: int = 0  # labels that no version will learn, for the first time


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One published version."""

    campaign_id: str
    version: int
    learned: int
    quarantined: int


class Learner:
    """Closes rewards, learns, publishes."""

    def __init__(self, store: Store, clock: Clock, campaigns: Campaigns) -> None:
        self._store = store
        self._clock = clock
        self._campaigns = campaigns
        self._closer = Closer(store, clock, campaigns)

    def run_pass(self) -> PassResult:
        """One pass over everything that is due at this moment.

        Raises:
            StaleLearner: another learner, a promotion or a rollback was first; the next pass starts from there.
        """
        closed = self.close_due()
        steps = [
            step
            for stored in self._campaigns.list()
            for alias in (CHAMPION, CHALLENGER)
            for step in self.learn_alias(stored.campaign, alias)
        ]
        return PassResult(
            closed=closed,
            learned=sum(step.learned for step in steps),
            published=tuple((step.campaign_id, step.version) for step in steps),
            quarantined=sum(step.quarantined for step in steps),
        )

    def close_due(self) -> int:
        """Number of decisions whose time had come and whose reward was closed or made final."""
        return self._closer.close_due()

    def learn_alias(self, campaign: Campaign, alias: str, shown: Shown = unseen) -> list[Step]:
        """The versions published under an alias in this pass."""
        steps: list[Step] = []
        try:
            while (step := self._learn_step(campaign, alias, shown)) is not None:
                steps.append(step)
        except CorruptModel as error:
            # This version cannot be taught further; the other campaigns must not wait for its repair.
            log.error("model_refused", campaign=campaign.id, alias=alias, error=str(error))
        return steps

    def _learn_step(self, campaign: Campaign, alias: str, shown: Shown = unseen) -> Step | None:
        """The next published version, None when there is nothing new; nothing new costs no model bytes."""
        with self._store.read() as connection:
            start = start_of(connection, campaign, alias)
            head = closings.last_seq(connection, campaign.id)
            if start is None or head <= start.watermark:
                return None
            engine = start.engine(connection)
        with engine:
            progress = teach(
                engine,
                self._store,
                self._campaigns,
                campaign.id,
                after=start.watermark,
                head=head,
                most=start.most_events,
                rewards=start.rewards,
                shown=shown,
            )
            row = start.next_version(engine, progress, self._clock.now())
        quarantined = publish(self._store, start, row, progress.refused)
        log.info(
            "model_published", campaign=campaign.id, alias=alias, model_version=row.version, learned=progress.learned
        )
        if progress.refused:
            log.error(
                "labels_quarantined",
                campaign=campaign.id,
                new=quarantined,
                reasons=progress.reasons,
                example=progress.refused[0].detail,
            )
        return Step(campaign_id=campaign.id, version=row.version, learned=progress.learned, quarantined=quarantined)
