"""DELETE /users/{id}: erases everything that is stored about a user."""

from flask import Blueprint, Response
from werkzeug.routing import BaseConverter

from api.edge.auth import Scope, needs
from api.edge.operations import describes
from api.edge.shared import answer, shared
from bandit.store import users
from bandit.wire.service import Removed, RemovedRows

blueprint = Blueprint("users", __name__)


class AnyText(BaseConverter):
    """The rest of an address with any slashes; Flask's own `path` accepts none at the start."""

    part_isolating = False
    regex = ".+"


@blueprint.delete("/users/<text:user_id>")
@needs(Scope.ADMIN)
@describes("Users", "Erase everything that is kept about a user", answers={200: Removed})
def erase_user(user_id: str) -> Response:
    with shared().service.store.write() as connection:
        removed = users.erase(connection, user_id)
    return answer(Removed(user=user_id, removed=RemovedRows(**removed)))
