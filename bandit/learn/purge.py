"""Purges the feedback of one sender: it stays stored but does not count, and models that learned it are retrained.

A leaked key or a lying sender poisons rewards, and with them all later versions. A purge marks the events, and corrects
closed and final rewards to what they would be without them. It refuses every version that has learned such a decision,
and trains a new lineage on the whole log. Until this is published, the old champion serves.

Marking events, correcting rewards and refusing versions are one step for some hundred events, so a purge may be
interrupted after any step: the same purge, started again, continues from there and does nothing twice. The learner's
next pass trains a new lineage in any case.

Decisions do not change, even if they saw the false events as history of their users: that is what the policy knew.
Slots under the caps that a false failure freed stay free.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Connection, Row

from bandit.decide.sums import summed
from bandit.errors import Conflict, FieldError, InvalidInput
from bandit.learn.close import LOCK, reward_as_known
from bandit.learn.learner import Learner, Step
from bandit.learn.publish import lock_name
from bandit.learn.teach import ProgressCallback, no_progress
from bandit.serve.campaigns import Campaigns
from bandit.serve.clock import Clock
from bandit.store import closings, feedback, models, purges
from bandit.store import sums as outcomes
from bandit.store.models import CHALLENGER, CHAMPION, OK, PURGED
from bandit.store.purges import Count, Suspects
from bandit.store.sql.database import Store
from bandit.store.sql.turns import awaited_learner_turn, relearn_turn
from bandit.times import utc_text

CHUNK = 500  # events per transaction; on SQLite nobody else can write meanwhile
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """The result of a purge for one campaign."""

    count: Count
    refused: int  # versions
    steps: Sequence[Step]  # versions that were published instead


class Purger:
    """Purges feedback."""

    def __init__(self, store: Store, clock: Clock, campaigns: Campaigns, learner: Learner) -> None:
        self._store = store
        self._clock = clock
        self._campaigns = campaigns
        self._learner = learner

    def suspects(
        self, source: str, since: datetime, until: datetime | None = None, campaign_id: str | None = None
    ) -> Suspects:
        """The feedback that was sent with the key.

        Raises:
            NotFound: there is no such campaign.
            InvalidInput: the period is empty.
        """
        if campaign_id is not None:
            self._campaigns.get(campaign_id)
        if until is not None and not since < until:
            message = f"{utc_text(since)}: is not before {utc_text(until)}"
            raise InvalidInput([FieldError(field="since", message=message)])
        return Suspects(source=source, since=since, until=until, campaign_id=campaign_id)

    def count(self, suspects: Suspects) -> list[Count]:
        """What would be affected, by campaign; changes nothing."""
        with self._store.read() as connection:
            return purges.count(connection, suspects)

    def decisions_to_learn(self, counts: Sequence[Count]) -> int:
        """Number of closed decisions of these campaigns, which the new lineages learn."""
        with self._store.read() as connection:
            heads = [(one.campaign_id, closings.last_seq(connection, one.campaign_id)) for one in counts]
            return sum(closings.number_between(connection, name, 0, head) for name, head in heads)

    def run(self, suspects: Suspects, report: ProgressCallback = no_progress) -> list[Purged]:
        """Runs the purge for every affected campaign.

        Raises:
            Conflict: a campaign is being relearned; those before it are done.
            StaleLearner: a promotion or a rollback was made meanwhile; the learner's next pass trains the new lineage.
        """
        with awaited_learner_turn(self._store):
            return [self._purged_alone(suspects, count, report) for count in self.count(suspects)]

    def _purged_alone(self, suspects: Suspects, count: Count, report: ProgressCallback) -> Purged:
        # A running relearn has already read some of the feedback, and would publish it afterwards.
        with relearn_turn(self._store, count.campaign_id) as ours:
            if not ours:
                raise Conflict(f"campaign {count.campaign_id!r} is being relearned: purge when that has ended")
            return self._purged(suspects, count, report)

    def _purged(self, suspects: Suspects, count: Count, report: ProgressCallback) -> Purged:
        own, refused = replace(suspects, campaign_id=count.campaign_id), 0
        why = _reason(own)
        while (step := self._exclude_next(own, why)) is not None:
            own, newly = step
            refused += newly
        steps = self._retrained(count.campaign_id, report)
        log.info("feedback_purged", campaign=count.campaign_id, events=count.events, versions_refused=refused)
        return Purged(count=count, refused=refused, steps=steps)

    def _exclude_next(self, suspects: Suspects, why: str) -> tuple[Suspects, int] | None:
        """Excludes the next events.

        Returns the rest and the number of refused versions, or None if there was nothing.
        """
        campaign_id, now = str(suspects.campaign_id), self._clock.now()
        with self._store.write() as connection:
            self._store.lock(connection, [LOCK, lock_name(campaign_id)])
            excluded = purges.exclude_next(connection, suspects, now, why, CHUNK)
            if excluded is None:
                return None
            closed = list(purges.closed(connection, excluded.decision_ids))
            self._correct(connection, closed)
            first = min((row.seq for row in closed), default=None)
            refused = 0 if first is None else models.refuse_from(connection, campaign_id, first, why)
        # Not from the beginning, because each step would have to skip the excluded events again.
        return replace(suspects, since=excluded.last_received_at), refused

    def _correct(self, connection: Connection, closed: Sequence[Row[*tuple[Any, ...]]]) -> None:
        """Corrects closed and final rewards of the decisions to what they would be without the excluded events."""
        events = feedback.seen_events(connection, [row.decision_id for row in closed])
        ids = [row.decision_id for row in closed]
        taken_out = summed(outcomes.of_final(connection, ids), -1)
        for row in closed:
            document = self._campaigns.document(connection, row.campaign_id, row.campaign_version)
            counted = events.get(row.decision_id, [])
            seen = [one for one in counted if one.seq <= (row.seen or 0)]
            purges.correct(connection, row.decision_id, reward_as_known(document, row, seen).closing)
            if row.is_final:
                purges.correct_final(connection, row.decision_id, reward_as_known(document, row, counted).reward)
        outcomes.correct(connection, summed(outcomes.of_final(connection, ids), into=taken_out))

    def _retrained(self, campaign_id: str, report: ProgressCallback) -> list[Step]:
        """The versions that were published instead of refused versions with an alias."""
        campaign = self._campaigns.get(campaign_id).campaign
        return [
            step
            for alias in self._refused_aliases(campaign_id)
            for step in self._learner.learn_alias(campaign, alias, report)
        ]

    def _refused_aliases(self, campaign_id: str) -> list[str]:
        with self._store.read() as connection:
            named = models.aliases(connection, campaign_id)
            rows = {
                alias: models.manifest(connection, campaign_id, named[alias].version)
                for alias in (CHAMPION, CHALLENGER)
                if alias in named
            }
        return [alias for alias, row in rows.items() if row is not None and row.health != OK]


def _reason(suspects: Suspects) -> str:
    until = "" if suspects.until is None else f" and before {utc_text(suspects.until)}"
    return f"{PURGED}: learned feedback of source {suspects.source!r} received since {utc_text(suspects.since)}{until}"
