"""What a version must show before it may serve: a poisoned, frozen or amnesic model looks fine in its pmf.

The bytes that would be published are loaded as a server would load them, and asked about fixed contexts: synthetic
users, and actions of the campaign's own channels, contents and hours. Then the copy is taught synthetic events.
A version that passes is not proven good; one that does not is broken, and never serves.

Distance to the parent is measured in how the actions rank, not in probability: a greedy policy puts 0.9 of it elsewhere
when two actions change places at the top. In simulated runs of four explorers the ranks of parent and child correlated
by 0.63 or more where at most half as much was new as was known, and by 0.82 or more from a tenth; a model that forgot
everything correlates by about 0. Where the pmf has only one peak it cannot show that, but what is forgotten is also
gone from the bytes: an engine stores a record per weight that was ever taught.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from bandit.campaign import Campaign
from bandit.domain import Content
from bandit.errors import CorruptModel, InvalidPropensity
from bandit.exploration import Pmf, with_floor
from bandit.features import SILENCE_LINE, channel_lines, new_content_lines, shared_line, time_lines
from bandit.sendtimes import SendTime
from bandit.serving import load_engine
from bandit.store.models import ModelRow
from bandit.vw import Engine, Label

USERS = 4
MOST_ACTIONS = 24  # more would take time and show nothing more
ROUND, ROUNDS = 48, 10  # synthetic events; a healthy model moves in the first round or two
MOVE = 1e-4  # by which the probability of an action must grow when it is taught to be the best
WIDEST = 10.0  # between the rewards of synthetic events
LEAST_AGREEMENT = 0.25  # rank correlation with the parent, mean over the users
LEAST_ACTIONS_RANKED = 10  # of fewer, two that change places already look like a change of mind
MOST_NEW = 0.5  # events that are new as a share of those that the parent knew: beyond, it may have changed its mind
LEAST_SIZE = 0.9  # of the parent's
MONDAY = datetime(2026, 1, 5, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contexts:
    """The fixed questions of one campaign, as the engine reads them."""

    users: tuple[str, ...]  # shared lines
    actions: tuple[str, ...]
    rewards: tuple[float, float]  # the lower and the higher one that synthetic events bring


def contexts(campaign: Campaign) -> Contexts:
    """Synthetic users, and silence with an even selection of the campaign's actions."""
    contents = campaign.catalogue_contents or (Content(id="canary"),)
    lines = (channel_lines(campaign.channel_names), new_content_lines(contents), time_lines(_times(campaign), MONDAY))
    n_channels, n_contents, n_times = map(len, lines)
    number = n_channels * n_contents * n_times
    places = sorted({number * pick // MOST_ACTIONS for pick in range(MOST_ACTIONS)})
    actions = []
    for place in places:
        rest, time = divmod(place, n_times)
        channel, content = divmod(rest, n_contents)
        actions.append(f"{lines[0][channel]} {lines[1][content]} {lines[2][time]}".rstrip())
    return Contexts(
        users=tuple(shared_line({"canary": f"user-{place}"}, {}) for place in range(USERS)),
        actions=(SILENCE_LINE, *actions),
        rewards=_rewards(*campaign.reward.bounds),
    )


def _times(campaign: Campaign) -> tuple[SendTime, ...]:
    """The campaign's local hours on one Monday, or the moment itself."""
    hours = campaign.send_times.local_hours or (12,)
    return tuple(
        SendTime(send_at=MONDAY + timedelta(hours=hour), local_hour=hour, weekday=0, is_now=False) for hour in hours
    )


def fault(row: ModelRow, campaign: Campaign, parent: ModelRow | None) -> str | None:
    """Why the version must not serve, None when nothing speaks against it.

    Args:
        row: with the bytes that would be published.
        parent: what it was taught from; None when from nothing.
    """
    asked = contexts(campaign)
    try:
        with load_engine(row) as engine:
            return (
                (None if parent is None else _estrangement(row, pmfs(engine, asked), parent, asked))
                # Last, as it changes the copy.
                or _stiffness(engine, asked)
            )
    except CorruptModel as error:
        return f"it does not load: {error}"
    except InvalidPropensity as error:
        return f"its scores are no pmf: {error}"


def pmfs(engine: Engine, asked: Contexts) -> Pmf:
    """What the engine answers, shape (users, actions); raises InvalidPropensity for scores that are not finite."""
    return np.array([with_floor(engine.predict(user, asked.actions), 0.0) for user in asked.users])


def _estrangement(row: ModelRow, answers: Pmf, parent: ModelRow, asked: Contexts) -> str | None:
    if row.size < LEAST_SIZE * parent.size:
        return f"it has {row.size} bytes, its parent {parent.size}: what was learned is gone"
    new = row.events_learned - parent.events_learned
    if len(asked.actions) < LEAST_ACTIONS_RANKED or new > MOST_NEW * parent.events_learned:
        return None
    with load_engine(parent) as before:
        agreement = _agreement(answers, pmfs(before, asked))
    if agreement < LEAST_AGREEMENT:
        return (
            f"after {new} events on top of {parent.events_learned} the ranks of its actions correlate with its "
            f"parent's by {agreement:.2f}, less than {LEAST_AGREEMENT}"
        )
    return None


def _agreement(some: Pmf, others: Pmf) -> float:
    """Rank correlation between two answers, mean over the users; ties rank in the order of the actions."""
    pairs = zip(_ranks(some), _ranks(others), strict=True)
    return float(np.mean([np.corrcoef(one, other)[0, 1] for one, other in pairs]))


def _ranks(answers: Pmf) -> Pmf:
    return answers.argsort(axis=1, kind="stable").argsort(axis=1).astype(np.float64)


def _stiffness(engine: Engine, asked: Contexts) -> str | None:
    if _moves(engine, asked):
        return None
    with Engine(engine.arguments) as untaught:
        if not _moves(untaught, asked):  # explorers can be set so that their pmf shows nothing of what they learned
            return None
    return f"it does not move when it is taught {ROUND * ROUNDS} synthetic events, an untaught engine does"


def _moves(engine: Engine, asked: Contexts) -> bool:
    """Whether the least likely action grows likelier when it is taught to be the best."""
    before = pmfs(engine, asked)[0]
    target = int(before.argmin())
    for number in range(ROUNDS):
        _teach(engine, asked, target, number)
        if pmfs(engine, asked)[0][target] - before[target] > MOVE:
            return True
    return False


def _teach(engine: Engine, asked: Contexts, target: int, number: int) -> None:
    """One round: every other event is the target with the highest reward, those between are the rest in turn."""
    n_actions = len(asked.actions)
    low, high = asked.rewards
    for place in range(ROUND):
        other = (target + 1 + (number * ROUND + place) // 2 % (n_actions - 1)) % n_actions
        taken, reward = (target, high) if place % 2 == 0 else (other, low)
        label = Label(action_index=taken, reward=reward, propensity=1.0 / n_actions)
        engine.learn(asked.users[place // 2 % USERS], asked.actions, label)


def _rewards(low: float, high: float) -> tuple[float, float]:
    """Two rewards within the bounds, around 0 where that is possible; bounds may be wide enough to drown everything."""
    lower = max(low, min(-WIDEST / 2, high - WIDEST))
    return lower, min(high, lower + WIDEST)
