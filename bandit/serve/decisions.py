"""Makes and stores decisions: many in one transaction, each with its own outcome."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zlib import crc32

from sqlalchemy import Connection

from bandit.decide.decision import DecisionRecord, LiveCampaign, check_drawn, decide
from bandit.decide.history import LOOKBACK_DAYS, History
from bandit.domain import Content, DecideRequest, Decision
from bandit.errors import Conflict, FieldError, InvalidInput, NotFound, SendoptError
from bandit.ids import Entropy, new_decision_id
from bandit.serve.campaigns import Campaigns
from bandit.serve.clock import Clock
from bandit.serve.models import ModelServer
from bandit.store import decisions, histories, idempotency
from bandit.store.sql.database import Store
from bandit.times import HOUR

LOCKS = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeatable:
    """How a repeated request is recognised, and how its answer is rendered."""

    key: str
    body_digest: bytes
    render: Callable[[Decision], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request to decide."""

    request: DecideRequest
    repeatable: Repeatable | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """The stored answer to an earlier request."""

    answer: bytes


Outcome = DecisionRecord | Repeated | SendoptError


class Decider:
    """Makes decisions and stores them durably before it returns them.

    It must not be used by several threads at once, because of the engine's workspace and the order of decisions about
    one user.
    """

    def __init__(self, store: Store, clock: Clock, campaigns: Campaigns, models: ModelServer, entropy: Entropy) -> None:
        self.store = store
        self.clock = clock
        self.campaigns = campaigns
        self.models = models
        self.entropy = entropy

    def decide_many(self, asks: Sequence[Ask]) -> list[Outcome]:
        """One outcome per request, in order; every decision has been committed.

        Requests about the same user are decided one after the other, each seeing the sends of those before it.

        Raises:
            StoreUnavailable: nothing was decided.
        """
        with self.store.write() as connection:
            self.store.lock(connection, [name for ask in asks for name in _lock_names(ask)])
            return _Round(self, connection, asks).run()


def _lock_names(ask: Ask) -> list[str]:
    """Locks of the user and of the idempotency key; several share a name, so that they fit into the lock table."""
    names = [f"user:{ask.request.campaign}:{ask.request.user.id}"]
    if ask.repeatable is not None:
        names.append(f"idempotency:{ask.repeatable.key}")
    return [f"decide:{crc32(name.encode()) % LOCKS}" for name in names]


class _Round:
    """The decisions of one transaction."""

    def __init__(self, decider: Decider, connection: Connection, asks: Sequence[Ask]) -> None:
        self._decider = decider
        self._connection = connection
        self._asks = asks
        self._live, self._unreadable = decider.campaigns.readable(connection, {ask.request.campaign for ask in asks})
        self._histories = self._load_histories()
        keys = [ask.repeatable.key for ask in asks if ask.repeatable is not None]
        self._answers = idempotency.find(connection, keys) if keys else {}
        self._records: list[DecisionRecord] = []
        self._remembered: list[dict[str, Any]] = []

    def run(self) -> list[Outcome]:
        outcomes = [self._outcome(ask) for ask in self._asks]
        learn_hours = {name: live.document.reward.learn_hours for name, live in self._live.items()}
        decisions.insert_decisions(
            self._connection, [(one, learn_hours[one.decision.campaign]) for one in self._records]
        )
        idempotency.remember(self._connection, self._remembered)
        return outcomes

    def _load_histories(self) -> dict[histories.Key, History]:
        keys = [(ask.request.campaign, ask.request.user.id) for ask in self._asks if ask.request.campaign in self._live]
        if not keys:
            return {}
        documents = {name: live.document for name, live in self._live.items()}
        earliest = min(self._now(ask.request) for ask in self._asks)
        reach = max(_reach_hours(self._live.values(), self._asks))
        return histories.load(self._connection, keys, documents, earliest - reach * HOUR)

    def _now(self, request: DecideRequest) -> datetime:
        return self._decider.clock.now() if request.now is None else request.now.astimezone(UTC)

    def _outcome(self, ask: Ask) -> Outcome:
        try:
            return self._repeated(ask) or self._decide(ask)
        except SendoptError as error:
            # A bad item of a batch must not make the others fail: its error is its outcome.
            return error

    def _repeated(self, ask: Ask) -> Repeated | None:
        if ask.repeatable is None or ask.repeatable.key not in self._answers:
            return None
        stored = self._answers[ask.repeatable.key]
        if stored.body_digest != ask.repeatable.body_digest:
            raise Conflict(f"Idempotency-Key {ask.repeatable.key!r} was used before with another body")
        return Repeated(answer=stored.answer)

    def _decide(self, ask: Ask) -> DecisionRecord:
        request, decider = ask.request, self._decider
        live = self._live.get(request.campaign)
        if live is None:
            raise self._unreadable.get(request.campaign) or NotFound("campaign", request.campaign)
        if request.now is not None and not decider.clock.accepts_now:
            message = f"{request.now.isoformat()}: is accepted only when SENDOPT_CLOCK is 'request'"
            raise InvalidInput([FieldError(field="now", message=message)])
        now = self._now(request)
        record = decide(
            live,
            request,
            self._histories[request.campaign, request.user.id],
            decider.models.model_for(live.document),
            decision_id=new_decision_id(now, decider.entropy),
            now=now,
        )
        check_drawn(record)
        decider.clock.observe(now)
        self._keep(ask, record)
        return record

    def _keep(self, ask: Ask, record: DecisionRecord) -> None:
        self._records.append(record)
        send = record.reserved_send
        if send is not None:
            key = (record.request.campaign, record.request.user.id)
            self._histories[key] = self._histories[key].with_send(send)
        if ask.repeatable is not None:
            answer = ask.repeatable.render(record.decision)
            stored = idempotency.StoredAnswer(body_digest=ask.repeatable.body_digest, answer=answer)
            self._answers[ask.repeatable.key] = stored
            self._remembered.append(
                {
                    "key": ask.repeatable.key,
                    "body_digest": stored.body_digest,
                    "decision_id": record.decision.id,
                    "answer": answer,
                    "created_at": record.decision.decided_at,
                }
            )


def _reach_hours(lives: Iterable[LiveCampaign], asks: Sequence[Ask]) -> Iterator[float]:
    """Hours of history that the features and each rule need."""
    yield LOOKBACK_DAYS * 24.0
    for live in lives:
        yield live.document.rule_reach_hours
    for ask in asks:
        for one in ask.request.contents or ():
            yield one.repeat_after_hours or 0.0 if isinstance(one, Content) else 0.0
