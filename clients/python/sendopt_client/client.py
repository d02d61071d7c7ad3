"""What a scheduler imports: the service's HTTP interface as calls, over connections that are kept open.

with SendoptClient("http://127.0.0.1:8000") as client:
    choice = client.decide(request, fallback=Choice(send=True, channel="push", content="streak", send_at=tonight))
    if choice.send:
        schedule(choice.channel, choice.content, choice.send_at)
"""

from __future__ import annotations  # `X | None` in annotations, for Python 3.9

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Literal, TypeVar
from urllib.parse import quote
from uuid import uuid4

import orjson
from urllib3.exceptions import HTTPError

from sendopt_client.deadlines import pool_manager, until

TIMEOUT_SECONDS = 0.25
BULK_TIMEOUT_SECONDS = 30.0  # for batches and for other calls for which no user waits
PAUSES_SECONDS = (0.01, 0.04)  # pauses before further attempts, as long as there is time
CONNECTIONS = 32
MOST_BYTES = 16 * 1024 * 1024  # maximum size of an answer; the answer to a batch of 1,000 is smaller than 1 MB

Document = dict[str, Any]
Client = TypeVar("Client", bound="SendoptClient")
Status = Literal["accepted", "duplicate", "late"]
Result = TypeVar("Result")


class ClientError(Exception):
    """The service refused a request, or gave no readable answer."""

    def __init__(self, call: str, detail: str, *, status: int | None = None, problem: Document | None = None) -> None:
        """
        Args:
            call: method and path, e.g. "POST /decide".
            status: status of the answer; None if there was no answer.
            problem: problem document of the answer; None if there was none.
        """
        self.status = status
        self.problem = problem
        super().__init__(f"{call}: {detail}" if status is None else f"{call}: {status}: {detail}")

    @property
    def may_pass(self) -> bool:
        """Whether a retry may succeed: the request was not refused because of its contents."""
        return self.status is None or self.status < 300 or self.status >= 500


@dataclass(frozen=True)  # neither slotted nor keyword-only: Python 3.9 has no such dataclasses
class Choice:
    """What to send, where and when; or silence."""

    send: bool
    channel: str | None = None
    content: str | None = None
    send_at: datetime | None = None  # aware
    decision_id: str | None = None  # for feedback; None for a fallback, which the service does not know
    propensity: float | None = None
    policy: str | None = None
    failure: ClientError | None = None  # why this is the caller's fallback
    answer: Document = field(default_factory=dict, compare=False, repr=False)  # every field of the decision as answered

    @property
    def degraded(self) -> bool:
        """Whether this is the caller's own fallback because the service gave no decision."""
        return self.failure is not None


SILENCE = Choice(send=False)


