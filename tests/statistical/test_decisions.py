"""Over 20,000 stored decisions the draws are those of the stored pmf."""

from datetime import timedelta

import numpy as np
from sqlalchemy import select

from bandit.domain import DecideRequest, Features
from bandit.service import Service
from bandit.store.sql import schema
from bandit.store.sql.database import Store
from tests.support.builders import MORNING, WINDOW, advance, campaign, decide, feedback, give, request, service
from tests.support.chisquare import p_value

CONTEXTS: tuple[Features, ...] = (
    {"country": "US", "premium": True},
    {"country": "IN", "premium": False},
    {"country": "DE", "days_since_visit": 12.0},
    {},
)
PER_CONTEXT, AT_ONCE = 5_000, 250
LEAST_P_VALUE = 0.001
LATER = MORNING + WINDOW + timedelta(hours=1)


def about(context: int, user: int, *, later: bool = True) -> DecideRequest:
    """A request about a user whom nothing but the context's features describes."""
    return request(
        f"{'new' if later else 'old'}-{context}-{user}", LATER if later else MORNING, features=CONTEXTS[context]
    )


def teach(live: Service) -> None:
    """Gives the model a taste that differs between the contexts, so that the pmfs are far from uniform."""
    records = decide(live, [about(user % len(CONTEXTS), user, later=False) for user in range(1_200)])
    liked = ("push", "email", "push", "email")
    give(
        live,
        [
            feedback(record, "clicked", 3)
            for place, record in enumerate(records)
            if record.decision.action.channel == liked[place % len(CONTEXTS)]
        ],
    )
    advance(live, LATER)
    assert live.learner.run_pass().learned == 1_200
    live.models.refresh()


def test_over_20_000_decisions_the_draws_match_the_stored_pmf(sqlite_store: Store) -> None:
    live = service(sqlite_store, 7, campaign())
    teach(live)
    for context in range(len(CONTEXTS)):
        for first in range(0, PER_CONTEXT, AT_ONCE):
            decide(live, [about(context, user) for user in range(first, first + AT_ONCE)])

    table = schema.decisions
    columns = select(table.c.user_id, table.c.pmf, table.c.action_index, table.c.propensity, table.c.model_version)
    with sqlite_store.read() as connection:
        rows = connection.execute(columns.where(table.c.user_id.startswith("new-"))).all()

    assert len(rows) == PER_CONTEXT * len(CONTEXTS)
    for context in range(len(CONTEXTS)):
        own = [row for row in rows if row.user_id.startswith(f"new-{context}-")]
        pmf = np.frombuffer(own[0].pmf, dtype="<f8")
        assert all(row.pmf == own[0].pmf and row.model_version == 1 for row in own)
        assert abs(pmf.sum() - 1) < 1e-9
        assert all(row.propensity == pmf[row.action_index] for row in own)
        assert pmf.max() > 2 / len(pmf)
        assert p_value(pmf, np.bincount([row.action_index for row in own], minlength=len(pmf))) > LEAST_P_VALUE


def test_draws_that_favour_one_action_by_a_twentieth_would_be_noticed() -> None:
    pmf = np.full(19, 1 / 19)
    other = 0.95 * pmf
    other[3] += 0.05

    assert p_value(pmf, np.random.default_rng(3).multinomial(PER_CONTEXT, other)) < LEAST_P_VALUE
