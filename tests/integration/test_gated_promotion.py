"""A challenger is promoted only when decisions that neither version learned from show that it earns more."""

import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from time import monotonic, sleep
from typing import Any

import pytest
from sqlalchemy import select

from api.edge.repeat import Repeated
from api.processes import worker
from api.words.promotion import promote_all, promote_gated
from bandit.errors import Conflict, NotFound
from bandit.learn import publish as publishing
from bandit.service import Service
from bandit.store import models as model_rows
from bandit.store.models import CHALLENGER, CHAMPION
from bandit.store.pairs import Pair
from bandit.store.sql.database import Store
from bandit.store.sql.schema import promotions
from sim.evaluate.promotion import Judgement, judge
from sim.ope.gate import Gate, decide_promotion
from tests.integration.test_cli import ROOT, Run, run
from tests.support.builders import MORNING, closed, taught, versions
from tests.support.databases import PostgresDatabases, sqlite_file_url
from tests.support.trials import (
    LESSONS,
    LOGGED,
    PLAIN,
    forget_learning,
    learned_on,
    log_of_a_trial,
    named,
    preferring,
    publish_version,
    side_by_side,
    trial_campaign,
    trial_round,
    trial_service,
)

__all__ = ["run"]  # the fixture

FIRST, CHAMP, BETTER, NAGGING, QUIET = range(1, 6)  # versions


@pytest.fixture(scope="module")
def sqlite_trial(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Path:
    path = shutil.copyfile(sqlite_template, tmp_path_factory.mktemp("trial") / "sendopt.db")
    with closing(Store(sqlite_file_url(path))) as store:
        log_of_a_trial(store)
    return path


@pytest.fixture(scope="module")
def postgres_trial(postgres_databases: PostgresDatabases, postgres_template: str) -> Iterator[str]:
    with postgres_databases.temporary(postgres_template) as url:
        with closing(Store(url)) as store:
            log_of_a_trial(store)
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path, sqlite_trial: Path) -> str:
    """URL of a copy of the trial's log."""
    return sqlite_file_url(shutil.copyfile(sqlite_trial, tmp_path / "sendopt.db"))


@pytest.fixture
def postgres_database_url(postgres_databases: PostgresDatabases, postgres_trial: str) -> Iterator[str]:
    with postgres_databases.temporary(postgres_trial) as url:
        yield url


@pytest.fixture
def live(sqlite_store: Store) -> Service:
    return trial_service(sqlite_store)


def judged(live: Service) -> Judgement:
    return judge(live.store, live.campaigns, live.versions.pair("spring"), progress=lambda rows: None)


def without(judgement: Judgement, guardrail: str) -> bool:
    """Whether the same evidence promotes when nobody looks at the guardrail."""
    assert judgement.reward is not None
    others = [one for one in judgement.guardrails if one.name != guardrail]
    return decide_promotion(Gate(), judgement.reward, others).promote


def changes(store: Store) -> list[tuple[Any, ...]]:
    table = promotions
    with store.read() as connection:
        columns = (table.c.alias, table.c.previous, table.c.version, table.c.cause)
        return [tuple(row) for row in connection.execute(select(*columns).order_by(table.c.seq))]


# The command


def test_a_challenger_that_is_shown_to_be_better_is_promoted(run: Run, store: Store, database_url: str) -> None:
    side_by_side(store, challenger=BETTER, champion=CHAMP)
    done = run("models", "promote", "spring", "--gated", DATABASE_URL=database_url, CLOCK="request")
    assert (done.status, done.err) == (0, "")
    assert "spring: challenger 3 against champion 2, side by side since 2026-03-04T" in done.out
    assert f" on {LOGGED:,} decisions that neither has learned\n" in done.out
    assert "\nspring: version 3 is the champion\n" in done.out
    assert named(store) == {CHAMPION: BETTER}
    assert changes(store) == [(CHAMPION, CHAMP, BETTER, "gate"), (CHALLENGER, BETTER, None, "gate")]
    again = run("models", "promote", "spring", "--gated")
    assert (again.status, again.out) == (1, "")
    assert "has no challenger beside its champion" in again.err


