"""Messages that wait for their send time or their report, in a file: a restart loses none and sends none twice."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_TABLE = """
CREATE TABLE IF NOT EXISTS messages (
    id TEXT PRIMARY KEY, decision_id TEXT, person TEXT NOT NULL, channel TEXT NOT NULL, content TEXT NOT NULL,
    send_at TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'waiting', done_at TEXT, reported INTEGER NOT NULL DEFAULT 0
)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message to be sent."""

    id: str
    decision_id: str | None  # None: the scheduler's own fallback, which the service does not know
    person: str
    channel: str
    content: str
    send_at: datetime  # aware


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The outcome of a message, to be reported to the service."""

    message_id: str
    decision_id: str
    event: str  # "delivered", "failed" or "cancelled"
    occurred_at: str  # RFC 3339


class Outbox:
    """The messages of one scheduler; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._run(_TABLE)

    def hold(self, message: Message) -> bool:
        """Stores the message; False if its decision is stored already."""
        return self._run(
            "INSERT OR IGNORE INTO messages (id, decision_id, person, channel, content, send_at) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            message.id,
            message.decision_id,
            message.person,
            message.channel,
            message.content,
            message.send_at.isoformat(),
        )

    def waiting(self) -> list[Message]:
        """Every waiting message, earliest first."""
        return [_message(row) for row in self._rows("SELECT * FROM messages WHERE state = 'waiting' ORDER BY send_at")]

    def take(self, message_id: str) -> bool:
        """Takes the message; False if it was not waiting. The caller must then report how it ended.

        After a crash between taking and sending it stays taken: not sending is better than sending twice.
        """
        return self._run("UPDATE messages SET state = 'taken' WHERE id = ? AND state = 'waiting'", message_id)

    def finish(self, message_id: str, state: str) -> None:
        """Records how a taken message ended."""
        now = datetime.now(UTC).isoformat()
        self._run("UPDATE messages SET state = ?, done_at = ? WHERE id = ?", state, now, message_id)

    def unreported(self) -> list[Report]:
        """The outcomes that were not reported yet."""
        rows = self._rows(
            "SELECT id, decision_id, state, done_at FROM messages "
            "WHERE done_at IS NOT NULL AND decision_id IS NOT NULL AND NOT reported ORDER BY done_at"
        )
        return [
            Report(message_id=row["id"], decision_id=row["decision_id"], event=row["state"], occurred_at=row["done_at"])
            for row in rows
        ]

    def reported(self, message_id: str) -> None:
        """Records that the outcome was reported."""
        self._run("UPDATE messages SET reported = 1 WHERE id = ?", message_id)

    def states(self) -> dict[str, int]:
        """Number of messages in each state."""
        return {row["state"]: row["n"] for row in self._rows("SELECT state, count(*) AS n FROM messages GROUP BY 1")}

    def _run(self, statement: str, *values: object) -> bool:
        """Whether a row was changed."""
        with closing(self._connection()) as connection, connection:
            return connection.execute(statement, values).rowcount == 1

    def _rows(self, statement: str) -> list[sqlite3.Row]:
        with closing(self._connection()) as connection:
            return connection.execute(statement).fetchall()

    def _connection(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=10)
        connection.row_factory = sqlite3.Row
        return connection


def _message(row: sqlite3.Row) -> Message:
    return Message(
        id=row["id"],
        decision_id=row["decision_id"],
        person=row["person"],
        channel=row["channel"],
        content=row["content"],
        send_at=datetime.fromisoformat(row["send_at"]),
    )
