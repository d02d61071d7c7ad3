"""Small logs for evaluation."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallLog:
    """The arrays of an evaluation, and the truth if it is known."""

    rewards: Floats
    propensities: Floats
    target_propensities: Floats
    q_logged: Floats
    q_target: Floats
    users: NDArray[np.intp]
    truth: float

    def arrays(self, *, model: bool = True) -> dict[str, object]:
        """Keyword arguments of `evaluate`."""
        plain: dict[str, object] = {
            "rewards": self.rewards,
            "propensities": self.propensities,
            "target_propensities": self.target_propensities,
            "users": self.users,
        }
        return plain | ({"q_logged": self.q_logged, "q_target": self.q_target} if model else {})


LOGGING = np.array([0.5, 0.3, 0.2])
TARGET = np.array([0.2, 0.3, 0.5])
ARM_MEANS = np.array([0.2, 0.3, 0.45])
MODEL = np.array([0.25, 0.3, 0.35])  # a reward model that is wrong


def log_with_user_effects(
    rng: np.random.Generator, *, users: int = 150, rows_each: int = 10, spread: float = 0.18
) -> SmallLog:
    """Three arms; a user's own level moves all of that user's rewards up or down together."""
    user = np.repeat(np.arange(users), rows_each)
    arms = rng.choice(3, size=user.size, p=LOGGING)
    level = rng.uniform(-spread, spread, size=users)[user]
    rewards = (rng.random(user.size) < ARM_MEANS[arms] + level).astype(np.float64)
    return SmallLog(
        rewards=rewards,
        propensities=LOGGING[arms],
        target_propensities=TARGET[arms],
        q_logged=MODEL[arms],
        q_target=np.full(user.size, MODEL @ TARGET),
        users=user,
        truth=float(ARM_MEANS @ TARGET),
    )
