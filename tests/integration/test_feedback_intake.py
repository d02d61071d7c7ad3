"""Feedback is stored once, told whether it still counts, and never lost between two rewards; on both databases."""

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import replace
from datetime import timedelta, timezone
from itertools import permutations
from threading import Barrier, Event, current_thread, main_thread
from time import sleep
from typing import Any

import pytest
from sqlalchemy import Connection, Select, func, insert, select

from bandit.campaign.document import Campaign
from bandit.campaign.rewards import SeenEvent, is_voided, reward_of
from bandit.decide.decision import DecisionRecord
from bandit.domain import RESERVED_EVENTS, REWARD_EVENT, VOIDING, DecisionId, Feedback, FeedbackStatus
from bandit.errors import ImpossibleInput, InvalidInput, NotFound, SendoptError, StoreUnavailable
from bandit.learn import close as closing_module
from bandit.service import Service
from bandit.store import closings as closing_rows
from bandit.store import decisions, feedback
from bandit.store.sql.database import Store
from bandit.store.sql.schema import closings, final_rewards, open_decisions, sends
from bandit.store.sql.schema import feedback as feedback_rows
from bandit.times import HOUR
from tests.support.builders import LEARN_AFTER, MORNING, WINDOW, advance, campaign, decide, give, request, service
from tests.support.builders import feedback as event_of

ACCEPTED, DUPLICATE, LATE = FeedbackStatus.ACCEPTED, FeedbackStatus.DUPLICATE, FeedbackStatus.LATE
WORTH = {REWARD_EVENT: 1.0}  # of the events that must carry a value
LONG_ENOUGH_TO_FINISH = 0.2  # seconds; a closing that does not wait takes a tenth of it


def one(live: Service, **details: Any) -> DecisionRecord:
    (record,) = decide(live, [request(**details)])
    return record


def silent_and_sent(live: Service) -> tuple[DecisionRecord, DecisionRecord]:
    """A decision for silence, because nothing can be reached, and one that sends."""
    return one(live, user="nobody", channels=[]), sent_to(live, "u-1")


def sent_to(live: Service, user: str) -> DecisionRecord:
    return next(record for record in iter(lambda: one(live, user=user), None) if record.decision.action.send)


def taken_slot(sent: DecisionRecord) -> dict[str, Any]:
    """The row of `sends` that keeps the slot of a decision."""
    action = sent.decision.action
    return {
        "decision_id": sent.decision.id,
        "campaign_id": sent.decision.campaign,
        "user_id": sent.request.user.id,
        "channel": action.channel,
        "content": action.content,
        "send_at": action.send_at,
    }


def stored_events(store: Store, record: DecisionRecord) -> list[tuple[str, bool]]:
    with store.read() as connection:
        return [
            (row.event, row.late) for row in feedback.of_decisions(connection, [record.decision.id])[record.decision.id]
        ]


def stored(store: Store) -> int:
    with store.read() as connection:
        return connection.execute(select(func.count(feedback_rows.c.seq))).scalar_one()


def final_reward(store: Store, record: DecisionRecord) -> float | None:
    with store.read() as connection:
        reward: float | None = closing_rows.final_of(connection, [record.decision.id])[record.decision.id].reward
    return reward


def learned_reward(store: Store, record: DecisionRecord) -> float | None:
    with store.read() as connection:
        reward: float | None = connection.execute(
            select(closings.c.reward).where(closings.c.decision_id == record.decision.id)
        ).scalar_one()
    return reward


def refused(live: Service, event: Feedback) -> SendoptError:
    (outcome,) = live.feedback.accept_many([event])
    assert isinstance(outcome, SendoptError), outcome
    assert stored(live.store) == 0
    return outcome


# What is accepted


def test_feedback_is_accepted_and_stored(store: Store) -> None:
    live = service(store, 1, campaign())
    record = one(live)
    assert give(live, [event_of(record, "opened"), event_of(record, "clicked", 2)]) == [ACCEPTED, ACCEPTED]
    assert stored_events(store, record) == [("opened", False), ("clicked", False)]


