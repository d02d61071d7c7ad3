"""POST /decide, POST /decide/batch, GET /decisions."""

from hashlib import blake2b

from flask import Blueprint, Response, request

from api.edge.auth import Scope, needs
from api.edge.operations import Parameter, describes
from api.edge.payloads import batch_items, parse_decide, results
from api.edge.problems import problem_of, problem_response
from api.edge.shared import BATCH_BYTES, LIMIT, answer, body, how_many, shared
from api.words.explain import draw_repeats, explained
from bandit.errors import FieldError, InvalidInput, SendoptError
from bandit.serve.decisions import Ask, Outcome, Repeatable, Repeated
from bandit.serve.receipts import latest_receipts, receipt
from bandit.wire.decision import DecisionDocument, Decisions, render_decision
from bandit.wire.receipt import Explanation, Receipt, Receipts
from bandit.wire.request import DecideBatch, RequestDocument, request_of

MAX_KEY_LENGTH = 255

IDEMPOTENCY = Parameter(
    name="Idempotency-Key",
    place="header",
    what="The same key with the same body gets the same answer for at least 24 h; with another body, 409.",
    schema={"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH, "pattern": "^[ -~]+$"},
    example="b3f1c9e0-send-tonight",
)
USER = Parameter(
    name="user",
    place="query",
    what="Id of the user.",
    schema={"type": "string", "minLength": 1},
    example="u-123",
    required=True,
)

blueprint = Blueprint("decide", __name__)


@blueprint.post("/decide")
@needs(Scope.DECIDE)
@describes(
    "Decisions",
    "Decide channel, content and send time, or silence, for one user",
    body=RequestDocument,
    answers={200: DecisionDocument},
    errors=(404, 409, 422),
    parameters=(IDEMPOTENCY,),
)
def decide() -> Response:
    data = body()
    ask = Ask(request=parse_decide(data), repeatable=_repeatable(request.headers.get("Idempotency-Key"), data))
    (outcome,) = shared().decisions.run([ask])
    if isinstance(outcome, SendoptError):
        return problem_response(*problem_of(outcome))
    return answer(_bytes(outcome))


@blueprint.post("/decide/batch")
@needs(Scope.DECIDE)
@describes(
    "Decisions",
    "Decide for up to 1,000 users; one bad item never fails the others",
    body=DecideBatch,
    answers={200: Decisions},
)
def decide_batch() -> Response:
    parsed = [_parsed(item) for item in batch_items(body(BATCH_BYTES), DecideBatch)]
    outcomes = iter(shared().decisions.run([one for one in parsed if isinstance(one, Ask)]))
    return answer(results([_bytes(next(outcomes) if isinstance(one, Ask) else one) for one in parsed]))


@blueprint.get("/decisions/<decision_id>")
@needs(Scope.READ)
@describes("Decisions", "The receipt of a decision", answers={200: Receipt}, errors=(404,))
def get_receipt(decision_id: str) -> Response:
    with shared().service.store.read() as connection:
        return answer(receipt(connection, decision_id))


@blueprint.get("/decisions/<decision_id>/explanation")
@needs(Scope.READ)
@describes("Decisions", "A decision in words, and whether its draw repeats", answers={200: Explanation}, errors=(404,))
def explain_decision(decision_id: str) -> Response:
    service = shared().service
    with service.store.read() as connection:
        found, sentences = explained(connection, service.campaigns, decision_id)
    return answer(Explanation(decision_id=decision_id, sentences=sentences, draw_repeats=draw_repeats(found)))


@blueprint.get("/decisions")
@needs(Scope.READ)
@describes("Decisions", "The latest receipts of a user", answers={200: Receipts}, parameters=(USER, LIMIT))
def list_receipts() -> Response:
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


def _parsed(item: object) -> Ask | SendoptError:
    try:
        return Ask(request=request_of(item))
    except InvalidInput as error:
        # The item's own answer: a bad item of a batch never makes the others fail.
        return error


def _bytes(outcome: Outcome) -> bytes:
    if isinstance(outcome, SendoptError):
        return problem_of(outcome)[1]
    return outcome.answer if isinstance(outcome, Repeated) else render_decision(outcome.decision)
