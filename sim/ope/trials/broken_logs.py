"""Logs that are sound, and logs that are broken in ways that real ones are, each with what the target would earn.

Three arms, drawn with fixed probabilities; the target likes the best one. What is broken, and what arrays can show of
it, is said with each maker.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np

from sim.common.arrays import Floats, Ints
from sim.ope.special.embedding import marginal_propensities
from sim.ope.trials.coverage import ARM_MEANS, LOGGING, TARGET

ROWS = 2_000
Maker = Callable[[np.random.Generator], "BrokenLog"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenLog:
    """A log as `sim.ope.evaluate` takes it, and the truth that its interval should hold."""

    arrays: Mapping[str, Any]
    truth: float
    refusable: bool = True  # whether its arrays can show what is wrong with it


def _rows(rng: np.random.Generator, n: int) -> Ints:
    return rng.choice(len(LOGGING), size=n, p=LOGGING)


def _log(arms: Ints, rewards: Floats, truth: float, **more: Any) -> BrokenLog:
    known = {"rewards": rewards, "propensities": LOGGING[arms], "target_propensities": TARGET[arms]}
    return BrokenLog(arrays={**known, **more}, truth=truth)


def _draws(arms: Ints) -> dict[str, Any]:
    return {"logging_pmf": np.tile(LOGGING, (len(arms), 1)), "actions": arms}


def _rewards(rng: np.random.Generator, arms: Ints, means: Floats = ARM_MEANS) -> Floats:
    return (rng.random(len(arms)) < means[arms]).astype(np.float64)


def clean(rng: np.random.Generator, *, n: int = ROWS, rows_each: int = 1) -> BrokenLog:
    """Nothing is wrong. Users have levels of their own when they have several rows."""
    arms = _rows(rng, n)
    users = np.arange(n) // rows_each
    level = rng.uniform(-0.15, 0.15, size=users[-1] + 1)[users] * (rows_each > 1)
    rewards = (rng.random(n) < ARM_MEANS[arms] + level).astype(np.float64)
    return _log(arms, rewards, float(ARM_MEANS @ TARGET), users=users, **_draws(arms))


def rare(rng: np.random.Generator, *, truth: float) -> BrokenLog:
    """Nothing is wrong, but rewards are rare."""
    means = ARM_MEANS * truth / float(ARM_MEANS @ TARGET)
    arms = _rows(rng, ROWS)
    return _log(arms, _rewards(rng, arms, means), truth)


def unrewarded(rng: np.random.Generator) -> BrokenLog:
    """Nobody was rewarded in 2,000 rows; the truth is one in 2,000."""
    arms = _rows(rng, ROWS)
    return _log(arms, np.zeros(ROWS), 1.0 / ROWS)


LARGEST_SPEND = 10_000.0
TAIL = 1.5


def spend(rng: np.random.Generator) -> BrokenLog:
    """One in eight spends, with a Pareto tail of index 1.5 up to 10,000: the variance is ruled by the very largest."""
    arms = _rows(rng, ROWS)
    bought = rng.random(ROWS) < 0.4 * ARM_MEANS[arms]
    amounts = np.minimum((1.0 - rng.random(ROWS)) ** (-1.0 / TAIL), LARGEST_SPEND)
    mean = (TAIL - LARGEST_SPEND ** (1.0 - TAIL)) / (TAIL - 1.0)
    truth = 0.4 * float(ARM_MEANS @ TARGET) * mean
    return _log(arms, np.where(bought, amounts, 0.0), truth, reward_bounds=(0.0, LARGEST_SPEND))


def few_users(rng: np.random.Generator, *, users: int) -> BrokenLog:
    """All rows come from a handful of users, who differ."""
    arms, user = _rows(rng, ROWS), rng.integers(0, users, ROWS)
    level = rng.uniform(-0.15, 0.15, size=users)
    rewards = (rng.random(ROWS) < ARM_MEANS[arms] + level[user]).astype(np.float64)
    return _log(arms, rewards, float(ARM_MEANS @ TARGET), users=user)


def one_large_user(rng: np.random.Generator) -> BrokenLog:
    """One of 201 users has 60 % of the rows, and users differ."""
    arms = _rows(rng, ROWS)
    user = np.where(rng.random(ROWS) < 0.6, 0, rng.integers(1, 201, ROWS))
    level = rng.uniform(-0.15, 0.15, size=201)
    rewards = (rng.random(ROWS) < ARM_MEANS[arms] + level[user]).astype(np.float64)
    return _log(arms, rewards, float(ARM_MEANS @ TARGET), users=user)


FATIGUE, RECOVERY, SEND_RATE, QUIET_RATE = 0.3, 0.8, 0.6, 0.05
DECISIONS = 10  # of each user


def _tired(rng: np.random.Generator, users: int, send_share: float) -> tuple[Floats, Floats]:
    """Sends and rewards of users whom every send tires, both of shape (users, decisions)."""
    fatigue = np.zeros(users)
    sent, rewards = np.empty((users, DECISIONS)), np.empty((users, DECISIONS))
    for step in range(DECISIONS):
        sent[:, step] = rng.random(users) < send_share
        chance = np.where(sent[:, step] > 0.0, SEND_RATE * np.exp(-FATIGUE * fatigue), QUIET_RATE)
        rewards[:, step] = rng.random(users) < chance
        fatigue = RECOVERY * fatigue + sent[:, step]
    return sent, rewards


@lru_cache(maxsize=1)
def _tired_truth() -> float:
    return float(_tired(np.random.default_rng(0), 400_000, 0.9)[1].mean())


def fatigue(rng: np.random.Generator, *, steps: int) -> BrokenLog:
    """Every send tires: the target sends in 90 % of decisions where the log sent in half of them."""
    sent, rewards = _tired(rng, ROWS // DECISIONS, 0.5)
    known = {
        "rewards": rewards.ravel(),
        "propensities": np.full(ROWS, 0.5),
        "target_propensities": np.where(sent.ravel() > 0.0, 0.9, 0.1),
        "users": np.repeat(np.arange(ROWS // DECISIONS), DECISIONS),
        "steps": steps,
    }
    return BrokenLog(arrays=known, truth=_tired_truth())


def tripled(rng: np.random.Generator) -> BrokenLog:
    """Every row was exported three times; only the ids of the decisions show it."""
    rows = np.repeat(np.arange(ROWS // 3), 3)
    arms = _rows(rng, ROWS // 3)
    rewards = _rewards(rng, arms)
    return _log(arms[rows], rewards[rows], float(ARM_MEANS @ TARGET), decision_ids=rows)


def rewarded_doubled(rng: np.random.Generator) -> BrokenLog:
    """Every rewarded row is there twice, as a join with repeated feedback makes it."""
    arms = _rows(rng, ROWS)
    rewards = _rewards(rng, arms)
    rows = np.repeat(np.arange(ROWS), 1 + rewards.astype(np.intp))
    return _log(arms[rows], rewards[rows], float(ARM_MEANS @ TARGET), decision_ids=rows)


def clicks_lost(rng: np.random.Generator, *, told: bool) -> BrokenLog:
    """The feedback of half of the rows with the best arm is lost, and counts as no reward unless it is told."""
    arms = _rows(rng, ROWS)
    lost = (arms == 2) & (rng.random(ROWS) < 0.5)
    rewards = np.where(lost, 0.0, _rewards(rng, arms))
    more = {**_draws(arms), "feedback_missing": lost} if told else {}
    found = _log(arms, rewards, float(ARM_MEANS @ TARGET), **more)
    return BrokenLog(arrays=found.arrays, truth=found.truth, refusable=told)


def unrewarded_lost(rng: np.random.Generator) -> BrokenLog:
    """30 % of the unrewarded rows are lost."""
    arms = _rows(rng, ROWS)
    rewards = _rewards(rng, arms)
    kept = (rewards > 0.0) | (rng.random(ROWS) >= 0.3)
    arms = arms[kept]
    found = _log(arms, rewards[kept], float(ARM_MEANS @ TARGET), **_draws(arms))
    return BrokenLog(arrays=found.arrays, truth=found.truth, refusable=False)


def reversed_half_way(rng: np.random.Generator) -> BrokenLog:
    """The best and the worst arm change places half-way; the question is about the time after the log."""
    arms = _rows(rng, ROWS)
    means = np.where(np.arange(ROWS)[:, None] < ROWS // 2, ARM_MEANS, ARM_MEANS[::-1])
    rewards = (rng.random(ROWS) < means[np.arange(ROWS), arms]).astype(np.float64)
    return _log(arms, rewards, float(ARM_MEANS[::-1] @ TARGET))


def confounded(rng: np.random.Generator) -> BrokenLog:
    """The logger preferred the best arm for users whom it knew to be keen, and did not log that it knew."""
    keen = rng.random(ROWS) < 0.5
    keen_pmf, other_pmf = np.array([0.35, 0.3, 0.35]), np.array([0.65, 0.3, 0.05])
    uniform = rng.random(ROWS)
    cumulative = np.where(keen[:, None], np.cumsum(keen_pmf), np.cumsum(other_pmf))
    arms = np.minimum((uniform[:, None] > cumulative).sum(axis=1), 2)
    rewards = (rng.random(ROWS) < ARM_MEANS[arms] + np.where(keen, 0.15, -0.15)).astype(np.float64)
    found = _log(arms, rewards, float(ARM_MEANS @ TARGET))
    return BrokenLog(arrays=found.arrays, truth=found.truth, refusable=False)


EMBEDDED_ACTIONS = 20


def embedded(rng: np.random.Generator, *, matters: float) -> BrokenLog:
    """Twenty actions of four codes, with weights of the codes; `matters`: what an action adds beyond its code."""
    codes = np.arange(EMBEDDED_ACTIONS) % 4
    beyond = matters * (np.arange(EMBEDDED_ACTIONS) >= EMBEDDED_ACTIONS // 2)
    means = 0.1 + 0.05 * codes + beyond
    target = np.where(np.arange(EMBEDDED_ACTIONS) >= EMBEDDED_ACTIONS // 2, 1.8, 0.2) / EMBEDDED_ACTIONS
    logging = np.full(EMBEDDED_ACTIONS, 1.0 / EMBEDDED_ACTIONS)
    actions = rng.integers(0, EMBEDDED_ACTIONS, ROWS)
    rewards = (rng.random(ROWS) < means[actions]).astype(np.float64)
    wide = {"logging_pmf": np.tile(logging, (ROWS, 1)), "target_pmf": np.tile(target, (ROWS, 1))}
    known, wanted = marginal_propensities(**wide, codes=codes, actions=actions)
    arrays = {
        "rewards": rewards,
        "propensities": known,
        "target_propensities": wanted,
        "logging_pmf": wide["logging_pmf"],
        "actions": actions,
        "codes": codes,
    }
    return BrokenLog(arrays=arrays, truth=float(target @ means))


def heavy(rng: np.random.Generator) -> BrokenLog:
    """20,000 rows, 2 % of them with a propensity of 0.02 where the target has 0.9: a largest weight of 45."""
    n = 20_000
    rare_rows = rng.random(n) < 0.5
    taken = rng.random(n) < 0.02
    propensities = np.where(rare_rows, np.where(taken, 0.02, 0.98), 0.5)
    target = np.where(rare_rows, np.where(taken, 0.9, 0.1), 0.5)
    chance = np.where(rare_rows & taken, 0.9, 0.1)
    rewards = (rng.random(n) < chance).astype(np.float64)
    truth = 0.5 * (0.9 * 0.9 + 0.1 * 0.1) + 0.5 * 0.1
    q = np.full(n, 0.1)
    arrays = {"rewards": rewards, "propensities": propensities, "target_propensities": target}
    return BrokenLog(arrays={**arrays, "q_logged": q, "q_target": q}, truth=truth)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A kind of log, under the name that tables have for it."""

    name: str
    maker: Maker
    is_clean: bool = False


