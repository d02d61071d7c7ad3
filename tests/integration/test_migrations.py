"""The migrations add up to the declared schema, once, even if several processes run them at a time."""

import ast
import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, Connection, Index, Inspector, Integer, MetaData, insert, inspect, select, text
from sqlalchemy.exc import IntegrityError

from bandit.errors import Conflict, StoreUnavailable
from bandit.store.sql import database as engine
from bandit.store.sql import migrate
from bandit.store.sql.database import Store
from bandit.store.sql.schema import EPOCH, campaign_versions, campaigns, closings, metadata, model_aliases, models

ROOT = Path(__file__).parents[2]
MOMENTS = {"first": 1, "second": 2, "last": 3}
HEAD, NEXT = "0010", "0011"
SECOND = timedelta(seconds=1)
LONG_ENOUGH = 0.3  # seconds; an upgrade that does not wait takes a tenth of it
REBUILD_CAMPAIGNS = """
    with op.batch_alter_table("campaigns") as batch:
        batch.alter_column("id", type_=sa.String(200))
"""


@pytest.fixture
def empty_store(empty_database_url: str) -> Iterator[Store]:
    with closing(Store(empty_database_url)) as store:
        yield store


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the scripts, in use instead of them; in a folder whose name Alembic could misread."""
    folder = tmp_path / "100%s of it, copied"
    shutil.copytree(migrate._folder(), folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(migrate, "_folder", lambda: str(folder))
    return folder


def add_next_version(scripts: Path, body: str) -> None:
    head = f'import sqlalchemy as sa\nfrom alembic import op\nrevision = "{NEXT}"\ndown_revision = "{HEAD}"\n'
    (scripts / "versions" / f"{NEXT}_next.py").write_text(f"{head}def upgrade():\n{body}")


def differences(store: Store, declared: MetaData) -> list[Any]:
    options = {"compare_type": True, "compare_server_default": True}
    with store.read() as connection:
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), declared))


def copied_metadata() -> MetaData:
    copy = MetaData(naming_convention=metadata.naming_convention)
    for table in metadata.tables.values():
        table.to_metadata(copy)
    return copy


def portrait(connection: Connection) -> dict[str, Any]:
    """Everything that the database itself says of each declared table, names of constraints included."""
    inspector = inspect(connection)
    return {table: table_portrait(inspector, table) for table in metadata.tables}


def table_portrait(inspector: Inspector, table: str) -> dict[str, Any]:
    columns = [{**column, "type": str(column["type"])} for column in inspector.get_columns(table)]
    keys = sorted(inspector.get_foreign_keys(table), key=lambda key: str(key["name"]))
    uniques = sorted(inspector.get_unique_constraints(table), key=lambda unique: str(unique["name"]))
    return {
        "columns": columns,
        "primary key": inspector.get_pk_constraint(table),
        "foreign keys": keys,
        "unique": uniques,
        "checks": inspector.get_check_constraints(table),
        "indexes": sorted(inspector.get_indexes(table), key=lambda index: str(index["name"])),
    }


def numbers_never_reused(connection: Connection) -> set[str]:
    """Tables whose counter SQLite remembers after the row is gone; a thing that no inspector shows."""
    statement = text("SELECT name FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%'")
    return set(connection.execute(statement).scalars())


def revision(store: Store) -> str:
    with store.read() as connection:
        return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


def set_revision(store: Store, value: str) -> None:
    with store.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :value"), {"value": value})


def add_campaign(store: Store) -> None:
    with store.write() as connection:
        connection.execute(insert(campaigns).values(id="spring", current_version=1, paused=False))
        connection.execute(
            insert(campaign_versions).values(campaign_id="spring", version=1, document="{}", created_at=EPOCH)
        )


def upgrade_while_another_is_about_to_commit(store: Store) -> tuple[bool, Future[tuple[str | None, str]]]:
    """An upgrade that starts when a first one is done but for its commit: whether it waited, its outcome."""
    with ThreadPoolExecutor(max_workers=1) as pool, migrate._upgrading(store) as connection:
        command.upgrade(migrate.config(connection), "head")
        second = pool.submit(migrate.upgrade, store)
        waited = not wait([second], timeout=LONG_ENOUGH).done
    return waited, second


def test_upgrading_an_empty_database_gives_the_declared_schema(empty_store: Store) -> None:
    assert migrate.upgrade(empty_store) == (None, HEAD)
    assert differences(empty_store, metadata) == []


def test_a_declared_column_that_no_migration_made_is_noticed(store: Store) -> None:
    declared = copied_metadata()
    declared.tables["sends"].append_column(Column("extra", Integer))
    assert [(kind, table) for kind, _, table, _ in differences(store, declared)] == [("add_column", "sends")]


def test_a_declared_type_that_no_migration_made_is_noticed(store: Store) -> None:
    declared = copied_metadata()
    declared.tables["sends"].c.send_at.type = Integer()
    ((change,),) = differences(store, declared)
    assert change[0] == "modify_type"


def test_a_declared_index_that_no_migration_made_is_noticed(store: Store) -> None:
    declared = copied_metadata()
    Index(None, declared.tables["sends"].c.kind)
    assert [kind for kind, _ in differences(store, declared)] == ["add_index"]


def test_migrations_and_declaration_make_the_same_tables_down_to_the_names(empty_store: Store) -> None:
    with empty_store.write() as connection:
        metadata.create_all(connection)
        declared = portrait(connection)
        metadata.drop_all(connection)
    migrate.upgrade(empty_store)
    with empty_store.read() as connection:
        assert portrait(connection) == declared


def test_a_constraint_under_another_name_is_noticed(empty_store: Store) -> None:
    migrate.upgrade(empty_store)
    with empty_store.read() as connection:
        migrated = portrait(connection)
    declared = copied_metadata()
    for constraint in declared.tables["sends"].foreign_key_constraints:
        constraint.name = "fk_of_another_name"
    with empty_store.write() as connection:
        metadata.drop_all(connection)
        declared.create_all(connection)
        assert portrait(connection) != migrated


def test_the_same_counters_as_declared_are_never_reused_on_sqlite(sqlite_store: Store, tmp_path: Path) -> None:
    with closing(Store(f"sqlite:///{tmp_path / 'declared.db'}")) as other, other.write() as connection:
        metadata.create_all(connection)
        declared = numbers_never_reused(connection)
    with sqlite_store.read() as connection:
        assert numbers_never_reused(connection) == declared == {"closings"}


def test_upgrading_twice_changes_nothing_the_second_time(store: Store) -> None:
    add_campaign(store)
    with store.read() as connection:
        before = portrait(connection)
    assert migrate.upgrade(store) == (HEAD, HEAD)
    with store.read() as connection:
        assert portrait(connection) == before
        assert connection.execute(select(campaigns.c.id)).scalars().all() == ["spring"]


def test_only_a_database_behind_the_code_is_pending(empty_store: Store) -> None:
    assert migrate.pending(empty_store)
    migrate.upgrade(empty_store)
    assert not migrate.pending(empty_store)


def test_a_later_version_is_pending_until_it_is_applied(store: Store, scripts: Path) -> None:
    add_next_version(scripts, '    op.add_column("sends", sa.Column("extra", sa.Integer()))')
    assert migrate.pending(store)
    assert migrate.upgrade(store) == (HEAD, NEXT)
    assert not migrate.pending(store)


def test_a_database_newer_than_the_code_is_refused_and_left_alone(store: Store) -> None:
    set_revision(store, "0999")
    for use in (migrate.upgrade, migrate.pending):
        with pytest.raises(Conflict, match=rf"'0999'.*'{HEAD}'.*newer"):
            use(store)
    assert revision(store) == "0999"


def test_a_version_that_fails_half_way_leaves_nothing_behind(store: Store, scripts: Path) -> None:
    broken = '    op.add_column("sends", sa.Column("extra", sa.Integer()))\n    raise ArithmeticError'
    add_next_version(scripts, broken)
    with pytest.raises(ArithmeticError):
        migrate.upgrade(store)
    assert revision(store) == HEAD
    assert differences(store, metadata) == []


def test_a_table_that_others_refer_to_is_rebuilt_with_its_rows(store: Store, scripts: Path) -> None:
    add_campaign(store)
    add_next_version(scripts, REBUILD_CAMPAIGNS)
    migrate.upgrade(store)
    with store.read() as connection:
        assert connection.execute(select(campaign_versions.c.campaign_id)).scalars().all() == ["spring"]
    orphan = insert(campaign_versions).values(campaign_id="autumn", version=1, document="{}", created_at=EPOCH)
    with pytest.raises(IntegrityError), store.write() as connection:
        connection.execute(orphan)


def test_such_a_table_could_not_be_rebuilt_if_sqlite_held_on_to_it(
    sqlite_store: Store, scripts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "_foreign_keys_off", lambda _connection, _record: None)
    add_campaign(sqlite_store)
    add_next_version(scripts, REBUILD_CAMPAIGNS)
    with pytest.raises(IntegrityError):
        migrate.upgrade(sqlite_store)


def test_a_version_that_would_orphan_rows_is_refused(store: Store, scripts: Path) -> None:
    add_campaign(store)
    add_next_version(scripts, '    op.execute("DELETE FROM campaigns")')
    with pytest.raises((Conflict, IntegrityError), match="campaign_versions"):
        migrate.upgrade(store)
    assert revision(store) == HEAD


def test_an_upgrade_waits_for_the_one_before_it_and_finds_nothing_left_to_do(empty_store: Store) -> None:
    waited, second = upgrade_while_another_is_about_to_commit(empty_store)
    assert waited
    assert second.result() == (HEAD, HEAD)


def test_without_the_lock_the_second_upgrade_fails(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "lock", lambda *_: None)
    monkeypatch.setattr(engine, "_begin_sqlite", lambda connection: connection.exec_driver_sql("BEGIN"))
    with closing(Store(empty_database_url)) as store:
        _, second = upgrade_while_another_is_about_to_commit(store)
    assert isinstance(second.exception(), IntegrityError | StoreUnavailable)


def test_many_upgrades_of_a_new_database_at_once_all_succeed(empty_database_url: str) -> None:
    n_upgrades = 6
    start = Barrier(n_upgrades)

    def upgrade_with_a_store_of_its_own() -> tuple[str | None, str]:
        with closing(Store(empty_database_url)) as store:
            start.wait()
            return migrate.upgrade(store)

    with ThreadPoolExecutor(max_workers=n_upgrades) as pool:
        running = [pool.submit(upgrade_with_a_store_of_its_own) for _ in range(n_upgrades)]
    outcomes = [upgraded.result() for upgraded in running]
    assert sorted(outcomes, key=str) == [(HEAD, HEAD)] * (n_upgrades - 1) + [(None, HEAD)]


def test_two_processes_that_upgrade_a_new_database_at_once_both_succeed(empty_database_url: str) -> None:
    program = (
        "import sys; from bandit.store.sql.database import Store; from bandit.store.sql.migrate import upgrade\n"
        "store = Store(sys.argv[1]); print(flush=True); input(); print(upgrade(store)); store.close()"
    )
    arguments = [sys.executable, "-W", "error", "-c", program, empty_database_url]
    processes = [
        subprocess.Popen(arguments, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()  # everything is imported
    outcomes = [process.communicate("go\n", timeout=30)[0].strip() for process in processes]
    assert sorted(outcomes) == [str((HEAD, HEAD)), str((None, HEAD))]


def test_the_scripts_are_found_from_any_working_directory(
    empty_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert migrate.upgrade(empty_store) == (None, HEAD)


def test_an_upgrade_leaves_logging_as_it_was(empty_store: Store, caplog: pytest.LogCaptureFixture) -> None:
    root, ours = logging.getLogger(), logging.getLogger("sendopt")
    before = (root.level, list(root.handlers), ours.level, ours.disabled)
    migrate.upgrade(empty_store)
    assert (root.level, list(root.handlers), ours.level, ours.disabled) == before


def test_versions_import_nothing_of_ours() -> None:
    versions = sorted((Path(migrate._folder()) / "versions").glob("0*.py"))
    imported = {module for version in versions for module in modules_imported_by(version)}
    assert imported - sys.stdlib_module_names == {"alembic", "sqlalchemy"}


def modules_imported_by(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        if isinstance(node, ast.ImportFrom):
            yield (node.module or "bandit").partition(".")[0]


def test_a_drafted_version_spells_out_our_types_and_makes_the_declared_schema(store: Store, scripts: Path) -> None:
    with store.write() as connection:
        connection.execute(text("ALTER TABLE decisions DROP COLUMN reward_deadline"))
    with store.write() as connection:
        command.revision(migrate.config(connection), "deadlines", rev_id=NEXT, autogenerate=True)
    draft = scripts / "versions" / f"{NEXT}_deadlines.py"
    assert set(modules_imported_by(draft)) == {"alembic", "sqlalchemy"}
    assert migrate.upgrade(store) == (HEAD, NEXT)
    assert differences(store, metadata) == []


BEFORE_THE_REGISTRY = """
    INSERT INTO campaigns (id, current_version, paused) VALUES ('spring', 1, false), ('autumn', 1, false);
    INSERT INTO models (campaign_id, version, parent, arguments, engine_version, watermark, events_learned, created_at,
        size, digest, bytes) VALUES
        ('spring', 11, 10, 'old', '9', 1, 1, {first}, 1, 'd', {bytes}),
        ('spring', 12, 11, 'old', '9', 2, 2, {first}, 1, 'd', {bytes}),
        ('spring', 13, 0, 'new', '9', 2, 2, {first}, 1, 'd', {bytes}),
        ('spring', 14, 13, 'new', '9', 3, 3, {second}, 1, 'd', {bytes}),
        ('autumn', 1, 0, 'own', '9', 1, 1, {first}, 1, 'd', {bytes});
    INSERT INTO model_aliases (campaign_id, alias, version) VALUES ('spring', 'champion', 14), ('autumn', 'champion', 1)