class SendoptClient:
    """Calls one service; safe to use from several threads.

    `decide` and `feedback` return within the timeout whatever the service does, because somebody waits for them. They
    raise only on request. Every other call takes as long as it needs, and raises ClientError if it fails.
    """

    def __init__(self, base_url: str, *, timeout_seconds: float = TIMEOUT_SECONDS, api_key: str | None = None) -> None:
        """
        Args:
            base_url: e.g. "http://127.0.0.1:8000".
            timeout_seconds: for a whole decision or feedback event: connecting, all attempts, all bytes.

        Raises:
            ValueError: the key cannot be sent, for example because it ends with a line break.
        """
        if api_key is not None and not (api_key.isascii() and api_key.isprintable()):
            # Checked here: the library that would refuse it later quotes the key in its error.
            message = (
                f"must be printable ASCII; at least one of its {len(api_key)} characters is not, perhaps a line break"
            )
            raise ValueError(f"api_key: {message}")
        self._base_url = base_url.rstrip("/")
        self._timeout_seconds = timeout_seconds
        headers = {"Content-Type": "application/json"}
        if api_key is not None:
            headers["Authorization"] = f"Bearer {api_key}"
        is_tls = base_url.lower().startswith("https:")
        self._pool = pool_manager(headers=headers, is_tls=is_tls, connections=CONNECTIONS)

    def decide(
        self, request: Document, *, fallback: Choice | None = SILENCE, idempotency_key: str | None = None
    ) -> Choice:
        """The decision for one user; if there is none in time, the fallback, marked as degraded.

        Args:
            fallback: the caller's own choice; None: raise ClientError instead.
            idempotency_key: identifies this decision; with a key of the caller's own, the request can safely be
                repeated later.
        """
        headers = {"Idempotency-Key": idempotency_key or uuid4().hex}
        try:
            return self._persistently("/decide", request, _choice, headers)
        except ClientError as error:
            if fallback is None:
                raise
            return replace(fallback, failure=error)

    def feedback(self, event: Document, *, must_arrive: bool = False) -> Status | None:
        """The status of one event; None if it did not arrive. Send it again later then, which is always safe.

        Args:
            must_arrive: raise ClientError instead of None.
        """
        try:
            return self._persistently("/feedback", event, _status, {})
        except ClientError:
            if must_arrive:
                raise
            return None

    def decide_batch(self, requests: Sequence[Document]) -> list[Document]:
        """One decision, or one problem document, per request, in order; at most 1,000."""
        return self._results("/decide/batch", {"requests": list(requests)}, len(requests))

    def feedback_batch(self, events: Sequence[Document]) -> list[Document]:
        """One {"status": ...}, or one problem document, per event, in order; at most 1,000."""
        return self._results("/feedback/batch", {"events": list(events)}, len(events))

    def put_campaign(self, document: Document) -> Document:
        """The campaign as stored, with its version."""
        return self._bulk("PUT", f"/campaigns/{_step(document['id'])}", document)

    def get_campaign(self, campaign_id: str) -> Document:
        """The campaign as stored, with its version."""
        return self._bulk("GET", f"/campaigns/{_step(campaign_id)}")

    def receipt(self, decision_id: str) -> Document:
        """Everything that is stored about one decision."""
        return self._bulk("GET", f"/decisions/{_step(decision_id)}")

    def models(self, campaign_id: str) -> list[Document]:
        """The published models of a campaign, newest first."""
        found: list[Document] = self._bulk("GET", f"/campaigns/{_step(campaign_id)}/models")["models"]
        return found

    def ready(self) -> bool:
        """Whether the service answers that it can decide; False also if there is no answer."""
        try:
            self._call("GET", "/readyz", deadline=monotonic() + self._timeout_seconds)
        except ClientError as error:
            if error.status in (None, 503):
                return False
            raise
        return True

    def close(self) -> None:
        """Closes the connections."""
        self._pool.clear()

    def __enter__(self: Client) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _results(self, path: str, body: Document, expected: int) -> list[Document]:
        results: list[Document] = self._bulk("POST", path, body)["results"]
        if len(results) != expected:
            raise ClientError(f"POST {path}", f"got {len(results)} results for {expected} items", status=200)
        return results

    def _bulk(self, method: str, path: str, body: Document | None = None) -> Document:
        return self._call(method, path, body, deadline=monotonic() + BULK_TIMEOUT_SECONDS)

    def _persistently(
        self, path: str, body: Document, read: Callable[[Document], Result | None], headers: Mapping[str, str]
    ) -> Result:
        """What `read` finds in the answer, after as many attempts as fit into the timeout."""
        deadline = monotonic() + self._timeout_seconds
        for pause in PAUSES_SECONDS:
            try:
                return self._read(path, body, read, headers, deadline)
            except ClientError as error:
                if not error.may_pass or monotonic() + pause >= deadline:
                    raise
            sleep(pause)
        return self._read(path, body, read, headers, deadline)

    def _read(
        self,
        path: str,
        body: Document,
        read: Callable[[Document], Result | None],
        headers: Mapping[str, str],
        deadline: float,
    ) -> Result:
        found = read(self._call("POST", path, body, deadline=deadline, headers=headers))
        if found is None:
            raise ClientError(f"POST {path}", "the answer does not fit the request", status=200)
        return found

    def _call(
        self,
        method: str,
        path: str,
        body: Document | None = None,
        *,
        deadline: float,
        headers: Mapping[str, str] | None = None,
    ) -> Document:
        """The JSON object of the service's answer."""
        call = f"{method} {path}"
        data = None if body is None else _written(call, body)
        try:
            with until(deadline):
                status, content = self._answer(method, path, data, headers or {})
        except (HTTPError, OSError, ValueError) as error:  # ValueError: a header or a host that cannot be encoded
            raise ClientError(call, f"no answer: {error}") from error
        document = _object(content)
        if status >= 300:
            raise ClientError(call, _detail(document, content), status=status, problem=document)
        if document is None:
            raise ClientError(call, "the answer is not a JSON object", status=status)
        return document

    def _answer(self, method: str, path: str, data: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Status and body of the answer."""
        response = self._pool.request(
            method,
            self._base_url + path,
            body=data,
            headers={**self._pool.headers, **headers},
            preload_content=False,
            decode_content=False,
        )
        try:
            content = response.read(MOST_BYTES)
            if len(content) == MOST_BYTES:
                raise HTTPError(f"the answer is longer than {MOST_BYTES} bytes")
            response.drain_conn()  # nothing is left to read, but only this returns the connection to the pool
        except BaseException:
            response.close()
            raise
        return response.status, content


def _step(name: str) -> str:
    """One step of a path."""
    return quote(name, safe="")


def _written(call: str, body: Document) -> bytes:
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError as error:
        raise ClientError(call, f"the request cannot be written as JSON: {error}", status=400) from error


def _choice(document: Document) -> Choice | None:
    """The decision of an answer; None if the answer is not a decision."""
    send, channel, content = document.get("send"), document.get("channel"), document.get("content")
    send_at, decision_id = _instant(document.get("send_at")), document.get("decision_id")
    propensity, policy = document.get("propensity"), document.get("policy")
    if not (isinstance(send, bool) and isinstance(decision_id, str)):
        return None
    if not (isinstance(propensity, (int, float)) and isinstance(policy, str)):
        return None
    if send and not (isinstance(channel, str) and isinstance(content, str) and send_at is not None):
        return None
    return Choice(
        send=send,
        channel=channel if send else None,
        content=content if send else None,
        send_at=send_at if send else None,
        decision_id=decision_id,
        propensity=propensity,
        policy=policy,
        answer=document,
    )


def _instant(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        # Before Python 3.11 the Z that the service writes is not read.
        instant = datetime.fromisoformat(f"{text[:-1]}+00:00" if text.endswith("Z") else text)
        return None if instant.tzinfo is None else instant.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None


def _status(document: Document) -> Status | None:
    status = document.get("status")
    return status if status in ("accepted", "duplicate", "late") else None


def _object(body: bytes) -> Document | None:
    """The JSON object of a body; None if it is anything else, such as a proxy's error page."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def _detail(problem: Document | None, body: bytes) -> str:
    if problem is None:
        return body[:200].decode(errors="replace")
    return str(problem.get("detail") or problem.get("title"))