CASES: tuple[Case, ...] = (
    Case(name="clean", maker=clean, is_clean=True),
    Case(name="clean, ten rows a user", maker=partial(clean, rows_each=10), is_clean=True),
    Case(name="rewards of 0.005", maker=partial(rare, truth=0.005)),
    Case(name="rewards of 0.001", maker=partial(rare, truth=0.001)),
    Case(name="no reward at all", maker=unrewarded),
    Case(name="spend, Pareto tail 1.5", maker=spend),
    *(Case(name=f"{users} users", maker=partial(few_users, users=users)) for users in (2, 3, 5)),
    Case(name="one of 201 users has 60 %", maker=one_large_user),
    *(Case(name=f"fatigue, {steps} steps", maker=partial(fatigue, steps=steps)) for steps in (1, 3, 5, 7)),
    Case(name="rows tripled", maker=tripled),
    Case(name="rewarded rows doubled", maker=rewarded_doubled),
    Case(name="clicks lost on one action, told", maker=partial(clicks_lost, told=True)),
    Case(name="clicks lost on one action", maker=partial(clicks_lost, told=False)),
    Case(name="30 % of unrewarded rows lost", maker=unrewarded_lost),
    Case(name="rewards reverse half-way", maker=reversed_half_way),
    Case(name="embedding, action matters beyond", maker=partial(embedded, matters=0.15)),
    Case(name="unlogged confounding", maker=confounded),
)
