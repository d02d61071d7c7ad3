"""The loop world -> decide -> feedback: in time order, and measured on the very same opportunities."""

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from math import isnan, sqrt
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select

from bandit.campaign.checks import parse_campaign
from bandit.domain import Action
from bandit.store.sql import schema
from bandit.store.sql.database import Store
from bandit.times import utc_text
from sim.contest import drive as drives
from sim.contest.drive import Decides, InProcess, Progress, Refused, Tally, drive
from sim.world.laws import Hazards, Reporting, Spreads
from sim.world.presets import DEMO
from sim.world.world import Arrival, Document, Offer, World, build_world
from tests.support import builders

START = datetime(2026, 1, 5, tzinfo=UTC)
Choice = Callable[[World, int, datetime, Offer], Action]


def best(world: World, user: int, now: datetime, offer: Offer) -> Action:
    return offer.actions[int(np.argmax(world.expected_rewards(user, offer, now, world.new_state())))]


@dataclass(kw_only=True)
class Decider:
    """Decides by a rule that may know the truth; keeps what it was told, in the order of the calls."""

    world: World
    choose: Choice = best
    calls: list[tuple[str, list[Document]]] = field(default_factory=list)
    decided: int = 0

    def decide_batch(self, requests: Sequence[Document]) -> list[Document]:
        self.calls.append(("decide", list(requests)))
        return [self._answer(request) for request in requests]

    def feedback_batch(self, events: Sequence[Document]) -> list[Document]:
        self.calls.append(("feedback", list(events)))
        return [{"status": "accepted"} for _ in events]

    def _answer(self, request: Document) -> Document:
        user = int(request["user"]["id"].removeprefix("u-"))
        now = datetime.fromisoformat(request["now"])
        state = self.world.new_state()
        state.left[user] = [channel not in request["user"]["channels"] for channel in self.world.channels]
        action = self.choose(self.world, user, now, self.world.offer(user, now, state))
        self.decided += 1
        return {
            "decision_id": f"d-{self.decided}",
            "channel": action.channel,
            "content": action.content,
            "send_at": None if action.send_at is None else utc_text(action.send_at),
            "model_version": 0,
        }


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(seed=3, n_users=300)


def arrivals(world: World, n: int, per_day: float = 250.0) -> list[Arrival]:
    return list(islice(world.arrivals(start=START, per_day=per_day, rng=np.random.default_rng(1)), n))


def run(world: World, decider: Decides, n: int, per_day: float = 250.0, batch_size: int = 50) -> list[Progress]:
    users = arrivals(world, n, per_day)
    return list(drive(world, decider, users, batch_size=batch_size, rng=np.random.default_rng(2)))


def test_choosing_best_is_the_whole_way(world: World) -> None:
    total = run(world, Decider(world=world), 300)[-1].total
    assert total.decisions == 300
    assert total.share == pytest.approx(1.0, abs=1e-12)


def test_choosing_uniformly_is_no_way_at_all(world: World) -> None:
    luck = random.Random(5)
    n = 1_500
    total = run(world, Decider(world=world, choose=lambda _world, _user, _now, offer: luck.choice(offer.actions)), n)[
        -1
    ].total
    # Chosen values lie between about -0.1 and 1, so their standard deviation is at most 0.55.
    assert abs(total.expected - total.uniform) / n < 4.5 * 0.55 / sqrt(n)
    assert total.oracle / n > total.uniform / n + 0.2


def test_rewards_drawn_are_those_expected_on_average(world: World) -> None:
    n = 1_500
    total = run(world, Decider(world=world), n)[-1].total
    assert abs(total.realised - total.expected) / n < 4.5 * 0.75 / sqrt(n)  # opt-outs included


def moments(documents: Sequence[Document], name: str) -> list[datetime]:
    return [datetime.fromisoformat(document[name]) for document in documents]


def test_feedback_comes_in_time_order(world: World) -> None:
    decider = Decider(world=world)
    run(world, decider, 1_000)
    reported = [one for kind, events in decider.calls if kind == "feedback" for one in moments(events, "occurred_at")]
    assert reported == sorted(reported)
    assert reported[-1] > START + timedelta(days=2)


def test_feedback_comes_once_the_next_batch_lies_after_it(world: World) -> None:
    decider = Decider(world=world)
    run(world, decider, 500)
    for (kind, events), (following, requests) in pairwise(decider.calls):
        if kind == "feedback":
            assert following == "decide"
            assert max(moments(events, "occurred_at")) <= moments(requests, "now")[0]


def test_feedback_comes_after_its_decision(world: World) -> None:
    decider = Decider(world=world)
    run(world, decider, 500)
    decided = [one for kind, requests in decider.calls if kind == "decide" for one in moments(requests, "now")]
    for kind, events in decider.calls:
        if kind == "feedback":
            places = [int(event["decision_id"].removeprefix("d-")) - 1 for event in events]
            assert all(decided[one] < at for one, at in zip(places, moments(events, "occurred_at"), strict=True))


def certain(**changes: Any) -> World:
    """One user in a world without differences."""
    flat = Spreads(activity=0, annoyance=0, leaning=0, taste=0, rhythm=0, moment=0, quality=0)
    return build_world(seed=1, n_users=1, preset=replace(DEMO, spreads=flat, **changes))


def test_a_user_who_opts_out_is_not_offered_that_channel_again() -> None:
    leaving = Hazards(opt_out={"push": 0.999999, "email": 0.999999})
    lonely = certain(response_rate=1e-9, hazards=leaving)
    decider = Decider(world=lonely, choose=lambda _world, _user, _now, offer: offer.actions[-1])
    total = run(lonely, decider, 12, per_day=0.2, batch_size=1)[-1].total
    offered = [one["user"]["channels"] for kind, documents in decider.calls if kind == "decide" for one in documents]
    assert offered[0] == ["email", "push"]
    assert offered[-1] == []
    assert total.sends < 12
    assert total.opt_outs == 2


