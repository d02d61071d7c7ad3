"""POST /feedback, POST /feedback/batch."""

from flask import Blueprint, Response

from api.edge.auth import Scope, caller, needs
from api.edge.operations import describes
from api.edge.payloads import batch_items, parse_feedback, results
from api.edge.problems import problem_of, problem_response
from api.edge.shared import BATCH_BYTES, answer, body, shared
from bandit.domain import Feedback
from bandit.errors import InvalidInput, SendoptError
from bandit.serve.feedback import Outcome
from bandit.wire.feedback import (
    FeedbackAnswer,
    FeedbackAnswers,
    FeedbackBatch,
    FeedbackDocument,
    event_of,
    render_status,
)

blueprint = Blueprint("feedback", __name__)


@blueprint.post("/feedback")
@needs(Scope.FEEDBACK)
@describes(
    "Feedback",
    "Say what happened after a decision",
    body=FeedbackDocument,
    answers={202: FeedbackAnswer},
    errors=(404, 422),
)
def send_feedback() -> Response:
    (outcome,) = shared().feedback.run([parse_feedback(body(), caller())])
    if isinstance(outcome, SendoptError):
        return problem_response(*problem_of(outcome))
    return answer(_bytes(outcome), status=202)


@blueprint.post("/feedback/batch")
@needs(Scope.FEEDBACK)
@describes(
    "Feedback",
    "Up to 1,000 events; one bad item never fails the others",
    body=FeedbackBatch,
    answers={200: FeedbackAnswers},
)
def send_feedback_batch() -> Response:
    parsed = [_parsed(item) for item in batch_items(body(BATCH_BYTES), FeedbackBatch)]
    outcomes = iter(shared().feedback.run([one for one in parsed if isinstance(one, Feedback)]))
    return answer(results([_bytes(next(outcomes) if isinstance(one, Feedback) else one) for one in parsed]))


def _parsed(item: object) -> Feedback | SendoptError:
    try:
        return event_of(item, caller())
    except InvalidInput as error:
        # The item's own answer: a bad item of a batch never makes the others fail.
        return error


def _bytes(outcome: Outcome) -> bytes:
    if isinstance(outcome, SendoptError):
        return problem_of(outcome)[1]
    return render_status(outcome)
