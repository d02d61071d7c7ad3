"""The joint features of a user and an action, in one weight vector for all actions.

With x the user's features and a constant 1, and the content's own features and its id as tokens k(m):

    phi(u, silence) = x,  x by silence
    phi(u, c, m, h) = x,  x by channel c,  x by each token of k(m),  x by local hour h,  channel c by hour h

Values are those that the engine gets (`bandit.decide.features`): numbers are squashed, text is one feature per value. A
feature that appears for the first time gets the next free place, so the vector grows; places never change. A content
that is not in the campaign's catalogue, because a request brought it, has no id here: it may never come again.
"""

from collections.abc import Container
from dataclasses import dataclass

import numpy as np

from bandit.decide.eligibility import EligibleSet
from bandit.decide.features import content_line, shared_line
from bandit.domain import Content
from bandit.engine.lines import encode, namespaces
from sim.baselines.protocol import Opportunity
from sim.common.arrays import Floats, Ints

NOWHERE = -1  # the place of features that an action does not have
ALONE, SILENT = "alone", "silent"
CONSTANT = "constant"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Actions:
    """The eligible actions in terms of the vector, independent of the user."""

    tokens: Floats  # shape (actions, tokens known then): how much of each token an action has
    pairs: Ints  # shape (actions,): place of channel by hour; NOWHERE for silence


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """One opportunity as joint features."""

    user: Floats  # shape (user features known so far,)
    actions: _Actions


class JointFeatures:
    """Assigns a place to every joint feature."""

    def __init__(self, catalogue: Container[str]) -> None:
        """
        Args:
            catalogue: ids of the campaign's contents.
        """
        self.size = 0  # of the weight vector
        self._catalogue = catalogue
        self._users: dict[str, int] = {}
        self._tokens: dict[str, int] = {}
        self._pairs: dict[tuple[str, int], int] = {}
        self._places: Ints = np.zeros((0, 0), dtype=np.intp)  # of token x user feature
        self._cache: dict[object, _Actions] = {}

    def of(self, opportunity: Opportunity) -> Features:
        """The features of an opportunity; new features get places."""
        own = namespaces(shared_line(opportunity.user.features, {})).get("U", {})
        weights = {CONSTANT: 1.0, **own}
        places = [self._users.setdefault(name, len(self._users)) for name in weights]
        actions = self._actions(opportunity.eligible)
        self._make_room()
        user = np.zeros(len(self._users))
        user[places] = list(weights.values())
        return Features(user=user, actions=actions)

    def scores(self, weights: Floats, features: Features) -> Floats:
        """phi times the weights, for every action: shape (actions,).

        Args:
            weights: shape (size,).
        """
        actions = features.actions
        padded = np.append(weights, 0.0)  # where NOWHERE points
        places = self._places[: actions.tokens.shape[1], : len(features.user)]
        total: Floats = actions.tokens @ (padded[places] @ features.user) + padded[actions.pairs]
        return total

    def vector(self, features: Features, place: int) -> Floats:
        """phi of one action, shape (size,)."""
        tokens = features.actions.tokens[place]
        vector = np.zeros(self.size + 1)
        vector[self._places[: len(tokens), : len(features.user)]] = np.outer(tokens, features.user)
        vector[features.actions.pairs[place]] = 1.0
        return vector[:-1]

    def _make_room(self) -> None:
        """Assigns places to combinations of token and user feature that have none yet."""
        shape = len(self._tokens), len(self._users)
        if shape != self._places.shape:
            old = self._places.shape
            grown = np.pad(self._places, ((0, shape[0] - old[0]), (0, shape[1] - old[1])), constant_values=NOWHERE)
            new = grown == NOWHERE
            grown[new] = self.size + np.arange(new.sum())
            self._places, self.size = grown, self.size + int(new.sum())

    def _actions(self, eligible: EligibleSet) -> _Actions:
        candidates = eligible.candidates
        hours = tuple(time.local_hour for time in candidates.times)
        if not all(content.id in self._catalogue for content in candidates.contents):
            return self._new_actions(eligible)
        key = candidates.channels, candidates.contents, hours, eligible.cells.mask
        if key not in self._cache:
            self._cache[key] = self._new_actions(eligible)
        return self._cache[key]

    def _new_actions(self, eligible: EligibleSet) -> _Actions:
        candidates = eligible.candidates
        rows: list[dict[str, float]] = [{ALONE: 1.0, SILENT: 1.0}]
        pairs = [NOWHERE]
        for cell in eligible.cells.eligible:
            channel, hour = candidates.channels[cell.channel], candidates.times[cell.time].local_hour
            content = self._content_tokens(candidates.contents[cell.content])
            rows.append({ALONE: 1.0, f"channel {channel}": 1.0, f"hour {hour}": 1.0, **content})
            pairs.append(self._pair(channel, hour))
        for row in rows:
            for name in row:
                self._tokens.setdefault(name, len(self._tokens))
        tokens = np.zeros((len(rows), len(self._tokens)))
        for place, row in enumerate(rows):
            tokens[place, [self._tokens[name] for name in row]] = list(row.values())
        return _Actions(tokens=tokens, pairs=np.array(pairs))

    def _pair(self, channel: str, hour: int) -> int:
        if (channel, hour) not in self._pairs:
            self._pairs[channel, hour] = self.size
            self.size += 1
        return self._pairs[channel, hour]

    def _content_tokens(self, content: Content) -> dict[str, float]:
        found = namespaces(content_line(content, None, None))["M"]
        own = f"id={encode(content.id)}"
        listed = content.id in self._catalogue
        return {f"content {name}": weight for name, weight in found.items() if listed or name != own}
