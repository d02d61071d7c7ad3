"""Closes rewards: each decision gets its place in the learning order once, with the reward known at that moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Connection, Row

from bandit.campaign.document import Campaign
from bandit.campaign.rewards import SeenEvent, is_voided, reward_from, worths_of, worths_text
from bandit.decide.sums import summed
from bandit.domain import Policy, Reason
from bandit.errors import UnreadableCampaign
from bandit.learn.rewards_of import VOIDED
from bandit.serve.campaigns import Campaigns
from bandit.serve.clock import Clock
from bandit.store import closings, feedback
from bandit.store import sums as outcomes
from bandit.store.sql.database import Store

CLOSE_CHUNK = 500
UNREADABLE_PAUSE = timedelta(hours=1)  # until decisions are looked at again whose campaign cannot be read
LOCK = "closings"  # the lock of every transaction that closes or corrects a reward

log = structlog.get_logger(__name__)


class Closer:
    """Closes rewards that are due."""

    def __init__(self, store: Store, clock: Clock, campaigns: Campaigns) -> None:
        self._store = store
        self._clock = clock
        self._campaigns = campaigns

    def close_due(self) -> int:
        """Closes rewards that are due, or makes them final; returns the number of these decisions."""
        now, total = self._clock.now(), 0
        while True:
            with self._store.write() as connection:
                self._store.lock(connection, [LOCK])
                rows = closings.due(connection, now, CLOSE_CHUNK)
                self._close(connection, rows, now)
            total += len(rows)
            if len(rows) < CLOSE_CHUNK:
                return total

    def _close(self, connection: Connection, rows: Sequence[Row[*tuple[Any, ...]]], now: datetime) -> None:
        events = feedback.seen_events(connection, [row.decision_id for row in rows])
        closed, final, waiting, unreadable = [], [], [], []
        for row in rows:
            seen = events.get(row.decision_id, [])
            try:
                document = self._campaigns.document(connection, row.campaign_id, row.campaign_version)
            except UnreadableCampaign:
                unreadable.append(row.decision_id)
                continue
            known = reward_as_known(document, row, seen)
            if not row.learned:
                closed.append(
                    {
                        "decision_id": row.decision_id,
                        "campaign_id": row.campaign_id,
                        **known.closing,
                        "closed_at": now,
                        "seen": seen[-1].seq if seen else None,
                    }
                )
            if row.reward_deadline <= now:
                final.append({"decision_id": row.decision_id, "reward": known.reward, "final_at": now})
            else:
                waiting.append(row.decision_id)
        if unreadable:
            log.error("rewards_left_open", decisions=len(unreadable), rule="their campaign's document cannot be read")
            closings.postpone(connection, unreadable, now + UNREADABLE_PAUSE)
        closings.close(connection, closed)
        closings.wait_until_final(connection, waiting)
        closings.finish(connection, final)
        outcomes.add(connection, summed(outcomes.of_final(connection, [row["decision_id"] for row in final])))


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownReward:
    """The reward of a decision as certain events make it."""

    reward: float | None  # None when the message did not go out
    skipped: str | None  # why the decision is not to be learned from
    worths: Mapping[str, float]  # of each event that the reward was made of

    @property
    def closing(self) -> dict[str, Any]:
        """What a closing says of it."""
        reward = None if self.skipped else self.reward
        return {"reward": reward, "skipped": self.skipped, "events": worths_text(self.worths)}


def reward_as_known(campaign: Campaign, row: Row[*tuple[Any, ...]], events: Sequence[SeenEvent]) -> KnownReward:
    """The reward as these events make it.

    Args:
        row: the decision's channel, policy and reason.
    """
    if is_voided(events):
        return KnownReward(reward=None, skipped=VOIDED, worths={})
    worths = worths_of(campaign, events)
    return KnownReward(reward=reward_from(campaign, row.channel, worths), skipped=_skipped(row), worths=worths)


def _skipped(row: Row[*tuple[Any, ...]]) -> str | None:
    if row.policy == Policy.FALLBACK:
        return "fallback"
    return "no_choice" if row.reason == Reason.NO_ELIGIBLE_ACTION else None
