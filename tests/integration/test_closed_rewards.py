"""Closed rewards of a flood of feedback, against a plain loop; on both databases."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import select

from bandit.decide.decision import DecisionRecord
from bandit.domain import DecisionId, Feedback, FeedbackStatus
from bandit.errors import ImpossibleInput, NotFound
from bandit.service import Service
from bandit.store.sql.database import Store
from bandit.store.sql.schema import final_rewards
from tests.support.builders import MORNING, WINDOW, advance, campaign, closed, decide, feedback, request, service

EVENTS = 20_000
BATCH = 1_000
DECISIONS = 2_000
WORTHS = {"opened": 0.1, "clicked": 1.0, "unsubscribed": -5.0, "failed": None}  # None: the message did not go out
COSTS = {"push": 0.01, "email": 0.005, None: 0.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    """What senders report, in the order in which it comes."""

    before_closing: list[Feedback]
    after_closing: list[Feedback]  # too late, although some of it happened in time


def flood(records: Sequence[DecisionRecord], rng: random.Random) -> Flood:
    """Of the events 30 % are repeats, 10 % late, 5 % about unknown decisions and 5 % from before the decision."""
    late = [event(rng, records, 48.1, 90.0) for _ in range(EVENTS // 20)]
    tardy = [event(rng, records, 0.0, 47.9) for _ in range(EVENTS // 20)]
    unknown = [
        replace(event(rng, records, 0.0, 47.9), decision_id=DecisionId(f"unknown-{number}"))
        for number in range(EVENTS // 20)
    ]
    early = [event(rng, records, -9.0, -0.1) for _ in range(EVENTS // 20)]
    new = [event(rng, records, 0.0, 47.9) for _ in range(EVENTS // 2)]
    repeats = rng.choices([*late, *new], k=EVENTS * 3 // 10)
    first = [*late, *unknown, *early, *new, *repeats]
    rng.shuffle(first)
    return Flood(before_closing=first, after_closing=tardy)


def event(rng: random.Random, records: Sequence[DecisionRecord], earliest: float, latest: float) -> Feedback:
    """Some of them with the sender's own id, some with whole hours, so that kinds collide."""
    kind = rng.choices(list(WORTHS), weights=[50, 40, 9, 1])[0]
    hours = rng.uniform(earliest, latest)
    own = f"e-{rng.randrange(10**9)}" if rng.random() < 0.5 else None
    return feedback(rng.choice(records), kind, hours if rng.random() < 0.5 else round(hours * 8) / 8, event_id=own)


def plain_rewards(records: Sequence[DecisionRecord], events: Iterable[Feedback]) -> dict[str, float | None]:
    """The reward of each decision: what the first event of each kind is worth, each event once, less the cost."""
    decided_at = {one.decision.id: one.decision.decided_at for one in records}
    told: set[tuple[str, str]] = set()
    first: dict[str, dict[str, datetime]] = {decision_id: {} for decision_id in decided_at}
    for one in events:
        begun = decided_at.get(one.decision_id)
        name = f"{one.event} {one.event_id or one.occurred_at}"
        if begun is None or one.occurred_at < begun or (one.decision_id, name) in told:
            continue
        told.add((one.decision_id, name))
        if one.occurred_at <= begun + WINDOW:
            kinds = first[one.decision_id]
            kinds[one.event] = min(one.occurred_at, kinds.get(one.event, one.occurred_at))
    rewards: dict[str, float | None] = {}
    for record in records:
        kinds = first[record.decision.id]
        worths = [WORTHS[kind] for kind in sorted(kinds)]
        total = 0.0 if None in worths else sum(worth for worth in worths if worth is not None)
        net = total - COSTS[record.decision.action.channel]
        rewards[record.decision.id] = None if None in worths else min(max(net, -5.0), 5.0)
    return rewards


def report(live: Service, events: Sequence[Feedback]) -> Counter[object]:
    """How many events had which outcome, given in batches."""
    outcomes = [
        one for at in range(0, len(events), BATCH) for one in live.feedback.accept_many(events[at : at + BATCH])
    ]
    return Counter(one if isinstance(one, FeedbackStatus) else type(one) for one in outcomes)


def final(store: Store) -> dict[str, float | None]:
    with store.read() as connection:
        return {row.decision_id: row.reward for row in connection.execute(select(final_rewards))}


def test_closed_rewards_of_20000_shuffled_events_are_those_of_a_plain_loop(store: Store) -> None:
    live, rng = service(store, 31, campaign()), random.Random(31)
    asked = [request(f"u-{user}", MORNING + timedelta(seconds=user)) for user in range(DECISIONS)]
    records = [one for at in range(0, DECISIONS, 500) for one in decide(live, asked[at : at + 500])]
    sent = flood(records, rng)
    assert len(sent.before_closing) + len(sent.after_closing) == EVENTS

    outcomes = report(live, sent.before_closing)
    advance(live, MORNING + 4 * WINDOW)
    live.learner.close_due()
    tardy = report(live, sent.after_closing)
    live.learner.close_due()

    expected = plain_rewards(records, sent.before_closing)
    assert {one.decision_id: one.reward for one in closed(store)} == expected
    assert final(store) == expected
    assert (outcomes[NotFound], outcomes[ImpossibleInput]) == (EVENTS // 20, EVENTS // 20)
    assert outcomes[FeedbackStatus.DUPLICATE] >= EVENTS * 3 // 10
    assert set(tardy) == {FeedbackStatus.LATE}
    assert plain_rewards(records, [*sent.before_closing, *sent.after_closing]) != expected
