"""VW's decision-service JSON, dsjson: Personalizer logs it, and VW's own command line learns from it.

Cost is minus reward. `a` has the places of the actions in `_multi`, counted from 1, with the chosen one first. `p` has
their probabilities in the same order. `_labelIndex` is the chosen place, counted from 0.
Source: github.com/VowpalWabbit/vowpal_wabbit/wiki/DSJSON and the engine's parse_example_json.h.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from bandit.decide.exploration import Pmf
from bandit.decide.logged import LoggedActions, encode_logged
from bandit.domain import UserId
from bandit.engine.lines import namespaces
from bandit.errors import InvalidLog
from bandit.times import utc_text
from sim.logs.event import BATCH, Document, LeftOut, LoggedEvent, checked, read_actions

OWN = "sendopt"  # the key for data that only this service has; VW ignores it


class DsjsonLog:
    """A dsjson file, of this service or of another."""

    def __init__(self, path: Path, *, reward_bounds: tuple[float, float]) -> None:
        self.name = path.name
        self.reward_bounds = reward_bounds
        self.left_out: Counter[str] = Counter()
        self.size: int | None = None
        self._path = path

    def batches(self) -> Iterator[Sequence[LoggedEvent]]:
        self.left_out = Counter()
        any_rows = False
        try:
            with self._path.open("rb") as file:
                lines = enumerate(file, start=1)
                while chunk := list(islice(lines, BATCH)):
                    events = [event for row, line in chunk for event in self._events(row, line)]
                    any_rows = any_rows or bool(events)
                    yield events
        except OSError as error:
            raise InvalidLog(f"{self._path}: cannot be read: {error.strerror}") from None
        if not any_rows:
            raise InvalidLog(f"{self.name}: has no decision to evaluate; excluded: {dict(self.left_out)}")

    def _events(self, row: int, line: bytes) -> Iterator[LoggedEvent]:
        if not line.strip():
            return
        document = _parsed(row, line)
        if "c" not in document and ("RewardValue" in document or "ActionTaken" in document):
            self.left_out[LeftOut.DANGLING] += 1
        elif document.get("_skipLearn"):
            self.left_out[LeftOut.NOT_LEARNABLE] += 1
        else:
            yield checked(_event(row, document), self.reward_bounds)


def _parsed(row: int, line: bytes) -> Document:
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InvalidLog(f"row {row}: is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidLog(f"row {row}: is not an object")
    return document


def _event(row: int, document: Document) -> LoggedEvent:
    own: Document = _typed(row, document, OWN, dict, {})
    context: Document = _typed(row, document, "c", dict)
    if "_slots" in context or "_outcomes" in document:
        raise InvalidLog(
            f"row {row}: _slots: a decision over several slots; only decisions with one action can be read"
        )
    if document.get("pdrop"):
        raise InvalidLog(f"row {row}: pdrop: {document['pdrop']}: rows were dropped at random; log them all (pdrop 0)")
    multi = _typed(row, context, "_multi", list)
    chosen = _chosen(row, document)
    decision_id = _typed(row, document, "EventId", str, "") or str(row)
    return LoggedEvent(
        row=row,
        decision_id=decision_id,
        # Personalizer has no users, so each decision counts as a user of its own.
        user=UserId(own.get("user", decision_id)),
        campaign=own.get("campaign", ""),
        campaign_version=own.get("campaign_version"),
        learning_place=own.get("learning_place"),
        decided_at=_instant(row, document.get("Timestamp")),
        policy=own.get("policy"),
        model_version=own.get("model_version"),
        action_index=chosen,
        propensity=float(_typed(row, document, "_label_probability", int | float)),
        pmf=_pmf(row, document, len(multi)),
        reward=0.0 - float(_typed(row, document, "_label_cost", int | float)),
        actions=_own_actions(row, own) if "actions" in own else tuple(multi),
        context=own.get("context", {name: value for name, value in context.items() if name != "_multi"}),
    )


def _own_actions(row: int, own: Document) -> LoggedActions:
    try:
        return read_actions(own["actions"])
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidLog(f"row {row}: {OWN}.actions: cannot be read: {error}") from None


_NONE: Any = object()


def _typed(row: int, document: Document, name: str, kind: Any, default: Any = _NONE) -> Any:
    """The field, which must be of that type."""
    value = document.get(name, default)
    if value is _NONE:
        raise InvalidLog(f"row {row}: {name}: is missing")
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InvalidLog(f"row {row}: {name}: {str(value)[:100]!r}: has the wrong type for dsjson")
    return value


def _chosen(row: int, document: Document) -> int:
    """Place of the chosen action, from 0; all fields that name it must agree."""
    said = {
        "_labelIndex": document.get("_labelIndex"),
        "_label_Action": _less_one(row, "_label_Action", document.get("_label_Action")),
        "a": _less_one(row, "a", next(iter(_typed(row, document, "a", list, [])), None)),
    }
    places = {name: place for name, place in said.items() if place is not None}
    if not places or len(set(places.values())) > 1 or not all(isinstance(place, int) for place in places.values()):
        raise InvalidLog(f"row {row}: _labelIndex, _label_Action and a must name one action, not {places or 'none'}")
    return int(next(iter(places.values())))


def _less_one(row: int, name: str, place: Any) -> int | None:
    if place is not None and not isinstance(place, int):
        raise InvalidLog(f"row {row}: {name}: {place!r}: is not the place of an action, counted from 1")
    return None if place is None else place - 1


def _pmf(row: int, document: Document, n_actions: int) -> Pmf | None:
    """Probabilities in the order of `_multi`; None if only that of the chosen action was logged."""
    if "p" not in document:
        return None
    places, probabilities = _typed(row, document, "a", list), _typed(row, document, "p", list)
    if sorted(map(str, places)) != sorted(map(str, range(1, n_actions + 1))) or len(probabilities) != n_actions:
        rule = f"must both have one entry for each of the {n_actions} actions of _multi, a counted from 1"
        raise InvalidLog(f"row {row}: a, p: {len(places)} and {len(probabilities)} entries: {rule}")
    pmf = np.empty(n_actions)
    try:
        pmf[np.array(places) - 1] = probabilities
    except (TypeError, ValueError):
        raise InvalidLog(f"row {row}: p: {str(probabilities)[:100]}: is not a list of numbers") from None
    return pmf


def _instant(row: int, text: Any) -> datetime | None:
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(str(text))
    except ValueError:
        raise InvalidLog(f"row {row}: Timestamp: {text!r}: is not a time") from None
    return instant if instant.utcoffset() is not None else instant.replace(tzinfo=UTC)  # Personalizer logs UTC


def dsjson_line(event: LoggedEvent) -> bytes:
    """The event as a line from which VW learns the same as this service.

    Raises:
        InvalidLog: the log does not say which actions were eligible.
    """
    chosen = event.action_index
    pmf = event.pmf
    order = _order(event)
    document = {
        "_label_cost": 0.0 - event.reward,
        "_label_probability": event.propensity,
        "_label_Action": chosen + 1,
        "_labelIndex": chosen,
        "Version": "1",
        "EventId": event.decision_id,
        **({} if event.decided_at is None else {"Timestamp": utc_text(event.decided_at)}),
        "a": [place + 1 for place in order],
        **({} if pmf is None else {"p": pmf[order].tolist()}),
        "c": _context(event),
        OWN: _own(event),
    }
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def _order(event: LoggedEvent) -> list[int]:
    """Places of the actions: the chosen one first, then the others by probability, as a service would rank them."""
    chosen, n_actions = event.action_index, len(event.action_documents())
    weights = np.zeros(n_actions) if event.pmf is None else event.pmf
    return [chosen, *(int(place) for place in np.argsort(-weights, kind="stable") if place != chosen)]


def _context(event: LoggedEvent) -> dict[str, Any]:
    if not isinstance(event.actions, LoggedActions):
        return {**event.context, "_multi": event.actions}
    lines = event.actions.action_lines.joined()
    return {**_readable(event.actions.shared_line), "_multi": [_readable(line) for line in lines]}


def _readable(line: str) -> dict[str, dict[str, float]]:
    """The features of a line. VW ignores JSON names that start with an underscore, so it is percent-encoded."""
    return {
        space: {f"%5F{name[1:]}" if name.startswith("_") else name: weight for name, weight in features.items()}
        for space, features in namespaces(line).items()
    }


def _own(event: LoggedEvent) -> Mapping[str, Any]:
    own = {
        "user": event.user,
        "campaign": event.campaign,
        "campaign_version": event.campaign_version,
        "learning_place": event.learning_place,
        "policy": event.policy,
        "model_version": event.model_version,
        "context": event.context,
    }
    return {**own, "actions": encode_logged(event.actions)} if isinstance(event.actions, LoggedActions) else own
