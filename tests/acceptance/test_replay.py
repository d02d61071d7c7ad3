"""Replays of randomised logs: what the service would have learned from them, without bias."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import sqrt
from pathlib import Path

import numpy as np
import pytest

from bandit.campaign.checks import parse_campaign
from bandit.domain import User, UserId
from bandit.errors import Conflict, DatasetError, InvalidInput
from bandit.service import build_service
from bandit.store import models
from bandit.store.sql.database import Store
from sim.replay.replay import kept, replay, replay_trial
from sim.replay.result import ReplayResult
from sim.replay.trial import Arm, Round, Row, Trial

START = datetime(2024, 1, 1, tzinfo=UTC)
# What each arm of the synthetic log earns from each of two kinds of users, and how often the trial chose it.
RATES = {"fond": (0.1, 0.9, 0.5), "shy": (0.1, 0.5, 0.3)}
PROBABILITIES = (0.6, 0.25, 0.15)


def quiet(_done: int, _of: int) -> None:
    """Progress that nobody watches."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Replays with as many seeds as the option says: one when every test runs, five under `make replays`."""
    if "replay_seed" in metafunc.fixturenames:
        metafunc.parametrize("replay_seed", range(1, metafunc.config.getoption("--replays") + 1))


def test_a_replay_of_hillstrom_learns_whom_an_e_mail_brings(replay_seed: int, data_folder: Path) -> None:
    result = replay("hillstrom", folder=data_folder, seed=replay_seed, database_url=None, progress=quiet)
    assert result.rows_in_log == 64_000
    assert abs(len(result.used) / 64_000 - 1 / 3) < 5 * sqrt(1 / 3 * 2 / 3 / 64_000)
    assert result.last_half.value >= 0.170  # uniform 0.147, always mens 0.183


