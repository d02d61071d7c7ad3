"""The scheduler's own users: where they live, how they can be reached, and what they have opted out of."""

from dataclasses import dataclass, field
from threading import Lock
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One user of the product."""

    id: str
    email: str
    timezone: str  # IANA name
    features: dict[str, Any] = field(default_factory=dict)


class People:
    """Everyone, and who wants no more messages on which channel; for several threads at once."""

    def __init__(self, people: list[Person]) -> None:
        self._people = {person.id: person for person in people}
        self._opted_out: set[tuple[str, str]] = set()
        self._lock = Lock()

    def __iter__(self) -> Any:
        return iter(self._people.values())

    def get(self, person_id: str) -> Person:
        return self._people[person_id]

    def opt_out(self, person_id: str, channel: str) -> None:
        with self._lock:
            self._opted_out.add((person_id, channel))

    def consents(self, person_id: str, channel: str) -> bool:
        with self._lock:
            return (person_id, channel) not in self._opted_out


EXAMPLE_PEOPLE = [
    Person(id="u-ana", email="ana@example.com", timezone="Europe/Lisbon", features={"premium": True}),
    Person(id="u-ben", email="ben@example.com", timezone="America/New_York", features={"premium": False}),
    Person(id="u-chi", email="chi@example.com", timezone="Asia/Tokyo", features={"premium": False}),
    Person(id="u-dev", email="dev@example.com", timezone="Asia/Kolkata", features={"premium": True}),
]
