"""JSON schemas and examples of the wire: requests from the models that parse them, answers by hand."""

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import models_json_schema

from api.edge.payloads import MAX_BATCH, FeedbackPayload
from api.edge.shared import MOST_LISTED
from bandit.campaign.document import Campaign
from bandit.domain import FeedbackStatus, Policy, Reason
from bandit.learn.labels import Reason as Fault
from bandit.wire import RequestDocument

Schema = dict[str, Any]

REFERENCE = "#/components/schemas/"
TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
WHOLE: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
INSTANT: Schema = {"type": "string", "format": "date-time"}
ANYTHING: Schema = {"type": "object"}


def ref(name: str) -> Schema:
    return {"$ref": REFERENCE + name}


def or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def list_of(schema: Schema, **rules: Any) -> Schema:
    return {"type": "array", "items": schema, **rules}


def record(fields: Mapping[str, Schema], *, optional: Mapping[str, Schema] | None = None) -> Schema:
    """An object with these fields and no others."""
    return {
        "type": "object",
        "properties": {**fields, **(optional or {})},
        "required": list(fields),
        "additionalProperties": False,
    }


_ACTION = {"channel": or_null(TEXT), "content": or_null(TEXT), "send_at": or_null(INSTANT)}
_DECISION = {
    "decision_id": TEXT,
    "campaign": TEXT,
    "send": FLAG,
    **_ACTION,
    "propensity": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    "policy": {"enum": [policy.value for policy in Policy]},
    "model_version": WHOLE,
    "decided_at": INSTANT,
    "reward_deadline": INSTANT,
    "reason": {"enum": [None, *(reason.value for reason in Reason)]},
}
_EVENT = {
    "event": TEXT,
    "value": or_null(NUMBER),
    "occurred_at": INSTANT,
    "received_at": INSTANT,
    "event_id": or_null(TEXT),
    "late": FLAG,
}
_RECEIPT = {
    **_DECISION,
    "campaign_version": WHOLE,
    "user": TEXT,
    "request": ANYTHING,
    "actions": list_of(record({**_ACTION, "probability": {"type": "number", "minimum": 0, "maximum": 1}}), minItems=1),
    "action_index": WHOLE,
    "draw": record({"salt": TEXT, "number": NUMBER}),
    "blocked": {"type": "object", "additionalProperties": record({"count": WHOLE, "example": record(_ACTION)})},
    "history": {"type": "object", "additionalProperties": NUMBER},
    "lines": record({"shared": TEXT, **{name: list_of(TEXT) for name in ("channels", "contents", "times")}}),
    "feedback": list_of(record(_EVENT)),
    "reward": or_null(NUMBER),
    "reward_final_at": or_null(INSTANT),
}
_MODEL = {
    "version": WHOLE,
    "parent": WHOLE,
    "events_learned": WHOLE,
    "watermark": WHOLE,
    "created_at": INSTANT,
    "alias": {"enum": ["champion", "challenger", None]},
    "held": FLAG,
    "health": TEXT,
    "lineage": WHOLE,
    "arguments": TEXT,
    "engine_version": TEXT,
    "size": WHOLE,
    "digest": TEXT,
    "champion_since": or_null(INSTANT),
}
_QUARANTINED = {
    "decision_id": TEXT,
    "seq": WHOLE,
    "reason": {"enum": [fault.value for fault in Fault]},
    "detail": TEXT,
    "quarantined_at": INSTANT,
}
_INTERVAL = {"lower": or_null(NUMBER), "upper": or_null(NUMBER)}
_DAY: Schema = {"type": "string", "format": "date"}
_OF_DAY = {"day": _DAY, "policy": TEXT}
_INSIGHTS = {
    "campaign": TEXT,
    "days": WHOLE,
    "mode": TEXT,
    "paused": FLAG,
    "rewards": list_of(record({**_OF_DAY, "n": WHOLE, "mean": NUMBER, **_INTERVAL})),
    "overall": list_of(record({"policy": TEXT, "n": WHOLE, "mean": NUMBER, **_INTERVAL})),
    "lift": or_null(record({"value": NUMBER, **_INTERVAL})),
    "sends": list_of(
        record({"policy": TEXT, "channel": TEXT, "local_hour": WHOLE, "sends": WHOLE, "mean_reward": or_null(NUMBER)})
    ),
    "contents": list_of(record({**_OF_DAY, "content": TEXT, "decisions": WHOLE})),
    "learning": list_of(record({"day": _DAY, "decisions": WHOLE, "exploration_share": NUMBER, "entropy": NUMBER})),
}
_TABLES = ("feedback", "sends", "open_decisions", "closings", "final_rewards", "quarantine", "idempotency", "decisions")
_ANSWERS: dict[str, Schema] = {
    "Problem": record(
        {
            "type": TEXT,
            "title": TEXT,
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": TEXT,
            "errors": list_of(record({"field": TEXT, "message": TEXT})),
        }
    ),
    "Decision": record(_DECISION),
    "Decisions": record({"results": list_of({"anyOf": [ref("Decision"), ref("Problem")]})}),
    "FeedbackStatus": record({"status": {"enum": [status.value for status in FeedbackStatus]}}),
    "FeedbackStatuses": record({"results": list_of({"anyOf": [ref("FeedbackStatus"), ref("Problem")]})}),
    "Receipt": record(_RECEIPT, optional={"learned_pmf": list_of(NUMBER)}),
    "Receipts": record({"decisions": list_of(ref("Receipt"))}),
    "Explanation": record({"decision_id": TEXT, "sentences": list_of(TEXT), "draw_repeats": FLAG}),
    "Insights": record(_INSIGHTS),
    "StoredCampaign": record({"id": TEXT, "version": WHOLE, "paused": FLAG, "document": ref("Campaign")}),
    "StoredCampaigns": record({"campaigns": list_of(ref("StoredCampaign"))}),
    "Model": record(_MODEL),
    "Models": record({"models": list_of(ref("Model"))}),
    "Quarantine": record({"quarantine": list_of(record(_QUARANTINED), maxItems=MOST_LISTED)}),
    "Removed": record({"user": TEXT, "removed": record(dict.fromkeys(_TABLES, WHOLE))}),
    "Alive": record({"status": {"const": "alive"}}),
    "Ready": record({"status": {"const": "ready"}, "models": {"type": "object", "additionalProperties": TEXT}}),
}