def test_what_goes_live_is_the_challenger_as_it_is_by_now(live: Service) -> None:
    side_by_side(live.store, challenger=BETTER, champion=CHAMP)
    pair = live.versions.pair("spring")
    learned_on(live.store, challenger=BETTER, champion=CHAMP)
    assert named(live.store) == {CHAMPION: 6, CHALLENGER: 7}
    assert live.versions.pair("spring") == pair  # which stands still
    judgement, promoted = promote_gated(live, pair, lambda rows: None)
    assert judgement.decisions == LOGGED
    assert promoted is not None
    assert (promoted.version, promoted.parent, promoted.alias) == (7, BETTER, CHAMPION)
    assert live.versions.rollback("spring").version == 6


def test_an_equal_challenger_is_not_promoted(run: Run, sqlite_store: Store, sqlite_url: str) -> None:
    side_by_side(sqlite_store, challenger=CHAMP, champion=FIRST)
    forget_learning(sqlite_store, [CHAMP], LESSONS + LOGGED - 400)
    done = run("models", "promote", "spring", "--gated", DATABASE_URL=sqlite_url)
    assert (done.status, done.err) == (3, "")
    assert "difference in reward: +0.0000 per decision" in done.out
    assert "- the difference in reward is 0 and at least 0 per decision: the lower bound must be above 0\n" in done.out
    assert done.out.endswith("with these estimates no number of further decisions is enough\n")
    assert named(sqlite_store) == {CHAMPION: FIRST, CHALLENGER: CHAMP}
    assert changes(sqlite_store) == []


def test_too_few_decisions_do_not_promote_and_it_is_said_how_many_more_might(
    run: Run, store: Store, database_url: str
) -> None:
    side_by_side(store, challenger=BETTER, champion=CHAMP)
    forget_learning(store, [CHAMP], LESSONS + LOGGED - 400)  # the later watermark counts
    words = ["models", "promote", "spring", "--gated"]
    done = run(*words, DATABASE_URL=database_url)
    assert (done.status, done.err) == (3, "")
    assert "on 400 decisions that neither has learned" in done.out
    found = re.search(r"about ([\d,]+) more decisions are enough", done.out)
    assert found is not None
    assert 500 < int(found[1].replace(",", "")) < LOGGED  # and all of them do
    forget_learning(store, [CHAMP], LESSONS + LOGGED - 20)
    done = run(*words)
    assert done.status == 3
    assert "- target: the effective sample size is" in done.out
    assert done.out.endswith("how many more decisions it takes is not known before the log can answer\n")
    forget_learning(store, [BETTER], LESSONS + LOGGED)
    assert "no decision that neither version has learned has a final reward yet" in run(*words).out
    assert named(store) == {CHAMPION: CHAMP, CHALLENGER: BETTER}


@pytest.mark.parametrize("words", [["spring"], ["spring", "3", "--gated"]])
def test_either_a_version_is_named_or_the_gate_is_asked(run: Run, sqlite_url: str, words: list[str]) -> None:
    done = run("models", "promote", *words, DATABASE_URL=sqlite_url)
    assert (done.status, done.out) == (1, "")
    assert done.err == "sendopt: version: give either a version or --gated\n"


# Guardrails


def test_a_challenger_that_drives_users_away_is_held_back_however_much_it_earns(live: Service) -> None:
    side_by_side(live.store, challenger=NAGGING, champion=CHAMP)
    judgement = judged(live)
    assert not judgement.promotion.promote
    assert [reason.split(" differ")[0] for reason in judgement.promotion.missing] == ["opt-outs"]
    assert judgement.promotion.more_decisions is None
    assert without(judgement, "opt-outs")  # the red twin


def test_a_challenger_that_sends_more_is_held_back(live: Service) -> None:
    side_by_side(live.store, challenger=BETTER, champion=QUIET)
    judgement = judged(live)
    assert not judgement.promotion.promote
    assert [reason.split(" differ")[0] for reason in judgement.promotion.missing] == ["sends"]
    (sends,) = [one.difference for one in judgement.guardrails if one.name == "sends"]
    assert sends.value == pytest.approx(0.2, abs=0.02)  # all but the floor
    assert sends.standard_error < 0.001  # the pmfs say so, not the draws
    assert without(judgement, "sends")  # the red twin