def test_a_muted_channel_earns_nothing_more_and_nobody_is_told() -> None:
    lonely = certain(response_rate=0.5, organic_rate=0.0, hazards=Hazards(mute={"push": 0.999999, "email": 0.999999}))
    decider = Decider(world=lonely, choose=lambda _world, _user, _now, offer: offer.actions[1])
    progress = run(lonely, decider, 30, per_day=0.2, batch_size=1)
    assert progress[-1].total.visits == progress[9].total.visits
    assert progress[-1].total.sends == 30
    reported = {one["event"] for kind, events in decider.calls if kind == "feedback" for one in events}
    assert reported <= {"clicked"}


def test_lost_reports_never_come_and_repeated_ones_come_twice() -> None:
    told = {}
    for name, law in [("all", Reporting()), ("lost", Reporting(lost=0.99)), ("twice", Reporting(duplicated=0.99))]:
        world = build_world(seed=3, n_users=300, preset=replace(DEMO, reporting=law))
        decider = Decider(world=world)
        run(world, decider, 400)
        told[name] = sum(len(events) for kind, events in decider.calls if kind == "feedback")
    assert told["lost"] < 0.1 * told["all"]
    assert told["twice"] > 1.8 * told["all"]


def test_an_action_that_was_not_offered_is_refused(world: World) -> None:
    late = Action(channel="push", content="food-quiz", send_at=START + timedelta(days=9))
    with pytest.raises(Refused, match="not one of the 73 actions"):
        run(world, Decider(world=world, choose=lambda *_: late), 10)


@dataclass(kw_only=True)
class Refusing(Decider):
    """Answers problems in the place of decisions, or of feedback."""

    kind: str

    def decide_batch(self, requests: Sequence[Document]) -> list[Document]:
        return [{"status": 422, "detail": "no"}] if self.kind == "decide" else super().decide_batch(requests)

    def feedback_batch(self, events: Sequence[Document]) -> list[Document]:
        return [{"status": 404, "detail": "no"} for _ in events]


@pytest.mark.parametrize(("kind", "message"), [("decide", "a request was refused"), ("feedback", "feedback was")])
def test_a_problem_in_an_answer_ends_the_run(world: World, kind: str, message: str) -> None:
    with pytest.raises(Refused, match=message):
        run(world, Refusing(world=world, kind=kind), 400, batch_size=1 if kind == "decide" else 50)


def test_the_difference_of_two_tallies_is_what_lies_between() -> None:
    first = Tally(decisions=2, sends=1, expected=0.4, realised=1.0, uniform=0.2, oracle=1.0)
    both = first + Tally(decisions=1, sends=1, expected=0.5, realised=0.0, uniform=0.1, oracle=0.5)
    between = both - first
    assert between.decisions == 1
    assert between.share == pytest.approx(1.0)
    assert first.share == pytest.approx(0.25)
    assert isnan(Tally().share)


def test_the_service_in_process_decides_stores_learns_and_swaps(world: World, sqlite_store: Store) -> None:
    service = builders.service(sqlite_store, 0, world.campaign)
    progress = run(world, InProcess(service, learn_every=100), 400, per_day=40.0, batch_size=10)
    with sqlite_store.read() as connection:
        stored = connection.execute(select(func.count()).select_from(schema.decisions)).scalar_one()
        late = connection.execute(select(func.count()).where(schema.feedback.c.late)).scalar_one()
        closed = connection.execute(select(func.count()).select_from(schema.closings)).scalar_one()
    assert stored == progress[-1].total.decisions == 400
    assert late == 0
    assert closed >= 240
    assert progress[0].model_version == 0
    assert progress[-1].model_version >= 3


def test_decisions_about_users_in_a_holdout_are_counted_apart(world: World, sqlite_store: Store) -> None:
    shares = {"uniform_holdout": 0.3, "no_send_holdout": 0.3}
    held = parse_campaign(json.dumps({**world.document, "policy": shares}))
    last = run(world, InProcess(builders.service(sqlite_store, 0, held), learn_every=1_000), 100)[-1]
    with sqlite_store.read() as connection:
        policies = Counter(connection.execute(select(schema.decisions.c.policy)).scalars())
    assert last.held_out.decisions == policies["uniform_holdout"] + policies["no_send_holdout"]
    assert (last.total - last.held_out).decisions == policies["learned"] > 0
    assert 0 < last.held_out.sends <= policies["uniform_holdout"]


def late_feedback(world: World, store: Store) -> int:
    """How many reports came late where a batch of 100 decisions would span two days and more."""
    run(world, InProcess(builders.service(store, 0, world.campaign), learn_every=100), 400, 40.0, batch_size=100)
    with store.read() as connection:
        found: int = connection.execute(select(func.count()).where(schema.feedback.c.late)).scalar_one()
    return found


def test_a_batch_ends_before_feedback_would_come_late(world: World, sqlite_store: Store) -> None:
    assert late_feedback(world, sqlite_store) == 0


def test_a_batch_that_does_not_makes_feedback_late(
    world: World, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = drives._batches
    monkeypatch.setattr(drives, "_batches", lambda arrivals, size, _span: whole(arrivals, size, timedelta(days=99)))
    assert late_feedback(world, sqlite_store) > 0


def test_it_learns(sqlite_store: Store) -> None:
    world = build_world(seed=1)
    service = builders.service(sqlite_store, 0, world.campaign)
    progress = run(world, InProcess(service, learn_every=200), 1_500)
    assert (progress[-1].total - progress[19].total).share > 0.1  # the last 500; uniform choice would be at 0
