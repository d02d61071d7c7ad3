"""Receipts: everything that is stored about a decision."""

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, Row

from bandit.decide.exploration import pmf_from_bytes
from bandit.decide.logged import LoggedActions, decode_actions
from bandit.domain import Action, Decision, Policy, Reason
from bandit.errors import NotFound
from bandit.store import closings, decisions, feedback
from bandit.wire.decision import action_document, decision_document
from bandit.wire.receipt import Receipt

_Row = Row[*tuple[Any, ...]]


def receipt(connection: Connection, decision_id: str) -> dict[str, Any]:
    """The receipt of one decision.

    Raises:
        NotFound: there is no such decision.
    """
    row = decisions.get(connection, decision_id)
    if row is None:
        raise NotFound("decision", decision_id)
    return _receipts(connection, [row])[0].sent()


def latest_receipts(connection: Connection, user_id: str, limit: int) -> list[dict[str, Any]]:
    """A user's latest receipts, newest first."""
    return [one.sent() for one in _receipts(connection, decisions.latest_of_user(connection, user_id, limit))]


def _receipts(connection: Connection, rows: Sequence[_Row]) -> list[Receipt]:
    """The receipts of stored decisions, with two statements however many there are."""
    ids = [row.id for row in rows]
    events, final = feedback.of_decisions(connection, ids), closings.final_of(connection, ids)
    return [_receipt(row, events[row.id], final.get(row.id)) for row in rows]


def _receipt(row: _Row, events: Sequence[_Row], final: _Row | None) -> Receipt:
    logged, evidence = decode_actions(row.actions), orjson.loads(row.evidence)
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
            "feedback": [_event(event) for event in events],
            "reward": None if final is None else final.reward,
            "reward_final_at": None if final is None else final.final_at,
        }
    )


def _decision(row: _Row) -> Decision:
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
    probabilities = pmf_from_bytes(pmf).tolist()
    return [
        {**action_document(logged.action(index)), "probability": probability}
        for index, probability in enumerate(probabilities)
    ]


def _event(row: _Row) -> dict[str, Any]:
    return {
        "event": row.event,
        "value": row.value,
        "occurred_at": row.occurred_at,
        "received_at": row.received_at,
        "event_id": row.event_id,
        "late": row.late,
        **({} if row.excluded_at is None else {"excluded": row.excluded_for}),
    }
