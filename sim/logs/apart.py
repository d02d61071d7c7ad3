"""Rewards of a dsjson file that stand on lines of their own, apart from their decisions."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bandit.errors import InvalidLog
from sim.logs.bytes_of import opened_bytes
from sim.logs.event import Document
from sim.logs.json_fields import Fields, parsed

# Lines are kept by id until their decision is met: about 500 MB.
MOST_APART = 2_000_000
_TELLS_A_REWARD = ("RewardValue", "v", "o", "ActionTaken")


@dataclass(frozen=True, slots=True, kw_only=True)
class LateReward:
    """All that was rewarded apart from one decision."""

    row: int  # of the first such line
    lines: int
    reward: float


@dataclass(slots=True, kw_only=True)
class RewardsApart:
    """Rewards by decision, until the decision is met."""

    by_decision: dict[str, LateReward] = field(default_factory=dict)

    def take(self, decision_id: str) -> LateReward | None:
        """What was rewarded apart from this decision, which is met only once."""
        return self.by_decision.pop(decision_id, None)

    def left(self) -> int:
        """Lines whose decision has not been met."""
        return sum(one.lines for one in self.by_decision.values())


def rewards_apart(path: Path) -> RewardsApart:
    """The rewards that stand on lines of their own in the file, which is read once for them.

    Raises:
        InvalidLog: such a line is broken, or there are more than 2,000,000 of them.
    """
    found: dict[str, LateReward] = {}
    for fields in _lines(path):
        decision_id, reward = str(fields.needed("EventId", str | int)), _reward(fields)
        before = found.get(decision_id, LateReward(row=fields.row, lines=0, reward=0.0))
        found[decision_id] = LateReward(row=before.row, lines=before.lines + 1, reward=before.reward + reward)
        if len(found) > MOST_APART:
            raise InvalidLog(f"{path.name}: has more than {MOST_APART:,} rewards apart from decisions: join them first")
    return RewardsApart(by_decision=found)


def tells_only_a_reward(document: Document) -> bool:
    """Whether the line is a reward or an activation, and no decision."""
    return "c" not in document and any(name in document for name in _TELLS_A_REWARD)


def _lines(path: Path) -> Iterator[Fields]:
    with opened_bytes(path) as file:
        for row, line in enumerate(file, start=1):
            # Decisions have a context: they are by far the most, and are not parsed twice.
            if b'"c"' not in line and line.lstrip().startswith(b"{"):
                fields = Fields(row, parsed(row, line))
                if tells_only_a_reward(fields.document):
                    yield fields


def _reward(fields: Fields) -> float:
    for name in ("RewardValue", "v"):
        if name in fields.document:
            return float(fields.needed(name, int | float))
    outcomes = (
        Fields(fields.row, one, within="o.") for one in fields.optional("o", list) or [] if isinstance(one, dict)
    )
    return sum(float(one.optional("v", int | float) or 0.0) for one in outcomes)