"""


def test_versions_from_before_the_registry_get_lineage_health_and_reign(empty_store: Store) -> None:
    sqlite = empty_store.is_sqlite
    values = {
        "first": "1000000" if sqlite else "to_timestamp(1)",
        "second": "2000000" if sqlite else "to_timestamp(2)",
        "bytes": "x'00'" if sqlite else "'x'",
    }
    with migrate._upgrading(empty_store) as connection:
        command.upgrade(migrate.config(connection), "0001")
        for statement in BEFORE_THE_REGISTRY.format(**values).split(";"):
            connection.exec_driver_sql(statement)
    migrate.upgrade(empty_store)
    with empty_store.read() as connection:
        rows = connection.execute(select(models).order_by(models.c.campaign_id, models.c.version)).all()
        named = connection.execute(select(model_aliases).order_by(model_aliases.c.campaign_id)).all()
    assert [row.lineage for row in rows] == [1, 1, 1, 13, 13]
    assert {(row.health, row.champion_seconds) for row in rows} == {("ok", 0.0)}
    assert [row.champion_since for row in rows] == [EPOCH + SECOND, None, None, None, EPOCH + 2 * SECOND]
    assert [(row.version, row.held, row.campaign_arguments) for row in named] == [(1, False, "own"), (14, False, "new")]


BEFORE_RELEARNING = """
INSERT INTO campaigns VALUES ('a', 1, false);
INSERT INTO campaign_versions VALUES ('a', 1, '{{}}', {first});
INSERT INTO decisions VALUES ('d-1', 'a', 1, 'u', {first}, {last}, 'learned', 0, NULL, NULL, NULL, NULL, 1, 0, {bytes},
    '', {bytes}, '');
