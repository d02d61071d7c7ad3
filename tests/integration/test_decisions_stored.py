"""What is answered is what is stored, all of it or nothing, once each; the same on both databases."""

import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import time, timedelta
from itertools import product
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Row, event, func, make_url, select
from sqlalchemy.exc import IntegrityError

from bandit.campaign.document import Campaign
from bandit.decide.decision import DecisionRecord
from bandit.decide.exploration import draw, draw_number
from bandit.decide.history import History
from bandit.decide.logged import actions_digest, decode_actions
from bandit.domain import SILENCE, Action, Content, DecideRequest, Decision, Features, Policy, Reason
from bandit.errors import Conflict, ImpossibleInput, InvalidInput, NotFound, StoreUnavailable, UnknownTimeZone
from bandit.sendtimes import QuietHours
from bandit.serve.decisions import Ask, Outcome, Repeatable, Repeated
from bandit.serve.receipts import latest_receipts, receipt
from bandit.service import Service, build_service
from bandit.store import decisions, idempotency
from bandit.store.sql import database as engine
from bandit.store.sql.database import POOL_SIZE, Store
from bandit.store.sql.schema import metadata, open_decisions, sends
from tests.support.builders import LEARN_AFTER, MORNING, WINDOW, advance, campaign, decide, give, request, service
from tests.support.builders import feedback as event_of

SUM_TOLERANCE = 1e-9
THREADS, KEYS = 20, 50


def varied(n: int = 60) -> list[DecideRequest]:
    """Requests that differ in all that a request may say."""
    rng = random.Random(1)
    features: list[Features] = [{}, {"country": "US", "premium": True, "topics": ("art", "food"), "days": 3.0}]
    candidates: list[list[str | Content] | None] = [
        None,
        ["offer"],
        ["digest", Content(id="pin|9\n", features={"kind": "food"})],
    ]
    return [
        request(
            f"u-{rng.randrange(20)}",
            MORNING + timedelta(minutes=7 * place),
            timezone=rng.choice(["UTC", "America/New_York", "Asia/Kolkata"]),
            channels=rng.choice([None, ["push"], ["email"], []]),
            quiet_hours=rng.choice([None, QuietHours(start=time(17), end=time(9))]),
            features=rng.choice(features),
            contents=rng.choice(candidates),
        )
        for place in range(n)
    ]


def strict() -> Campaign:
    """A campaign with every rule that needs what is stored, and with holdouts."""
    return campaign(
        channels={"push": {"cost": 0.01, "cap": {"count": 2, "hours": 24}}},
        caps={"count": 3, "hours": 48, "min_gap_hours": 2},
        policy={"uniform_holdout": 0.3, "no_send_holdout": 0.2},
    )


def stored(store: Store, decision_id: str) -> Row[*tuple[Any, ...]]:
    with store.read() as connection:
        row = decisions.get(connection, decision_id)
    assert row is not None
    return row


