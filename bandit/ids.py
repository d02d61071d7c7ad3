"""Decision ids: ULIDs, so that they sort by time and cannot be guessed."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from bandit.domain import DecisionId

Entropy = Callable[[int], bytes]  # n -> n random bytes

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford base 32
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)  # ten bits at a time
_SHIFTS = range(120, -1, -10)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def new_decision_id(decided_at: datetime, entropy: Entropy) -> DecisionId:
    """26 characters: 48 bits of milliseconds, 80 random bits.

    Source: the ULID specification, github.com/ulid/spec.
    """
    milliseconds = max(0, (decided_at - _EPOCH) // timedelta(milliseconds=1))
    number = (milliseconds & (2**48 - 1)) << 80 | int.from_bytes(entropy(10), "big")
    return DecisionId("".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS]))
