"""Calls of the client, timed."""

from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from api.client import Choice, SendoptClient

FALLBACK = Choice(send=True, channel="push", content="my-own")
_SCHEDULING = Path("/proc/thread-self/schedstat")  # Linux: nanoseconds run, nanoseconds waited for a core, turns


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """How one call ended."""

    is_fallback: bool
    seconds: float
    waited_seconds: float  # of them, for a core that something else was running on


def call_many(url: str, number: int) -> list[Call]:
    """Asks for decisions, one after the other."""
    with SendoptClient(url) as client:
        return [_call(client, place) for place in range(number)]


def _call(client: SendoptClient, place: int) -> Call:
    waited, start = _waited_seconds(), monotonic()
    choice = client.decide({"campaign": "c", "user": {"id": f"u-{place}"}}, fallback=FALLBACK)
    seconds = monotonic() - start
    return Call(
        is_fallback=choice.degraded and choice.content == FALLBACK.content,
        seconds=seconds,
        waited_seconds=_waited_seconds() - waited,
    )


def _waited_seconds() -> float:
    return int(_SCHEDULING.read_text().split()[1]) / 1e9 if _SCHEDULING.exists() else 0.0
