"""Transactions, locks and failures of the store, the same on both databases."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import current_thread
from time import monotonic, sleep

import pytest
from sqlalchemy import Connection, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from bandit.errors import SettingsError, StoreUnavailable
from bandit.store.sql import database as engine
from bandit.store.sql.database import Store
from bandit.store.sql.schema import EPOCH, NaiveTimeError, campaign_versions, campaigns
from tests.support.databases import running_postgres

ROOT = Path(__file__).parents[2]
NOBODY = 65534
PASSWORD = "hunter2"
LONG_ENOUGH = 0.2  # seconds; a transaction that does not wait takes a hundredth of it
AS_LONG_AS_IT_TAKES = 10.0  # seconds; for one that must not wait, on however busy a machine
PRAGMAS = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def add_campaign(connection: Connection, name: str = "spring") -> None:
    connection.execute(insert(campaigns).values(id=name, current_version=1, paused=False))


def campaign_names(store: Store) -> list[str]:
    with store.read() as connection:
        return list(connection.execute(select(campaigns.c.id).order_by(campaigns.c.id)).scalars())


def number(connection: Connection) -> int:
    return int(connection.execute(select(campaigns.c.current_version)).scalar_one())


def set_number(connection: Connection, value: int) -> None:
    connection.execute(update(campaigns).values(current_version=value))


def increment(store: Store) -> None:
    with store.write() as connection:
        store.lock(connection, ["spring"])
        set_number(connection, number(connection) + 1)


def two_increments(store: Store, patience: float) -> tuple[bool, Future[None]]:
    """The first has read when the second starts: whether the second waited for the first, and its outcome."""
    with store.write() as connection:
        add_campaign(connection)
    with ThreadPoolExecutor(max_workers=1) as pool, store.write() as connection:
        store.lock(connection, ["spring"])
        read = number(connection)
        second = pool.submit(increment, store)
        waited = not wait([second], timeout=patience).done
        set_number(connection, read + 1)
    return waited, second


def begin_deferred(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN DEFERRED")


# Transactions


def test_what_a_write_stored_is_seen_by_others_once_it_has_ended_and_not_before(store: Store) -> None:
    with store.write() as connection:
        add_campaign(connection)
        assert campaign_names(store) == []
    assert campaign_names(store) == ["spring"]


def add_campaign_and_fail(store: Store) -> None:
    with store.write() as connection:
        store.lock(connection, ["spring"])
        add_campaign(connection)
        raise ArithmeticError


def test_a_write_that_raises_stores_nothing(store: Store) -> None:
    with pytest.raises(ArithmeticError):
        add_campaign_and_fail(store)
    assert campaign_names(store) == []


def test_what_was_committed_outlives_a_killed_process_and_nothing_else_does(store: Store, database_url: str) -> None:
    program = """
import os, signal, sys
from bandit.store.sql.database import Store
from tests.integration.test_store_engine import add_campaign
store = Store(sys.argv[1])
with store.write() as connection:
    add_campaign(connection, "committed")
with store.write() as connection:
    add_campaign(connection, "under way")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", program, database_url], cwd=ROOT, timeout=30)
    assert killed.returncode == -signal.SIGKILL
    assert campaign_names(store) == ["committed"]


def test_a_read_sees_one_state_while_others_write(store: Store) -> None:
    names = select(campaigns.c.id)
    with store.read() as connection:
        assert connection.execute(names).all() == []
        with store.write() as other:
            add_campaign(other)
        assert connection.execute(names).all() == []
    assert campaign_names(store) == ["spring"]


def test_by_default_postgresql_would_show_a_read_two_states(postgres_store: Store) -> None:
    names = select(campaigns.c.id)
    with postgres_store.engine.connect() as connection:
        assert connection.execute(names).all() == []
        with postgres_store.write() as other:
            add_campaign(other)
        assert connection.execute(names).scalars().all() == ["spring"]