def test_opt_outs_are_looked_at_only_where_the_campaign_has_a_word_for_them(live: Service) -> None:
    live.campaigns.put(trial_campaign(reward={"events": {"clicked": 1.0}}))
    side_by_side(live.store, challenger=BETTER, champion=CHAMP)
    forget_learning(live.store, [CHAMP], LESSONS + LOGGED - 400)
    judgement = judged(live)
    assert [one.name for one in judgement.guardrails] == ["sends"]
    assert any("no event has a negative worth" in note for note in judgement.notes)


# What may be judged


def test_what_either_version_learned_is_never_judged_by(tmp_path: Path, sqlite_template: Path) -> None:
    """200 cities where nothing makes a difference, and a challenger that knows by heart what did by chance."""
    follows = {"clicked": dict.fromkeys(range(4), 0.5)}
    with closing(Store(sqlite_file_url(shutil.copyfile(sqlite_template, tmp_path / "cities.db")))) as store:
        live = trial_service(store)
        live.campaigns.put(trial_campaign(policy={"floor": 0.3}, reward={"events": {"clicked": 1.0}}))

        def of_city(user: int) -> dict[str, Any]:
            return {"city": f"c-{user % 200}"}

        records = trial_round(live, 0, 2_000, features=of_city, follows=follows)
        with preferring(live, PLAIN) as engine:
            publish_version(live, 1, engine, 2_000)
        city: dict[str, int] = {one.decision.id: place % 200 for place, one in enumerate(records)}
        earned = defaultdict[tuple[int, int], list[float]](list)
        for one in closed(store):
            earned[city[one.decision_id], one.action_index].append(one.reward or 0.0)
        lessons = [
            replace(one, action_index=action, propensity=0.25, reward=fmean(earned[place, action] or [0.0]))
            for one in closed(store)
            for place in [city[one.decision_id]]
            for action in range(4)
        ]
        with taught(live.campaigns.get("spring").campaign.engine_arguments, lessons) as engine:
            publish_version(live, 2, engine, 2_000)
        side_by_side(store, challenger=2, champion=1)
        forget_learning(store, [1, 2], 0)
        assert judged(live).promotion.promote  # the red twin
        forget_learning(store, [1, 2], 2_000)
        trial_round(live, 1, 2_000, features=of_city, follows=follows)
        judgement = judged(live)
        assert judgement.decisions == 2_000
        assert not judgement.promotion.promote
        assert judgement.reward is not None
        assert abs(judgement.reward.value) < 3 * judgement.reward.standard_error


def test_a_version_that_was_purged_is_not_judged(live: Service) -> None:
    side_by_side(live.store, challenger=BETTER, champion=CHAMP)
    with live.store.write() as connection:
        model_rows.refuse_from(connection, "spring", 1, "purged: learned lies")
    judgement = judged(live)
    assert not judgement.promotion.promote
    assert judgement.promotion.missing[0].startswith("version 3 was refused: purged: learned lies")


# The pair


def test_a_change_of_either_alias_begins_another_comparison_and_learning_does_not(store: Store) -> None:
    live = trial_service(store)

    def pair() -> tuple[int, int] | None:
        try:
            found = live.versions.pair("spring")
        except Conflict:
            return None
        return found.challenger, found.champion

    assert pair() is None
    live.versions.promote("spring", FIRST)
    assert pair() is None
    live.learner.run_pass()
    row = live.relearner.run(live.relearner.plan("spring", {}, {})).row
    assert pair() == (row.version, 6) == (7, 6)
    trial_round(live, 3, 5)
    live.learner.run_pass()
    assert named(store) == {CHAMPION: 8, CHALLENGER: 9}
    assert pair() == (7, 6)
    live.versions.promote("spring", CHAMP)
    assert pair() == (9, CHAMP)
    live.versions.rollback("spring")
    assert pair() == (CHAMP, 8)
    live.versions.promote("spring", CHAMP)
    assert pair() is None
    with pytest.raises(NotFound):
        live.versions.pair("autumn")


def test_a_challenger_that_was_there_before_the_first_champion_is_compared_with_it(
    tmp_path: Path, sqlite_template: Path
) -> None:
    with closing(Store(sqlite_file_url(shutil.copyfile(sqlite_template, tmp_path / "new.db")))) as store:
        live = trial_service(store)
        live.campaigns.put(trial_campaign())
        trial_round(live, 0, 5)
        live.relearner.run(live.relearner.plan("spring", {}, {}))
        live.learner.run_pass()
        pair = live.versions.pair("spring")
        assert (pair.challenger, pair.champion) == (1, 2)


