"""VW's decision-service JSON, dsjson: what Personalizer logs, and what VW's own command line learns from.

Cost is minus reward. `a` names the actions by their places in `_multi`, counted from 1, the chosen one first, and `p`
has their probabilities in the same order; `_labelIndex` is the chosen place counted from 0.
Source: github.com/VowpalWabbit/vowpal_wabbit/wiki/DSJSON and the engine's parse_example_json.h.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from itertools import islice
from pathlib import Path

import numpy as np

from bandit.decide.exploration import Pmf
from bandit.decide.logged import LoggedActions
from bandit.domain import UserId
from bandit.errors import InvalidLog
from sim.logs import cells as read_as
from sim.logs.apart import RewardsApart, rewards_apart, tells_only_a_reward
from sim.logs.bytes_of import opened_bytes
from sim.logs.cells import shown
from sim.logs.event import BATCH, Document, LeftOut, LoggedEvent, checked, read_actions
from sim.logs.json_fields import Fields, parsed
from sim.logs.repeats import SeenIds

OWN = "sendopt"  # beside what VW reads, under a key that VW passes over: what only this service knows


class DsjsonLog:
    """A dsjson file, of this service or of another."""

    def __init__(
        self,
        path: Path,
        *,
        reward_bounds: tuple[float, float],
        assumed_zone: tzinfo = UTC,
        keep_late: bool = False,
    ) -> None:
        """A reading of the file.

        Args:
            assumed_zone: of times without an offset; Personalizer logs UTC.
            keep_late: add a reward that stands on a line of its own to the one that its decision has already;
                otherwise such a log is refused.
        """
        self.name = path.name
        self.reward_bounds = reward_bounds
        self.left_out: Counter[str] = Counter()
        self.size: int | None = None
        self._path = path
        self._zone = assumed_zone
        self._keep_late = keep_late
        self._apart = RewardsApart()

    def batches(self) -> Iterator[Sequence[LoggedEvent]]:
        self.left_out = Counter()
        self._apart = rewards_apart(self._path)
        any_rows, seen = False, SeenIds()
        with opened_bytes(self._path) as file:
            lines = enumerate(file, start=1)
            while chunk := list(islice(lines, BATCH)):
                events = [event for row, line in chunk for event in self._events(row, line)]
                seen.add([event.row for event in events], [event.decision_id for event in events])
                any_rows = any_rows or bool(events)
                yield events
        self.left_out[LeftOut.DANGLING] += self._apart.left()
        if not any_rows:
            raise InvalidLog(f"{self.name}: has no decision to evaluate; excluded: {dict(+self.left_out)}")

    def _events(self, row: int, line: bytes) -> Iterator[LoggedEvent]:
        text = line.strip()
        if not text:
            return
        if not text.startswith(b"{"):
            if row == 1 and text.startswith(b"["):
                raise InvalidLog("row 1: is a JSON array: there must be one object a line, and nothing around them")
            self.left_out[LeftOut.NOT_AN_OBJECT] += 1
            return
        fields = Fields(row, parsed(row, text))
        if not tells_only_a_reward(fields.document):
            yield from self._decision(fields)

    def _decision(self, fields: Fields) -> Iterator[LoggedEvent]:
        reason = _left_out(fields)
        if reason is None:
            event = self._event(fields)
            yield checked(event, self.reward_bounds)
        else:
            self._apart.take(_decision_id(fields))
            self.left_out[reason] += 1

    def _event(self, fields: Fields) -> LoggedEvent:
        context: Document = fields.needed("c", dict)
        _check_one_action(fields, context)
        own = Fields(fields.row, fields.optional(OWN, dict) or {}, within=f"{OWN}.")
        multi = _options(fields.row, context)
        pmf = _pmf(fields, len(multi))
        decision_id = _decision_id(fields)
        return LoggedEvent(
            row=fields.row,
            decision_id=decision_id,
            # Personalizer knows no users: each decision stands for itself.
            user=UserId(own.optional("user", str) or decision_id),
            campaign=own.optional("campaign", str) or "",
            campaign_version=own.optional("campaign_version", int),
            learning_place=own.optional("learning_place", int),
            decided_at=self._instant(fields),
            policy=own.optional("policy", str),
            model_version=own.optional("model_version", int),
            action_index=_chosen(fields, len(multi)),
            propensity=read_as.probability(fields.needed("_label_probability", int | float)),
            pmf=pmf,
            reward=self._reward(fields, decision_id),
            actions=_own_actions(own) or multi,
            context=own.optional("context", dict)
            or {name: value for name, value in context.items() if name != "_multi"},
        )

    def _reward(self, fields: Fields, decision_id: str) -> float:
        """The reward of the decision's own line, and those that stand on lines of their own."""
        cost = fields.needed("_label_cost", int | float)
        late = self._apart.take(decision_id)
        if late is not None:
            if not self._keep_late and (cost != 0 or fields.optional("o", list)):
                rule = (
                    f"decision {shown(decision_id)} of row {fields.row} has a reward already; --keep-late adds this one"
                )
                raise InvalidLog(f"row {late.row}: reward: {late.reward:g}: {rule}")
            return late.reward - float(cost)
        reward = 0.0 - float(cost)
        low, high = self.reward_bounds
        if not low <= reward <= high:
            rule = f"its reward {reward} must be a number within the bounds [{low}, {high}] (of a file: --bounds)"
            raise fields.fault("_label_cost", cost, rule)
        return reward

    def _instant(self, fields: Fields) -> datetime | None:
        value = fields.document.get("Timestamp")
        try:
            return None if value is None else read_as.instant(value, self._zone)
        except ValueError as error:
            raise fields.fault("Timestamp", value, str(error)) from None


