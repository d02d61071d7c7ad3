"""How often and when the promotion gate opens in simulated histories.

Each history is a randomised log of two arms, challenger and champion, with one decision per user and day. Every user
has a level of their own, and the gate checks once a day. Without a lift, every opening is a mistake.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sim.common.arrays import Floats
from sim.common.means import clustered_error
from sim.ope.gate import LEAST_USERS, Gate

SHARE = 0.5  # of the decisions, with the challenger


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPlan:
    """The parameters of a simulated history."""

    users: int = 2_000
    days: int = 60  # one decision per user and day, and one check per day
    base: float = 0.13  # reward of the champion: 0 or 1 with this mean
    user_spread: float = 0.5  # of a user's level, as a share of the base; gamma distributed
    lift_spread: float = 0.0  # standard deviation of the relative lift between users


def opening_days(plan: HistoryPlan, gate: Gate, lift: float, *, histories: int, seed: int) -> Floats:
    """The day on which each history's gate opened, shape (histories,); infinite where it never did.

    Args:
        lift: of the challenger over the champion, relative, on average over users.
    """
    rng = np.random.default_rng(seed)
    days = np.full(histories, np.inf)
    for place in range(histories):
        differences, errors = daily_differences(plan, lift, rng)
        n = plan.users * np.arange(1, plan.days + 1)
        opened = (gate.lower(differences, errors, n) > gate.margin) & (plan.users >= LEAST_USERS)
        if opened.any():
            days[place] = 1 + np.argmax(opened)
    return days


def daily_differences(plan: HistoryPlan, lift: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The paired SNIPS difference and its clustered standard error after each day of one history, each (days,)."""
    arms, rewards = draw_history(plan, lift, rng)
    weights = np.stack([arms / SHARE, (1.0 - arms) / (1.0 - SHARE)])
    weight, weighted = np.cumsum(weights, axis=2), np.cumsum(weights * rewards, axis=2)
    total, values = weight.sum(axis=1), weighted.sum(axis=1) / weight.sum(axis=1)
    influence = (weighted - values[:, None, :] * weight) / total[:, None, :]
    paired = influence[0] - influence[1]
    return values[0] - values[1], clustered_error(paired)


def draw_history(plan: HistoryPlan, lift: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Whether the challenger decided (1) or the champion (0), and the reward; each of shape (users, days)."""
    shape = 1.0 / plan.user_spread**2
    levels = plan.base * rng.gamma(shape, 1.0 / shape, size=plan.users)
    lifts = lift + plan.lift_spread * rng.standard_normal(plan.users)
    arms = (rng.random((plan.users, plan.days)) < SHARE).astype(np.float64)
    chance = np.clip(levels[:, None] * (1.0 + lifts[:, None] * arms), 0.0, 1.0)
    return arms, (rng.random(chance.shape) < chance).astype(np.float64)


def power_curve(plan: HistoryPlan, gate: Gate, lifts: Sequence[float], *, histories: int, seed: int) -> pd.DataFrame:
    """For each lift: the share of histories whose gate has opened after a quarter, half and all of the days.

    The row of lift 0 is the share of false promotions.
    """
    rows = []
    for place, lift in enumerate(lifts):
        days = opening_days(plan, gate, lift, histories=histories, seed=seed + place)
        opened = np.isfinite(days)
        rows.append(
            {
                "lift": lift,
                "histories": histories,
                **{
                    f"by day {plan.days * part // 4}": float(np.mean(days <= plan.days * part // 4))
                    for part in (1, 2, 4)
                },
                "median day": float(np.median(days[opened])) if opened.any() else np.nan,
            }
        )
    return pd.DataFrame(rows)
