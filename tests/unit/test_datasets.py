"""The published logs: only the owner's bytes are read, and they hold what is known of them."""

import json
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from bandit.errors import DatasetError, InvalidInput
from sim.ope import evaluate
from sim.replay.datasets import (
    DRINKLESS,
    DUOLINGO,
    HILLSTROM,
    OPEN_BANDIT,
    PublishedFile,
    load_drinkless,
    load_duolingo,
    load_hillstrom,
    load_open_bandit,
)
from sim.replay.published_trials import drinkless, hillstrom
from sim.replay.trial import Trial

Loader = Callable[[Path | None], pd.DataFrame]


def random_rounds(folder: Path | None) -> pd.DataFrame:
    return load_open_bandit(folder, "random")[0]


TEXTS: list[tuple[PublishedFile, Loader]] = [(HILLSTROM, load_hillstrom), (DRINKLESS, load_drinkless)]
ALONE: list[tuple[PublishedFile, Loader]] = [*TEXTS, (DUOLINGO, load_duolingo)]
LOADERS = [*ALONE, (OPEN_BANDIT["random"].rounds, random_rounds)]


@pytest.fixture(scope="module")
def hillstrom_frame(data_folder: Path) -> pd.DataFrame:
    return load_hillstrom(data_folder)


@pytest.fixture(scope="module")
def drinkless_frame(data_folder: Path) -> pd.DataFrame:
    return load_drinkless(data_folder)


@pytest.mark.parametrize(("file", "load"), LOADERS)
def test_a_missing_file_is_an_error_that_says_all_one_needs_to_get_it(
    file: PublishedFile, load: Loader, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError) as raised:
        load(tmp_path)
    for part in (str(tmp_path / file.name), file.sha256, "SENDOPT_DATA", file.source, "http"):
        assert part in str(raised.value)


@pytest.mark.parametrize(("file", "load"), LOADERS)
def test_without_a_folder_the_error_names_the_variable_the_digest_and_the_owner(
    file: PublishedFile, load: Loader
) -> None:
    with pytest.raises(DatasetError, match="SENDOPT_DATA") as raised:
        load(None)
    assert file.name in str(raised.value)
    assert file.sha256 in str(raised.value)
    assert file.source in str(raised.value)


@pytest.mark.parametrize(("file", "load"), LOADERS)
def test_one_changed_byte_is_refused_with_both_digests(
    file: PublishedFile, load: Loader, data_folder: Path, tmp_path: Path
) -> None:
    content = (data_folder / file.name).read_bytes()
    (tmp_path / file.name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file.name).write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
    with pytest.raises(DatasetError, match=re.escape(file.name)) as raised:
        load(tmp_path)
    assert file.sha256 in str(raised.value)
    assert len(set(re.findall(r"\b[0-9a-f]{64}\b", str(raised.value)))) == 2