def test_an_event_at_the_moment_of_the_decision_and_one_at_the_deadline_are_accepted(store: Store) -> None:
    live = service(store, 2, campaign())
    record = one(live)
    assert give(live, [event_of(record, "opened", 0), event_of(record, "clicked", 48)]) == [ACCEPTED, ACCEPTED]


def test_an_event_with_a_value_at_the_bound_is_accepted(store: Store) -> None:
    live = service(store, 3, campaign())
    record = one(live)
    events = [event_of(record, "reward", value=5.0), event_of(record, "reward", 2, value=-5.0)]
    assert give(live, events) == [ACCEPTED, ACCEPTED]


def test_an_event_is_checked_by_the_document_that_its_decision_was_made_under(store: Store) -> None:
    live = service(store, 4, campaign())
    old = one(live)
    live.campaigns.put(campaign(reward={"events": {"visited": 1.0}, "bounds": [-1.0, 1.0]}))
    new = one(live)
    events = [event_of(record, event) for record in (old, new) for event in ("clicked", "visited")]
    outcomes = live.feedback.accept_many(events)
    assert [isinstance(outcome, FeedbackStatus) for outcome in outcomes] == [True, False, False, True]


def test_the_reward_of_a_silent_decision_comes_from_its_feedback_and_costs_nothing(store: Store) -> None:
    live = service(store, 5, campaign())
    silent, sent = silent_and_sent(live)
    assert give(live, [event_of(silent), event_of(sent)]) == [ACCEPTED, ACCEPTED]
    advance(live, MORNING + WINDOW)
    live.learner.close_due()
    cost = campaign().channels[str(sent.decision.action.channel)].cost
    assert final_reward(store, silent) == 1.0
    assert final_reward(store, sent) == pytest.approx(1.0 - cost, abs=1e-12)


# What is refused


def test_feedback_on_an_unknown_decision_is_not_found(store: Store) -> None:
    live = service(store, 6, campaign())
    event = replace(event_of(one(live)), decision_id=DecisionId("01NOSUCHDECISION"))
    assert isinstance(refused(live, event), NotFound)


def test_an_event_before_the_decision_is_impossible(store: Store) -> None:
    live = service(store, 7, campaign())
    error = refused(live, event_of(one(live), after_hours=-1 / 3600))
    assert isinstance(error, ImpossibleInput)
    assert str(error).startswith("occurred_at: 2026-03-02T08:59:59+00:00: is before the decision")


@pytest.mark.parametrize("value", [5.000001, -6.0, float("inf"), float("-inf"), float("nan")])
def test_a_value_outside_the_bounds_of_the_campaign_is_impossible(store: Store, value: float) -> None:
    live = service(store, 8, campaign())
    record = one(live)
    for event in ("reward", "clicked"):
        error = refused(live, event_of(record, event, value=value))
        assert isinstance(error, ImpossibleInput)
        assert str(error).startswith(f"value: {value}: is outside the bounds [-5.0, 5.0]")


def test_an_event_that_the_campaign_does_not_name_is_impossible_and_those_it_has_are_said(store: Store) -> None:
    live = service(store, 9, campaign())
    error = refused(live, event_of(one(live), "applauded"))
    assert isinstance(error, ImpossibleInput)
    assert "cancelled, clicked, delivered, failed, opened, reward, unsubscribed" in str(error)


def test_a_reward_without_its_number_is_malformed(store: Store) -> None:
    live = service(store, 10, campaign())
    assert isinstance(refused(live, event_of(one(live), "reward")), InvalidInput)


