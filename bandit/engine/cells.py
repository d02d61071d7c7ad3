"""Places of actions among channels x contents x times, and a short text for a set of them."""

from collections.abc import Iterable
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
        mask: as `mask_of` writes it.
    """
    bits = f"{int(mask, 16):b}"[::-1]
    return tuple(cell_at(place, n_contents, n_times) for place, bit in enumerate(bits) if bit == "1")


def mask_of(cells: Iterable[Cell], n_contents: int, n_times: int) -> str:
    """Hexadecimal number in which the bit at the place of each of the cells is set, the lowest bit being place 0."""
    mask = 0
    for channel, content, time in cells:
        mask |= 1 << ((channel * n_contents + content) * n_times + time)
    return f"{mask:x}"


def cell_at(place: int, n_contents: int, n_times: int) -> Cell:
    """The cell at a place, channel-major: what bit of a mask means what is written here and in `mask_of` only."""
    return Cell(place // (n_contents * n_times), place // n_times % n_contents, place % n_times)