@pytest.mark.parametrize(("file", "load"), TEXTS)
def test_without_the_check_of_the_digest_the_changed_file_would_be_read(
    file: PublishedFile, load: Loader, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = (data_folder / file.name).read_bytes()
    (tmp_path / file.name).write_bytes(content[: content.rindex(b"\n", 0, -1) + 1])
    monkeypatch.setattr("sim.replay.datasets.verified_bytes", lambda file, folder: (folder / file.name).read_bytes())
    assert len(load(tmp_path)) == len(load(data_folder)) - 1


@pytest.mark.parametrize(("file", "load"), ALONE)
def test_the_folder_may_lie_anywhere(file: PublishedFile, load: Loader, data_folder: Path, tmp_path: Path) -> None:
    shutil.copy(data_folder / file.name, tmp_path)
    assert load(tmp_path).equals(load(data_folder))


def test_hillstrom_has_the_known_arms_visits_and_spend(hillstrom_frame: pd.DataFrame) -> None:
    arms = hillstrom_frame.groupby("segment")
    assert len(hillstrom_frame) == 64_000
    assert arms.size().to_dict() == {"No E-Mail": 21_306, "Mens E-Mail": 21_307, "Womens E-Mail": 21_387}
    assert arms["visit"].mean().round(6).to_dict() == {
        "No E-Mail": 0.106167,
        "Mens E-Mail": 0.182757,
        "Womens E-Mail": 0.151400,
    }
    assert arms["spend"].mean().round(6).to_dict() == {
        "No E-Mail": 0.652789,
        "Mens E-Mail": 1.422617,
        "Womens E-Mail": 1.077202,
    }


def test_drinkless_has_the_known_arms_and_outcomes(drinkless_frame: pd.DataFrame) -> None:
    arms = drinkless_frame.groupby("subversion")["primary_outcome"]
    assert arms.size().to_dict() == {"Z": 4_212, "Y": 3_112, "X": 3_146}
    assert arms.mean().round(4).to_dict() == {"Z": 0.0363, "Y": 0.1308, "X": 0.1221}


def test_drinkless_has_every_user_once_a_day_in_the_order_of_the_trial(drinkless_frame: pd.DataFrame) -> None:
    days = drinkless_frame["days_since_download"]
    assert days.is_monotonic_increasing
    assert days.value_counts().to_dict() == dict.fromkeys(range(1, 31), 349)
    assert drinkless_frame.groupby("days_since_download")["ID"].nunique().eq(349).all()


def test_drinkless_users_habituate_to_messages(drinkless_frame: pd.DataFrame) -> None:
    sent = drinkless_frame[drinkless_frame["treatment"] == 1]
    weekly = sent["primary_outcome"].groupby((sent["days_since_download"] - 1) // 7).mean()
    assert round(weekly[0], 4) == 0.1915
    assert round(weekly[3], 4) == 0.0848


def test_the_columns_that_name_the_drinkless_arm_agree(drinkless_frame: pd.DataFrame) -> None:
    sent = drinkless_frame["treatment"] == 1
    assert (sent == (drinkless_frame["subversion"] != "Z")).all()
    assert (sent == drinkless_frame["message"].notna()).all()


def test_yesterdays_columns_of_drinkless_are_yesterdays_from_day_2_on_but_not_on_day_1(
    drinkless_frame: pd.DataFrame,
) -> None:
    yesterday = drinkless_frame.groupby("ID")["primary_outcome"].shift()
    later = drinkless_frame["days_since_download"] > 1
    assert (drinkless_frame["already_engaged"] == yesterday)[later].all()
    # On day 1 the engaged open no more often than the others: what is written there is not about them.
    first = drinkless_frame[~later].groupby("already_engaged")["primary_outcome"].mean()
    second = drinkless_frame[later].groupby("already_engaged")["primary_outcome"].mean()
    assert abs(first[1] - first[0]) < 0.01
    assert second[1] - second[0] > 0.1


@pytest.fixture(scope="module")
def duolingo_frame(data_folder: Path) -> pd.DataFrame:
    return load_duolingo(data_folder)


def test_duolingo_has_the_known_rows_rewards_and_rows_without_choice(duolingo_frame: pd.DataFrame) -> None:
    eligible = duolingo_frame["eligible_templates"].map(len)
    assert len(duolingo_frame) == 10_000
    assert round(duolingo_frame["session_end_completed"].mean(), 4) == 0.2019
    assert (eligible == 1).sum() == 610
    assert len(set().union(*duolingo_frame["eligible_templates"])) == 11
    assert (duolingo_frame["propensity"] * eligible).round(12).eq(1.0).all()


def test_duolingo_sent_only_what_was_eligible_after_what_it_had_sent_before(duolingo_frame: pd.DataFrame) -> None:
    for sent, eligible, history in zip(
        duolingo_frame["selected_template"],
        duolingo_frame["eligible_templates"],
        duolingo_frame["history"],
        strict=True,
    ):
        assert sent in eligible
        assert all(isinstance(name, str) and days > 0 for name, days in history)


def test_uniform_on_duolingo_is_worth_what_the_reference_says(duolingo_frame: pd.DataFrame, data_folder: Path) -> None:
    reference = json.loads((data_folder / "reference" / "duolingo.json").read_text())["uniform (=logging)"]
    result = evaluate(
        rewards=duolingo_frame["session_end_completed"],
        propensities=duolingo_frame["propensity"],
        target_propensities=1.0 / duolingo_frame["eligible_templates"].map(len),
    )
    assert round(result.estimates["ips"].value, 4) == reference["ips"]
    assert round(result.estimates["ips"].standard_error, 4) == round(reference["ips_se"], 4)


@pytest.mark.parametrize(("policy", "clicks"), [("random", 38), ("bts", 42)])
def test_open_bandit_has_the_known_rows_and_clicks(data_folder: Path, policy: str, clicks: int) -> None:
    rounds, items = load_open_bandit(data_folder, policy)
    assert len(rounds) == 10_000
    assert rounds["click"].sum() == clicks
    assert items["item_id"].tolist() == list(range(80))
    assert set(rounds["item_id"]) <= set(items["item_id"])
    assert set(rounds["position"]) == {1, 2, 3}
    assert rounds["propensity_score"].between(0, 1, inclusive="right").all()
    assert str(rounds["timestamp"].dt.tz) == "UTC"


def test_the_random_policy_of_open_bandit_drew_evenly(data_folder: Path) -> None:
    assert load_open_bandit(data_folder, "random")[0]["propensity_score"].eq(1 / 80).all()


def test_an_unknown_policy_of_open_bandit_is_refused(data_folder: Path) -> None:
    with pytest.raises(InvalidInput, match="'greedy' is not one of random, bts"):
        load_open_bandit(data_folder, "greedy")


def _all_features(trial: Trial) -> set[str]:
    return {name for one in trial.rounds() for row in one.rows for name in row.user.features}


def test_the_model_is_told_nothing_of_hillstrom_that_came_after_the_e_mail(hillstrom_frame: pd.DataFrame) -> None:
    trial = hillstrom(hillstrom_frame.head(2_000), seed=1)
    assert _all_features(trial) == {
        "recency_months",
        "spend",  # of the year before
        "spend_segment",
        "bought_mens",
        "bought_womens",
        "zip_code",
        "newbie",
        "channel",
    }
    spends = {row.user.features["spend"] for one in trial.rounds() for row in one.rows}
    assert spends == set(hillstrom_frame.head(2_000)["history"])


def test_the_model_is_told_nothing_of_drinkless_that_came_after_8_pm(drinkless_frame: pd.DataFrame) -> None:
    trial = drinkless(drinkless_frame)
    assert _all_features(trial) == {
        "age",
        "audit_score",
        "gender",
        "employment",
        "days_since_download",
        "opened_before_8pm",
        "opened_8_to_9pm_yesterday",
        "opened_after_9pm_yesterday",
    }
    assert not any(name.endswith("yesterday") for row in next(trial.rounds()).rows for name in row.user.features)


def test_every_hillstrom_customer_is_met_once_in_an_order_that_follows_from_the_seed(
    hillstrom_frame: pd.DataFrame,
) -> None:
    head = hillstrom_frame.head(3_000)
    orders = [[row.cluster for one in hillstrom(head, seed=seed).rounds() for row in one.rows] for seed in (1, 1, 2)]
    assert sorted(orders[0]) == list(range(3_000))
    assert orders[0] == orders[1] != orders[2]


def test_every_drinkless_round_is_one_evening_at_8_pm_in_london(drinkless_frame: pd.DataFrame) -> None:
    trial = drinkless(drinkless_frame)
    assert [len(one.rows) for one in trial.rounds()] == [349] * 30
    assert [{row.at for row in one.rows} for one in trial.rounds()] == [
        {datetime(2020, 1, day, 20, tzinfo=UTC)} for day in range(1, 31)
    ]


def test_a_drinkless_message_costs_its_price_whether_or_not_it_is_opened(drinkless_frame: pd.DataFrame) -> None:
    trial = drinkless(drinkless_frame)
    rewards = {(row.arm, row.responded): trial.reward(row) for row in next(trial.rounds()).rows}
    assert rewards == {
        (0, False): 0.0,
        (0, True): 1.0,
        **{(arm, opened): opened - 0.02 for arm in (1, 2) for opened in (False, True)},
    }
