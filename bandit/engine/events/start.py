"""What a campaign can begin with from another one: what both have in common, with wider doubt.

Users, channels and hours are the same people, ways and times in both; contents are not. So the main effects of users,
channels and hours become the first beliefs of the new campaign's models, for the events of the same name.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bandit.engine.events.designs import HAZARD, ORGANIC, RESPONSE, Columns, Family, Key, Prior, Scales, Shape
from bandit.engine.events.model import EventModel
from bandit.engine.events.posterior import Pooled, Posterior

WIDER = 2.0  # factor of the deviations: another campaign is not the same campaign
_SHARED = (Family.BASE, Family.CHANNEL, Family.HOUR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Beliefs before the first event, and the scales of the features that they are about."""

    beliefs: Mapping[str, Mapping[str, Pooled]] = field(default_factory=dict)  # by event and shape
    scales: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def of(self, event: str) -> Mapping[str, Pooled]:
        """The beliefs about one event, by shape."""
        return self.beliefs.get(event, {})

    @property
    def keys(self) -> Iterator[Key]:
        """The weights that there are beliefs about."""
        for shapes in self.beliefs.values():
            for beliefs in shapes.values():
                yield from beliefs

    def document(self) -> dict[str, Any]:
        """The start as plain values."""
        return {
            "beliefs": {
                event: {shape: [[*key, *prior] for key, prior in beliefs.items()] for shape, beliefs in shapes.items()}
                for event, shapes in self.beliefs.items()
            },
            "scales": {name: list(sums) for name, sums in self.scales.items()},
        }

    @classmethod
    def parsed(cls, document: Mapping[str, Any]) -> "Start":
        """The start that `document` gave."""
        return cls(
            beliefs={
                event: {
                    shape: {
                        Key(Family(family), code, name): Prior(mean, sd) for family, code, name, mean, sd in beliefs
                    }
                    for shape, beliefs in shapes.items()
                }
                for event, shapes in document["beliefs"].items()
            },
            scales=document["scales"],
        )


def start_from(models: Mapping[str, EventModel], columns: Columns, scales: Scales) -> Start:
    """The start that these models give to another campaign."""
    users = set(columns.users.numbers)
    return Start(
        beliefs={name: _beliefs(model, columns) for name, model in models.items() if not model.is_numeric},
        scales={name: sums for name, sums in scales.sums.items() if _is_of_users(name, users)},
    )


def _is_of_users(name: str, users: set[str]) -> bool:
    return name in users or any(column.rpartition("#")[0] == name for column in users)


def _beliefs(model: EventModel, columns: Columns) -> dict[str, Pooled]:
    found = {ORGANIC.name: _shared(model.organic, columns, ORGANIC)}
    if model.is_bad:
        return {**found, HAZARD.name: _shared(model.hazard, columns, HAZARD)}
    return {**found, RESPONSE.name: _shared(model.bank.serving.posterior, columns, RESPONSE)}


def _shared(posterior: Posterior, columns: Columns, shape: Shape) -> Pooled:
    """Main effects: of users all columns, of channels and hours what is the same for everybody."""
    beliefs = posterior.beliefs(columns, shape, WIDER)
    return {key: belief for key, belief in beliefs.items() if _is_main(key)}


def _is_main(key: Key) -> bool:
    return key.family is Family.BASE or (key.family in _SHARED and key.column == "")
