"""GET /healthz: the process lives. GET /readyz: it can commit and decide."""

from flask import Blueprint, Response

from api.edge.auth import public
from api.edge.operations import describes
from api.edge.poller import ModelPoller
from api.edge.problems import problem, problem_response
from api.edge.shared import answer, shared
from bandit.errors import Conflict, StoreUnavailable
from bandit.service import Service
from bandit.store.sql.database import check_writable
from bandit.store.sql.migrate import pending
from bandit.wire.service import Alive, Ready

READY_SECONDS = 1.0  # for which one look is answered to all: a probe commits something, and anybody may ask

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
@public
@describes("Operations", "Whether the process lives", answers={200: Alive})
def check_alive() -> Response:
    return answer(Alive(status="alive"))


@blueprint.get("/readyz")
@public
@describes("Operations", "Whether it can commit and decide", answers={200: Ready}, errors=(503,))
def check_ready() -> Response:
    found = shared().readiness.get()
    return answer(found) if isinstance(found, Ready) else problem_response(503, found)


def readiness(service: Service, poller: ModelPoller) -> Ready | bytes:
    """That the service can commit and decide, or the problem document that says why not."""
    try:
        if pending(service.store):
            return _not_ready("The database has another schema: run `sendopt migrate`.")
        check_writable(service.store)
    except (Conflict, StoreUnavailable) as error:
        return _not_ready(str(error))
    if not poller.follows:
        return _not_ready(f"For {poller.seconds_behind:.0f} s no published model could be followed: see the log.")
    # If a published version does not load, its campaign answers with its fallback.
    return Ready(status="ready", models=service.models.states())


def _not_ready(detail: str) -> bytes:
    return problem(503, "Not ready", detail)