def test_one_bad_event_of_a_batch_leaves_the_others_in_order(store: Store) -> None:
    live = service(store, 11, campaign())
    record = one(live)
    good = event_of(record)
    outcomes = live.feedback.accept_many(
        [
            event_of(record, "applauded"),
            good,
            replace(good, decision_id=DecisionId("01NOSUCHDECISION")),
            good,
            event_of(record, after_hours=-1),
            event_of(record, "opened", 49),
        ]
    )
    kinds = [outcome if isinstance(outcome, FeedbackStatus) else type(outcome) for outcome in outcomes]
    assert kinds == [ImpossibleInput, ACCEPTED, NotFound, DUPLICATE, ImpossibleInput, LATE]
    assert stored_events(store, record) == [("clicked", False), ("opened", True)]


def test_a_batch_that_breaks_off_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    live = service(store, 12, campaign())
    _, sent = silent_and_sent(live)

    def breaks(*_args: Any) -> None:
        raise ArithmeticError

    monkeypatch.setattr(decisions, "free_sends", breaks)
    with pytest.raises(ArithmeticError):
        live.feedback.accept_many([event_of(sent), event_of(sent, "failed")])
    assert stored(store) == 0
    assert reserved(store, sent)


# What is a duplicate


def test_the_same_event_again_is_a_duplicate_in_its_batch_and_after_it(store: Store) -> None:
    live = service(store, 13, campaign())
    event = event_of(one(live))
    elsewhere = replace(event, occurred_at=event.occurred_at.astimezone(timezone(timedelta(hours=5, minutes=30))))
    assert give(live, [event, elsewhere]) == [ACCEPTED, DUPLICATE]
    assert give(live, [elsewhere, event]) == [DUPLICATE, DUPLICATE]
    assert stored(store) == 1


def test_the_senders_own_id_tells_events_apart_and_the_same(store: Store) -> None:
    live = service(store, 14, campaign())
    record, other = one(live), one(live, user="u-2")
    named = event_of(record, event_id="e-1")
    assert give(live, [named]) == [ACCEPTED]
    assert give(live, [event_of(record, "clicked", 5, event_id="e-1")]) == [DUPLICATE]
    assert give(live, [event_of(record, "opened", 5, event_id="e-1")]) == [ACCEPTED]
    assert give(live, [event_of(record, event_id="e-2")]) == [ACCEPTED]
    assert give(live, [event_of(record)]) == [ACCEPTED]
    assert give(live, [event_of(other, event_id="e-1")]) == [ACCEPTED]


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one by one"])
def test_every_pair_of_events_under_one_id_is_two_events_in_either_order(store: Store, together: bool) -> None:
    """Providers give one id to all events of a message."""
    document = campaign(policy={"floor": 1.0})
    live = service(store, 28, document)
    pairs = list(permutations(sorted({*document.reward.events, *RESERVED_EVENTS}), 2))
    for place, pair in enumerate(pairs):
        sent = sent_to(live, f"u-{place}")
        events = [event_of(sent, kind, 1 + at, value=WORTH.get(kind), event_id="m-1") for at, kind in enumerate(pair)]
        again = [replace(event, occurred_at=event.occurred_at + HOUR) for event in events]
        given = [*events, *again]
        statuses = give(live, given) if together else [give(live, [event])[0] for event in given]
        assert statuses == [ACCEPTED, ACCEPTED, DUPLICATE, DUPLICATE], pair
        assert [event for event, _ in stored_events(store, sent)] == list(pair)
        assert reserved(store, sent) == VOIDING.isdisjoint(pair)


def test_a_repeat_that_is_not_stored_has_no_effect_on_slots(store: Store) -> None:
    live = service(store, 29, one_a_day())
    sent = sent_to(live, "u-1")
    give(live, [event_of(sent, "failed", event_id="m-1")])
    with store.write() as connection:
        connection.execute(insert(sends).values(taken_slot(sent)))
    assert give(live, [event_of(sent, "failed", event_id="m-1")]) == [DUPLICATE]
    assert reserved(store, sent)