def _left_out(fields: Fields) -> str | None:
    if fields.optional("_skipLearn", bool):
        return LeftOut.NOT_LEARNABLE
    original = fields.optional("_original_label_cost", int | float)
    if original is not None and original != fields.needed("_label_cost", int | float):
        return LeftOut.IMITATION
    return None


def _check_one_action(fields: Fields, context: Document) -> None:
    for name, holder in (("_slots", context), ("_outcomes", fields.document)):
        if name in holder:
            raise fields.fault(
                name, holder[name], "a decision over several slots; only one action a decision can be read"
            )
    if "_label_ca" in fields.document:
        rule = "a continuous action; only a choice among _multi can be read"
        raise fields.fault("_label_ca", fields.document["_label_ca"], rule)
    dropped = fields.optional("pdrop", int | float)
    if dropped:
        raise fields.fault("pdrop", dropped, "rows were dropped at random; log them all (pdrop 0)")


def _options(row: int, context: Document) -> tuple[Document, ...]:
    multi = Fields(row, context, within="c.").needed("_multi", list)
    if not multi or not all(isinstance(one, dict) for one in multi):
        raise Fields(row, context, within="c.").fault("_multi", multi, "must be a list of at least one action")
    return tuple(multi)


def _decision_id(fields: Fields) -> str:
    return str(fields.optional("EventId", str | int) or fields.row)


def _own_actions(own: Fields) -> LoggedActions | None:
    text = own.document.get("actions")
    if text is None:
        return None
    try:
        return read_actions(text)
    except read_as.UNREADABLE as error:
        raise own.fault("actions", text, f"cannot be read: {read_as.one_line(error)}") from None


def _chosen(fields: Fields, n_actions: int) -> int:
    """Place of the chosen action, from 0; every field that tells it must tell the same."""
    order = _order(fields)
    places = {
        "_labelIndex": fields.optional("_labelIndex", int),
        "_label_Action": _less_one(fields.optional("_label_Action", int)),
        "a": _less_one(order[0] if order else None),
    }
    known = {place for place in places.values() if place is not None}
    if len(known) != 1 or not 0 <= min(known) < n_actions:
        said = ", ".join(f"{name} {shown(fields.document.get(name))}" for name in places)
        rule = f"must name one action of the {n_actions} in _multi; _labelIndex counts from 0, the others from 1"
        raise InvalidLog(f"row {fields.row}: {said}: {rule}")
    return int(known.pop())


def _order(fields: Fields) -> list[int]:
    order = fields.optional("a", list) or []
    if not all(isinstance(one, int) and not isinstance(one, bool) for one in order):
        raise fields.fault("a", order, "must be a list of the places of actions, counted from 1")
    if 0 in order:
        raise fields.fault("a", order, "a counts the actions of _multi from 1")
    return order


def _less_one(place: int | None) -> int | None:
    return None if place is None else place - 1


def _pmf(fields: Fields, n_actions: int) -> Pmf | None:
    """Probabilities in the order of `_multi`, None where only the chosen action's was logged."""
    if "p" not in fields.document:
        return None
    places, probabilities = _order(fields), fields.needed("p", list)
    if sorted(places) != list(range(1, n_actions + 1)) or len(probabilities) != n_actions:
        rule = f"must both have one entry for each of the {n_actions} actions of _multi, a counted from 1"
        raise InvalidLog(f"row {fields.row}: a, p: {len(places)} and {len(probabilities)} entries: {rule}")
    pmf = np.empty(n_actions)
    try:
        pmf[np.array(places) - 1] = read_as.pmf(probabilities)
    except read_as.UNREADABLE:
        raise fields.fault("p", probabilities, "must be a list of numbers") from None
    return pmf
