"""create_app(settings): the HTTP service as a Flask application."""

import logging
import os
from functools import partial
from threading import Lock

from flask import Flask

from api.edge import metrics, problems
from api.edge.auth import CACHE_SECONDS, Guard, Keyring, declared_scopes
from api.edge.grouping import Grouped
from api.edge.kept import Kept
from api.edge.poller import ModelPoller
from api.edge.shared import EXTENSION, Serving, refuse_nul
from api.logging_setup import configure_logs
from api.processes.beside import end_with_parent
from api.routes import campaigns, dashboard, feedback, health, insights, models, quarantine, users
from api.routes import decisions as decide
from api.spec import routes as docs
from bandit.ids import Entropy
from bandit.service import Service, build_service
from bandit.settings import Settings
from bandit.store.sql.database import Store

RESOURCES = (
    campaigns,
    dashboard,
    decide,
    docs,
    feedback,
    health,
    insights,
    metrics,
    models,
    quarantine,
    users,
)
MOST_PER_COMMIT = 64


def create_app(settings: Settings, *, entropy: Entropy, metrics_folder: str | None = None) -> Flask:
    """The application on a migrated database; `serving(app).close()` ends it.

    Args:
        entropy: source of random bytes for decision ids, and so of every draw.
        metrics_folder: shared by the serving processes of one service; None when there is only one.
    """
    app = Flask("sendopt", static_folder=None)
    service = build_service(Store(settings.database_url), clock=settings.clock, entropy=entropy)
    counted = metrics.Metrics(metrics_folder)
    app.extensions[EXTENSION] = _serving(settings, service, counted)
    app.extensions[metrics.EXTENSION] = (counted, metrics.store_registry(service))
    problems.register(app)
    app.url_map.converters["text"] = users.AnyText
    # An id may begin with a slash: `/users//a` must not be redirected to `/users/a`, which is another user.
    app.url_map.merge_slashes = False
    for resource in RESOURCES:
        app.register_blueprint(resource.blueprint)
    keyring = Keyring(service.store, seconds=CACHE_SECONDS)
    app.before_request(Guard(keyring, declared_scopes(app.view_functions)).check)
    app.before_request(refuse_nul)
    app.wsgi_app = counted.timing(app.wsgi_app)  # type: ignore[assignment,method-assign]
    return app


def _serving(settings: Settings, service: Service, counted: metrics.Metrics) -> Serving:
    turn = (
        Lock()
    )  # one turn: otherwise decisions and feedback would wait for each other's write lock inside the database
    poller = ModelPoller(service.models, settings.model_poll_seconds)
    poller.start()
    counted.registry.register(metrics.ServedCollector(service.models, poller))
    if (sharing := counted.sharing()) is not None:
        sharing.start()
    return Serving(
        settings=settings,
        service=service,
        decisions=Grouped(counted.counting_decisions(service.decider.decide_many), turn=turn, most=MOST_PER_COMMIT),
        feedback=Grouped(counted.counting_feedback(service.feedback.accept_many), turn=turn, most=MOST_PER_COMMIT),
        poller=poller,
        readiness=Kept(partial(health.readiness, service, poller), seconds=health.READY_SECONDS),
        sharing=sharing,
    )


def serving(app: Flask) -> Serving:
    """The objects that the routes of this application share."""
    found: Serving = app.extensions[EXTENSION]
    return found


def app_from_environment() -> Flask:
    """The application, configured from the environment; a WSGI server calls this in each worker process."""
    configure_logs(logging.INFO)
    end_with_parent()
    return create_app(
        Settings.from_environment(os.environ),
        entropy=os.urandom,
        metrics_folder=os.environ.get(metrics.FOLDER_VARIABLE),
    )