def test_of_two_reports_of_one_event_in_a_batch_the_first_is_stored(store: Store) -> None:
    live = service(store, 15, campaign())
    record = one(live, channels=[])
    values = [event_of(record, "reward", value=value) for value in (3.0, 1.0)]
    assert give(live, values) == [ACCEPTED, DUPLICATE]
    advance(live, MORNING + WINDOW)
    live.learner.close_due()
    assert final_reward(store, record) == 3.0


# What is late


def test_an_event_after_the_deadline_is_late_even_while_the_reward_is_open(store: Store) -> None:
    live = service(store, 16, campaign())
    record = one(live, channels=[])
    assert give(live, [event_of(record, after_hours=48 + 1 / 3600)]) == [LATE]
    live.learner.close_due()
    assert final_reward(store, record) == 0.0
    assert stored_events(store, record) == [("clicked", True)]


def test_an_event_that_happened_in_time_and_comes_after_the_reward_is_final_is_late(store: Store) -> None:
    live = service(store, 17, campaign())
    record = one(live, channels=[])
    advance(live, MORNING + WINDOW)
    live.learner.close_due()
    assert give(live, [event_of(record)]) == [LATE]
    assert give(live, [event_of(record)]) == [DUPLICATE]
    live.learner.close_due()
    assert final_reward(store, record) == 0.0


def test_an_event_that_comes_after_the_deadline_but_before_the_closing_counts(store: Store) -> None:
    live = service(store, 18, campaign())
    record = one(live, channels=[])
    advance(live, MORNING + 2 * WINDOW)
    assert give(live, [event_of(record)]) == [ACCEPTED]
    live.learner.close_due()
    assert final_reward(store, record) == 1.0


def test_what_comes_between_learning_and_the_deadline_is_in_the_final_reward_only(store: Store) -> None:
    live = service(store, 19, campaign(policy={"no_send_holdout": 1.0}))
    record = one(live)
    give(live, [event_of(record, "opened")])
    advance(live, MORNING + LEARN_AFTER)
    live.learner.close_due()
    assert give(live, [event_of(record, "clicked")]) == [ACCEPTED]
    advance(live, MORNING + WINDOW)
    live.learner.close_due()
    assert learned_reward(store, record) == 0.1
    assert final_reward(store, record) == 1.1


# The message did not go out


def reserved(store: Store, record: DecisionRecord) -> bool:
    with store.read() as connection:
        return (
            connection.execute(select(sends.c.send_at).where(sends.c.decision_id == record.decision.id)).first()
            is not None
        )


def one_a_day() -> Campaign:
    """At most one send a day, chosen evenly; the next decision after a send is silence."""
    return campaign(caps={"count": 1, "hours": 24}, policy={"floor": 1.0})


@pytest.mark.parametrize("event", ["failed", "cancelled"])
def test_a_message_that_did_not_go_out_gives_its_slot_back(store: Store, event: str) -> None:
    live = service(store, 20, one_a_day())
    _, sent = silent_and_sent(live)
    assert len(one(live).pmf) == 1
    assert give(live, [event_of(sent, event), event_of(sent, event)]) == [ACCEPTED, DUPLICATE]
    assert not reserved(store, sent)
    assert len(one(live).pmf) == 19


@pytest.mark.parametrize("event", ["delivered", "clicked", "unsubscribed"])
def test_any_other_event_leaves_the_slot_taken(store: Store, event: str) -> None:
    live = service(store, 21, one_a_day())
    _, sent = silent_and_sent(live)
    give(live, [event_of(sent, event)])
    assert reserved(store, sent)
    assert len(one(live).pmf) == 1


def test_a_voided_decision_has_no_reward_whatever_else_was_seen(store: Store) -> None:
    live = service(store, 22, campaign())
    _, sent = silent_and_sent(live)
    give(live, [event_of(sent, "clicked"), event_of(sent, "failed", 2)])
    advance(live, MORNING + WINDOW)
    live.learner.close_due()
    assert final_reward(store, sent) is None
    assert learned_reward(store, sent) is None


