"""Places of actions among channels x contents x times, and a short text for a set of them."""

from functools import lru_cache
from typing import NamedTuple


class Cell(NamedTuple):
    """Places of one action's channel, content and time among the candidates."""

    channel: int
    content: int
    time: int


@lru_cache(maxsize=256)
def cells_of(mask: str, n_contents: int, n_times: int) -> tuple[Cell, ...]:
    """The cells of a mask, channel-major.

    Args:
        mask: hexadecimal; bit (channel * n_contents + content) * n_times + time is set for a cell that is in it.
    """
    bits = f"{int(mask, 16):b}"[::-1]
    return tuple(
        Cell(place // (n_contents * n_times), place // n_times % n_contents, place % n_times)
        for place, bit in enumerate(bits)
        if bit == "1"
    )
