"""POST /decide, POST /decide/batch, GET /decisions."""

from hashlib import blake2b
from typing import Any

from flask import Blueprint, Response, request

from api.edge.auth import Scope, needs
from api.edge.payloads import batch_items, parse_decide, render_decision, results, write_json
from api.edge.problems import problem_of, problem_response
from api.edge.shared import BATCH_BYTES, answer, body, how_many, shared
from api.words.explain import draw_repeats, explained
from bandit.errors import FieldError, InvalidInput, SendoptError
from bandit.serve.decisions import Ask, Outcome, Repeatable, Repeated
from bandit.serve.receipts import latest_receipts, receipt

MAX_KEY_LENGTH = 255

blueprint = Blueprint("decide", __name__)


@blueprint.post("/decide")
@needs(Scope.DECIDE)
def decide_one() -> Response:
    data = body()
    ask = Ask(request=parse_decide(data), repeatable=_repeatable(request.headers.get("Idempotency-Key"), data))
    (outcome,) = shared().decisions.run([ask])
    if isinstance(outcome, SendoptError):
        return problem_response(*problem_of(outcome))
    return answer(_bytes(outcome))


@blueprint.post("/decide/batch")
@needs(Scope.DECIDE)
def decide_batch() -> Response:
    parsed = [_parsed(item) for item in batch_items(body(BATCH_BYTES), "requests")]
    outcomes = iter(shared().decisions.run([one for one in parsed if isinstance(one, Ask)]))
    return answer(results([_bytes(next(outcomes) if isinstance(one, Ask) else one) for one in parsed]))


@blueprint.get("/decisions/<decision_id>")
@needs(Scope.READ)
def one_receipt(decision_id: str) -> Response:
    with shared().service.store.read() as connection:
        return answer(receipt(connection, decision_id))


@blueprint.get("/decisions/<decision_id>/explanation")
@needs(Scope.READ)
def one_explanation(decision_id: str) -> Response:
    """The receipt in sentences, and whether its draw repeats from it alone."""
    service = shared().service
    with service.store.read() as connection:
        found, sentences = explained(connection, service.campaigns, decision_id)
    return answer({"decision_id": decision_id, "sentences": sentences, "draw_repeats": draw_repeats(found)})


@blueprint.get("/decisions")
@needs(Scope.READ)
def receipts_of_user() -> Response:
    user_id = request.args.get("user")
    if not user_id:
        raise InvalidInput([FieldError(field="user", message="is required: /decisions?user=ID")])
    limit = how_many()
    with shared().service.store.read() as connection:
        return answer({"decisions": latest_receipts(connection, user_id, limit)})


def _repeatable(key: str | None, data: bytes) -> Repeatable | None:
    if key is None:
        return None
    if not (1 <= len(key) <= MAX_KEY_LENGTH and key.isascii() and key.isprintable()):
        message = f"has {len(key)} characters: it must have 1 to {MAX_KEY_LENGTH}, all printable ASCII"
        raise InvalidInput([FieldError(field="Idempotency-Key", message=message)])
    return Repeatable(key=key, body_digest=blake2b(data, digest_size=16).digest(), render=render_decision)


def _parsed(item: Any) -> Ask | SendoptError:
    try:
        return Ask(request=parse_decide(write_json(item)))
    except InvalidInput as error:
        # The item's own answer: one bad item of a batch never fails the others.
        return error


def _bytes(outcome: Outcome) -> bytes:
    if isinstance(outcome, SendoptError):
        return problem_of(outcome)[1]
    return outcome.answer if isinstance(outcome, Repeated) else render_decision(outcome.decision)
