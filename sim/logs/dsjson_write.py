"""Events as lines of VW's decision-service JSON, from which VW's own command line learns what this service learns."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from bandit.decide.logged import LoggedActions, encode_logged
from bandit.engine.lines import namespaces
from bandit.times import utc_text
from sim.logs.dsjson import OWN
from sim.logs.event import LoggedEvent


def dsjson_line(event: LoggedEvent) -> bytes:
    """The event as a line that VW learns from just as this service does.

    Raises:
        InvalidLog: the log does not say what could be chosen.
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
    """Places of the actions, the chosen one first, then the likelier ones first, as a service would rank them."""
    chosen, n_actions = event.action_index, len(event.action_documents())
    weights = np.zeros(n_actions) if event.pmf is None else event.pmf
    return [chosen, *(int(place) for place in np.argsort(-weights, kind="stable") if place != chosen)]


def _context(event: LoggedEvent) -> dict[str, Any]:
    if not isinstance(event.actions, LoggedActions):
        return {**event.context, "_multi": event.actions}
    lines = event.actions.action_lines.joined()
    return {**_readable(event.actions.shared_line), "_multi": [_readable(line) for line in lines]}


def _readable(line: str) -> dict[str, dict[str, float]]:
    """What a line says. VW passes over JSON names that start with an underscore: theirs is percent-encoded."""
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
