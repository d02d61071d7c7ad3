"""Health, readiness, models, and what every address has in common."""

import os
import shutil
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.routing import Rule

from api.app import serving
from bandit.settings import Settings
from tests.support.databases import PostgresDatabases, sqlite_file_url
from tests.support.wire import (
    DECIDE_TEXT,
    decide_about,
    decide_document,
    decided,
    feedback_document,
    json_of,
    problem_of,
    put_campaign,
    running,
    seeded_app,
)


def check_unavailable(client: FlaskClient, address: str, method: str = "GET", body: str | None = None) -> None:
    response = client.open(address, method=method, data=body)
    problem_of(response, 503)
    assert int(response.headers["Retry-After"]) >= 1


def set_revision(client: FlaskClient, revision: str) -> None:
    with serving(client.application).service.store.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})


def test_a_service_that_can_commit_is_alive_and_ready(any_client: FlaskClient) -> None:
    assert json_of(any_client.get("/healthz")) == {"status": "alive"}
    assert json_of(any_client.get("/readyz"))["status"] == "ready"


def test_on_a_database_that_was_never_migrated_it_is_alive_but_not_ready(tmp_path: Path) -> None:
    with running(sqlite_file_url(tmp_path / "new.db")) as client:
        json_of(client.get("/healthz"))
        check_unavailable(client, "/readyz")
        check_unavailable(client, "/decide", "POST", DECIDE_TEXT)


def test_on_a_database_of_a_newer_program_it_is_not_ready(any_client: FlaskClient) -> None:
    set_revision(any_client, "9999")
    check_unavailable(any_client, "/readyz")
    json_of(any_client.get("/healthz"))


def test_without_its_database_it_is_alive_but_not_ready(
    postgres_databases: PostgresDatabases, postgres_template: str
) -> None:
    with postgres_databases.temporary(postgres_template) as url:
        app = seeded_app(Settings(database_url=url, clock="request"))
        client = app.test_client()
        put_campaign(client)
        json_of(client.get("/readyz"))
    try:
        check_unavailable(client, "/readyz")
        check_unavailable(client, "/decide", "POST", DECIDE_TEXT)
        check_unavailable(client, "/decisions?user=u-1")
        check_unavailable(client, "/campaigns/reengage/pause", "POST")
        json_of(client.get("/healthz"))
    finally:
        serving(app).close()


@pytest.mark.skipif(os.name != "posix", reason="folders are replaced under open files")
def test_without_the_folder_of_its_database_it_starts_but_is_not_ready(sqlite_template: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with running(sqlite_file_url(folder / "sendopt.db")) as client:
        check_unavailable(client, "/readyz")
        check_unavailable(client, "/decide", "POST", DECIDE_TEXT)
        folder.mkdir()
        shutil.copyfile(sqlite_template, folder / "sendopt.db")
        json_of(client.get("/readyz"))


def test_the_published_versions_are_listed_newest_first(any_client: FlaskClient) -> None:
    for place in range(3):
        teach_one(any_client, f"u-{place}", day=20 + place * 3)
    listed = json_of(any_client.get("/campaigns/reengage/models"))["models"]
    assert [one["version"] for one in listed] == [3, 2, 1]
    assert [one["alias"] for one in listed] == ["champion", None, None]
    assert [one["parent"] for one in listed] == [2, 1, 0]
    watermarks = [one["watermark"] for one in listed]
    assert watermarks == sorted(watermarks, reverse=True)
    assert all(one["created_at"].endswith("Z") and one["health"] and one["events_learned"] >= 0 for one in listed)


def teach_one(client: FlaskClient, user: str, day: int) -> None:
    service = serving(client.application).service
    decided(client, decide_about(user, now=f"2026-11-{day:02}T12:00:00Z"))
    service.clock.observe(service.clock.now().replace(day=day + 2))
    service.learner.run_pass()


def test_a_published_version_is_served_and_named_in_the_next_decision(client: FlaskClient) -> None:
    teach_one(client, "u-1", day=20)
    serving(client.application).service.models.refresh()
    request = decide_document(now="2026-11-23T12:00:00Z")
    assert decided(client, request)["model_version"] == 1
    assert json_of(client.get("/readyz"))["models"] == {"reengage": "version 1"}


@pytest.mark.parametrize(
    "address", ["/nope", "/decide/", "/decisions/a/b", "/campaigns/", "/campaigns/a/nope", "/x//decide"]
)
def test_an_unknown_address_is_a_problem_document(client: FlaskClient, address: str) -> None:
    problem_of(client.get(address), 404)


def test_a_wrong_method_is_a_problem_document_that_says_which_are_right(client: FlaskClient) -> None:
    checked = 0
    for rule in client.application.url_map.iter_rules():
        address = (
            rule.rule.replace("<campaign_id>", "reengage").replace("<decision_id>", "x").replace("<int:version>", "1")
        )
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - (rule.methods or set()):
            if any(method in (other.methods or set()) for other in rules_at(client, rule.rule)):
                continue
            response = client.open(address, method=method)
            problem_of(response, 405)
            assert set(response.headers["Allow"].split(", ")) >= (rule.methods or set()) - {"OPTIONS"}
            checked += 1
    assert checked > 20


def rules_at(client: FlaskClient, address: str) -> list[Rule]:
    return [rule for rule in client.application.url_map.iter_rules() if rule.rule == address]


@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("GET", "/decisions/a%00b"),
        ("GET", "/decisions?user=a%00b"),
        ("GET", "/campaigns/a%00b"),
        ("PUT", "/campaigns/a%00b"),
        ("POST", "/campaigns/a%00b/pause"),
        ("GET", "/campaigns/a%00b/models"),
    ],
)
def test_a_nul_in_an_address_is_refused(any_client: FlaskClient, method: str, address: str) -> None:
    problem_of(any_client.open(address, method=method), 400, "address")


def test_without_that_check_postgresql_would_fail_on_it(postgres_database_url: str) -> None:
    with running(postgres_database_url) as client:
        client.application.before_request_funcs.clear()
        assert client.get("/decisions/a%00b").status_code == 500


@pytest.mark.parametrize("name", ["%ED%A0%80", "%FF", "%F0%9F%98%80", "x" * 5_000, "%0A", "..%2F..%2Fetc", "'%3B--"])
def test_a_hostile_id_in_an_address_is_unknown(any_client: FlaskClient, name: str) -> None:
    problem_of(any_client.get(f"/decisions/{name}"), 404)
    problem_of(any_client.get(f"/campaigns/{name}"), 404)
    assert json_of(any_client.get(f"/decisions?user={name}")) == {"decisions": []}


def test_an_unexpected_error_is_a_500_that_tells_nothing_but_the_log(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("api.routes.decisions.parse_decide", lambda body: 1 // 0)
    problem = problem_of(client.post("/decide", data=DECIDE_TEXT), 500)
    assert "division" not in str(problem)
    captured = capsys.readouterr()
    assert "ZeroDivisionError" in captured.out + captured.err


def test_feedback_and_decisions_work_side_by_side_on_one_store(any_client: FlaskClient) -> None:
    answer = decided(any_client)
    json_of(any_client.post("/feedback", json=feedback_document(answer["decision_id"])), 202)
    decided(any_client, decide_about("u-2"))
