"""Serving processes follow what is published through every error that passes, and say when they do not."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, sleep

import pytest
from flask.testing import FlaskClient

from api.app import serving
from api.edge import poller as poller_module
from api.edge.poller import ModelPoller
from bandit.engine.learner import OnlineLearner
from bandit.errors import ModelNotLoaded
from bandit.serve import models as serving_models
from bandit.serve.models import load_version
from bandit.service import Service
from bandit.store.models import ModelRow
from bandit.store.sql.database import Store
from tests.support.builders import LEARN_AFTER, MORNING, advance, campaign, decide, request, service
from tests.support.lines import Log
from tests.support.wire import json_of, problem_of

POLL_SECONDS = 0.02


def publish(live: Service, *campaign_ids: str) -> None:
    """One more version of each campaign."""
    now = max(live.clock.now(), MORNING)
    decide(live, [request("u-1", now, campaign=name) for name in campaign_ids])
    advance(live, now + LEARN_AFTER)
    live.learner.run_pass()


def two_campaigns(store: Store) -> Service:
    live = service(store, 1, campaign(id="autumn"), campaign(id="spring"))
    publish(live, "autumn", "spring")
    return live


class FullFolder:
    """A temporary folder of the serving process that is full while it is told to be."""

    is_full = True

    def load_version(self, row: ModelRow) -> OnlineLearner:
        if self.is_full:
            raise OSError(28, "No space left on device")
        return load_version(row)


@contextmanager
def following(live: Service) -> Iterator[ModelPoller]:
    poller = ModelPoller(live.models, POLL_SECONDS)
    poller.start()
    try:
        yield poller
    finally:
        poller.stop()


def wait_until(holds: Callable[[], bool]) -> None:
    end = monotonic() + 10
    while not holds():
        assert monotonic() < end
        sleep(POLL_SECONDS)


def test_after_a_full_temporary_folder_versions_and_rollbacks_are_followed_again(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch, json_log: Log
) -> None:
    live = two_campaigns(sqlite_store)
    with following(live) as poller:
        folder = FullFolder()
        monkeypatch.setattr(serving_models, "load_version", folder.load_version)
        publish(service(sqlite_store, 2), "autumn", "spring")
        before = poller.seconds_behind
        wait_until(lambda: any(line["event"] == "model_not_loaded" for line in json_log.events))
        assert live.models.versions() == {"autumn": 1, "spring": 1}
        assert poller.seconds_behind > before
        folder.is_full = False
        wait_until(lambda: live.models.versions() == {"autumn": 2, "spring": 2})
        live.versions.rollback("spring")
        wait_until(lambda: live.models.versions() == {"autumn": 2, "spring": 1})
        assert poller.follows


def test_one_campaign_that_does_not_load_does_not_keep_the_others_from_being_followed(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = two_campaigns(sqlite_store)

    def failing(row: ModelRow) -> OnlineLearner:
        if row.campaign_id == "autumn":
            raise MemoryError
        return load_version(row)

    monkeypatch.setattr(serving_models, "load_version", failing)
    with pytest.raises(ModelNotLoaded, match="published versions of autumn could not be loaded"):
        live.models.refresh()
    assert live.models.versions() == {"autumn": 0, "spring": 1}


def test_a_process_that_cannot_follow_is_not_ready(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert json_of(client.get("/readyz"))["status"] == "ready"
    poller = serving(client.application).poller
    poller.stop()
    monkeypatch.setattr(poller_module, "monotonic", lambda: monotonic() + 3_600)
    problem = problem_of(client.get("/readyz"), 503)
    assert "no published model could be followed" in problem["detail"]