def test_a_replay_of_drinkless_ends_sending_mostly_and_beats_silence(replay_seed: int, data_folder: Path) -> None:
    result = replay("drinkless", folder=data_folder, seed=replay_seed, database_url=None, progress=quiet)
    assert result.rows_in_log == 10_470
    assert abs(len(result.used) / 10_470 - 0.3) < 5 * sqrt(0.3 * 0.7 / 10_470)
    assert result.sent_share(result.used[-len(result.used) // 4 :]) > 0.5
    assert result.arms[0].net.value == pytest.approx(0.0363, abs=5e-5)
    assert result.mean.value > result.arms[0].net.value
    assert result.versions_published == 30


def synthetic_trial(*, rows: int, policy: dict[str, float], seed: int = 0) -> Trial:
    """A log of known truth: half the users are fonder of messages; the trial chose its arms unevenly."""
    rng = np.random.default_rng(seed)
    kinds = rng.choice(list(RATES), size=rows)
    arms = rng.choice(3, size=rows, p=PROBABILITIES)
    made = [_synthetic_row(place, str(kinds[place]), int(arms[place]), float(rng.random())) for place in range(rows)]
    document = {
        "id": "synthetic",
        "horizon_hours": 1,
        "channels": {"push": {}},
        "consent": "assumed",
        "send_times": {"quiet_hours": "none"},
        "contents": [{"id": "first"}, {"id": "second"}],
        "reward": {"window_hours": 1, "bounds": [0, 1], "events": {"opened": 1}},
        "policy": policy,
    }
    return Trial(
        name="synthetic",
        title="Synthetic",
        reward_name="opened, per user",
        campaign=parse_campaign(json.dumps(document)),
        event="opened",
        arms=tuple(
            Arm(name=name, content=content, probability=probability)
            for name, content, probability in zip(
                ("silence", "first", "second"), (None, "first", "second"), PROBABILITIES, strict=True
            )
        ),
        size=rows,
        rounds=lambda: _synthetic_rounds(made),
    )


def _synthetic_rounds(rows: list[Row]) -> Iterator[Round]:
    for first in range(0, len(rows), 300):
        yield Round(rows=tuple(rows[first : first + 300]), learn_at=rows[first].at + timedelta(hours=12))


def _synthetic_row(place: int, kind: str, arm: int, number: float) -> Row:
    return Row(
        user=User(id=UserId(f"u{place}"), timezone="UTC", features={"kind": kind}),
        cluster=place,
        at=START + place // 300 * timedelta(days=1),
        arm=arm,
        responded=number < RATES[kind][arm],
    )


def run(trial: Trial, url: str, *, seed: int = 1) -> ReplayResult:
    with closing(Store(url)) as store:
        service = build_service(store, clock="request", entropy=np.random.default_rng([seed, 1]).bytes)
        return replay_trial(trial, service, seed=seed, progress=quiet)


UNIFORM = {"uniform_holdout": 1.0}
UNIFORM_TRUTH = float(np.mean(list(RATES.values())))  # both kinds are equally many, and so are a uniform choice's arms


def test_thinning_makes_an_uneven_log_unbiased(sqlite_url: str) -> None:
    result = run(synthetic_trial(rows=4_000, policy=UNIFORM), sqlite_url)
    error = sqrt(UNIFORM_TRUTH * (1 - UNIFORM_TRUTH) / len(result.used))
    assert abs(result.mean.value - UNIFORM_TRUTH) < 4 * error
    share = min(PROBABILITIES)
    assert abs(len(result.used) / 4_000 - share) < 4 * sqrt(share * (1 - share) / 4_000)
    counts = np.bincount([row.arm for row in result.used])
    assert np.abs(counts / counts.sum() - 1 / 3).max() < 4 * sqrt(2 / 9 / counts.sum())


def test_without_thinning_an_uneven_log_is_biased(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.replay.replay.kept", lambda trial, rows, coins: [True] * len(rows))
    result = run(synthetic_trial(rows=4_000, policy=UNIFORM), sqlite_url)
    counts = np.bincount([row.arm for row in result.used])
    assert np.abs(counts / counts.sum() - 1 / 3).max() > 4 * sqrt(2 / 9 / counts.sum())
    error = sqrt(UNIFORM_TRUTH * (1 - UNIFORM_TRUTH) / len(result.used))
    assert abs(result.mean.value - UNIFORM_TRUTH) > 4 * error


def test_the_coin_that_thins_knows_the_arm_but_not_the_outcome() -> None:
    trial = synthetic_trial(rows=30_000, policy={})
    rows = [row for one in trial.rounds() for row in one.rows]
    other = [replace(row, responded=not row.responded) for row in rows]
    keeps = kept(trial, rows, np.random.default_rng(3))
    assert keeps == kept(trial, other, np.random.default_rng(3))
    for arm, probability in enumerate(PROBABILITIES):
        ours = [keep for keep, row in zip(keeps, rows, strict=True) if row.arm == arm]
        wanted = min(PROBABILITIES) / probability
        assert abs(np.mean(ours) - wanted) <= 4 * sqrt(wanted * (1 - wanted) / len(ours))


def test_only_rows_that_count_are_learned_from_and_keep_their_slot(sqlite_url: str) -> None:
    result = run(synthetic_trial(rows=1_500, policy={}), sqlite_url)
    with closing(Store(sqlite_url)) as store, store.read() as connection:
        champion = models.champion(connection, "synthetic")
        sent = connection.exec_driver_sql("SELECT count(*) FROM sends").scalar_one()
    assert champion is not None
    assert champion.events_learned == len(result.used) < 1_500
    assert champion.version == result.versions_published == 5
    assert sent == sum(row.arm != 0 for row in result.used)


def test_the_same_seed_gives_the_same_replay_and_another_seed_another(sqlite_template: Path, tmp_path: Path) -> None:
    trial = synthetic_trial(rows=900, policy={})
    results = []
    for place, seed in enumerate((1, 1, 2)):
        path = tmp_path / f"{place}.db"
        path.write_bytes(sqlite_template.read_bytes())
        results.append(run(trial, f"sqlite:///{path}", seed=seed))
    assert results[0] == results[1]
    assert results[0].used != results[2].used


def test_a_database_that_has_a_campaign_is_not_replayed_into(sqlite_url: str) -> None:
    trial = synthetic_trial(rows=300, policy={})
    run(trial, sqlite_url)
    with pytest.raises(Conflict, match="synthetic"):
        run(trial, sqlite_url)


def test_a_database_that_is_named_keeps_the_replay_and_progress_is_told(data_folder: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    def stop_after_two_rounds(done: int, of: int) -> None:
        told.append((done, of))
        if len(told) == 2:
            raise KeyboardInterrupt

    url = f"sqlite:///{tmp_path / 'kept.db'}"
    with pytest.raises(KeyboardInterrupt):
        replay("drinkless", folder=data_folder, seed=1, database_url=url, progress=stop_after_two_rounds)
    assert told == [(349, 10_470), (698, 10_470)]
    with closing(Store(url)) as store, store.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM decisions").scalar_one() == 698


@pytest.mark.parametrize(
    ("dataset", "error"), [("duolingo", InvalidInput), ("hillstrom", DatasetError), ("drinkless", DatasetError)]
)
def test_an_unknown_dataset_and_a_missing_folder_are_clear_errors(dataset: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=dataset):
        replay(dataset, folder=None, seed=1, database_url=None, progress=quiet)