# Feedback against closing, at the same moment


def counted(store: Store, document: Campaign, records: Sequence[DecisionRecord]) -> Iterator[tuple[Any, Any]]:
    """Final reward of each decision, and what its events that are not late say it must be."""
    with store.read() as connection:
        final = {row.decision_id: row.reward for row in connection.execute(select(final_rewards))}
        seen = feedback.seen_events(connection, final)
    for record in records:
        events: Sequence[SeenEvent] = seen.get(record.decision.id, [])
        expected = None if is_voided(events) else reward_of(document, record.decision.action.channel, events)
        yield final[record.decision.id], expected


def report(url: str, seed: int, events: Sequence[Feedback], chunk: int) -> list[FeedbackStatus]:
    """What became of the events, given by a process of its own in small batches."""
    with closing(Store(url)) as store:
        live = service(store, seed)
        return [
            status for place in range(0, len(events), chunk) for status in give(live, events[place : place + chunk])
        ]


def test_feedback_that_races_with_closing_is_in_the_reward_or_late_and_never_neither(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closing_module, "CLOSE_CHUNK", 10)
    document = campaign()
    live = service(store, 23, document)
    records = decide(live, [request(f"u-{place}", MORNING + timedelta(minutes=place)) for place in range(200)])
    advance(live, MORNING + WINDOW + timedelta(hours=4))
    rng = random.Random(23)
    kinds = ["opened", "clicked", "delivered", "unsubscribed", "failed"]
    events = [event_of(record, kind, rng.uniform(0, 40)) for record in records for kind in kinds if rng.random() < 0.5]
    rng.shuffle(events)
    with ThreadPoolExecutor(3) as pool:
        senders = [pool.submit(report, database_url, seed, events[seed::2], 20) for seed in range(2)]
        # Closing starts while events come in, and both end at about the same time.
        while stored(store) < len(events) // 4:
            sleep(0.002)
        pool.submit(live.learner.close_due).result()
        statuses = [status for sender in senders for status in sender.result()]
    live.learner.close_due()
    assert set(statuses) <= {ACCEPTED, LATE}
    for final, expected in counted(store, document, records):
        assert final == expected
    with store.read() as connection:
        assert connection.execute(select(open_decisions)).all() == []


@pytest.fixture
def paused_before_insert(monkeypatch: pytest.MonkeyPatch) -> tuple[Event, Event]:
    """Feedback that a second thread gives has looked at its decision (first event), and waits for the other event."""
    looked, go_on = Event(), Event()
    insert_new = feedback.insert_new

    def waiting(connection: Connection, rows: Sequence[dict[str, Any]]) -> set[feedback.EventKey]:
        if current_thread() is not main_thread():
            looked.set()
            assert go_on.wait(10)
        return insert_new(connection, rows)

    monkeypatch.setattr(feedback, "insert_new", waiting)
    return looked, go_on


def close_while_feedback_is_under_way(
    live: Service, record: DecisionRecord, paused: tuple[Event, Event], seconds: float
) -> tuple[bool, FeedbackStatus]:
    """Whether closing waited for the feedback all those seconds, and what the feedback was answered."""
    looked, go_on = paused
    with ThreadPoolExecutor(2) as pool:
        given: Future[list[FeedbackStatus]] = pool.submit(give, live, [event_of(record)])
        assert looked.wait(10)
        closed = pool.submit(live.learner.close_due)
        waited = not wait([closed], timeout=seconds).done
        go_on.set()
        closed.result()
    return waited, given.result()[0]


def test_closing_waits_for_feedback_that_is_under_way(store: Store, paused_before_insert: tuple[Event, Event]) -> None:
    live = service(store, 24, campaign())
    record = one(live, channels=[])
    advance(live, MORNING + WINDOW)
    waited, status = close_while_feedback_is_under_way(live, record, paused_before_insert, LONG_ENOUGH_TO_FINISH)
    assert waited
    assert (status, final_reward(store, record)) == (ACCEPTED, 1.0)


