"""The lines that a model reads of one decision, by channels, contents and send times, as in the eligible set.

`bandit.decide.features` decides what the lines say; this file has only their shape, which every learner reads.
"""

from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

from bandit.engine.cells import cells_of

SILENCE_LINE = "|S silence"


def encode(text: str) -> str:
    """The text with everything outside [A-Za-z0-9_.-] percent-encoded; injective."""
    return quote(text, safe="").replace("~", "%7E")


def channel_token(channel: str) -> str:
    """What the line of a channel says of it."""
    return f"id={encode(channel)}"


def namespaces(line: str) -> dict[str, dict[str, float]]:
    """The weight of every feature of a line, by namespace.

    A feature that is there twice has the sum of both weights.
    """
    found: dict[str, dict[str, float]] = {}
    for part in line.removeprefix("shared ").split("|")[1:]:
        name, *tokens = part.split()
        for token in tokens:
            feature, _, weight = token.partition(":")
            features = found.setdefault(name, {})
            features[feature] = features.get(feature, 0.0) + (float(weight) if weight else 1.0)
    return found


class ActionLines(NamedTuple):
    """The lines of the eligible actions, by channel, content and time; joined only when they are read."""

    channels: tuple[str, ...]
    contents: tuple[str, ...]
    times: tuple[str, ...]
    mask: str  # of the eligible cells

    def joined(self) -> tuple[str, ...]:
        """One line per eligible action, silence first; equal objects give the same tuple while it is cached."""
        return _joined(self)


@lru_cache(maxsize=512)
def _joined(actions: ActionLines) -> tuple[str, ...]:
    channels, contents, times, mask = actions
    cells = cells_of(mask, len(contents), len(times))
    return (SILENCE_LINE, *[_action_line(channels[c], contents[m], times[t]) for c, m, t in cells])


# Cached so that the many groups of lines in memory share each line.
@lru_cache(maxsize=4_096)
def _action_line(channel: str, content: str, time: str) -> str:
    return f"{channel} {content} {time}".rstrip()
