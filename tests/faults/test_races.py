"""Many requests at once, on both databases: caps hold, and one key is one decision."""

import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from hashlib import blake2b
from threading import Barrier
from typing import TypeVar

import pytest
from sqlalchemy import func, select

from bandit.campaign.document import Campaign
from bandit.decide.decision import DecisionRecord, decide
from bandit.domain import Decision
from bandit.errors import Conflict
from bandit.ids import new_decision_id
from bandit.serve.decisions import Ask, Decider, Outcome, Repeatable, Repeated
from bandit.store import decisions, histories
from bandit.store.sql import schema
from bandit.store.sql.database import Store
from tests.support.builders import MORNING, campaign, request, service

USERS, RACERS = 500, 16
AT_ONCE = 25  # decisions of a transaction: sixteen of these race, and a commit is paid for 25 times less often
KEYS, THREADS = 200, 20
Result = TypeVar("Result")


def capped(count: int) -> Campaign:
    """18 sends and silence, evenly at first: of 16 decisions about a user at least three want to send."""
    return campaign(caps={"count": count, "hours": 24})


def race(url: str, run: Callable[[Decider, int], Result], threads: int) -> list[Result]:
    """What each thread gives, all started together, each with a service of its own as a process would have."""
    start = Barrier(threads)

    def racer(thread: int) -> Result:
        with closing(Store(url)) as store:
            decider = service(store, seed=thread).decider
            start.wait()
            return run(decider, thread)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(racer, range(threads)))


def sends_per_user(store: Store) -> Counter[str]:
    with store.read() as connection:
        rows = connection.execute(select(schema.sends.c.user_id, func.count()).group_by(schema.sends.c.user_id))
        return Counter({row[0]: row[1] for row in rows})


def decide_about_everybody(decider: Decider, thread: int) -> list[Outcome]:
    """One decision about each user, in an order of this thread's own."""
    asks = [Ask(request=request(f"u-{user}", MORNING)) for user in range(USERS)]
    random.Random(thread).shuffle(asks)
    portions = [asks[first : first + AT_ONCE] for first in range(0, USERS, AT_ONCE)]
    return [outcome for portion in portions for outcome in decider.decide_many(portion)]


@pytest.mark.parametrize("cap", [1, 3])
def test_sixteen_decisions_at_once_about_each_of_500_users_fill_a_cap_and_never_break_it(
    database_url: str, cap: int
) -> None:
    with closing(Store(database_url)) as store:
        service(store, 0, capped(cap))
        outcomes = [outcome for thread in race(database_url, decide_about_everybody, RACERS) for outcome in thread]
        per_user = sends_per_user(store)

    assert Counter(type(outcome) for outcome in outcomes) == {DecisionRecord: USERS * RACERS}
    assert per_user.total() == USERS * cap
    assert set(per_user.values()) == {cap}


def test_looking_first_and_reserving_later_would_break_the_cap(database_url: str) -> None:
    """The red twin: two who read the history before either has reserved both find the last slot free."""
    both_have_looked = Barrier(2)

    def look_then_reserve(decider: Decider, thread: int) -> None:
        asked, key = request("u-1", MORNING), ("spring", "u-1")
        with decider.store.read() as connection:
            live = decider.campaigns.live(connection, ["spring"])["spring"]
            history = histories.load(connection, [key], {"spring": live.document}, MORNING.replace(year=2025))[key]
            model = decider.models.model_for(live.document)
        both_have_looked.wait()
        send = None
        while send is None:  # until the draw is a send
            decision_id = new_decision_id(MORNING, decider.entropy)
            record = decide(live, asked, history, model, decision_id=decision_id, now=MORNING)
            send = record.reserved_send
        with decider.store.write() as connection:
            decisions.insert_decisions(connection, [(record, 26.0)])

    with closing(Store(database_url)) as store:
        service(store, 0, capped(1))
        race(database_url, look_then_reserve, 2)
        assert sends_per_user(store) == {"u-1": 2}


def rendered(decision: Decision) -> bytes:
    return f"{decision.id} {decision.propensity!r}".encode()


def repeatable(place: int, body: bytes) -> Ask:
    digest = blake2b(body, digest_size=16).digest()
    key = Repeatable(key=f"key-{place}", body_digest=digest, render=rendered)
    return Ask(request=request(f"u-{place}", MORNING), repeatable=key)


def use_every_key(decider: Decider, thread: int) -> dict[int, bytes]:
    """The answer under each key, asked for in an order of this thread's own."""
    places = random.Random(thread).sample(range(KEYS), KEYS)
    portions = [places[first : first + AT_ONCE] for first in range(0, KEYS, AT_ONCE)]
    answers = {}
    for portion in portions:
        outcomes = decider.decide_many([repeatable(place, b"the same") for place in portion])
        answers.update({place: answer_of(outcome) for place, outcome in zip(portion, outcomes, strict=True)})
    return answers


def answer_of(outcome: Outcome) -> bytes:
    if isinstance(outcome, DecisionRecord):
        return rendered(outcome.decision)
    assert isinstance(outcome, Repeated)
    return outcome.answer


def test_twenty_threads_with_the_same_200_keys_make_200_decisions_and_get_the_same_bytes(database_url: str) -> None:
    with closing(Store(database_url)) as store:
        first = service(store, 0, capped(3)).decider
        answers = race(database_url, use_every_key, THREADS)
        with store.read() as connection:
            made = connection.execute(select(func.count()).select_from(schema.decisions)).scalar_one()
        (other_body,) = first.decide_many([repeatable(7, b"another")])

    assert made == KEYS
    assert all(answer == answers[0] for answer in answers)
    assert isinstance(other_body, Conflict)
