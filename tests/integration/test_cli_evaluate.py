"""`sendopt evaluate` and `sendopt export`, end to end."""

import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from bandit.store.sql.database import Store
from tests.integration.test_cli import Run, check_one_line, run
from tests.support.builders import campaign
from tests.support.databases import sqlite_file_url
from tests.support.logs import logged_service

__all__ = ["run"]  # the fixture
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> str:
    """A database with a log of 200 decisions, which the tests only read."""
    url = sqlite_file_url(shutil.copyfile(sqlite_template, tmp_path_factory.mktemp("log") / "sendopt.db"))
    with closing(Store(url)) as store:
        logged_service(store, n_users=200, rounds=1, document=campaign(policy={"floor": 0.5}))
    return url


def test_a_question_is_answered_with_verdict_numbers_and_a_page(run: Run, url: str, tmp_path: Path) -> None:
    words = ["evaluate", "--campaign", "spring", "--target", "uniform", "--html", "page.html"]
    done = run(*words, DATABASE_URL=url)
    assert (done.status, done.err) == (0, "")
    for word in ("The log can answer.", "snips", "effective sample size", "data digest", "page: page.html"):
        assert word in done.out
    assert "sendopt evaluate --campaign spring --target uniform" in (tmp_path / "page.html").read_text("utf-8")


def test_a_question_that_the_log_cannot_answer_exits_with_2_and_without_numbers(run: Run, url: str) -> None:
    words = ["evaluate", "--campaign", "spring", "--target", "silence"]
    done = run(*words, DATABASE_URL=url)
    assert done.status == 2
    assert "The log cannot answer:" in done.out
    assert "snips" not in done.out
    shown = run(*words, "--show-anyway", DATABASE_URL=url)
    assert shown.status == 2
    assert "snips" in shown.out


@pytest.mark.parametrize("kind", ["parquet", "csv", "dsjson"])
def test_an_export_is_evaluated_like_the_store(run: Run, url: str, kind: str) -> None:
    done = run("export", "--campaign", "spring", f"log.{kind}", DATABASE_URL=url)
    assert (done.status, done.err) == (0, "")
    assert "rows, excluded: " in done.out
    assert "; to evaluate it: --bounds -5 5; " in done.out
    digest = done.out.split()[-1]
    asked = ["evaluate", "--campaign", "spring", "--target", "version:1", "--against", "uniform"]
    of_store = run(*asked, DATABASE_URL=url)
    of_file = run(*asked, "--log", f"log.{kind}", "--bounds", "-5", "5", DATABASE_URL=url)
    assert digest in "".join(of_store.out.split()).replace("│", "")
    assert digest in "".join(of_file.out.split()).replace("│", "")
    numbers = [[line for line in done.out.splitlines() if "snips" in line] for done in (of_store, of_file)]
    assert numbers[0] == numbers[1]


