"""GET /campaigns/{id}/models, promote and rollback over HTTP and on the command line."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from api.app import serving
from bandit.store.sql.schema import models
from tests.integration.test_cli import Run, run
from tests.support.wire import decide_about, decided, json_of, problem_of, put_campaign

__all__ = ["run"]  # the fixture


def teach(client: FlaskClient, passes: int) -> None:
    """A version per pass."""
    service = serving(client.application).service
    for number in range(passes):
        decided(client, decide_about(f"u-{number}", now=f"2026-11-{1 + 3 * number:02}T12:00:00Z"))
        service.clock.observe(service.clock.now().replace(day=3 + 3 * number))
        service.learner.run_pass()
    service.models.refresh()


def listed(client: FlaskClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json_of(client.get("/campaigns/reengage/models"))["models"]
    return found


def aliases(client: FlaskClient) -> dict[int, str]:
    return {one["version"]: one["alias"] for one in listed(client) if one["alias"]}


def served(client: FlaskClient) -> int:
    """The model of the next decision, after the service has looked once."""
    serving(client.application).service.models.refresh()
    version: int = decided(client, decide_about("new", now="2026-12-20T12:00:00Z"))["model_version"]
    return version


def test_rollback_and_promote_change_what_serves_at_the_next_look(any_client: FlaskClient) -> None:
    teach(any_client, 3)
    back = json_of(any_client.post("/campaigns/reengage/rollback"))
    assert (back["version"], back["alias"], back["held"]) == (2, "champion", True)
    assert aliases(any_client) == {2: "champion", 3: "challenger"}
    assert served(any_client) == 2
    promoted = json_of(any_client.post("/campaigns/reengage/models/3/promote"))
    assert (promoted["version"], promoted["alias"], promoted["held"]) == (3, "champion", False)
    assert aliases(any_client) == {3: "champion"}
    assert served(any_client) == 3


def test_the_list_says_health_and_lineage(client: FlaskClient) -> None:
    teach(client, 2)
    with serving(client.application).service.store.write() as connection:
        connection.execute(update(models).where(models.c.version == 1).values(health="a score is not finite"))
    second, first = listed(client)
    assert (first["health"], second["health"]) == ("a score is not finite", "ok")
    assert (first["lineage"], second["lineage"], second["parent"]) == (1, 1, 1)
    assert (first["champion_since"], second["champion_since"]) == (None, second["created_at"])


@pytest.mark.parametrize("path", ["autumn/rollback", "autumn/models/1/promote", "reengage/models/3/promote"])
def test_what_there_is_not_is_404(client: FlaskClient, path: str) -> None:
    teach(client, 1)
    problem_of(client.post(f"/campaigns/{path}"), 404)


@pytest.mark.parametrize("version", ["0", "-1", "x", "1.5", str(2**31), str(10**400)])
def test_a_version_that_is_none_is_404(client: FlaskClient, version: str) -> None:
    problem_of(client.post(f"/campaigns/reengage/models/{version}/promote"), 404)


def test_what_cannot_be_is_409_and_changes_nothing(client: FlaskClient) -> None:
    problem_of(client.post("/campaigns/reengage/rollback"), 409)
    teach(client, 2)
    with serving(client.application).service.store.write() as connection:
        connection.execute(update(models).where(models.c.version == 1).values(health="a score is not finite"))
    assert "already the champion" in problem_of(client.post("/campaigns/reengage/models/2/promote"), 409)["detail"]
    assert "not finite" in problem_of(client.post("/campaigns/reengage/models/1/promote"), 409)["detail"]
    problem_of(client.post("/campaigns/reengage/rollback"), 409)
    assert aliases(client) == {2: "champion"}


def test_the_command_line_lists_promotes_and_rolls_back(client: FlaskClient, sqlite_url: str, run: Run) -> None:
    teach(client, 2)
    done = run("models", "rollback", "reengage", DATABASE_URL=sqlite_url)
    assert done.status == 0
    assert done.out.endswith("reengage: version 1 is the champion, held until the next promotion\n")
    lines = run("models", "list", "reengage", DATABASE_URL=sqlite_url).out.splitlines()
    assert [line.split("\t")[:2] for line in lines] == [["2", "challenger"], ["1", "champion held"]]
    done = run("models", "promote", "reengage", "2", DATABASE_URL=sqlite_url)
    assert done.status == 0
    assert done.out.endswith("reengage: version 2 is the champion\n")
    assert aliases(client) == {2: "champion"}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["list", "autumn"], "unknown campaign 'autumn'"),
        (["promote", "reengage", "7"], "unknown model 'reengage/7'"),
        (["promote", "reengage", "x"], "'version': Input should be a valid integer"),
        (["rollback", "reengage"], "no champion yet"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_the_command_line_cannot_do_is_one_clear_line(
    client: FlaskClient, sqlite_url: str, run: Run, words: list[str], why: str
) -> None:
    put_campaign(client)
    done = run("models", *words, DATABASE_URL=sqlite_url)
    assert done.status != 0
    assert why in done.err
    assert done.err.count("\n") == 1
