"""GET /campaigns/{id}/insights: the dashboard's data of a campaign, from sums over final decisions."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from math import isfinite
from typing import Any

import numpy as np
from flask import Blueprint, Response
from sqlalchemy import Connection, Row

from api.edge.auth import Scope, needs
from api.edge.operations import Parameter, describes
from api.edge.shared import answer, shared, whole_number
from bandit.domain import Policy
from bandit.serve.campaigns import StoredCampaign
from bandit.store import sums as outcomes
from bandit.times import utc_text
from bandit.wire.insights import (
    ContentsByDay,
    DailyMean,
    Insights,
    LearningByDay,
    Lift,
    PolicyMean,
    SendsByHour,
)
from sim.common.means import Mean, difference, mean_of_sums

DEFAULT_DAYS, MOST_DAYS = 30, 366

Rows = Sequence[Row[*tuple[Any, ...]]]

DAYS = Parameter(
    name="days",
    place="query",
    what="How many days, up to the last one with a final reward.",
    schema={"type": "integer", "minimum": 1, "maximum": MOST_DAYS, "default": DEFAULT_DAYS},
    example=DEFAULT_DAYS,
)

blueprint = Blueprint("insights", __name__)


@blueprint.get("/campaigns/<campaign_id>/insights")
@needs(Scope.READ)
@describes(
    "Campaigns",
    "What a campaign's policies earned and chose, from final rewards",
    answers={200: Insights},
    errors=(404,),
    parameters=(DAYS,),
)
def get_insights(campaign_id: str) -> Response:
    service = shared().service
    stored = service.campaigns.get(campaign_id)
    days = whole_number("days", default=DEFAULT_DAYS, most=MOST_DAYS)
    with service.store.read() as connection:
        # Up to the last final day, not to today: rewards may take longer than the requested number of days.
        last = outcomes.last_day(connection, campaign_id) or service.clock.now()
        return answer(_insights(connection, stored, days, last - timedelta(days=days - 1)))


def _insights(connection: Connection, stored: StoredCampaign, days: int, since: datetime) -> Insights:
    campaign_id = stored.campaign.id
    rewards = outcomes.rewards_by_group(connection, campaign_id, since)
    overall = _means(rewards)
    return Insights(
        campaign=campaign_id,
        days=days,
        mode=stored.campaign.mode,
        paused=stored.paused,
        rewards=[
            DailyMean(day=_date(day), **_mean_fields(policy, mean))
            for day, of_day in groupby(rewards, key=lambda row: row.day)
            for policy, mean in _means(list(of_day)).items()
        ],
        overall=[PolicyMean(**_mean_fields(policy, mean)) for policy, mean in overall.items()],
        lift=_lift(overall),
        sends=[_sends(row) for row in outcomes.sends_by_hour(connection, campaign_id, since)],
        contents=[
            ContentsByDay(day=_date(row.day), policy=row.policy, content=row.content, decisions=row.decisions)
            for row in outcomes.contents_by_day(connection, campaign_id, since)
        ],
        learning=[
            _learning(row)
            for row in outcomes.exploration_by_day(connection, campaign_id, since)
            if row.policy == Policy.LEARNED
        ],
    )


def _means(rows: Rows) -> dict[str, Mean]:
    """The mean reward of each policy, users in groups as clusters."""
    sums: dict[str, dict[int, np.ndarray[Any, np.dtype[np.float64]]]] = defaultdict(lambda: defaultdict(_nothing))
    for row in rows:
        sums[row.policy][row.user_group] += (row.reward, row.decisions)
    return {policy: _mean(groups.values()) for policy, groups in sorted(sums.items())}


def _nothing() -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.zeros(2)


def _mean(groups: Iterable[np.ndarray[Any, np.dtype[np.float64]]]) -> Mean:
    rewards, counts = np.array(list(groups)).T
    return mean_of_sums(rewards, counts)


def _mean_fields(policy: str, mean: Mean) -> dict[str, Any]:
    """The mean with its interval; null if there is only one group of users."""
    return {
        "policy": policy,
        "n": mean.n,
        "mean": mean.value,
        "lower": _known(mean.lower),
        "upper": _known(mean.upper),
    }


def _known(number: float) -> float | None:
    return number if isfinite(number) else None


def _lift(overall: dict[str, Mean]) -> Lift | None:
    """The lift of sending: the learned policy's mean reward minus that of the no-send holdout."""
    learned, silent = overall.get(Policy.LEARNED), overall.get(Policy.NO_SEND_HOLDOUT)
    if learned is None or silent is None:
        return None
    value, lower, upper = difference(learned, silent)
    return Lift(value=value, lower=_known(lower), upper=_known(upper))


def _sends(row: Row[*tuple[Any, ...]]) -> SendsByHour:
    rewarded = int(row.decisions - row.voided)
    return SendsByHour(
        policy=row.policy,
        channel=row.channel,
        local_hour=row.local_hour,
        sends=row.decisions,
        mean_reward=row.reward / rewarded if rewarded else None,
    )


def _learning(row: Row[*tuple[Any, ...]]) -> LearningByDay:
    decisions = int(row.decisions)
    return LearningByDay(
        day=_date(row.day),
        decisions=decisions,
        exploration_share=int(row.explored) / decisions,
        entropy=row.entropy / decisions,
    )


def _date(day: datetime) -> str:
    return utc_text(day)[:10]
