"""Joined rewards -> trained model -> published version, each decision once.

A pass closes what is due, then for each campaign learns the closed decisions after the watermark, in order, and
publishes bytes, digest, watermark and version in one transaction, fenced on the version it started from. A learner
killed at any moment therefore leaves either the old version or the new one, never half of it, and the next one starts
again from what was committed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import Any

import structlog
from sqlalchemy import Connection, Row

from bandit.campaign import Campaign
from bandit.clock import Clock
from bandit.domain import Policy, Reason
from bandit.errors import CorruptModel, InvalidPropensity, RejectedInput, StaleLearner
from bandit.outcomes import summed
from bandit.receipts import actions_digest, decode_actions
from bandit.registry import Campaigns
from bandit.rewards import SeenEvent, is_voided, reward_of
from bandit.serving import load_engine
from bandit.store import closings, feedback, models, outcomes
from bandit.store.closings import ClosedDecision
from bandit.store.engine import Store
from bandit.store.models import CHAMPION, ModelRow
from bandit.vw import Engine, Label, digest, engine_version

CLOSE_CHUNK = 500
READ_CHUNK = 1_000
VERSIONS_KEPT = 50  # of a campaign, newest first
PUBLISH_EVERY = 10_000  # events; a crash never loses more work than this

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassResult:
    """What one pass of the learner did."""

    closed: int
    learned: int
    published: tuple[tuple[str, int], ...]  # (campaign, version)


class Learner:
    """Closes rewards, learns, publishes."""

    def __init__(self, store: Store, clock: Clock, campaigns: Campaigns) -> None:
        self._store = store
        self._clock = clock
        self._campaigns = campaigns

    def run_pass(self) -> PassResult:
        """One pass over everything that is due at this moment."""
        closed = self.close_due()
        results = [self._learn_campaign(stored.campaign) for stored in self._campaigns.list()]
        published = tuple((row.campaign_id, row.version) for rows, _ in results for row in rows)
        return PassResult(closed=closed, learned=sum(count for _, count in results), published=published)

    def close_due(self) -> int:
        """Number of decisions whose time had come and whose reward was closed or made final."""
        now, total = self._clock.now(), 0
        while True:
            with self._store.write() as connection:
                self._store.lock(connection, ["closings"])
                rows = closings.due(connection, now, CLOSE_CHUNK)
                self._close(connection, rows, now)
            total += len(rows)
            if len(rows) < CLOSE_CHUNK:
                return total

    def _close(self, connection: Connection, rows: Sequence[Row[*tuple[Any, ...]]], now: datetime) -> None:
        events = feedback.seen_events(connection, [row.decision_id for row in rows])
        closed, final = [], []
        for row in rows:
            reward, skipped = self._closed_reward(connection, row, events.get(row.decision_id, []))
            if not row.learned:
                closed.append(
                    {
                        "decision_id": row.decision_id,
                        "campaign_id": row.campaign_id,
                        "reward": None if skipped else reward,
                        "skipped": skipped,
                        "closed_at": now,
                    }
                )
            if row.reward_deadline <= now:
                final.append({"decision_id": row.decision_id, "reward": reward, "final_at": now})
            else:
                closings.wait_until_final(connection, row.decision_id, row.reward_deadline)
        closings.close(connection, closed)
        closings.finish(connection, final)
        rewards = {row["decision_id"]: row["reward"] for row in final}
        outcomes.add(connection, summed(outcomes.of_final(connection, rewards)))

    def _closed_reward(
        self, connection: Connection, row: Row[*tuple[Any, ...]], events: list[SeenEvent]
    ) -> tuple[float | None, str | None]:
        """The reward as known now, and why the decision is not to be learned from, if so."""
        if is_voided(events):
            return None, "voided"
        campaign = self._campaigns.document(connection, row.campaign_id, row.campaign_version)
        reward = reward_of(campaign, row.channel, events)
        if row.policy == Policy.FALLBACK:
            return reward, "fallback"
        if row.reason == Reason.NO_ELIGIBLE_ACTION:
            return reward, "no_choice"
        return reward, None

    def _learn_campaign(self, campaign: Campaign) -> tuple[list[ModelRow], int]:
        """The versions published for a campaign in this pass, and how many events they learned."""
        published: list[ModelRow] = []
        learned = 0
        try:
            while (step := self._learn_step(campaign)) is not None:
                published.append(step[0])
                learned += step[1]
        except CorruptModel as error:
            # This champion cannot be taught further; the other campaigns must not wait for its repair.
            log.error("champion_refused", campaign=campaign.id, error=str(error))
        return published, learned

    def _learn_step(self, campaign: Campaign) -> tuple[ModelRow, int] | None:
        """The next published version with the number of events it learned, None when there is nothing new."""
        with self._store.read() as connection:
            champion = models.champion(connection, campaign.id)
            latest = models.latest_version(connection, campaign.id)
            head = closings.last_seq(connection, campaign.id)
        start = Start.of(campaign, champion, latest)
        if head <= start.watermark:
            return None
        with start.engine() as engine:
            watermark, learned = self._teach(engine, campaign.id, start, head)
            row = start.next_version(engine, watermark, learned, self._clock.now())
        self._publish(row, start)
        log.info("model_published", campaign=campaign.id, model_version=row.version, learned=learned)
        return row, learned

    def _teach(self, engine: Engine, campaign_id: str, start: "Start", head: int) -> tuple[int, int]:
        """The last place in the learning order that was reached, and how many events were learned."""
        watermark, read, learned = start.watermark, 0, 0
        while watermark < head and read < start.most_events:
            with self._store.read() as connection:
                chunk = list(closings.after(connection, campaign_id, watermark, READ_CHUNK))
            if not chunk:
                break
            learned += sum(_learn_one(engine, closed) for closed in chunk)
            read += len(chunk)
            watermark = chunk[-1].seq
        return watermark, learned

    def _publish(self, row: ModelRow, start: "Start") -> None:
        """Stores the version and makes it serve, unless another learner was first."""
        with self._store.write() as connection:
            self._store.lock(connection, [f"models:{row.campaign_id}"])
            champion = models.champion_versions(connection).get(row.campaign_id)
            latest = models.latest_version(connection, row.campaign_id)
            if (champion, latest) != (start.champion, start.latest):
                raise StaleLearner(
                    f"campaign {row.campaign_id!r}: version {row.version} was taught from champion {start.champion}, "
                    f"but by now the champion is {champion} and the latest version {latest}"
                )
            models.add(connection, row)
            models.point(connection, row.campaign_id, CHAMPION, row.version)
            models.forget_old(connection, row.campaign_id, VERSIONS_KEPT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a new version is taught from, and what must still hold when it is published."""

    campaign: Campaign
    parent: ModelRow | None  # None: from nothing
    champion: int | None
    latest: int

    @classmethod
    def of(cls, campaign: Campaign, champion: ModelRow | None, latest: int) -> "Start":
        """The champion, or nothing when the campaign's engine settings are no longer those it was taught with."""
        continues = champion is not None and champion.arguments == campaign.engine_arguments.text
        return cls(
            campaign=campaign,
            parent=champion if continues else None,
            champion=None if champion is None else champion.version,
            latest=latest,
        )

    @property
    def watermark(self) -> int:
        return 0 if self.parent is None else self.parent.watermark

    @property
    def most_events(self) -> float:
        """Events before the next publication; a new lineage serves only once it knows the whole log."""
        return inf if self.parent is None and self.champion is not None else PUBLISH_EVERY

    def engine(self) -> Engine:
        return Engine(self.campaign.engine_arguments) if self.parent is None else load_engine(self.parent)

    def next_version(self, engine: Engine, watermark: int, learned: int, created_at: datetime) -> ModelRow:
        content = engine.to_bytes()
        before = 0 if self.parent is None else self.parent.events_learned
        return ModelRow(
            campaign_id=self.campaign.id,
            version=self.latest + 1,
            parent=0 if self.parent is None else self.parent.version,
            arguments=self.campaign.engine_arguments.text,
            engine_version=engine_version(),
            watermark=watermark,
            events_learned=before + learned,
            created_at=created_at,
            size=len(content),
            digest=digest(content),
            bytes=content,
        )


def _learn_one(engine: Engine, closed: ClosedDecision) -> bool:
    """Whether the event was learned; one that does not fit its own log is passed over and said."""
    if closed.reward is None:
        return False
    if actions_digest(closed.actions) != closed.actions_digest:
        log.error("event_refused", decision_id=closed.decision_id, rule="actions are not those that were logged")
        return False
    logged = decode_actions(closed.actions)
    label = Label(action_index=closed.action_index, reward=closed.reward, propensity=closed.propensity)
    try:
        engine.learn(logged.shared_line, logged.action_lines.joined(), label)
    except (RejectedInput, InvalidPropensity) as error:
        # One bad row must not stop the learner for good; it never reached the engine.
        log.error("event_refused", decision_id=closed.decision_id, rule=str(error))
        return False
    return True
