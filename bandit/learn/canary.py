"""The canary: checks every version before it is published, because a broken model can have a normal pmf.

The bytes that would be published are loaded as a server would load them, and predict for fixed contexts: synthetic
users, and actions of the campaign's own channels, contents and hours. Then the copy is trained on synthetic events. A
version that passes is not proven to be good; a version that fails is poisoned, frozen, or has lost what its parent
knew, and is never served.

The distance to the parent is measured by what was learned, not by predictions. If two actions are equally good, a
greedy policy can move 0.9 of its probability from one version to the next. If no action is better than another, all
ranks change (in simulated runs without a signal, correlations down to -0.5 with 3 % new events). The amount that an
engine was taught, however, can only grow, and so can its bytes: it keeps a record for each weight that was ever taught.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import isfinite, prod

import numpy as np

from bandit.campaign.document import Campaign
from bandit.decide.exploration import Pmf, with_floor
from bandit.decide.features import channel_lines, new_content_lines, shared_line, time_lines
from bandit.domain import Content
from bandit.engine.cells import cell_at, mask_of
from bandit.engine.learner import Lesson, OnlineLearner
from bandit.engine.lines import ActionLines
from bandit.engine.load import learner_of
from bandit.errors import CorruptModel, InvalidPropensity
from bandit.sendtimes import SendTime
from bandit.serve.models import load_version
from bandit.store.models import ModelRow

USERS = 4
MOST_ACTIONS = 24  # more would take time without showing more
ROUND, ROUNDS = 48, 10  # synthetic events; a healthy model moves in the first one or two rounds
MOVE = 1e-4  # least growth of an action's probability, or least change of its expected reward relative to the range
WIDEST = 10.0  # largest range between the rewards of synthetic events
LEAST_KEPT = 0.99  # relative to the parent; a tolerance, because the sums are 32-bit numbers
MONDAY = datetime(2026, 1, 5, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contexts:
    """The fixed contexts of one campaign, as the engine reads them."""

    users: tuple[str, ...]  # shared lines
    actions: ActionLines
    rewards: tuple[float, float]  # the lower and the higher reward of synthetic events


def contexts(campaign: Campaign) -> Contexts:
    """Synthetic users, and silence with an even selection of the campaign's actions."""
    contents = campaign.catalogue_contents or (Content(id="canary"),)
    times = time_lines(_times(campaign), MONDAY, horizon_hours=campaign.horizon_hours)
    lines = (channel_lines(campaign.channel_names), new_content_lines(contents), times)
    number, size = prod(map(len, lines)), (len(lines[1]), len(lines[2]))
    places = {number * pick // MOST_ACTIONS for pick in range(MOST_ACTIONS)}
    return Contexts(
        users=tuple(shared_line({"canary": f"user-{place}"}, {}) for place in range(USERS)),
        actions=ActionLines(*lines, mask=mask_of([cell_at(place, *size) for place in places], *size)),
        rewards=_rewards(*campaign.reward.bounds),
    )


def _times(campaign: Campaign) -> tuple[SendTime, ...]:
    """The campaign's local hours on a Monday, or the moment itself."""
    hours = campaign.send_times.local_hours or (12,)
    return tuple(
        SendTime(send_at=MONDAY + timedelta(hours=hour), local_hour=hour, weekday=0, is_now=False) for hour in hours
    )


def fault(row: ModelRow, campaign: Campaign, parent: ModelRow | None) -> str | None:
    """Why the version must not serve; None if it may.

    Args:
        row: the version, with the bytes that would be published.
        parent: the version from which it was taught; None: from nothing.
    """
    asked = contexts(campaign)
    try:
        with load_version(row) as engine:
            if not isfinite(engine.experience()):
                return "its weights are not finite"
            pmfs(engine, asked)  # raises for scores that are none
            lost = None if parent is None else _loss(engine, row, parent)
            return lost or _stiffness(engine, asked)  # last, because it changes the copy
    except CorruptModel as error:
        return f"it does not load: {error}"
    except InvalidPropensity as error:
        return f"its scores are no pmf: {error}"


def pmfs(engine: OnlineLearner, asked: Contexts) -> Pmf:
    """The engine's predictions, shape (users, actions); raises InvalidPropensity for scores that are not finite."""
    return np.array([with_floor(engine.predict(user, asked.actions), 0.0) for user in asked.users])


def _loss(engine: OnlineLearner, row: ModelRow, parent: ModelRow) -> str | None:
    """The fault of a version that has lost what its parent knew, or None."""
    if engine.bytes_grow and row.size < LEAST_KEPT * parent.size:
        return f"it has {row.size} bytes, its parent {parent.size}: what was learned is gone"
    with load_version(parent) as before:
        kept, known = engine.experience(), before.experience()
    if not kept >= LEAST_KEPT * known:  # false for NaN as well
        return f"of the {known:.4g} that its parent was taught it has {kept:.4g}: what was learned is gone"
    return None


def _stiffness(engine: OnlineLearner, asked: Contexts) -> str | None:
    if _moves(engine, asked):
        return None
    with learner_of(engine.arguments) as untaught:
        if not _moves(
            untaught, asked
        ):  # some settings of explorers give a pmf that does not depend on what was learned
            return None
    return f"it does not move when it is taught {ROUND * ROUNDS} synthetic events, an untaught engine does"


def _moves(engine: OnlineLearner, asked: Contexts) -> bool:
    """Whether the prediction for the least promising action changes when it is taught to be the best.

    It uses the expected reward, if the engine has one. The probability may stay the same for a thousand events after a
    single opt-out at many times the worth of a click, and may grow or shrink without any learning as exploration
    decreases.
    """
    expected, (low, high) = _expected(engine, asked), asked.rewards
    before = pmfs(engine, asked)[0] if expected is None else expected
    target = int(before.argmin())
    for number in range(ROUNDS):
        _teach(engine, asked, target, number)
        after = _expected(engine, asked)
        if after is None and pmfs(engine, asked)[0][target] - before[target] > MOVE:
            return True
        if after is not None and abs(after[target] - before[target]) > MOVE * (high - low):
            return True
    return False


def _expected(engine: OnlineLearner, asked: Contexts) -> Pmf | None:
    """The expected reward of each action for one user; None if the engine has none."""
    actions = asked.actions
    rewards = [engine.expected(asked.users[0], actions, index) for index in range(len(actions.joined()))]
    return None if None in rewards else np.array(rewards, dtype=np.float64)


def _teach(engine: OnlineLearner, asked: Contexts, target: int, number: int) -> None:
    """One round of training: every second event is the target with the high reward, the others are other actions."""
    n_actions = len(asked.actions.joined())
    low, high = asked.rewards
    for place in range(ROUND):
        other = (target + 1 + (number * ROUND + place) // 2 % (n_actions - 1)) % n_actions
        taken, reward = (target, high) if place % 2 == 0 else (other, low)
        lesson = Lesson(
            shared=asked.users[place // 2 % USERS],
            actions=asked.actions,
            action_index=taken,
            propensity=1.0 / n_actions,
            reward=reward,
        )
        engine.learn(lesson)


def _rewards(low: float, high: float) -> tuple[float, float]:
    """Two rewards within the bounds, if possible around 0; they are close, because bounds may be very wide."""
    lower = max(low, min(-WIDEST / 2, high - WIDEST))
    return lower, min(high, lower + WIDEST)