def pmf_of(row: Row[*tuple[Any, ...]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.frombuffer(row.pmf, dtype="<f8")


def sizes(store: Store) -> dict[str, int]:
    """Rows of every table that a decision or its feedback may touch."""
    tables = [table for name, table in metadata.tables.items() if not name.startswith("campaign")]
    with store.read() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one() for table in tables
        }


def nothing(store: Store) -> bool:
    return not any(sizes(store).values())


# What is stored


def test_the_decision_that_is_answered_is_the_one_that_is_stored(store: Store) -> None:
    for record in decide(service(store, 1, strict()), varied()):
        decision, row = record.decision, stored(store, record.decision.id)
        assert (
            Decision(
                id=row.id,
                campaign=row.campaign_id,
                action=Action(channel=row.channel, content=row.content, send_at=row.send_at),
                propensity=row.propensity,
                policy=Policy(row.policy),
                model_version=row.model_version,
                decided_at=row.decided_at,
                reward_deadline=row.reward_deadline,
                reason=None if row.reason is None else Reason(row.reason),
            )
            == decision
        )
        assert (row.user_id, row.campaign_version) == (record.request.user.id, 1)


def test_the_stored_pmf_sums_to_one_and_holds_the_propensity_that_was_answered(store: Store) -> None:
    for record in decide(service(store, 2, strict()), varied()):
        row = stored(store, record.decision.id)
        pmf = pmf_of(row)
        assert pmf.tolist() == record.pmf.tolist()
        assert abs(pmf.sum() - 1.0) <= SUM_TOLERANCE
        assert pmf[row.action_index] == row.propensity == record.decision.propensity > 0


def test_the_draw_can_be_repeated_from_the_receipt_alone(store: Store) -> None:
    records = decide(service(store, 3, strict()), varied())
    for record in records:
        with store.read() as connection:
            document = receipt(connection, record.decision.id)
        pmf = np.array([action["probability"] for action in document["actions"]])
        number = draw_number(document["draw"]["salt"], document["decision_id"])
        drawn = document["actions"][draw(pmf, number)]
        assert number == document["draw"]["number"]
        assert {key: drawn[key] for key in ("channel", "content", "send_at")} == {
            key: document[key] for key in ("channel", "content", "send_at")
        }
        assert drawn["probability"] == document["propensity"] == record.decision.propensity
    assert {one.decision.policy for one in records} > {Policy.LEARNED, Policy.UNIFORM_HOLDOUT}


def test_the_stored_actions_are_those_that_were_drawn_from_with_the_lines_that_were_seen(store: Store) -> None:
    for record in decide(service(store, 4, strict()), varied()):
        row = stored(store, record.decision.id)
        logged = decode_actions(row.actions)
        places = range(len(record.pmf))
        assert [logged.action(place) for place in places] == [record.eligible.action(place) for place in places]
        assert logged.action(row.action_index) == record.decision.action
        assert logged.shared_line == record.shared_line
        assert logged.action_lines.joined() == record.action_lines.joined()
        assert row.actions_digest == actions_digest(row.actions)


def test_without_rules_every_channel_content_and_time_is_eligible_and_silence_first(store: Store) -> None:
    (record,) = decide(service(store, 5, campaign()), [request()])
    logged = decode_actions(stored(store, record.decision.id).actions)
    times = [MORNING, MORNING.replace(hour=12), MORNING.replace(hour=18)]
    combinations = product(["push", "email"], ["streak", "digest", "offer"], times)
    actions = [logged.action(place) for place in range(len(record.pmf))]
    assert actions[0] == SILENCE
    assert len(actions) == 1 + 2 * 3 * 3
    assert set(actions[1:]) == {Action(channel=c, content=m, send_at=t) for c, m, t in combinations}


def test_every_send_reserves_its_slot_and_silence_none(store: Store) -> None:
    records = decide(service(store, 6, strict()), varied())
    with store.read() as connection:
        reserved = {
            row.decision_id: Action(channel=row.channel, content=row.content, send_at=row.send_at)
            for row in connection.execute(select(sends))
        }
    sent = {one.decision.id: one.decision.action for one in records if one.decision.action.send}
    assert reserved == sent
    assert 0 < len(sent) < len(records)


def test_every_decision_waits_for_its_reward_from_the_moment_it_is_learned(store: Store) -> None:
    records = decide(service(store, 7, strict()), varied())
    with store.read() as connection:
        waiting = {row.decision_id: row.due_at for row in connection.execute(select(open_decisions))}
    assert waiting == {one.decision.id: one.decision.decided_at + LEARN_AFTER for one in records}
    assert all(one.decision.reward_deadline == one.decision.decided_at + WINDOW for one in records)


# Receipts


def test_a_receipt_shows_request_history_blocked_actions_feedback_and_in_the_end_the_reward(store: Store) -> None:
    live = service(store, 8, strict())
    moments = [MORNING + timedelta(hours=3 * place) for place in range(3)]
    *_, record = decide(live, [request("u-7", now, channels=["push"], contents=["digest"]) for now in moments])
    give(live, [event_of(record, "clicked", value=1.0, event_id="e-1"), event_of(record, "opened", 60)])
    with store.read() as connection:
        before = receipt(connection, record.decision.id)
    advance(live, MORNING + timedelta(hours=70))
    live.learner.run_pass()
    with store.read() as connection:
        after = receipt(connection, record.decision.id)

    assert before["request"] == {"campaign": "spring", "user": {"id": "u-7", "timezone": "UTC"}}
    assert before["history"] == dict(record.history_features)
    assert before["lines"]["shared"] == record.shared_line
    assert {rule: one["count"] for rule, one in before["blocked"].items()} == {
        rule: one.number for rule, one in record.eligible.cells.blocked
    }
    assert before["blocked"]["unreachable"] == {
        "count": 3,
        "example": {"channel": "email", "content": "digest", "send_at": "2026-03-02T15:00:00Z"},
    }
    assert [(one["event"], one["event_id"], one["late"]) for one in before["feedback"]] == [
        ("clicked", "e-1", False),
        ("opened", None, True),
    ]
    assert (before["reward"], before["reward_final_at"]) == (None, None)
    cost = 0.01 if record.decision.action.send else 0.0
    assert after["reward"] == pytest.approx(1.0 - cost, abs=1e-12)
    assert after["reward_final_at"] == "2026-03-05T07:00:00Z"


def test_the_latest_receipts_of_a_user_come_newest_first(store: Store) -> None:
    live = service(store, 9, campaign())
    records = decide(live, [request("u-1", MORNING + timedelta(hours=place)) for place in range(4)])
    decide(live, [request("u-2")])
    with store.read() as connection:
        found = [one["decision_id"] for one in latest_receipts(connection, "u-1", 3)]
        with pytest.raises(NotFound):
            receipt(connection, "01NOSUCHDECISION")
    assert found == [record.decision.id for record in reversed(records)][:3]


def statements_for(store: Store, user: str, limit: int) -> int:
    """Number of statements that a user's latest receipts take."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(store.engine, "before_cursor_execute", note)
    try:
        with store.read() as connection:
            assert len(latest_receipts(connection, user, limit)) == limit
    finally:
        event.remove(store.engine, "before_cursor_execute", note)
    return len([one for one in seen if one.lstrip().startswith("SELECT")])


def test_many_receipts_take_no_more_statements_than_one(store: Store) -> None:
    live = service(store, 9, campaign())
    decide(live, [request("u-1", MORNING + timedelta(hours=place)) for place in range(12)])
    assert statements_for(store, "u-1", 12) == statements_for(store, "u-1", 1) == 3


# Many decisions in one transaction


def one_send_a_day() -> Campaign:
    """Nearly every decision sends: the floor is everything, and one action in nineteen is silence."""
    return campaign(caps={"count": 1, "hours": 24}, policy={"floor": 1.0})


def sends_of_ten_requests_at_once(store: Store) -> int:
    records = decide(service(store, 10, one_send_a_day()), [request("u-1")] * 10)
    return sum(record.decision.action.send for record in records)


def test_requests_about_one_user_in_one_batch_see_each_other(store: Store) -> None:
    assert sends_of_ten_requests_at_once(store) == 1


def test_requests_that_did_not_see_each_other_would_break_the_cap(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(History, "with_send", lambda history, send: history)
    assert sends_of_ten_requests_at_once(store) > 1


def test_a_batch_decides_like_single_requests_one_after_the_other(sqlite_store: Store, postgres_store: Store) -> None:
    single, batch = service(sqlite_store, 11, strict()), service(postgres_store, 11, strict())
    requests = varied()
    one_by_one = [decide(single, [one])[0] for one in requests]
    together = decide(batch, requests)
    assert [one.decision for one in one_by_one] == [one.decision for one in together]
    assert [one.pmf.tolist() for one in one_by_one] == [one.pmf.tolist() for one in together]


def test_an_error_of_one_request_leaves_the_others(store: Store) -> None:
    asked = [
        request("u-1"),
        request("u-2", campaign="autumn"),
        request("u-3", timezone="Mars/Olympus"),
        request("u-4", contents=["streak", "unheard of"]),
        request("u-5"),
    ]
    outcomes = service(store, 12, campaign()).decider.decide_many([Ask(request=one) for one in asked])
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [DecisionRecord, NotFound, UnknownTimeZone, ImpossibleInput, DecisionRecord]
    assert sizes(store)["decisions"] == 2


def test_a_request_may_not_say_what_time_it_is_when_the_machine_does(store: Store) -> None:
    machine = build_service(store, clock="system", entropy=random.Random(13).randbytes)
    machine.campaigns.put(campaign())
    asked = [request("u-1", MORNING), request("u-1", None)]
    refused, decided = machine.decider.decide_many([Ask(request=one) for one in asked])
    assert isinstance(refused, InvalidInput)
    assert isinstance(decided, DecisionRecord)
    assert sizes(store)["decisions"] == 1


def test_a_paused_campaign_answers_silence_and_says_so(store: Store) -> None:
    live = service(store, 14, campaign())
    live.campaigns.set_paused("spring", True)
    (record,) = decide(live, [request()])
    assert record.decision.action == SILENCE
    assert (record.decision.reason, record.decision.policy) == (Reason.PAUSED, Policy.FALLBACK)
    live.campaigns.set_paused("spring", False)
    assert decide(live, [request()])[0].decision.policy is Policy.LEARNED


class Broken(Exception):
    """Nothing that the project knows of."""


def breaks(*_args: Any, **_keywords: Any) -> Any:
    raise Broken


def third_entropy() -> Callable[[int], bytes]:
    """Breaks in the middle of a batch."""
    numbers = iter([random.Random(0).randbytes] * 2)

    def entropy(n: int) -> bytes:
        return next(numbers, breaks)(n)

    return entropy


@pytest.mark.parametrize("place", ["in the middle", "before the sends", "before the answers"])
def test_a_batch_that_breaks_off_leaves_nothing(store: Store, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entropy = third_entropy() if place == "in the middle" else random.Random(0).randbytes
    live = build_service(store, clock="request", entropy=entropy)
    live.campaigns.put(one_send_a_day())
    if place == "before the sends":
        monkeypatch.setattr(decisions, "_send_row", breaks)
    elif place == "before the answers":
        monkeypatch.setattr(idempotency, "remember", breaks)
    with pytest.raises(Broken):
        live.decider.decide_many([keyed(f"key-{place}", f"u-{place}") for place in range(4)])
    assert nothing(store)


# Idempotency


def render(decision: Decision) -> bytes:
    return f"{decision.id} {decision.propensity!r} {decision.action}".encode()


def keyed(key: str, user: str, body: bytes = b"body") -> Ask:
    return Ask(request=request(user), repeatable=Repeatable(key=key, body_digest=body, render=render))


def answers(outcomes: Sequence[Outcome]) -> list[bytes]:
    """The bytes of each outcome, which must be a decision, now made or made before."""
    return [one.answer if isinstance(one, Repeated) else render(decided(one).decision) for one in outcomes]


def decided(outcome: Outcome) -> DecisionRecord:
    assert isinstance(outcome, DecisionRecord), outcome
    return outcome


def test_a_repeated_request_gets_the_same_bytes_and_no_second_decision(store: Store, database_url: str) -> None:
    asks = [keyed(f"key-{place}", f"u-{place}") for place in range(5)]
    first = answers(service(store, 15, campaign()).decider.decide_many(asks))
    with closing(Store(database_url)) as other:
        again = service(other, 16).decider.decide_many(asks)
    assert all(isinstance(outcome, Repeated) for outcome in again)
    assert answers(again) == first
    assert sizes(store)["decisions"] == sizes(store)["idempotency"] == 5


def test_a_key_with_another_body_is_a_conflict_and_leaves_the_others(store: Store) -> None:
    live = service(store, 17, campaign())
    live.decider.decide_many([keyed("key", "u-1")])
    conflict, other = live.decider.decide_many([keyed("key", "u-1", b"another body"), keyed("other", "u-2")])
    assert isinstance(conflict, Conflict)
    assert isinstance(other, DecisionRecord)
    assert sizes(store)["decisions"] == 2


def test_a_key_that_repeats_within_a_batch_is_answered_once_and_again(store: Store) -> None:
    asks = [keyed("key", "u-1"), keyed("key", "u-1"), keyed("key", "u-1", b"another body")]
    first, again, conflict = service(store, 18, campaign()).decider.decide_many(asks)
    assert isinstance(again, Repeated)
    assert [again.answer] == answers([first])
    assert isinstance(conflict, Conflict)
    assert sizes(store)["decisions"] == 1


def test_a_refused_request_does_not_use_up_its_key(store: Store) -> None:
    live = service(store, 19)
    (refused,) = live.decider.decide_many([keyed("key", "u-1")])
    live.campaigns.put(campaign())
    (accepted,) = live.decider.decide_many([keyed("key", "u-1")])
    assert isinstance(refused, NotFound)
    assert isinstance(accepted, DecisionRecord)


def all_keys(url: str, seed: int) -> dict[str, bytes]:
    """The answers that one process of its own would get, asking for every key once, in an order of its own."""
    keys = [f"key-{place}" for place in range(KEYS)]
    random.Random(seed).shuffle(keys)
    with closing(Store(url)) as store:
        live = service(store, seed)
        return {key: answers(live.decider.decide_many([keyed(key, f"u-{key}")]))[0] for key in keys}


def test_many_processes_with_the_same_keys_make_one_decision_per_key(store: Store, database_url: str) -> None:
    service(store, 0, campaign())
    with ThreadPoolExecutor(THREADS) as pool:
        given = list(pool.map(lambda seed: all_keys(database_url, seed), range(THREADS)))
    assert all(one == given[0] for one in given)
    assert len(set(given[0].values())) == KEYS
    assert sizes(store)["decisions"] == sizes(store)["idempotency"] == KEYS


def race_for_one_key(url: str) -> list[Exception | None]:
    """What two processes get that found the key unused at the same moment."""
    both_looked = Barrier(2)

    def ask(seed: int) -> Exception | None:
        with closing(Store(url)) as store:
            live = service(store, seed)
            live.decider.entropy = lambda n: (both_looked.wait(5), random.Random(seed).randbytes(n))[1]
            try:
                live.decider.decide_many([keyed("key", "u-1")])
            except IntegrityError as error:
                return error
        return None

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(ask, range(2)))


def test_without_the_lock_on_its_key_a_repeated_request_would_fail(
    postgres_store: Store, postgres_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service(postgres_store, 0, campaign())
    monkeypatch.setattr(Store, "lock", lambda store, connection, names: None)
    assert any(race_for_one_key(postgres_database_url))


# The database goes away


@contextmanager
def postgres_out_of_reach(server_url: str, url: str) -> Iterator[None]:
    """The server takes no connection to the database, and cuts those off that there are."""
    name = make_url(url).database or ""
    allow = "ALTER DATABASE {} ALLOW_CONNECTIONS {}"
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(sql.SQL(allow).format(sql.Identifier(name), sql.SQL("false")))
        try:
            server.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [name])
            yield
        finally:
            server.execute(sql.SQL(allow).format(sql.Identifier(name), sql.SQL("true")))


def cannot_decide_now_but_can_later(live: Service, away: Callable[[], Any]) -> None:
    (before,) = decide(live, [request("u-1")])
    with away(), pytest.raises(StoreUnavailable):
        live.decider.decide_many([keyed("key", "u-2")])
    assert sizes(live.store)["decisions"] == 1
    (after,) = decide(live, [request("u-2")])
    assert stored(live.store, before.decision.id)
    assert stored(live.store, after.decision.id)


def test_while_postgresql_is_away_nothing_is_decided(
    postgres_store: Store, postgres_database_url: str, postgres_url: str
) -> None:
    live = service(postgres_store, 20, campaign())
    cannot_decide_now_but_can_later(live, lambda: postgres_out_of_reach(postgres_url, postgres_database_url))


@contextmanager
def moved_away(folder: Path) -> Iterator[None]:
    hidden = folder.rename(folder.with_name("hidden"))
    try:
        yield
    finally:
        hidden.rename(folder)


@pytest.fixture
def lone_store(sqlite_url: str, tmp_path: Path) -> Iterator[Store]:
    """A SQLite store in a folder of its own."""
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copy(tmp_path / "sendopt.db", folder)
    with closing(Store(f"sqlite:///{folder}/sendopt.db")) as store:
        yield store


def test_while_the_folder_of_a_sqlite_file_is_away_nothing_is_decided(lone_store: Store, tmp_path: Path) -> None:
    live = service(lone_store, 21, campaign())
    cannot_decide_now_but_can_later(live, lambda: moved_away(tmp_path / "home"))


def test_without_a_look_at_the_file_a_deleted_database_would_take_decisions(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_check_file", lambda connection, record, proxy: None)
    with closing(Store(sqlite_url)) as store:
        live = service(store, 22, campaign())
        Path(sqlite_url.removeprefix("sqlite:///")).unlink()
        assert decide(live, [request()])


def test_a_connection_that_is_cut_off_in_the_middle_leaves_nothing(
    postgres_store: Store, postgres_database_url: str
) -> None:
    cut = iter([True])

    def entropy(n: int) -> bytes:
        if next(cut, False):
            with psycopg.connect(postgres_database_url, autocommit=True) as other:
                other.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
        return random.Random(n).randbytes(n)

    live = build_service(postgres_store, clock="request", entropy=entropy)
    live.campaigns.put(campaign())
    with pytest.raises(StoreUnavailable):
        live.decider.decide_many([keyed("key", "u-1")])
    assert nothing(postgres_store)
    assert decide(live, [request()])


def test_on_a_full_disk_nothing_is_decided(sqlite_store: Store) -> None:
    live = service(sqlite_store, 24, campaign())
    decide(live, [request()])
    for _ in range(POOL_SIZE):  # the pool lends its connections in turn
        with sqlite_store.engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreUnavailable, match="full"):
        decide(live, [request(f"u-{place}") for place in range(200)])
    assert sizes(sqlite_store)["decisions"] == 1
