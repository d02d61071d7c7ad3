"""The command `sendopt`: help for everything, and for bad input one clear line and an exit status that is not 0."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from sqlalchemy import text

from api import cli
from api.server import check_address
from bandit.store.engine import Store
from tests.support.databases import migrate, sqlite_file_url
from tests.support.wire import CAMPAIGN_TOML, campaign_document, json_of, running

ROOT = Path(__file__).parents[2]


class Done(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs a command in this process, in an empty folder, without settings from outside."""
    for name in [name for name in os.environ if name.startswith("SENDOPT_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("api.cli.configure_logs", lambda *level: None)  # it would outlast the test

    def run(*words: str, **settings: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["sendopt", *words])
        for name, value in settings.items():
            monkeypatch.setenv(f"SENDOPT_{name}", value)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return Done(int(ended.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def campaign_file(tmp_path: Path) -> Path:
    path = tmp_path / "reengage.toml"
    path.write_text(CAMPAIGN_TOML, encoding="utf-8")
    return path


def check_one_line(done: Done, *words: str) -> None:
    assert done.status != 0
    assert done.err.startswith("sendopt: ")
    assert done.err.count("\n") == 1, done.err
    for word in words:
        assert word in done.err


def commands() -> Iterator[tuple[str, ...]]:
    """The words of every command and group."""
    yield ()
    yield from _below(typer.main.get_command(cli.app), ())


def _below(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name, inner in getattr(command, "commands", {}).items():
        yield (*words, name)
        yield from _below(inner, (*words, name))


def test_the_commands_of_the_spine_are_there() -> None:
    assert {("serve",), ("worker",), ("migrate",), ("campaign", "apply")} <= set(commands())


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_command_explains_itself(run: Run, words: tuple[str, ...]) -> None:
    done = run(*words, "--help")
    assert (done.status, done.err) == (0, "")
    assert "Usage" in done.out
    command: Any = typer.main.get_command(cli.app)
    for word in words:
        command = command.commands[word]
    assert " ".join(command.help.split()[:4]) in " ".join(done.out.split())


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_an_unknown_option_is_one_line(run: Run, words: tuple[str, ...]) -> None:
    check_one_line(run(*words, "--surprise"), "--surprise")


def test_without_a_command_the_help_is_shown(run: Run) -> None:
    done = run()
    assert done.status != 0
    assert "Usage" in done.out
    assert done.err == ""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["surprise"], "surprise"),
        (["serve", "--port", "many"], "--port"),
        (["serve", "--port", "0"], "--port"),
        (["serve", "--port", "65536"], "--port"),
        (["serve", "--workers", "0"], "--workers"),
        (["serve", "--host", "0.0.0.0"], "0.0.0.0"),
        (["serve", "--host", "::"], "::"),
        (["serve", "--host", "example.org"], "example.org"),
        (["serve", "--host", ""], "--host"),
        (["migrate", "surprise"], "surprise"),
        (["campaign", "surprise"], "surprise"),
        (["campaign", "apply"], "file"),
        (["campaign", "apply", "a", "b"], "b"),
        (["campaign", "apply", "missing.toml"], "missing.toml"),
        (["campaign", "apply", "."], "."),
        (["campaign", "apply", "/dev/null"], "id"),
        (["simulate", "--seeds", "3-1"], "3-1"),
        (["simulate", "--policies", "luck"], "luck"),
        (["simulate", "--presets", "mars"], "mars"),
        (["simulate", "--page", "page.pdf"], "page.pdf"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_words_are_one_line_each(run: Run, words: list[str], expected: str) -> None:
    done = run(*words)
    assert done.status != 0
    assert expected in done.err
    assert all(line.startswith("sendopt: ") for line in done.err.splitlines())
    assert words[-1] == "/dev/null" or done.err.count("\n") == 1


def test_a_port_that_another_program_listens_on_is_one_line(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=hasattr(socket, "SO_REUSEPORT")) as other:
        port = other.getsockname()[1]
        check_one_line(run("serve", "--port", str(port)), f"--port {port}")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2", "::1"])
def test_every_loopback_address_may_be_served_on(host: str) -> None:
    if host == "::1" and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    check_address(host, port)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLOCK", "sundial"),
        ("WORKER_INTERVAL_SECONDS", "soon"),
        ("MODEL_POLL_SECONDS", "-1"),
        ("SURPRISE", "1"),
        ("DATABASE_URL", "nonsense"),
        ("DATABASE_URL", "mysql://u:secret@h/d"),
        ("DATABASE_URL", "sqlite://"),
    ],
)
@pytest.mark.parametrize("words", [["migrate"], ["serve"], ["worker", "--once"]], ids=" ".join)
def test_a_bad_setting_is_one_line_that_names_it(run: Run, words: list[str], name: str, value: str) -> None:
    done = run(*words, **{name: value})
    check_one_line(done, f"SENDOPT_{name}")
    assert "secret" not in done.err


@pytest.mark.parametrize("words", [["migrate"], ["serve"], ["worker", "--once"]], ids=" ".join)
@pytest.mark.parametrize("url", ["sqlite:///missing/folder/x.db", "postgresql://u:secret@127.0.0.1:1/d"])
def test_a_database_that_is_not_there_is_one_line(run: Run, words: list[str], url: str) -> None:
    done = run(*words, DATABASE_URL=url)
    check_one_line(done, "database")
    assert "secret" not in done.err


@pytest.mark.parametrize(
    "words", [["serve"], ["worker"], ["worker", "--once"], ["campaign", "apply", "reengage.toml"]], ids=" ".join
)
def test_a_database_that_was_never_migrated_is_one_line_that_says_what_to_do(
    run: Run, campaign_file: Path, words: list[str]
) -> None:
    check_one_line(run(*words), "sendopt migrate")


def test_a_database_of_a_newer_program_is_one_line(run: Run, sqlite_url: str) -> None:
    store = Store(sqlite_url)
    with store.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    store.close()
    for words in (["migrate"], ["worker", "--once"], ["serve"]):
        check_one_line(run(*words, DATABASE_URL=sqlite_url), "9999")


def test_migrate_makes_the_default_database_and_then_has_nothing_to_do(run: Run, tmp_path: Path) -> None:
    assert "empty -> " in run("migrate").out
    assert (tmp_path / "sendopt.db").is_file()
    assert "up to date" in run("migrate").out


def test_the_contracts_toml_is_applied_and_served(run: Run, campaign_file: Path, database_url: str) -> None:
    first = run("campaign", "apply", str(campaign_file), DATABASE_URL=database_url)
    assert first == Done(0, "reengage: version 1\n", "")
    assert run("campaign", "apply", str(campaign_file)).out == "reengage: version 1\n"
    campaign_file.write_text(CAMPAIGN_TOML.replace("horizon_hours = 24", "horizon_hours = 12"), encoding="utf-8")
    assert run("campaign", "apply", str(campaign_file)).out == "reengage: version 2\n"
    with running(database_url) as client:
        served = json_of(client.get("/campaigns/reengage"))
    assert served["document"] == campaign_document(horizon_hours=12)


def test_a_campaign_may_be_json_by_its_ending(run: Run, sqlite_url: str, tmp_path: Path) -> None:
    path = tmp_path / "reengage.json"
    path.write_text(json.dumps(campaign_document()), encoding="utf-8")
    assert run("campaign", "apply", str(path), DATABASE_URL=sqlite_url).out == "reengage: version 1\n"


@pytest.mark.parametrize(
    "content",
    [
        b"id = ",
        b"\xff\xfe",
        b"\0",
        b"id = " + b"[" * 5_000,
        b"id = " + b"9" * 5_000,
        CAMPAIGN_TOML.replace("horizon_hours = 24", "horizon_hours = nan").encode(),
        CAMPAIGN_TOML.replace('mode = "live"', 'mode = "loud"').encode(),
    ],
    ids=["cut", "no utf-8", "nul", "deep", "digits", "nan", "mode"],
)
def test_a_bad_campaign_file_is_one_line(run: Run, sqlite_url: str, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    check_one_line(run("campaign", "apply", str(path), DATABASE_URL=sqlite_url))


def test_everything_that_is_wrong_in_a_campaign_file_is_told_a_line_each(
    run: Run, sqlite_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('surprise = 1\nmode = "loud"\n' + CAMPAIGN_TOML.replace('mode = "live"', ""), encoding="utf-8")
    done = run("campaign", "apply", str(path), DATABASE_URL=sqlite_url)
    assert done.status == 1
    assert sorted(line.split(":")[1].strip() for line in done.err.splitlines()) == ["mode", "surprise"]


def test_one_pass_of_the_worker_says_what_it_did(tmp_path: Path) -> None:
    url = sqlite_file_url(tmp_path / "sendopt.db")
    migrate(url)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SENDOPT_")}
    done = subprocess.run(
        [sys.executable, "-m", "api", "worker", "--once"],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT), "SENDOPT_DATABASE_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "closed 0, learned 0, published 0\n", "")