def test_a_connection_that_has_read_can_write_afterwards(store: Store) -> None:
    with store.read() as connection:
        used = connection.connection.driver_connection
    with store.write() as connection:
        assert connection.connection.driver_connection is used
        add_campaign(connection)
    assert campaign_names(store) == ["spring"]


def test_a_read_changes_nothing(sqlite_store: Store) -> None:
    with sqlite_store.read() as connection:
        add_campaign(connection)
    assert campaign_names(sqlite_store) == []


def test_a_read_cannot_write_on_postgresql(postgres_store: Store) -> None:
    with pytest.raises(StoreUnavailable, match="read-only"), postgres_store.read() as connection:
        add_campaign(connection)


def test_a_row_that_refers_to_nothing_is_refused(store: Store) -> None:
    orphan = insert(campaign_versions).values(campaign_id="spring", version=1, document="{}", created_at=EPOCH)
    with pytest.raises(IntegrityError), store.write() as connection:
        connection.execute(orphan)


def test_a_row_that_exists_already_is_an_integrity_error_for_the_caller_to_judge(store: Store) -> None:
    with store.write() as connection:
        add_campaign(connection)
    with pytest.raises(IntegrityError), store.write() as connection:
        add_campaign(connection)


def test_every_sqlite_connection_is_as_durable_and_strict_as_promised(sqlite_store: Store) -> None:
    with ExitStack() as stack:
        connections = [stack.enter_context(sqlite_store.read()) for _ in range(5)]
        for connection in connections:
            found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in PRAGMAS}
            assert found == PRAGMAS
    with sqlite_store.write() as connection:
        assert {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in PRAGMAS} == PRAGMAS


def test_sqlite_by_itself_enforces_no_foreign_keys(sqlite_store: Store) -> None:
    with closing(sqlite3.connect(sqlite_store.engine.url.database or "")) as connection:
        assert connection.execute("PRAGMA foreign_keys").fetchone() == (0,)


# Locks


def test_what_was_read_under_a_lock_is_still_true_when_it_is_written(store: Store) -> None:
    waited, second = two_increments(store, LONG_ENOUGH)
    second.result()
    assert waited
    with store.read() as connection:
        assert number(connection) == 3


def test_without_the_lock_an_update_is_lost_on_postgresql(
    postgres_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "lock", lambda *_: None)
    waited, _ = two_increments(postgres_store, AS_LONG_AS_IT_TAKES)
    assert not waited
    with postgres_store.read() as connection:
        assert number(connection) == 2


