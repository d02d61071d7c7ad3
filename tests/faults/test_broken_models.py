"""402 models that are not what was published: none serves, and the version before serves on."""

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from bandit.engine.vw import digest
from bandit.errors import CorruptModel
from bandit.serve.models import load_version
from bandit.service import Service
from bandit.store import models
from bandit.store.models import CHAMPION, Alias, ModelRow
from bandit.store.sql.database import Store
from tests.support.builders import (
    LEARN_AFTER,
    MORNING,
    advance,
    campaign,
    champion,
    closed,
    decide,
    request,
    scores,
    service,
)

SEED, EACH = 4, 200


def broken(content: bytes) -> Iterator[bytes]:
    """200 truncations, 200 flips of a bit, nothing, garbage."""
    rng = random.Random(SEED)
    for _ in range(EACH):
        yield content[: rng.randrange(len(content))]
    for _ in range(EACH):
        changed = bytearray(content)
        changed[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        yield bytes(changed)
    yield b""
    yield rng.randbytes(len(content))


@pytest.fixture
def live(sqlite_store: Store) -> Service:
    """A service that serves version 1, which learned 100 events."""
    built = service(sqlite_store, SEED, campaign())
    decide(built, [request(f"u-{user}") for user in range(100)])
    advance(built, MORNING + LEARN_AFTER)
    built.learner.run_pass()
    built.models.refresh()
    return built


def publish(store: Store, row: ModelRow) -> None:
    """As a damaged disk would leave it: the manifest is that of the good bytes."""
    named = Alias(alias=CHAMPION, version=row.version, held=False, campaign_arguments=row.arguments)
    with store.write() as connection:
        models.add(connection, row)
        models.point(connection, row.campaign_id, named, MORNING)


def test_402_broken_models_are_all_refused_and_the_old_version_serves_on(live: Service) -> None:
    store, good, events = live.store, champion(live.store), closed(live.store)[:2]
    with load_version(good) as engine:
        before = scores(engine, events)
    refused = 0
    for number, content in enumerate(broken(good.bytes)):
        row = replace(good, version=2 + number, bytes=content, champion_since=None)
        publish(store, row)
        with pytest.raises(CorruptModel):
            load_version(row)
        live.models.refresh()
        assert live.models.states() == {"spring": "version 1"}
        refused += 1
    (record,) = decide(live, [request("new", live.clock.now())])
    assert (refused, record.decision.model_version) == (402, 1)
    assert scores(live.models.model_for(campaign()).predictor, events) == before  # type: ignore[union-attr,arg-type]


def test_without_the_digest_many_of_them_would_be_served(live: Service) -> None:
    good = champion(live.store)
    some = list(broken(good.bytes))[::10]
    served = 0
    for content in some:
        try:
            load_version(replace(good, bytes=content, size=len(content), digest=digest(content))).close()
        except CorruptModel:
            continue
        served += 1
    assert served > len(some) / 3