def test_without_the_lock_on_its_decision_accepted_feedback_would_be_in_no_reward(
    postgres_store: Store, paused_before_insert: tuple[Event, Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    live = service(postgres_store, 25, campaign())
    record = one(live, channels=[])
    advance(live, MORNING + WINDOW)
    monkeypatch.setattr(Select, "with_for_update", lambda statement, **_options: statement)
    waited, status = close_while_feedback_is_under_way(live, record, paused_before_insert, seconds=10)
    assert not waited
    assert (status, final_reward(postgres_store, record)) == (ACCEPTED, 0.0)


# Two that lock the same rows


def both_at(module: Any, name: str, barrier: Barrier, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes callers of the function wait until as many as the barrier counts are there."""
    function: Callable[..., Any] = getattr(module, name)

    def waiting(*args: Any) -> Any:
        barrier.wait(10)
        return function(*args)

    monkeypatch.setattr(module, name, waiting)


SLOW_INSERTS = """
CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.02); RETURN NEW; END';
CREATE TRIGGER slowly BEFORE INSERT ON feedback FOR EACH ROW EXECUTE FUNCTION slowly();
"""


@pytest.fixture
def in_opposite_order(
    postgres_store: Store, postgres_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], list[FeedbackStatus]]:
    """Makes two senders report the same 20 events at the same moment, the one from the end, each row taking 20 ms."""
    records = decide(service(postgres_store, 26, campaign()), [request(f"u-{place}") for place in range(10)])
    events = [event_of(record, kind) for record in records for kind in ("opened", "clicked")]
    with postgres_store.write() as connection:
        connection.exec_driver_sql(SLOW_INSERTS)
    both_at(feedback, "insert_new", Barrier(2), monkeypatch)

    def run() -> list[FeedbackStatus]:
        with ThreadPoolExecutor(2) as pool:
            orders = [events, events[::-1]]
            senders = [pool.submit(report, postgres_database_url, 0, order, len(events)) for order in orders]
            return [status for sender in senders for status in sender.result()]

    return run


def test_two_senders_of_the_same_events_in_opposite_order_do_not_wait_for_each_other(
    in_opposite_order: Callable[[], list[FeedbackStatus]],
) -> None:
    statuses = in_opposite_order()
    assert statuses.count(ACCEPTED) == statuses.count(DUPLICATE) == len(statuses) // 2


def test_two_senders_that_store_in_the_order_of_arrival_would_wait_for_each_other(
    in_opposite_order: Callable[[], list[FeedbackStatus]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedback, "sorted", lambda rows, key=None: list(rows), raising=False)
    with pytest.raises(StoreUnavailable, match="deadlock detected"):
        in_opposite_order()


def test_closing_and_feedback_on_the_same_decisions_do_not_wait_for_each_other(
    postgres_store: Store, postgres_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two campaigns the one that decided later is due earlier: the order of closing is not that of the ids."""
    slow = campaign(id="slow", reward={"learn_after_hours": 48})
    fast = campaign(id="fast", reward={"learn_after_hours": 24})
    live = service(postgres_store, 27, slow, fast)
    users = [(f"u-{place}", MORNING + place * timedelta(seconds=1)) for place in range(490)]
    records = decide(live, [request(*user, campaign="slow" if user < ("u-240",) else "fast") for user in users])
    advance(live, MORNING + 50 * HOUR)
    barrier = Barrier(2)
    both_at(feedback, "headers", barrier, monkeypatch)
    both_at(closing_rows, "due", barrier, monkeypatch)
    with ThreadPoolExecutor(2) as pool:
        events = [event_of(record) for record in records]
        sender = pool.submit(report, postgres_database_url, 0, events, len(events))
        assert pool.submit(live.learner.close_due).result() == len(records)
        assert set(sender.result()) <= {ACCEPTED, LATE}