def test_a_sqlite_write_that_did_not_begin_as_a_writer_fails_after_it_has_read(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_begin_sqlite", begin_deferred)
    with closing(Store(sqlite_url)) as store, pytest.raises(StoreUnavailable, match="locked"):
        two_increments(store, AS_LONG_AS_IT_TAKES)


def test_locks_of_different_names_do_not_wait_for_each_other(postgres_store: Store) -> None:
    with postgres_store.write() as first, postgres_store.write() as second:
        postgres_store.lock(first, ["spring"])
        second.execute(text("SET LOCAL lock_timeout = '5s'"))
        postgres_store.lock(second, ["autumn"])


def test_a_lock_ends_with_its_transaction_even_when_that_fails(postgres_store: Store) -> None:
    with pytest.raises(ArithmeticError):
        add_campaign_and_fail(postgres_store)
    with postgres_store.write() as connection:
        assert locks(connection) == 0


def locks(connection: Connection, *, waiting: bool = False) -> int:
    statement = text(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT (granted AND :waiting)"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    return int(connection.execute(statement, {"waiting": waiting}).scalar_one())


def test_overlapping_locks_never_deadlock(store: Store) -> None:
    n_threads, n_rounds = 20, 50
    names = [f"campaign {i}" for i in range(8)]

    def work(seed: int) -> int:
        randomness = random.Random(seed)
        for _ in range(n_rounds):
            with store.write() as connection:
                store.lock(connection, randomness.sample(names, k=4))
        return n_rounds

    with ThreadPoolExecutor(max_workers=n_threads) as pool:
        assert sum(pool.map(work, range(n_threads))) == n_threads * n_rounds


def opposing_locks(store: Store) -> list[BaseException | None]:
    """What two transactions came to that name the same three locks in opposite order, the middle one taken."""
    low, middle, high = sorted(["a", "b", "c"], key=engine.lock_key)

    def take(names: list[str]) -> None:
        with store.write() as connection:
            connection.execute(text("SET LOCAL deadlock_timeout = '20ms'"))
            store.lock(connection, names)

    with ThreadPoolExecutor(max_workers=2) as pool, store.write() as connection:
        store.lock(connection, [middle])
        opposed = []
        for n_waiting, names in enumerate([[low, middle, high], [high, middle, low]], start=1):
            opposed.append(pool.submit(take, names))
            wait_until(partial(waiting_for_locks, connection, n_waiting))
    return [transaction.exception() for transaction in opposed]


def waiting_for_locks(connection: Connection, n: int) -> bool:
    return locks(connection, waiting=True) == n


def wait_until(condition: Callable[[], bool]) -> None:
    give_up_at = monotonic() + 10
    while not condition():
        assert monotonic() < give_up_at
        sleep(0.005)


def test_transactions_that_name_their_locks_in_opposite_order_both_succeed(postgres_store: Store) -> None:
    assert opposing_locks(postgres_store) == [None, None]


def test_unless_the_locks_are_sorted_one_of_the_two_is_a_victim(
    postgres_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_thread_downwards(keys: set[int]) -> list[int]:
        return sorted(keys, reverse=current_thread().name.endswith("_1"))

    monkeypatch.setattr(engine, "sorted", one_thread_downwards, raising=False)
    victims = [error for error in opposing_locks(postgres_store) if error is not None]
    assert [type(victim) for victim in victims] == [StoreUnavailable]


# Instants


def instants() -> list[datetime]:
    """Edges and 200 random ones; half before 1970, a third in other offsets."""
    randomness = random.Random(20250330)
    offsets = [UTC, timezone(timedelta(hours=-11)), timezone(timedelta(hours=5, minutes=45))]
    span = timedelta(days=300 * 365) // timedelta(microseconds=1)
    return [
        EPOCH,
        EPOCH - timedelta(microseconds=1),
        datetime(1, 1, 2, tzinfo=UTC),
        datetime(9999, 12, 30, 23, 59, 59, 999999, tzinfo=UTC),
        *(
            (EPOCH + timedelta(microseconds=randomness.randint(-span, span))).astimezone(offsets[i % 3])
            for i in range(200)
        ),
    ]


def test_instants_come_back_to_the_microsecond_in_utc_and_in_order(store: Store) -> None:
    stored = instants()
    rows = [
        {"campaign_id": "spring", "version": i, "document": "{}", "created_at": instant}
        for i, instant in enumerate(stored)
    ]
    table = campaign_versions.c
    with store.write() as connection:
        add_campaign(connection)
        connection.execute(insert(campaign_versions), rows)
        found = connection.execute(select(table.created_at).order_by(table.version)).scalars().all()
        ordered = connection.execute(select(table.created_at).order_by(table.created_at)).scalars().all()
        before_1970 = connection.execute(select(table.version).where(table.created_at < EPOCH)).all()
    assert found == stored
    assert ordered == sorted(stored)
    assert {instant.utcoffset() for instant in found} == {timedelta(0)}
    assert len(before_1970) == sum(instant < EPOCH for instant in stored)


def test_instants_do_not_depend_on_the_time_zone_of_the_session(postgres_store: Store) -> None:
    with postgres_store.write() as connection:
        connection.execute(text("SET LOCAL TIME ZONE 'America/New_York'"))
        add_campaign(connection)
        row = {"campaign_id": "spring", "version": 1, "document": "{}", "created_at": EPOCH}
        connection.execute(insert(campaign_versions), row)
        found = connection.execute(select(campaign_versions.c.created_at)).scalar_one()
    assert found == EPOCH
    assert found.tzinfo is UTC


def test_a_naive_datetime_is_neither_stored_nor_compared(store: Store) -> None:
    naive = datetime(2025, 3, 30, 2, 30)
    row = {"campaign_id": "spring", "version": 1, "document": "{}", "created_at": naive}
    for statement in (
        insert(campaign_versions).values(row),
        select(campaign_versions).where(campaign_versions.c.created_at < naive),
    ):
        with pytest.raises(ValueError, match=r"2025, 3, 30, 2, 30") as refused, store.write() as connection:
            connection.execute(statement)
        assert refused.type is NaiveTimeError


# Failures


@contextmanager
def as_a_user_who_may_not_write() -> Iterator[Path]:
    """A folder that nobody may write to, and a process that is not root, whom nothing stops."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        was = os.geteuid()
        if was == 0:
            os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            os.seteuid(was)
            folder.chmod(0o755)


def use(url: str) -> None:
    with closing(Store(url)) as store, store.write() as connection:
        add_campaign(connection)


def test_a_database_file_in_a_folder_that_does_not_exist_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="unable to open"):
        use(f"sqlite:///{tmp_path / 'absent' / 'sendopt.db'}")


def test_a_database_file_in_a_read_only_folder_is_unavailable() -> None:
    with as_a_user_who_may_not_write() as folder, pytest.raises(StoreUnavailable, match="unable to open"):
        use(f"sqlite:///{folder / 'sendopt.db'}")


def test_a_database_file_that_may_only_be_read_is_unavailable_for_writing(sqlite_url: str) -> None:
    path = sqlite_url.removeprefix("sqlite:///")
    with pytest.raises(StoreUnavailable, match="readonly"):
        use(f"sqlite:///file:{path}?mode=ro&uri=true")


def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "sendopt.db"
    path.write_text("user,opened\n" * 200)
    with pytest.raises(StoreUnavailable, match="not a database"):
        use(f"sqlite:///{path}")


def test_a_file_that_only_one_connection_can_see_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable, match="journal_mode stays 'memory'"):
        use("sqlite:///file:/sendopt?vfs=memdb&uri=true")


def test_a_sqlite_writer_who_waited_too_long_is_told_so(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_SECONDS", 0.05)
    with closing(Store(sqlite_url)) as store, store.write(), pytest.raises(StoreUnavailable, match="locked"):
        increment(store)


def first_use_of_a_file_that_another_is_writing(path: Path, patience: float) -> tuple[bool, Future[list[str]]]:
    """Whether the first use waited for the other to end, and its outcome."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other, ThreadPoolExecutor() as pool:
        other.execute("BEGIN IMMEDIATE")
        other.execute("CREATE TABLE campaigns (id text, current_version int, paused bool)")
        first_use = pool.submit(campaign_names_at, f"sqlite:///{path}")
        waited = not wait([first_use], timeout=patience).done
        other.execute("COMMIT")
    return waited, first_use


def campaign_names_at(url: str) -> list[str]:
    with closing(Store(url)) as store:
        return campaign_names(store)


def test_the_first_use_of_a_sqlite_file_waits_for_another_to_end(tmp_path: Path) -> None:
    waited, first_use = first_use_of_a_file_that_another_is_writing(tmp_path / "sendopt.db", LONG_ENOUGH)
    assert waited
    assert first_use.result() == []


def test_sqlite_by_itself_would_not_have_waited_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_write_ahead", lambda connection: connection.execute("PRAGMA journal_mode=WAL"))
    waited, first_use = first_use_of_a_file_that_another_is_writing(tmp_path / "sendopt.db", AS_LONG_AS_IT_TAKES)
    assert not waited
    assert isinstance(first_use.exception(), StoreUnavailable)


def test_no_free_connection_is_unavailable(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store.engine.pool, "_timeout", 0.01)
    monkeypatch.setattr(store.engine.pool, "_max_overflow", 0)
    with ExitStack() as stack:
        for _ in range(engine.POOL_SIZE):
            stack.enter_context(store.read())
        with pytest.raises(StoreUnavailable, match="became free"):
            campaign_names(store)


def test_a_stopped_postgresql_is_unavailable_until_it_is_back() -> None:
    with running_postgres() as server, closing(Store(server.get_uri())) as store:
        with store.write() as connection:
            connection.execute(text("CREATE TABLE campaigns (id text, current_version int, paused bool)"))
        server.stop()
        for transaction in (store.read, store.write):
            with pytest.raises(StoreUnavailable, match="cannot answer now"), transaction():
                pytest.fail("nothing is there")
        server.start()
        assert campaign_names(store) == []


def add_campaign_and_be_cut_off(store: Store) -> None:
    with store.write() as connection:
        add_campaign(connection)
        process = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with store.write() as other:
            other.execute(text("SELECT pg_terminate_backend(:process, 5000)"), {"process": process})


def test_a_transaction_that_is_cut_off_is_unavailable_and_the_next_is_not(postgres_store: Store) -> None:
    with pytest.raises(StoreUnavailable):
        add_campaign_and_be_cut_off(postgres_store)
    assert campaign_names(postgres_store) == []


def test_an_unreachable_server_is_unavailable_and_its_password_is_not_shown() -> None:
    with pytest.raises(StoreUnavailable) as failure:
        use(f"postgresql://sendopt:{PASSWORD}@127.0.0.1:1/sendopt")
    assert PASSWORD not in "".join(traceback.format_exception(failure.value))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (PASSWORD, "not of the form"),
        ("", "not of the form"),
        (f"mysql://sendopt:{PASSWORD}@localhost/sendopt", "'mysql' is neither sqlite nor postgresql"),
        (f"mysql+pymysql://sendopt:{PASSWORD}@localhost/sendopt", "'mysql' is neither sqlite nor postgresql"),
        (f"postgresql://sendopt:{PASSWORD}@localhost:port/sendopt", "not of the form"),
        (f"postgresql://sendopt:pass@{PASSWORD}@localhost/sendopt", "%40"),
        (f"postgresql://sendopt:pass@{PASSWORD}:word@localhost/sendopt", "not of the form"),
        (f"postgresql://sendopt:{PASSWORD}@localhost/sendopt?colour=red", "colour"),
        (f"postgresql://sendopt:{PASSWORD}@localhost/sendopt?autocommit=true", "autocommit"),
        (f"sqlite://sendopt:{PASSWORD}@localhost/sendopt.db", "no user, password, host or port"),
        ("sqlite:///sendopt.db?timeout=soon", "options of the right type"),
    ],
)
def test_a_url_that_cannot_be_used_is_a_settings_error_that_keeps_the_password(url: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=r"^SENDOPT_DATABASE_URL: ") as refused:
        Store(url)
    assert reason in str(refused.value)
    assert PASSWORD not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite+pysqlite:///:memory:?cache=shared",
        "sqlite:///file::memory:?uri=true",
        "sqlite:///file:sendopt?mode=memory&cache=shared&uri=true",
    ],
)
def test_a_database_in_memory_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="SQLite must name a file"):
        Store(url)


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_postgresql_is_reached_by_the_one_tested_driver(scheme: str) -> None:
    with closing(Store(f"{scheme}://localhost/sendopt")) as store:
        assert store.engine.driver == "psycopg"


def test_a_missing_driver_names_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(SettingsError, match="extra 'postgres'"):
        Store("postgresql://localhost/sendopt")
