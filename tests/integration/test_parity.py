"""What is simulated is what serves: the same model, decision id and context give the same decision everywhere."""

import random
import shutil
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from flask.testing import FlaskClient

from bandit.service import build_service
from bandit.store.sql.database import Store
from bandit.wire.decision import DecisionDocument
from sim.contest.drive import InProcess, drive
from sim.world.laws import Preset
from sim.world.presets import DUOLINGO, SMALL_TEAM
from sim.world.world import START, Document, World, build_world
from tests.support.databases import sqlite_file_url
from tests.support.wire import json_of, running


class OverHttp:
    """The service behind its HTTP interface; keeps what it was asked."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client
        self.asked: list[Document] = []

    def decide_batch(self, requests: Sequence[Document]) -> list[Document]:
        self.asked += requests
        return self._results("/decide/batch", {"requests": requests})

    def feedback_batch(self, events: Sequence[Document]) -> list[Document]:
        return self._results("/feedback/batch", {"events": events})

    def _results(self, path: str, body: Any) -> list[Document]:
        # As the client writes it, keys in their order: in another the engine adds up its features with other rounding.
        answer = self.client.post(path, data=orjson.dumps(body), content_type="application/json")
        assert answer.status_code == 200
        results: list[Document] = answer.get_json()["results"]
        return results


def play(world: World, player: Any, n: int, skip: int) -> list[Document]:
    """The last decision of each batch."""
    arrivals = islice(world.arrivals(start=START, per_day=200.0, rng=np.random.default_rng(1)), skip, skip + n)
    return [one.decision for one in drive(world, player, arrivals, batch_size=8, rng=np.random.default_rng(2))]


def taught(world: World, url: str) -> None:
    """Makes a database in which the service has learned a little."""
    with closing(Store(url)) as store:
        service = build_service(store, clock="request", entropy=random.Random(1).randbytes)
        service.campaigns.put(world.campaign)
        play(world, InProcess(service, learn_every=100), 500, 0)


def receipts(client: FlaskClient, decisions: Sequence[Document]) -> list[Document]:
    """Everything that the service stored about the decisions."""
    return [json_of(client.get(f"/decisions/{one['decision_id']}")) for one in decisions]


@pytest.mark.parametrize("preset", [SMALL_TEAM, DUOLINGO], ids=lambda preset: preset.name)
def test_http_and_in_process_decide_alike(preset: Preset, sqlite_url: str, tmp_path: Path) -> None:
    world = build_world(seed=1, preset=preset, n_users=60)
    taught(world, sqlite_url)
    copied = shutil.copyfile(tmp_path / "sendopt.db", tmp_path / "copy.db")
    with closing(Store(sqlite_url)) as store:
        service = build_service(store, clock="request", entropy=random.Random(9).randbytes)
        service.models.refresh()
        here = play(world, InProcess(service, learn_every=10_000), 160, 500)
    with running(sqlite_url) as client:
        stored_here = receipts(client, here)
    with running(sqlite_file_url(copied), seed=9) as client:
        there = play(world, OverHttp(client), 160, 500)
        stored_there = receipts(client, there)
    assert len(here) == len(there) >= 20
    # Every field that is answered, and every one that is stored.
    assert stored_here == stored_there
    for one, other, stored in zip(here, there, stored_here, strict=True):
        assert one == other == {name: stored[name] for name in one}
        assert list(one) == list(DecisionDocument.model_fields)
    assert here[0]["model_version"] >= 1
    assert len({(one["channel"], one["content"], one["propensity"]) for one in here}) > 5