def test_a_file_from_elsewhere_needs_no_database(run: Run, tmp_path: Path) -> None:
    rows = "\n".join(f"{place % 2},0.5,0.5,u-{place % 50}" for place in range(400))
    (tmp_path / "mine.csv").write_text(f"y,p,theirs,user\n{rows}\n")
    words = ["evaluate", "--log", "mine.csv", "--column", "reward=y", "--column", "propensity=p"]
    done = run(*words, "--target", "column:theirs")
    assert (done.status, done.err) == (0, "")
    assert not (tmp_path / "sendopt.db").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["evaluate"], "--target"),
        (["evaluate", "--target", "uniform"], "name a campaign"),
        (["evaluate", "--target", "surprise", "--log", "x.csv"], "'surprise'"),
        (["evaluate", "--target", "champion", "--log", "x.csv"], "needs a campaign"),
        (["evaluate", "--target", "uniform", "--log", "missing.csv"], "missing.csv: cannot be read"),
        (["evaluate", "--target", "uniform", "--log", "x.txt"], "x.txt"),
        (["evaluate", "--target", "uniform", "--log", "x.csv", "--column", "reward"], "must be FIELD=NAME"),
        (["evaluate", "--target", "uniform", "--log", "x.csv", "--interval", "wide"], "--interval"),
        (["evaluate", "--target", "uniform", "--log", "x.csv", "--html", "page.txt"], "must end in .html"),
        (["evaluate", "--target", "uniform", "--campaign", "spring", "--column", "reward=y"], "--log"),
        (["evaluate", "--target", "column:x", "--campaign", "spring"], "--log"),
        (["evaluate", "--target", "uniform", "--campaign", "autumn"], "unknown campaign 'autumn'"),
        (["evaluate", "--target", "version:9", "--campaign", "spring"], "spring/9"),
        (["evaluate", "--target", "uniform", "--campaign", "spring", "--confidence", "2"], "confidence is 2"),
        (["export", "--campaign", "spring", "log.txt"], "log.txt"),
        (["export", "--campaign", "spring", "missing/log.csv"], "is not a folder"),
        (["export", "--campaign", "autumn", "log.csv"], "unknown campaign 'autumn'"),
        (["export", "log.csv"], "--campaign"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_words_are_one_line(run: Run, url: str, words: list[str], expected: str) -> None:
    check_one_line(run(*words, DATABASE_URL=url), expected)


LOADED = """
import sys
from api.commands.main import app
words = ["evaluate", "--campaign", "spring", "--target", "uniform"]
for more in ([], ["--html", sys.argv[1]]):
    status = app([*words, *more], standalone_mode=False)
    print("LOADED", status, "sim.evaluate.question" in sys.modules, "matplotlib" in sys.modules)
"""


def test_asking_loads_no_drawing_when_there_is_no_page(url: str, tmp_path: Path) -> None:
    # In a process of its own: in this one, tests that ran before may have loaded anything.
    done = subprocess.run(
        [sys.executable, "-c", LOADED, tmp_path / "page.html"],
        cwd=ROOT,
        env={**os.environ, "SENDOPT_DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("LOADED")]
    assert lines == ["LOADED 0 True False", "LOADED 0 True True"]


def test_two_targets_are_shown_with_their_own_values_and_what_they_do(
    run: Run, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    done = run("evaluate", "--campaign", "spring", "--target", "uniform", "--against", "logged", DATABASE_URL=url)
    text = " ".join(done.out.split())
    for words in ("uniform: snips", "difference: snips", "what the policies do", "sends of a user"):
        assert words in text
    assert "channel push, of the sends" in text


def test_a_span_of_time_is_exported_and_evaluated(run: Run, url: str) -> None:
    whole = run("export", "--campaign", "spring", "all.csv", DATABASE_URL=url)
    assert whole.status == 0
    early = run(
        "evaluate", "--campaign", "spring", "--target", "logged", "--until", "2020-01-01T00:00:00Z", DATABASE_URL=url
    )
    check_one_line(early, "no decision in that span of time")
    later = ["--since", "2020-01-01T00:00:00Z", "--until", "2120-01-01T00:00:00Z"]
    same = run("export", "--campaign", "spring", "same.csv", *later, DATABASE_URL=url)
    assert same.out.split()[-1] == whole.out.split()[-1]  # the digest
    check_one_line(run("export", "--campaign", "spring", "x.csv", "--since", "noon", DATABASE_URL=url), "since: 'noon'")


def test_a_plan_says_how_many_decisions_a_lift_takes(run: Run, url: str) -> None:
    done = run("plan", "spring", "--lift", "5%", DATABASE_URL=url)
    assert (done.status, done.err) == (0, "")
    assert "holdouts of 10% of the users: about" in done.out
    large = run("plan", "spring", "--lift", "50%", "--holdout", "0.2", DATABASE_URL=url)

    def decisions(text: str, way: str) -> int:
        line = next(line for line in text.splitlines() if way in line)
        return int(line.split("about ")[1].split()[0].replace(",", ""))

    for way in ("holdouts", "the promotion gate"):
        assert decisions(done.out, way) > 50 * decisions(large.out, way)
    check_one_line(run("plan", "spring", "--lift", "much", DATABASE_URL=url), "lift: 'much': must be a share above 0")
