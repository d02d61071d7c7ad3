"""The service's own log, streamed from its store."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, Row

from bandit.campaign.rewards import SeenEvent
from bandit.decide.exploration import pmf_from_bytes
from bandit.decide.logged import actions_digest, decode_actions
from bandit.domain import Policy, UserId
from bandit.errors import EmptyLog, InvalidLog
from bandit.serve.campaigns import Campaigns
from bandit.store import closings, feedback, logged
from bandit.store.sql.database import Store
from sim.logs.event import BATCH, LeftOut, LoggedEvent, checked

_Row = Row[*tuple[Any, ...]]
_Seen = Mapping[str, Sequence[SeenEvent]]  # by decision


class StoreLog:
    """A campaign's decisions with their final rewards, in the learning order.

    Each page is a short transaction of its own, so that reading a long log blocks nothing. Decisions that are closed
    after the start of a reading are not part of it.
    """

    def __init__(
        self, store: Store, campaigns: Campaigns, campaign_id: str, *, after: int = 0, events: Collection[str] = ()
    ) -> None:
        """A reading of the campaign's log.

        Args:
            after: include only decisions after this place in the learning order.
            events: kinds of feedback that become columns: 1 if the decision got the event, 0 if not.

        Raises:
            NotFound: there is no such campaign.
        """
        self._after = after
        self._columns = tuple(events)
        self._store = store
        self._campaigns = campaigns
        self._campaign_id = campaigns.get(campaign_id).campaign.id
        self.name = f"campaign {campaign_id!r}"
        self.reward_bounds = self._widest_bounds()
        self.left_out: Counter[str] = Counter()

    def _widest_bounds(self) -> tuple[float, float]:
        """Bounds that contain the rewards of every version of the campaign."""
        with self._store.read() as connection:
            versions = logged.versions(connection, self._campaign_id)
            documents = [self._campaigns.document(connection, self._campaign_id, version) for version in versions]
        lows, highs = zip(*(document.reward.bounds for document in documents), strict=True)
        return min(lows), max(highs)

    @property
    def size(self) -> int | None:
        with self._store.read() as connection:
            head = closings.last_seq(connection, self._campaign_id)
            return closings.number_between(connection, self._campaign_id, self._after, head)

    def batches(self) -> Iterator[Sequence[LoggedEvent]]:
        self.left_out = Counter()
        with self._store.read() as connection:
            head = closings.last_seq(connection, self._campaign_id)
            self.left_out[LeftOut.UNDECIDED] = logged.not_closed(connection, self._campaign_id)
        after, any_rows = self._after, False
        while after < head:
            with self._store.read() as connection:
                rows = logged.page(connection, self._campaign_id, after, BATCH)
                seen = self._seen(connection, rows)
                events = [event for row in rows if row.seq <= head for event in self._events(connection, row, seen)]
            if not rows:
                break
            after = rows[-1].seq
            any_rows = any_rows or bool(events)
            yield events
        if not any_rows:
            raise EmptyLog(f"{self.name}: no decision has a final reward yet; excluded: {dict(+self.left_out)}")

    def _seen(self, connection: Connection, rows: Sequence[_Row]) -> _Seen:
        return feedback.seen_events(connection, [row.id for row in rows]) if self._columns else {}

    def _events(self, connection: Connection, row: _Row, seen: _Seen) -> Iterator[LoggedEvent]:
        reason = _left_out(row)
        if reason is None:
            document = self._campaigns.document(connection, self._campaign_id, row.campaign_version)
            yield checked(self._event(row, seen.get(row.id, ())), document.reward.bounds)
        else:
            self.left_out[reason] += 1

    def _event(self, row: _Row, seen: Sequence[SeenEvent]) -> LoggedEvent:
        kinds = {one.event for one in seen}
        if actions_digest(row.actions) != row.actions_digest:
            raise InvalidLog(
                f"row {row.seq}: actions: the eligible set of decision {row.id} is not the one that was logged"
            )
        return LoggedEvent(
            row=row.seq,
            learning_place=row.seq,
            decision_id=row.id,
            user=UserId(row.user_id),
            campaign=self._campaign_id,
            campaign_version=row.campaign_version,
            decided_at=row.decided_at,
            policy=row.policy,
            model_version=row.model_version,
            action_index=row.action_index,
            propensity=row.propensity,
            pmf=pmf_from_bytes(row.pmf),
            reward=row.reward,
            actions=decode_actions(row.actions),
            context=_context(row.evidence),
            columns={name: float(name in kinds) for name in self._columns},
        )


def _left_out(row: _Row) -> str | None:
    if row.policy == Policy.FALLBACK:
        return LeftOut.FALLBACK
    if row.final_at is None:
        return LeftOut.UNDECIDED
    return LeftOut.VOIDED if row.reward is None else None


def _context(evidence: str) -> dict[str, Any]:
    document = orjson.loads(evidence)
    return {"request": document["request"], "history": document["history"]}
