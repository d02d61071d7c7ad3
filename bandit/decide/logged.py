"""The stored form of a decision's eligible set: JSON text that the learner and everybody else can read."""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from bandit.decide.decision import DecisionRecord
from bandit.decide.eligibility import Blocked, Candidates, Cells, EligibleSet
from bandit.domain import SILENCE, Action, Content
from bandit.engine.cells import Cell, cells_of
from bandit.engine.lines import ActionLines
from bandit.sendtimes import send_time
from bandit.times import utc_text
from bandit.wire.decision import action_document

DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedActions:
    """The eligible set of a stored decision, with the lines that the model saw."""

    channels: tuple[str, ...]
    contents: tuple[str, ...]
    times: tuple[str, ...]  # RFC 3339, UTC
    shared_line: str
    action_lines: ActionLines

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Places of the eligible actions, except silence, among channels, contents and times."""
        return cells_of(self.action_lines.mask, len(self.contents), len(self.times))

    def __len__(self) -> int:
        return 1 + len(self.cells)

    def action(self, index: int) -> Action:
        """The action at a place of the pmf; place 0 is silence."""
        if index == 0:
            return SILENCE
        cell = self.cells[index - 1]
        return Action(
            channel=self.channels[cell.channel],
            content=self.contents[cell.content],
            send_at=datetime.fromisoformat(self.times[cell.time]),
        )


def logged_eligible_set(logged: LoggedActions, *, now: datetime, local: ZoneInfo) -> EligibleSet:
    """The eligible set of a stored decision; its contents have only an id.

    Args:
        now: the moment of the decision.
        local: the user's zone.
    """
    instants = [datetime.fromisoformat(one) for one in logged.times]
    return EligibleSet(
        candidates=Candidates(
            channels=logged.channels,
            contents=tuple(Content(id=one) for one in logged.contents),
            times=tuple(send_time(instant, local, is_now=instant == now) for instant in instants),
        ),
        cells=Cells(logged.cells, (), logged.action_lines.mask),
    )


# Cached, because the same times come in every decision of a time zone.
_candidate_text = lru_cache(maxsize=4_096)(utc_text)


def encode_actions(record: DecisionRecord) -> str:
    """JSON text of the eligible set and its feature lines; equal sets give equal text."""
    candidates = record.eligible.candidates
    return encode_logged(
        LoggedActions(
            channels=candidates.channels,
            contents=tuple([content.id for content in candidates.contents]),
            times=tuple([_candidate_text(time.send_at) for time in candidates.times]),
            shared_line=record.shared_line,
            action_lines=record.action_lines,
        )
    )


def encode_logged(logged: LoggedActions) -> str:
    """The text that `decode_actions` reads; for a decoded stored decision it is exactly the stored text."""
    lines = logged.action_lines
    return orjson.dumps(
        {
            "channels": logged.channels,
            "contents": logged.contents,
            "times": logged.times,
            "mask": lines.mask,
            "lines": {
                "shared": logged.shared_line,
                "channels": lines.channels,
                "contents": lines.contents,
                "times": lines.times,
            },
        }
    ).decode()


def actions_digest(actions: str) -> bytes:
    """16 bytes that identify an eligible set with its lines."""
    return blake2b(actions.encode(), digest_size=DIGEST_BYTES).digest()


def decode_actions(actions: str) -> LoggedActions:
    """The eligible set that `encode_actions` encoded."""
    document = orjson.loads(actions)
    lines = document["lines"]
    return LoggedActions(
        channels=tuple(document["channels"]),
        contents=tuple(document["contents"]),
        times=tuple(document["times"]),
        shared_line=lines["shared"],
        action_lines=ActionLines(
            channels=tuple(lines["channels"]),
            contents=tuple(lines["contents"]),
            times=tuple(lines["times"]),
            mask=document["mask"],
        ),
    )


def encode_evidence(record: DecisionRecord) -> str:
    """JSON text of the evidence of a decision: request, blocked actions, history, draw."""
    evidence: dict[str, Any] = {
        "request": orjson.Fragment(record.request.body),
        "blocked": _blocked(record.eligible),
        "history": record.history_features,
        "draw": {"salt": record.decision.campaign, "number": record.draw_number},
    }
    if record.learned_pmf is not None:
        evidence["learned_pmf"] = record.learned_pmf.tolist()
    return orjson.dumps(evidence).decode()


def _blocked(eligible: EligibleSet) -> dict[str, Any]:
    return {
        rule: {"count": blocked.number, "example": _example(eligible.candidates, blocked)}
        for rule, blocked in eligible.cells.blocked
    }


def _example(candidates: Candidates, blocked: Blocked) -> dict[str, Any]:
    return action_document(candidates.action(blocked.example))
