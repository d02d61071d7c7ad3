"""The scheduler's own users: time zones, channels and opt-outs."""

from collections.abc import Iterator
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
    """All users, with their opt-outs by channel; safe to use from several threads."""

    def __init__(self, people: list[Person]) -> None:
        self._people = {person.id: person for person in people}
        self._opted_out: set[tuple[str, str]] = set()
        self._lock = Lock()

    def __iter__(self) -> Iterator[Person]:
        return iter(self._people.values())

    def get(self, person_id: str) -> Person:
        return self._people[person_id]

    def opt_out(self, person_id: str, channel: str) -> None:
        with self._lock:
            self._opted_out.add((person_id, channel))

    def consents(self, person_id: str, channel: str) -> bool:
        with self._lock:
            return (person_id, channel) not in self._opted_out


ZONES = ("Europe/Lisbon", "America/New_York", "Asia/Tokyo", "Asia/Kolkata")
# Two dozen people: with only a few, it can happen that nobody gets a message at once.
NAMES = (
    *("ana", "ben", "chi", "dev", "eva", "fay", "gus", "hal", "ida", "jon", "kim", "lou"),
    *("mia", "nik", "ola", "pam", "qi", "rio", "sam", "tia", "una", "val", "wim", "zoe"),
)
EXAMPLE_PEOPLE = [
    Person(
        id=f"u-{name}",
        email=f"{name}@example.com",
        timezone=ZONES[place % len(ZONES)],
        features={"premium": place % 3 == 0},
    )
    for place, name in enumerate(NAMES)
]
