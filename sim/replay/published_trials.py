"""The published trials, ready for a replay: users, features known before, and arms."""

import json
from collections.abc import Hashable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from bandit.campaign.checks import parse_campaign
from bandit.campaign.document import Campaign
from bandit.domain import Features, User, UserId
from bandit.sendtimes import zone
from sim.replay.trial import Arm, Round, Row, Trial

Record = dict[Hashable, Any]

WINDOW_HOURS = 1.0
HILLSTROM_START = datetime(2008, 3, 20, tzinfo=UTC)  # the file has no times: the day of its publication
HILLSTROM_STEP = timedelta(minutes=1)
# The maximum of one batch over HTTP. A pass of the learner costs as much as 100 decisions, whatever it learns; in
# simulated trials of this kind, rounds of 250, 500 and 1,000 rows earned the same.
HILLSTROM_ROUND = 1_000
DRINKLESS_ZONE = "Europe/London"
DRINKLESS_DAY_1 = date(2020, 1, 1)  # each user had a first day of their own; here they share one calendar


def hillstrom(frame: pd.DataFrame, *, seed: int) -> Trial:
    """The e-mail challenge, each customer once, shuffled by the seed because the file has no order in time."""
    shuffled = frame.iloc[np.random.default_rng(seed).permutation(len(frame))]
    return Trial(
        name="hillstrom",
        title="Hillstrom's e-mail challenge",
        reward_name="visits within two weeks, per customer",
        campaign=_campaign("hillstrom", channel="email", cost=0.0, contents=["mens", "womens"], event="visit"),
        event="visit",
        arms=(
            Arm(name="no e-mail", content=None, probability=1 / 3),
            Arm(name="mens", content="mens", probability=1 / 3),
            Arm(name="womens", content="womens", probability=1 / 3),
        ),
        size=len(shuffled),
        rounds=partial(_hillstrom_rounds, shuffled),
    )


def _hillstrom_rounds(frame: pd.DataFrame) -> Iterator[Round]:
    for first in range(0, len(frame), HILLSTROM_ROUND):
        records = _records(frame.iloc[first : first + HILLSTROM_ROUND])
        rows = tuple(_hillstrom_row(place, record) for place, record in enumerate(records, start=first))
        yield Round(rows=rows, learn_at=rows[-1].at + HILLSTROM_STEP)


_HILLSTROM_ARMS = {"No E-Mail": 0, "Mens E-Mail": 1, "Womens E-Mail": 2}


def _hillstrom_row(place: int, record: Record) -> Row:
    features: Features = {
        "recency_months": record["recency"],
        "spend": record["history"],
        "spend_segment": record["history_segment"],
        "bought_mens": record["mens"] == 1,
        "bought_womens": record["womens"] == 1,
        "zip_code": record["zip_code"],
        "newbie": record["newbie"] == 1,
        "channel": record["channel"],
    }
    return Row(
        user=User(id=UserId(f"customer-{record['Index']}"), timezone="UTC", features=features),
        cluster=record["Index"],
        at=HILLSTROM_START + place * HILLSTROM_STEP,
        arm=_HILLSTROM_ARMS[record["segment"]],
        responded=record["visit"] == 1,
    )


def drinkless(frame: pd.DataFrame) -> Trial:
    """The micro-randomised trial, day by day in its order, with the features that were known at 8 p.m."""
    return Trial(
        name="drinkless",
        title="Drink Less micro-randomised trial",
        reward_name="app opened within the hour, less 0.02 a message, per evening",
        campaign=_campaign("drinkless", channel="push", cost=0.02, contents=["standard", "new"], event="opened"),
        event="opened",
        arms=(
            Arm(name="no message", content=None, probability=0.4),
            Arm(name="standard", content="standard", probability=0.3),
            Arm(name="new", content="new", probability=0.3),
        ),
        size=len(frame),
        rounds=partial(_drinkless_rounds, frame),
    )


def _drinkless_rounds(frame: pd.DataFrame) -> Iterator[Round]:
    clusters = {user: place for place, user in enumerate(sorted(frame["ID"].unique()))}
    for day, evening in frame.groupby("days_since_download"):
        at = _drinkless_evening(int(str(day)))
        rows = tuple(_drinkless_row(at, clusters[record["ID"]], record) for record in _records(evening))
        yield Round(rows=rows, learn_at=at + timedelta(hours=WINDOW_HOURS))


_DRINKLESS_ARMS = {"Z": 0, "Y": 1, "X": 2}


def _drinkless_evening(day: int) -> datetime:
    """8 p.m. of a day, counted from 1."""
    local = datetime.combine(DRINKLESS_DAY_1 + timedelta(days=day - 1), time(20), tzinfo=zone(DRINKLESS_ZONE))
    return local.astimezone(UTC)


def _drinkless_row(at: datetime, cluster: int, record: Record) -> Row:
    return Row(
        user=User(id=UserId(record["ID"]), timezone=DRINKLESS_ZONE, features=_drinkless_features(record)),
        cluster=cluster,
        at=at,
        arm=_DRINKLESS_ARMS[record["subversion"]],
        responded=record["primary_outcome"] == 1,
    )


def _drinkless_features(record: Record) -> Features:
    """Features that were known at 8 p.m., without the trial's own sends, which the service's history replaces."""
    known: dict[str, Any] = {
        "age": record["age"],
        "audit_score": record["AUDIT_score"],
        "gender": str(record["gender"]),
        "employment": str(record["employment_type"]),
        "days_since_download": record["days_since_download"],
        "opened_before_8pm": record["before_8pm"] == 1,
    }
    if record["days_since_download"] > 1:  # day 1 has the value of another evening
        known["opened_8_to_9pm_yesterday"] = record["already_engaged"] == 1
        known["opened_after_9pm_yesterday"] = record["after_9pm_day_before"] == 1
    return known


def _records(frame: pd.DataFrame) -> list[Record]:
    """The rows as plain Python values by column, and the frame's index under "Index"."""
    return frame.rename_axis("Index").reset_index().to_dict("records")


def _campaign(name: str, *, channel: str, cost: float, contents: Sequence[str], event: str) -> Campaign:
    """The arms of the trial as a campaign: its messages now, or silence. The policy is the project's default."""
    return parse_campaign(
        json.dumps(
            {
                "id": name,
                "horizon_hours": WINDOW_HOURS,
                "channels": {channel: {"cost": cost}},
                "consent": "assumed",  # of those whom the trial sent to
                "send_times": {"quiet_hours": "none"},  # the trial had none
                "contents": [{"id": content} for content in contents],
                "reward": {"window_hours": WINDOW_HOURS, "bounds": [-1.0, 1.0], "events": {event: 1.0}},
            }
        )
    )
