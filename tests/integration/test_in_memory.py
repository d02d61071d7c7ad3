"""The service without its store decides exactly what the service in process decides."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import islice

import numpy as np
import pytest

from bandit.campaign.document import Campaign
from bandit.campaign.rewards import reward_of
from bandit.engine.load import learner_of
from bandit.learn import fall
from sim.common.scratch import scratch_service
from sim.contest.drive import Decides, InProcess, Tally, drive
from sim.contest.in_memory import InMemory
from sim.contest.learners import LEARNERS, with_learner
from sim.world.presets import PRESETS, SMALL_TEAM
from sim.world.world import START, Document, World, build_world
from tests.support.outages import OUTAGES, Interrupted, Outage

LEARN_EVERY = 100


@dataclass(kw_only=True)
class Noting:
    """Passes everything on, and keeps the answers and statuses."""

    inner: Decides
    answers: list[Document] = field(default_factory=list)

    def decide_batch(self, requests: Sequence[Document]) -> list[Document]:
        answers = self.inner.decide_batch(requests)
        self.answers += answers
        return answers

    def feedback_batch(self, events: Sequence[Document]) -> list[Document]:
        answers = self.inner.feedback_batch(events)
        self.answers += answers
        return answers


def lived(world: World, player: Decides, n: int) -> tuple[list[Document], Tally]:
    """Every answer of a run, and what it came to."""
    noting, state = Noting(inner=player), world.new_state()
    arrivals = islice(world.arrivals(start=START, per_day=world.preset.per_day, rng=np.random.default_rng(1)), n)
    *_, last = drive(world, noting, arrivals, batch_size=50, rng=np.random.default_rng(2), state=state)
    return noting.answers, last.total


def in_process(world: World, campaign: Campaign, n: int, outage: Outage | None = None) -> tuple[list[Document], Tally]:
    with scratch_service(None, 7) as service:
        service.campaigns.put(campaign)
        player = InProcess(service, learn_every=LEARN_EVERY)
        return lived(world, player if outage is None else interrupted(player, outage), n)


def interrupted(player: Decides, outage: Outage) -> Interrupted:
    return Interrupted(inner=player, outage=outage, begin=START + timedelta(days=3))


def in_memory(campaign: Campaign) -> InMemory:
    learner = learner_of(campaign.learner_arguments)
    entropy = np.random.default_rng([7, 1]).bytes  # as the scratch service's
    return InMemory(campaign, learner, entropy=entropy, learn_every=LEARN_EVERY)


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize(("preset", "n"), [("demo", 800), ("small_team", 800), ("habit_push", 800), ("thousand", 500)])
def test_it_decides_and_earns_exactly_what_the_service_does(preset: str, n: int, learner: str) -> None:
    world = build_world(seed=3, preset=PRESETS[preset], n_users=150)
    campaign = with_learner(world.document, learner)
    player = in_memory(campaign)
    (answers, total), (served, earned) = lived(world, player, n), in_process(world, campaign, n)
    assert answers == served  # ids, actions, propensities, versions and statuses, to the last bit
    assert total == earned
    assert player.version >= 1
    assert player.learner.experience() > 0


def test_after_a_fall_both_start_from_nothing_at_the_same_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """No report comes from the fourth day on, and a detector that is much too quick finds a fall."""
    monkeypatch.setattr(fall, "FIRST", 150)
    monkeypatch.setattr(fall, "LIMIT", 5.0)
    world = build_world(seed=3, preset=replace(SMALL_TEAM, name="answering", response_rate=0.4), n_users=150)
    player = in_memory(world.campaign)
    answers, _ = lived(world, interrupted(player, OUTAGES["all_lost"]), 1_300)
    served, _ = in_process(world, world.campaign, 1_300, OUTAGES["all_lost"])
    assert player.restarts > 0
    assert answers == served


def test_other_rewards_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A twin that forgets the cost of a send is no longer equal."""
    world = build_world(seed=3, preset=PRESETS["demo"], n_users=150)
    served, _ = in_process(world, world.campaign, 800)
    monkeypatch.setattr(
        "sim.contest.in_memory.reward_of", lambda campaign, _channel, events: reward_of(campaign, None, events)
    )
    answers, _ = lived(world, in_memory(world.campaign), 800)
    assert answers != served
