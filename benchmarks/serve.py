"""The program of a server that is measured: the service, or a do-nothing endpoint with the very same server options.

Started by `servers.py`. When that ends, in whatever way, so does this one with all its processes.
"""

import sys
from functools import partial
from typing import Any
from unittest.mock import patch

from flask import Flask, request
from granian import Granian

from api.processes import server
from api.processes.beside import end_with_parent

DO_NOTHING_PATH = "/nothing"


def do_nothing_app() -> Flask:
    """An application with one POST endpoint, which takes the body, as it must to keep a connection open."""
    end_with_parent()
    app = Flask("nothing", static_folder=None)
    app.add_url_rule(DO_NOTHING_PATH, view_func=_nothing, methods=["POST"])
    return app


def _nothing() -> bytes:
    request.get_data()
    return b"{}"


def _other_target(target: str, _own_target: str, **options: Any) -> Any:
    return Granian(target, **options)


def main(what: str, port: int) -> None:
    """Serves `service` or `nothing` on the port, from one process."""
    end_with_parent()
    run = partial(server.serve, host="127.0.0.1", port=port, workers=1, with_learner=False)
    if what == "service":
        run()
        return
    # Whatever options the service gives its server, the do-nothing endpoint gets as well.
    with patch.object(server, "Granian", partial(_other_target, "benchmarks.serve:do_nothing_app")):
        run()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
