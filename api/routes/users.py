"""DELETE /users/{id}: erases what is kept about a user."""

from flask import Blueprint, Response
from werkzeug.routing import BaseConverter

from api.edge.auth import Scope, needs
from api.edge.shared import answer, shared
from bandit.store import users

blueprint = Blueprint("users", __name__)


class AnyText(BaseConverter):
    """All the rest of an address, slashes wherever they are: Flask's own `path` takes none at the start."""

    part_isolating = False
    regex = ".+"


@blueprint.delete("/users/<text:user_id>")
@needs(Scope.ADMIN)
def erase_user(user_id: str) -> Response:
    with shared().service.store.write() as connection:
        return answer({"user": user_id, "removed": users.erase(connection, user_id)})
