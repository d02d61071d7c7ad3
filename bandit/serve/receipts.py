"""Receipts: everything that is known about a stored decision."""

from typing import Any

import numpy as np
import orjson
from sqlalchemy import Connection, Row

from bandit.decide.logged import LoggedActions, decode_actions
from bandit.domain import Action, Decision, Policy, Reason
from bandit.errors import NotFound
from bandit.store import closings, decisions, feedback
from bandit.wire.decision import action_document, decision_document
from bandit.wire.receipt import Receipt


def receipt(connection: Connection, decision_id: str) -> dict[str, Any]:
    """The receipt of one decision.

    Raises:
        NotFound: there is no such decision.
    """
    row = decisions.get(connection, decision_id)
    if row is None:
        raise NotFound("decision", decision_id)
    return _receipt(connection, row).sent()


def latest_receipts(connection: Connection, user_id: str, limit: int) -> list[dict[str, Any]]:
    """A user's latest receipts, newest first."""
    ids = decisions.latest_of_user(connection, user_id, limit)
    return [receipt(connection, decision_id) for decision_id in ids]


def _receipt(connection: Connection, row: Row[*tuple[Any, ...]]) -> Receipt:
    logged, evidence = decode_actions(row.actions), orjson.loads(row.evidence)
    final = closings.final_reward(connection, row.id)
    return Receipt.model_validate(
        {
            **decision_document(_decision(row)),
            "campaign_version": row.campaign_version,
            "user": row.user_id,
            "request": evidence["request"],
            "actions": _actions(logged, row.pmf),
            "action_index": row.action_index,
            "draw": evidence["draw"],
            "blocked": evidence["blocked"],
            "history": evidence["history"],
            "lines": {
                "shared": logged.shared_line,
                "channels": logged.action_lines.channels,
                "contents": logged.action_lines.contents,
                "times": logged.action_lines.times,
            },
            **({"learned_pmf": evidence["learned_pmf"]} if "learned_pmf" in evidence else {}),
            "feedback": [_event(event) for event in feedback.of_decision(connection, row.id)],
            "reward": None if final is None else final.reward,
            "reward_final_at": None if final is None else final.final_at,
        }
    )


def _decision(row: Row[*tuple[Any, ...]]) -> Decision:
    """The decision as it was answered."""
    return Decision(
        id=row.id,
        campaign=row.campaign_id,
        action=Action(channel=row.channel, content=row.content, send_at=row.send_at),
        propensity=row.propensity,
        policy=Policy(row.policy),
        model_version=row.model_version,
        decided_at=row.decided_at,
        reward_deadline=row.reward_deadline,
        reason=None if row.reason is None else Reason(row.reason),
    )


def _actions(logged: LoggedActions, pmf: bytes) -> list[dict[str, Any]]:
    probabilities = np.frombuffer(pmf, dtype="<f8").tolist()
    return [
        {**action_document(logged.action(index)), "probability": probability}
        for index, probability in enumerate(probabilities)
    ]


def _event(row: Row[*tuple[Any, ...]]) -> dict[str, Any]:
    return {
        "event": row.event,
        "value": row.value,
        "occurred_at": row.occurred_at,
        "received_at": row.received_at,
        "event_id": row.event_id,
        "late": row.late,
        **({} if row.excluded_at is None else {"excluded": row.excluded_for}),
    }
