"""The lines that a model reads of one decision, factored as the eligible set is: channels, contents, send times.

What the lines say is decided in `bandit.decide.features`; here is only their shape, which every learner reads.
"""

from functools import lru_cache
from typing import NamedTuple

from bandit.engine.cells import cells_of

SILENCE_LINE = "|S silence"


def namespaces(line: str) -> dict[str, dict[str, float]]:
    """What a line says: the weight of every feature, by namespace. A feature that stands twice has both weights."""
    found: dict[str, dict[str, float]] = {}
    for part in line.removeprefix("shared ").split("|")[1:]:
        name, *tokens = part.split()
        for token in tokens:
            feature, _, weight = token.partition(":")
            features = found.setdefault(name, {})
            features[feature] = features.get(feature, 0.0) + (float(weight) if weight else 1.0)
    return found


class ActionLines(NamedTuple):
    """What the model sees of the eligible actions, factored as they are; joined only when read."""

    channels: tuple[str, ...]
    contents: tuple[str, ...]
    times: tuple[str, ...]
    mask: str  # of the eligible cells

    def joined(self) -> tuple[str, ...]:
        """One line per eligible action, silence first; equal ones give the very same tuple while it is cached."""
        return _joined(self)


@lru_cache(maxsize=512)
def _joined(actions: ActionLines) -> tuple[str, ...]:
    channels, contents, times, mask = actions
    cells = cells_of(mask, len(contents), len(times))
    return (SILENCE_LINE, *[_action_line(channels[c], contents[m], times[t]) for c, m, t in cells])


# So that the many groups of lines that are kept hold each line once.
@lru_cache(maxsize=4_096)
def _action_line(channel: str, content: str, time: str) -> str:
    return f"{channel} {content} {time}".rstrip()
