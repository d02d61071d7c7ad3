"""Feedback of one sender is taken back: it stays stored and counts for nothing, and what learned it learns anew.

A key that leaked or a sender that lied poisons rewards, and through them every version since. The events are marked,
closed and final rewards become what they would be without them, every version that had learned such a decision is
refused as purged, and a new lineage is taught the whole log. Until it is published the old champion serves on.

Events are marked, rewards corrected and versions refused together, some hundred events at a time, so that each step may
be the last: the same purge again goes on from there and does nothing twice, and the learner's next pass teaches a new
lineage in any case.

Decisions stay what they were, also those that saw the false events as history of their users: that is what the policy
knew. Slots under the caps that a false failure freed stay free.
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

CHUNK = 500  # events in a transaction; on SQLite nobody else writes meanwhile
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """What a purge did to one campaign."""

    count: Count
    refused: int  # versions
    steps: Sequence[Step]  # published instead


class Purger:
    """Takes feedback back."""

    def __init__(self, store: Store, clock: Clock, campaigns: Campaigns, learner: Learner) -> None:
        self._store = store
        self._clock = clock
        self._campaigns = campaigns
        self._learner = learner

    def suspects(
        self, source: str, since: datetime, until: datetime | None = None, campaign_id: str | None = None
    ) -> Suspects:
        """The feedback that came with the key.

        Raises:
            NotFound: there is no such campaign.
            InvalidInput: the stretch of time is empty.
        """
        if campaign_id is not None:
            self._campaigns.get(campaign_id)
        if until is not None and not since < until:
            message = f"{utc_text(since)}: is not before {utc_text(until)}"
            raise InvalidInput([FieldError(field="since", message=message)])
        return Suspects(source=source, since=since, until=until, campaign_id=campaign_id)

    def count(self, suspects: Suspects) -> list[Count]:
        """What would be affected, by campaign; nothing is changed."""
        with self._store.read() as connection:
            return purges.count(connection, suspects)

    def decisions_to_learn(self, counts: Sequence[Count]) -> int:
        """How many decisions of these campaigns have closed, which the new lineages are taught."""
        with self._store.read() as connection:
            heads = [(one.campaign_id, closings.last_seq(connection, one.campaign_id)) for one in counts]
            return sum(closings.number_between(connection, name, 0, head) for name, head in heads)

    def run(self, suspects: Suspects, report: ProgressCallback = no_progress) -> list[Purged]:
        """The purge of every campaign that is affected, done when this returns.

        Raises:
            Conflict: a campaign is being relearned; those before it are done.
            StaleLearner: a promotion or a rollback came in between; the learner's next pass teaches the new lineage.
        """
        with awaited_learner_turn(self._store):
            return [self._purged_alone(suspects, count, report) for count in self.count(suspects)]

    def _purged_alone(self, suspects: Suspects, count: Count, report: ProgressCallback) -> Purged:
        # A relearn under way has read some of it already, and would publish it afterwards.
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
        """What is left after the next events were excluded, and the number of versions refused; None: nothing was."""
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
        # Not from the beginning again: what is excluded would be passed over once for each step.
        return replace(suspects, since=excluded.last_received_at), refused

    def _correct(self, connection: Connection, closed: Sequence[Row[*tuple[Any, ...]]]) -> None:
        """Closed and final rewards of the decisions as if what is excluded had never come."""
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
        """The versions published instead of those that are refused and that an alias names."""
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
