"""What a lineage of event models is made with: one text, in the manifest of every version."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from math import isfinite

from bandit.engine.explorers import LARGEST_REWARD, EngineArguments
from bandit.errors import CorruptModel

LEARNER = "events"
REWARD = "reward"  # the event whose value is a number of its own
VERSION = 1  # of the recipe: another one gives other models of the same log
DENSE = 1_024  # weights with all their correlations; the others are taken as independent of one another
DRAWS = 40
LARGEST_UNIT = LARGEST_REWARD / 10  # of rewards: the engine is warmed up with values beyond one unit


@dataclass(frozen=True, slots=True, kw_only=True)
class EventArguments:
    """The campaign as the event models see it; two equal ones learn the same from the same log.

    Raises:
        CorruptModel: a worth or a cost is not finite.
    """

    worths: Mapping[str, float]  # reward of each event, those worth nothing included
    costs: Mapping[str, float]  # of a send, by the text of the channel's line
    default: float  # reward of a decision after which no event came
    bounds: tuple[float, float]  # of a reward
    unit: float  # worth of the best event
    value: EngineArguments  # of the engine that decides on the values
    dense: int = DENSE
    draws: int = DRAWS

    def __post_init__(self) -> None:
        numbers = [*self.worths.values(), *self.costs.values(), self.default, *self.bounds]
        if not all(map(isfinite, numbers)) or not 0.0 < self.unit < float("inf"):
            raise CorruptModel(f"the worths and costs {numbers!r} in units of {self.unit!r} are not all finite")

    @property
    def text(self) -> str:
        """Canonical JSON: equal arguments give equal text."""
        document = {**asdict(self), "learner": LEARNER, "version": VERSION, "value": self.value.text}
        return json.dumps(document, sort_keys=True, separators=(",", ":"))

    @property
    def seed(self) -> int:
        """From which the draws of this lineage are made."""
        return int.from_bytes(sha256(self.text.encode()).digest()[:8], "big")

    @classmethod
    def parsed(cls, text: str) -> "EventArguments":
        """The arguments of a manifest's text.

        Raises:
            CorruptModel: the text is not one that `text` gives, or of another recipe.
        """
        try:
            fields = json.loads(text)
            learner, version = fields.pop("learner"), fields.pop("version")
            value = EngineArguments(text=fields.pop("value"))
            bounds = tuple(fields.pop("bounds"))
            arguments = cls(**fields, bounds=bounds, value=value)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptModel(f"the arguments {text[:200]!r} are not those of event models: {error}") from None
        if (learner, version) != (LEARNER, VERSION):
            raise CorruptModel(f"the arguments are of {learner} {version}, this is {LEARNER} {VERSION}")
        return arguments


def value_arguments(arguments: EngineArguments) -> EngineArguments:
    """The same explorer without interactions: there is only one feature."""
    return EngineArguments(text=re.sub(r" --interactions [A-Z]{2}", "", arguments.text))
