"""The lines of a decision's actions, and which of their combinations are eligible."""

from functools import lru_cache
from typing import Protocol


class Lines(Protocol):
    """What the models see of the eligible actions; see `ActionLines`."""

    @property
    def channels(self) -> tuple[str, ...]: ...
    @property
    def contents(self) -> tuple[str, ...]: ...
    @property
    def times(self) -> tuple[str, ...]: ...
    @property
    def mask(self) -> str: ...


@lru_cache(maxsize=512)
def cells(mask: str, contents: int, times: int) -> tuple[tuple[int, int, int], ...]:
    """Places of channel, content and time of every eligible send, channel-major."""
    places = (place for place, bit in enumerate(f"{int(mask, 16):b}"[::-1]) if bit == "1")
    return tuple((place // (contents * times), place // times % contents, place % times) for place in places)


def send_at(actions: Lines, index: int) -> tuple[str, str, str] | None:
    """The lines of an action's channel, content and time; None for silence."""
    if index == 0:
        return None
    channel, content, time = cells(actions.mask, len(actions.contents), len(actions.times))[index - 1]
    return actions.channels[channel], actions.contents[content], actions.times[time]


def channel_name(line: str) -> str:
    """The channel as its line has it."""
    return line.removeprefix("|C ").strip()
