"""POST /feedback, POST /feedback/batch."""

from typing import Any

from flask import Blueprint, Response

from api.edge.auth import Scope, caller, needs
from api.edge.payloads import batch_items, parse_feedback, results, write_json
from api.edge.problems import problem_of, problem_response
from api.edge.shared import BATCH_BYTES, answer, body, shared
from bandit.domain import Feedback
from bandit.errors import InvalidInput, SendoptError
from bandit.serve.feedback import Outcome

blueprint = Blueprint("feedback", __name__)


@blueprint.post("/feedback")
@needs(Scope.FEEDBACK)
def accept_one() -> Response:
    (outcome,) = shared().feedback.run([parse_feedback(body(), caller())])
    if isinstance(outcome, SendoptError):
        return problem_response(*problem_of(outcome))
    return answer(_bytes(outcome), status=202)


@blueprint.post("/feedback/batch")
@needs(Scope.FEEDBACK)
def accept_batch() -> Response:
    parsed = [_parsed(item) for item in batch_items(body(BATCH_BYTES), "events")]
    outcomes = iter(shared().feedback.run([one for one in parsed if isinstance(one, Feedback)]))
    return answer(results([_bytes(next(outcomes) if isinstance(one, Feedback) else one) for one in parsed]))


def _parsed(item: Any) -> Feedback | SendoptError:
    try:
        return parse_feedback(write_json(item), caller())
    except InvalidInput as error:
        # The item's own answer: one bad item of a batch never fails the others.
        return error


def _bytes(outcome: Outcome) -> bytes:
    if isinstance(outcome, SendoptError):
        return problem_of(outcome)[1]
    return b'{"status":"%b"}' % outcome.value.encode()
