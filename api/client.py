"""What a scheduler imports: the service's HTTP interface as calls, over connections that are kept open."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import orjson
import urllib3
from urllib3.exceptions import HTTPError

from bandit.errors import SendoptError

BULK_TIMEOUT_SECONDS = 30.0  # for batches and for what no user waits for

Document = dict[str, Any]


class ClientError(SendoptError):
    """The service refused a request, or gave no answer that can be read."""

    def __init__(self, call: str, detail: str, *, status: int | None = None, problem: Document | None = None) -> None:
        """
        Args:
            call: method and path, e.g. "POST /decide".
            status: of the answer; None when none came.
            problem: the problem document of the answer; None when it had none.
        """
        self.status = status
        self.problem = problem
        super().__init__(f"{call}: {detail}" if status is None else f"{call}: {status}: {detail}")


class SendoptClient:
    """Calls one service. For several threads at once; every call raises ClientError when it fails."""

    def __init__(self, base_url: str, *, timeout_seconds: float = 0.25, api_key: str | None = None) -> None:
        """
        Args:
            base_url: e.g. "http://127.0.0.1:8000".
            timeout_seconds: to connect and then for the answer, of a single decision or feedback.
        """
        self._base_url = base_url.rstrip("/")
        self._timeout_seconds = timeout_seconds
        headers = {"Content-Type": "application/json"}
        if api_key is not None:
            headers["Authorization"] = f"Bearer {api_key}"
        self._pool = urllib3.PoolManager(headers=headers, retries=False)

    def decide(self, request: Document) -> Document:
        """One decision for one user."""
        return self._call("POST", "/decide", request)

    def decide_batch(self, requests: Sequence[Document]) -> list[Document]:
        """One decision, or one problem document, per request, in order; at most 1,000."""
        return self._results("/decide/batch", {"requests": list(requests)}, len(requests))

    def feedback(self, event: Document) -> str:
        """What became of one event: "accepted", "duplicate" or "late"."""
        return str(self._call("POST", "/feedback", event)["status"])

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
        """Whether the service answers and says that it can decide; False as well when nobody answers."""
        try:
            self._call("GET", "/readyz")
        except ClientError as error:
            if error.status in (None, 503):
                return False
            raise
        return True

    def close(self) -> None:
        """Closes the connections."""
        self._pool.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _results(self, path: str, body: Document, expected: int) -> list[Document]:
        results: list[Document] = self._bulk("POST", path, body)["results"]
        if len(results) != expected:
            raise ClientError(f"POST {path}", f"{len(results)} results came for {expected} items", status=200)
        return results

    def _bulk(self, method: str, path: str, body: Document | None = None) -> Document:
        return self._call(method, path, body, timeout_seconds=BULK_TIMEOUT_SECONDS)

    def _call(
        self, method: str, path: str, body: Document | None = None, *, timeout_seconds: float | None = None
    ) -> Document:
        """The JSON object that the service answers."""
        try:
            response = self._pool.request(
                method,
                self._base_url + path,
                body=None if body is None else orjson.dumps(body),
                timeout=timeout_seconds or self._timeout_seconds,
            )
        except HTTPError as error:
            raise ClientError(f"{method} {path}", f"no answer: {error}") from error
        document = _object(response.data)
        if response.status >= 300:
            raise ClientError(
                f"{method} {path}", _detail(document, response.data), status=response.status, problem=document
            )
        if document is None:
            raise ClientError(f"{method} {path}", "the answer is no JSON object", status=response.status)
        return document


def _step(name: str) -> str:
    """One step of a path."""
    return quote(name, safe="")


def _object(body: bytes) -> Document | None:
    """The JSON object of a body; None when it is anything else, such as the page of a proxy."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def _detail(problem: Document | None, body: bytes) -> str:
    if problem is None:
        return body[:200].decode(errors="replace")
    return str(problem.get("detail") or problem.get("title"))