INSERT INTO feedback VALUES (1, 'd-1', 'a', 'u', 'opened', {first}, {first}, NULL, NULL, {bytes}, false, NULL);
INSERT INTO feedback VALUES (2, 'd-1', 'a', 'u', 'opened', {first}, {second}, NULL, 'x', {other}, false, NULL);
INSERT INTO feedback VALUES (3, 'd-1', 'a', 'u', 'opened', {first}, {second}, NULL, 'y', {third}, true, NULL);
INSERT INTO feedback VALUES (4, 'd-1', 'a', 'u', 'opened', {first}, {last}, NULL, 'z', {fourth}, false, NULL);
INSERT INTO closings VALUES (1, 'd-1', 'a', 0.1, NULL, {second})
"""


def fill_before_relearning(store: Store) -> None:
    moments = {name: at * 1_000_000 if store.is_sqlite else f"to_timestamp({at})" for name, at in MOMENTS.items()}
    names = enumerate(("bytes", "other", "third", "fourth"))
    keys = {name: f"x'0{at}'" if store.is_sqlite else f"'{at}'" for at, name in names}
    with migrate._upgrading(store) as connection:
        command.upgrade(migrate.config(connection), "0002")
        for statement in BEFORE_RELEARNING.format(**moments, **keys).split(";"):
            connection.exec_driver_sql(statement)


def test_rewards_that_closed_before_are_taken_to_have_seen_what_had_been_received(empty_store: Store) -> None:
    fill_before_relearning(empty_store)
    migrate.upgrade(empty_store)
    with empty_store.read() as connection:
        assert connection.execute(select(closings.c.seen)).scalar_one() == 2


def test_rewards_that_closed_before_their_events_were_stored_keep_their_place_and_say_none(empty_store: Store) -> None:
    fill_before_relearning(empty_store)
    with migrate._upgrading(empty_store) as connection:
        command.upgrade(migrate.config(connection), "0007")
    assert migrate.upgrade(empty_store) == ("0007", HEAD)
    columns = closings.c.seq, closings.c.reward, closings.c.seen, closings.c.events
    with empty_store.read() as connection:
        assert connection.execute(select(*columns)).all() == [(1, 0.1, 2, None)]