def test_the_pair_is_kept_while_it_is_compared_and_no_longer(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "VERSIONS_KEPT", 1)
    monkeypatch.setattr(model_rows, "DAY_SECONDS", float("inf"))
    live = trial_service(store)
    side_by_side(store, challenger=BETTER, champion=NAGGING)

    def kept_after_a_round(number: int) -> list[int]:
        trial_round(live, number, 5)
        live.learner.run_pass()
        return [row.version for row in versions(store)]

    assert kept_after_a_round(2) == [BETTER, NAGGING, 6, 7]
    assert kept_after_a_round(3) == [BETTER, NAGGING, 6, 7, 8, 9]  # and the parents of what serves and learns
    assert kept_after_a_round(4) == [BETTER, NAGGING, 8, 9, 10, 11]
    live.versions.promote_challenger(live.versions.pair("spring"))
    assert kept_after_a_round(5) == [10, 11, 12]  # 10 to go back to


def test_a_rollback_meanwhile_promotes_nobody(live: Service) -> None:
    side_by_side(live.store, challenger=BETTER, champion=CHAMP)

    def roll_back_once(_rows: int) -> None:
        if named(live.store)[CHAMPION] == CHAMP:
            live.versions.rollback("spring")

    with pytest.raises(Conflict, match="changed while versions 3 and 2 were compared; nothing was promoted"):
        promote_gated(live, live.versions.pair("spring"), roll_back_once)
    assert named(live.store) == {CHAMPION: FIRST, CHALLENGER: CHAMP}


# The worker


def test_the_worker_promotes_by_itself_when_it_is_told_to(sqlite_store: Store, sqlite_url: str) -> None:
    store = sqlite_store
    side_by_side(store, challenger=BETTER, champion=CHAMP)
    learned_on(store, challenger=BETTER, champion=CHAMP)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SENDOPT_")}
    settings = {"DATABASE_URL": sqlite_url, "CLOCK": "request", "PROMOTION_INTERVAL_SECONDS": "3600"}
    process = subprocess.Popen(
        [sys.executable, "-m", "api", "worker"],
        env={**environment, **{f"SENDOPT_{name}": value for name, value in settings.items()}},
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = monotonic() + 60
    while CHALLENGER in named(store) and monotonic() < deadline:
        sleep(0.1)
    process.terminate()
    _, lines = process.communicate(timeout=30)
    assert CHALLENGER not in named(store), lines
    assert (CHAMPION, "gate") in [(alias, cause) for alias, _, _, cause in changes(store)]
    assert '"promotion_judged"' in lines


def test_the_worker_promotes_nobody_unless_it_is_told_to(live: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[str] = []

    class Noted(Repeated):
        def start(self) -> None:
            jobs.append(self._job)

        def stop(self) -> None:
            pass

    monkeypatch.setattr(worker, "Repeated", Noted)
    monkeypatch.setattr(worker, "_stop_on_signals", lambda stopped: stopped.set())
    worker.run_forever(live, 10.0, None)
    assert jobs == ["pass"]
    worker.run_forever(live, 10.0, 3_600.0)
    assert jobs == ["pass", "pass", "promotion"]


def test_the_worker_leaves_a_champion_that_is_held_and_goes_on_after_a_broken_log(
    live: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    side_by_side(live.store, challenger=BETTER, champion=CHAMP, held=True)
    promote_all(live, lambda rows: pytest.fail("was looked at"))
    side_by_side(live.store, challenger=BETTER, champion=CHAMP)
    forget_learning(live.store, [CHAMP], LESSONS + LOGGED - 400)
    real = live.versions.pairs_to_judge()
    gone = Pair(campaign_id="autumn", challenger=2, champion=1, since=MORNING)
    monkeypatch.setattr(type(live.versions), "pairs_to_judge", lambda self: [gone, *real])
    rows: list[int] = []
    promote_all(live, rows.append)
    assert rows == [400]
    assert named(live.store) == {CHAMPION: CHAMP, CHALLENGER: BETTER}