def components() -> dict[str, Schema]:
    """Every schema by name."""
    parsed = [(model, "validation") for model in (RequestDocument, FeedbackPayload, Campaign)]
    _, found = models_json_schema(parsed, ref_template=REFERENCE + "{model}")  # type: ignore[arg-type]
    schemas: dict[str, Schema] = dict(sorted(found["$defs"].items()))
    return {
        **schemas,
        "CampaignBody": _campaign_body(schemas["Campaign"]),
        "DecideBatch": record({"requests": list_of(ref("RequestDocument"), maxItems=MAX_BATCH)}),
        "FeedbackBatch": record({"events": list_of(ref("FeedbackPayload"), maxItems=MAX_BATCH)}),
        **_ANSWERS,
    }


def _campaign_body(campaign: Schema) -> Schema:
    """A campaign whose id may be left to the address, and the version that the caller believes to be current."""
    properties = {**campaign["properties"], "if_version": or_null({"type": "integer"})}
    required = [name for name in campaign["required"] if name != "id"]
    return {**campaign, "title": "CampaignBody", "properties": properties, "required": required}


DECIDE: Schema = {
    "campaign": "reengage",
    "user": {
        "id": "u-123",
        "timezone": "America/New_York",
        "channels": ["push", "email"],
        "quiet_hours": {"start": "21:00", "end": "09:30"},
        "features": {"country": "US", "days_since_visit": 3.0, "premium": False, "topics": ["art", "food"]},
    },
    "contents": ["streak", {"id": "pin-9", "features": {"topic": "food", "fresh_hours": 5}}],
}
FEEDBACK: Schema = {
    "decision_id": "01JD4CTE7M3K6ZQ2V9XW5R8YAB",
    "event": "clicked",
    "occurred_at": "2026-11-20T23:11:09Z",
    "value": 1.0,
    "event_id": "e-77",
}
CAMPAIGN: Schema = {
    "channels": {
        "push": {"cost": 0.01, "cap": {"count": 2, "hours": 24}},
        "email": {"cost": 0.005, "cap": {"count": 3, "hours": 168}},
    },
    "caps": {"count": 3, "hours": 24, "min_gap_hours": 4},
    "contents": [
        {"id": "streak", "features": {"kind": "habit"}, "channels": ["push"], "repeat_after_hours": 72},
        {"id": "digest"},
    ],
    "send_times": {"local_hours": [8, 12, 18, 20], "quiet_hours": {"start": "22:00", "end": "08:00"}},
    "reward": {
        "window_hours": 48,
        "learn_after_hours": 26,
        "bounds": [-5, 5],
        "events": {"opened": 0.1, "clicked": 1.0, "converted": 3.0, "unsubscribed": -5.0},
    },
    "policy": {"uniform_holdout": 0.05, "no_send_holdout": 0.01},
}
DECISION: Schema = {
    "decision_id": "01JD4CTE7M3K6ZQ2V9XW5R8YAB",
    "campaign": "reengage",
    "send": True,
    "channel": "push",
    "content": "streak",
    "send_at": "2026-11-20T23:00:00Z",
    "propensity": 0.137,
    "policy": "learned",
    "model_version": 12,
    "decided_at": "2026-11-20T17:03:00Z",
    "reward_deadline": "2026-11-22T17:03:00Z",
    "reason": None,
}
EXAMPLES: dict[str, Any] = {
    "RequestDocument": DECIDE,
    "DecideBatch": {"requests": [DECIDE]},
    "FeedbackPayload": FEEDBACK,
    "FeedbackBatch": {"events": [FEEDBACK]},
    "CampaignBody": CAMPAIGN,
    "Decision": DECISION,
    "Decisions": {"results": [DECISION]},
    "FeedbackStatus": {"status": "accepted"},
    "FeedbackStatuses": {"results": [{"status": "accepted"}, {"status": "duplicate"}]},
    "StoredCampaign": {"id": "reengage", "version": 1, "paused": False, "document": {"id": "reengage", **CAMPAIGN}},
    "Quarantine": {
        "quarantine": [
            {
                "decision_id": "01JD4CTE7M3K6ZQ2V9XW5R8YAB",
                "seq": 5127,
                "reason": "reward",
                "detail": "reward 1e+30 is outside [-5.0, 5.0]",
                "quarantined_at": "2026-11-22T19:03:10Z",
            }
        ]
    },
    "Alive": {"status": "alive"},
    "Ready": {"status": "ready", "models": {"reengage": "version 12"}},
    "Removed": {"user": "u-123", "removed": dict.fromkeys(_TABLES, 1)},
    "Problem": {
        "type": "about:blank",
        "title": "Invalid input",
        "status": 400,
        "detail": "user.timezone: 'Mars/Base': unknown time zone 'Mars/Base'",
        "errors": [{"field": "user.timezone", "message": "'Mars/Base': unknown time zone 'Mars/Base'"}],
    },
}
