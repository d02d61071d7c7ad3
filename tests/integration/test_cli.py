"""The command `sendopt`: help for everything, and for bad input one clear line and an exit status that is not 0."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from sqlalchemy import text
from structlog.testing import capture_logs

from api.commands import main as cli
from api.processes.server import check_address
from bandit.errors import SettingsError
from bandit.store.sql.database import Store
from tests.support.builders import (
    MORNING,
    WINDOW,
    advance,
    campaign,
    decide,
    feedback,
    give,
    request,
    service,
    versions,
)
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
    monkeypatch.setattr("api.commands.main.configure_logs", lambda *level: None)  # it would outlast the test

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


def test_the_version_is_that_of_the_distribution(run: Run) -> None:
    done = run("--version")
    assert (done.status, done.out, done.err) == (0, f"sendopt {version('notification-send-optimizer')}\n", "")


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
        (["keys", "surprise"], "surprise"),
        (["keys", "create"], "--scope"),
        (["keys", "create", "--scope", "everything"], "everything"),
        (["keys", "create", "--scope", "read", "--per-second", "0"], "--per-second"),
        (["keys", "revoke"], "key_id"),
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


def test_a_port_that_another_program_listens_on_is_one_line(sqlite_url: str, run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=hasattr(socket, "SO_REUSEPORT")) as other:
        port = other.getsockname()[1]
        done = run("serve", "--port", str(port), DATABASE_URL=sqlite_url)
    assert done.status == 1
    assert done.err.splitlines()[-1].startswith(f"sendopt: --port {port}: ")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_without_keys_another_address_than_loopback_is_refused_with_how_to_make_a_key(
    run: Run, sqlite_url: str, host: str
) -> None:
    done = run("serve", "--host", host, DATABASE_URL=sqlite_url)
    assert done.status == 1
    assert done.err.splitlines()[-1].startswith(f"sendopt: --host {host}: is not a loopback address")
    assert "sendopt keys create" in done.err


def test_host_and_port_come_from_the_environment_and_options_come_first(run: Run, sqlite_url: str) -> None:
    done = run("serve", DATABASE_URL=sqlite_url, HOST="192.0.2.1", PORT="tcp://10.0.0.7:8000")
    assert done.err.splitlines()[-1].startswith("sendopt: --host 192.0.2.1: is not a loopback address")
    with socket.create_server(("127.0.0.1", 0), reuse_port=hasattr(socket, "SO_REUSEPORT")) as other:
        port = str(other.getsockname()[1])
        for words, set_port in ((["--host", "127.0.0.1"], port), (["--host", "127.0.0.1", "--port", port], "1")):
            done = run("serve", *words, DATABASE_URL=sqlite_url, HOST="192.0.2.1", PORT=set_port)
            assert done.err.splitlines()[-1].startswith(f"sendopt: --port {port}: ")


@pytest.mark.parametrize("host", ["example.org", "", "127.0.0"])
@pytest.mark.parametrize("has_keys", [False, True])
def test_an_address_that_is_no_number_is_refused(host: str, has_keys: bool) -> None:
    with pytest.raises(SettingsError, match="--host"):
        check_address(host, 8000, has_keys=has_keys)


def test_with_a_key_every_address_may_be_served_on(run: Run, sqlite_url: str) -> None:
    run("keys", "create", "--scope", "decide", DATABASE_URL=sqlite_url)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    check_address("0.0.0.0", port, has_keys=True)


def test_a_key_is_shown_once_listed_without_its_secret_and_revoked(run: Run, database_url: str) -> None:
    made = run("keys", "create", "--scope", "read", "--scope", "decide", "--per-second", "7", DATABASE_URL=database_url)
    (_, key_id), (_, secret) = (line.split() for line in made.out.splitlines())
    assert key_id.startswith("k-")
    assert secret.startswith("sendopt_")
    listed = run("keys", "list").out
    assert secret not in listed
    assert listed.startswith(f"{key_id}  decide read, 7 a second, made 2")
    assert run("keys", "revoke", key_id).out == f"{key_id}: revoked\n"
    assert run("keys", "list").out.startswith(f"{listed.strip()}, revoked 2")
    check_one_line(run("keys", "revoke", "k-unknown"), "k-unknown")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2", "::1"])
def test_every_loopback_address_may_be_served_on(host: str) -> None:
    if host == "::1" and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    check_address(host, port, has_keys=False)


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


# Relearning and purging


@pytest.fixture
def learned(sqlite_store: Store) -> Iterator[Store]:
    """A store with a campaign that has learned a day, all of its feedback with one key; nothing is logged."""
    live = service(sqlite_store, 3, campaign(reward={"learn_after_hours": 48}))
    records = decide(live, [request(f"u-{user}") for user in range(40)])
    give(live, [feedback(one) for one in records[::2]])
    with sqlite_store.write() as connection:
        connection.execute(text("UPDATE feedback SET source = 'key-7'"))
    advance(live, MORNING + WINDOW)
    with capture_logs():
        live.learner.run_pass()
        yield sqlite_store


def test_a_campaign_is_relearned_and_what_would_differ_is_said(run: Run, learned: Store, sqlite_url: str) -> None:
    done = run("models", "relearn", "spring", DATABASE_URL=sqlite_url, CLOCK="request")
    assert done == Done(
        0,
        "spring: version 2 is the challenger; read 40 decisions, learned 40\n"
        "over the latest 40 decisions: another most probable action in 0.0%, "
        "mean distance of the probabilities 0.000\n",
        "",
    )
    done = run(
        *("models", "relearn", "spring", "--vw", "explorer=softmax", "--vw", "lambda=2", "--vw", "coin=true"),
        *("--reward", "clicked=2"),
        DATABASE_URL=sqlite_url,
        CLOCK="request",
    )
    assert done.out.startswith("spring: version 3 is the challenger")
    assert "mean distance of the probabilities 0.000" not in done.out
    settings = versions(learned)[-1].settings
    assert json.loads(settings) == {
        "learner": None,
        "until": None,
        "vw": {"explorer": "softmax", "lambda": 2, "coin": True},
        "worths": {"clicked": 2.0},
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--vw", "gamma_scale"], "--vw: 'gamma_scale': must have the form NAME=VALUE"),
        (["--vw", "gamma_scale=fast"], "policy.vw.gamma_scale: 'fast' is not of type float"),
        (["--reward", "clicked=much"], "--reward: clicked=much: is not a finite number"),
        (["--reward", "clicked=9"], "reward.events.clicked: 9.0: is outside the bounds [-5.0, 5.0]"),
    ],
)
def test_settings_to_relearn_with_that_cannot_be_are_one_clear_line(
    run: Run, learned: Store, sqlite_url: str, words: list[str], message: str
) -> None:
    assert run("models", "relearn", "spring", *words, DATABASE_URL=sqlite_url) == Done(1, "", f"sendopt: {message}\n")
    assert len(versions(learned)) == 1


def test_a_purge_counts_and_then_teaches_without_the_feedback(run: Run, learned: Store, sqlite_url: str) -> None:
    words = ["models", "purge", "--source", "key-7", "--since", "2026-03-01T00:00:00+02:00"]
    counted = "spring: 20 events of 20 decisions\n"
    assert run(*words, "--dry-run", DATABASE_URL=sqlite_url) == Done(0, counted, "")
    assert len(versions(learned)) == 1
    done = run(*words, "spring", DATABASE_URL=sqlite_url)
    assert done == Done(0, f"{counted}spring: 1 versions refused as purged; taught without them: version 2\n", "")
    again = run(*words, DATABASE_URL=sqlite_url)
    assert again.out == (
        "spring: 20 events of 20 decisions, 20 of them excluded before\n"
        "spring: no version that serves or learns was trained on them\n"
    )
    assert run(*words[:-1], "2026-04-01T00:00:00Z", DATABASE_URL=sqlite_url).out == "no such feedback is stored\n"
    bad = run(*words[:-1], "yesterday", DATABASE_URL=sqlite_url)
    assert bad.err == "sendopt: --since: 'yesterday': is not a time with an offset, as in 2026-11-20T17:03:00Z\n"
