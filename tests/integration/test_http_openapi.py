"""/openapi.json says what the service does: its routes, its statuses, its schemas; and /docs shows it from one page.

On the way feedback is purged, a user erased, a campaign paused and a key revoked, so that answers of such states are
seen too. `make contract` makes five thousand requests from it instead of a few hundred.
"""

import json
import keyword
import re
from collections.abc import Iterator
from contextlib import closing, suppress
from html import unescape
from html.parser import HTMLParser
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from flask.testing import FlaskClient
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from werkzeug.routing import Rule

from api.app import serving
from api.edge.auth import Issued, Scope, declared_scopes, issue, revoke
from api.spec.openapi import document, routes
from bandit.store.sql.database import Store
from tests.support.wire import (
    DECIDED_AT,
    decide_about,
    decide_document,
    decided,
    feedback_document,
    json_of,
    problem_of,
    put_campaign,
    running,
    without,
)

MODES = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
Operation = schemathesis.APIOperation[Any, Any, Any, Any]
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture
def key(sqlite_url: str) -> Issued:
    """A key for everything."""
    with closing(Store(sqlite_url)) as store:
        return issue(store, list(Scope), per_second=100_000, now=DECIDED_AT)


@pytest.fixture
def client(sqlite_url: str, key: Issued, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlaskClient]:
    """With the contract's campaign; the key goes along with each request, and its end is noticed at once."""
    monkeypatch.setattr("api.app.CACHE_SECONDS", 0.0)
    with running(sqlite_url) as client:
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {key.secret}"
        put_campaign(client)
        yield client


def path_of(rule: Rule) -> str:
    """The path of a rule as OpenAPI writes it."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)


def addresses(client: FlaskClient) -> set[tuple[str, str]]:
    """Method and path of every route."""
    return {
        (method.lower(), path_of(rule))
        for rule in client.application.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def test_the_document_has_every_route_and_no_other(client: FlaskClient) -> None:
    served = json_of(client.get("/openapi.json"))
    assert {(method, path) for path, methods in served["paths"].items() for method in methods} == addresses(client)


def test_the_document_says_the_scope_that_each_route_asks_for(client: FlaskClient) -> None:
    of_endpoint = declared_scopes(client.application.view_functions)
    scopes = {
        (method, path_of(rule)): of_endpoint[rule.endpoint]
        for rule in client.application.url_map.iter_rules()
        for method in rule.methods or set()
    }
    described = document(client.application)["paths"]
    for one in routes(client.application):
        assert scopes[one.method.upper(), one.path] == one.scope
        security = described[one.path][one.method].get("security")
        assert security == (None if one.scope is None else [{"key": [one.scope.value]}])


def test_every_reference_leads_somewhere_and_every_schema_is_used(client: FlaskClient) -> None:
    described = document(client.application)
    names = set(re.findall(r"#/components/schemas/(\w+)", str(described)))
    assert names == set(described["components"]["schemas"])


def objects_in(schema: Any) -> Iterator[dict[str, Any]]:
    """Every object of the schema that lists its properties, at any depth."""
    inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    if isinstance(schema, dict) and isinstance(schema.get("properties"), dict):
        yield schema
    for one in inner:
        yield from objects_in(one)


def undescribed(described: dict[str, Any]) -> list[str]:
    """Properties and parameters that lack a description or an example."""
    schemas = described["components"]["schemas"]
    properties = {
        f"{name}.{field}": one
        for name, schema in schemas.items()
        for found in objects_in(schema)
        for field, one in found["properties"].items()
    }
    parameters = {
        f"{operation['operationId']}.{one['name']}": {**one, "examples": [one["example"]] if "example" in one else []}
        for methods in described["paths"].values()
        for operation in methods.values()
        for one in operation["parameters"]
    }
    assert len(properties) > 100
    assert parameters
    found = {**properties, **parameters}
    return [name for name, one in found.items() if not (one.get("description") and one.get("examples"))]


def test_every_property_has_a_description_and_an_example(client: FlaskClient) -> None:
    assert not undescribed(document(client.application))


def test_a_property_without_a_description_is_found_out(client: FlaskClient) -> None:
    described = document(client.application)
    del described["components"]["schemas"]["UserDocument"]["properties"]["timezone"]["description"]
    described["components"]["schemas"]["Model"]["properties"]["health"]["examples"] = []
    assert undescribed(described) == ["Model.health", "UserDocument.timezone"]


def test_every_example_is_as_its_schema_says(client: FlaskClient) -> None:
    described = document(client.application)
    for name, schema in described["components"]["schemas"].items():
        for field, one in schema.get("properties", {}).items():
            validator = jsonschema_rs.validator_for({**one, "components": described["components"]})
            assert all(map(validator.is_valid, one["examples"])), f"{name}.{field}"
    for methods in described["paths"].values():
        for operation in methods.values():
            for response in operation["responses"].values():
                for content in response["content"].values():
                    if content:
                        schema = {**content["schema"], "components": described["components"]}
                        jsonschema_rs.validate(schema, content["example"])


def test_every_operation_has_an_identifier_of_its_own(client: FlaskClient) -> None:
    paths = document(client.application)["paths"]
    names = [operation["operationId"] for methods in paths.values() for operation in methods.values()]
    assert all(name.isidentifier() and name == name.lower() and not keyword.iskeyword(name) for name in names)
    assert len(set(names)) == len(names)
    assert {"decide", "decide_batch", "send_feedback", "list_campaigns", "get_receipt"} <= set(names)


def test_the_examples_are_taken_by_the_service(client: FlaskClient) -> None:
    paths = document(client.application)["paths"]
    campaign = example_of(paths["/campaigns/{campaign_id}"]["put"])
    json_of(client.put("/campaigns/reengage", json=campaign))
    answer = json_of(client.post("/decide", json=example_of(paths["/decide"]["post"])))
    event = {**example_of(paths["/feedback"]["post"]), "decision_id": answer["decision_id"]}
    json_of(client.post("/feedback", json={**event, "occurred_at": answer["decided_at"]}), 202)
    assert json_of(client.post("/decide/batch", json=example_of(paths["/decide/batch"]["post"])))["results"][0][
        "policy"
    ]
    problem_of(client.post("/feedback", json=example_of(paths["/feedback"]["post"])), 404)


def example_of(operation: Any) -> Any:
    return operation["requestBody"]["content"]["application/json"]["example"]


def test_the_example_of_a_request_is_the_contracts(client: FlaskClient) -> None:
    assert example_of(document(client.application)["paths"]["/decide"]["post"]) == without(decide_document(), "now")


def test_every_operation_has_a_summary_and_every_error_a_body(client: FlaskClient) -> None:
    for methods in document(client.application)["paths"].values():
        for operation in methods.values():
            assert operation["summary"]
            for status, response in operation["responses"].items():
                assert response["description"]
                assert int(status) < 400 or set(response["content"]) == {"application/problem+json"}


class Outside(HTMLParser):
    """Collects what a page would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.anchors: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("script", "link", "img", "iframe", "object"):
            self.found.append(tag)
        self.found += [value for name, value in attrs if name in ("src", "srcset", "action") and value]
        self.anchors += [given["href"] or ""] if "href" in given else []
        self.ids |= {given["id"] or ""} if "id" in given else set()


def test_the_page_shows_every_operation_and_asks_no_other_host(client: FlaskClient) -> None:
    response = client.get("/docs")
    page = unescape(response.get_data(as_text=True))
    outside = Outside()
    outside.feed(response.get_data(as_text=True))
    assert response.content_type == "text/html; charset=utf-8"
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert outside.found == []
    assert "://" not in page
    assert set(outside.anchors) <= {"/openapi.json", *(f"#{name}" for name in outside.ids)}
    assert all(f"<code>{one.path}</code> {one.operation.summary}" in page for one in routes(client.application))
    assert "prefers-color-scheme" in page or "color-scheme: light dark" in page


def aimed(client: FlaskClient, decision_id: str) -> dict[str, Any]:
    """The document with names narrowed down to what exists, so that requests get further than to a 404."""
    described = document(client.application)
    schemas = described["components"]["schemas"]
    schemas["RequestDocument"]["properties"]["campaign"] = {"const": "reengage"}
    schemas["UserDocument"]["properties"]["timezone"] = {"enum": ["UTC", "Europe/Lisbon", "Asia/Kathmandu"]}
    schemas["FeedbackDocument"]["properties"]["decision_id"] = {"const": decision_id}
    schemas["FeedbackDocument"]["properties"]["event"] = {"enum": ["clicked", "delivered", "cancelled", "reward"]}
    for methods in described["paths"].values():
        for parameter in [one for operation in methods.values() for one in operation["parameters"]]:
            names = {"campaign_id": "reengage", "decision_id": decision_id, "version": 1}
            if parameter["name"] in names:
                parameter["schema"] = {"const": names[parameter["name"]]}
    return described


def run_cases(client: FlaskClient, described: dict[str, Any], number: int) -> int:
    """Number of requests made from the document, each answered as it says."""
    schema = schemathesis.openapi.from_dict(described)
    schema.app, made = client.application, 0
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    varied = [one for one in operations if one.body or one.path_parameters or one.query or one.headers]
    for operation in operations:
        made += sum(run_mode(operation, mode, number // len(varied) + 1, client) for mode in MODES)
    return made


def run_mode(operation: Operation, mode: GenerationMode, number: int, client: FlaskClient) -> int:
    """Number of requests to one operation that are as the document says, or are not."""
    made, headers = 0, {"Authorization": client.environ_base["HTTP_AUTHORIZATION"]}

    @seed(20261120)
    @settings(
        max_examples=number,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(mode))
    def check(case: schemathesis.Case[Any]) -> None:
        nonlocal made
        made += 1
        case.call_and_validate(checks=CHECKS, headers=headers)

    with suppress(Unsatisfiable):  # an operation without anything that could be wrong
        check()
    return made


TOLD = "u-told"  # in no example, so that no request made from the document erases this user


def told(client: FlaskClient) -> str:
    """Id of a decision of which feedback has come, in time and late."""
    put_campaign(client)  # requests made from the document may have changed it
    decision_id: str = decided(client, decide_about(TOLD))["decision_id"]
    for day in (20, 21, 25):
        event = feedback_document(decision_id, occurred_at=f"2026-11-{day}T23:11:09Z", event_id=f"e-{day}")
        json_of(client.post("/feedback", json=event), 202)
    return decision_id


def stay(client: FlaskClient, key: Issued) -> None:
    """Nothing has happened since."""


def purge(client: FlaskClient, key: Issued) -> None:
    """The feedback of the key counts no more."""
    purger = serving(client.application).service.purger
    suspects = purger.suspects(key.id, DECIDED_AT)
    assert sum(one.events for one in purger.count(suspects)) >= 3
    purger.run(suspects)


def pause(client: FlaskClient, key: Issued) -> None:
    put_campaign(client)
    json_of(client.post("/campaigns/reengage/pause"))
    assert decided(client, decide_about(TOLD))["reason"] == "paused"


def erase(client: FlaskClient, key: Issued) -> None:
    assert json_of(client.delete(f"/users/{TOLD}"))["removed"]["decisions"] > 0


def end_key(client: FlaskClient, key: Issued) -> None:
    revoke(serving(client.application).service.store, key.id, DECIDED_AT)


STATES = (stay, purge, pause, erase, end_key)  # one after the other


def test_requests_made_from_the_document_are_answered_as_it_says(
    client: FlaskClient, key: Issued, request: pytest.FixtureRequest
) -> None:
    number: int = request.config.getoption("--cases")
    half = number // 2
    made = run_cases(client, document(client.application), half)
    decision_id = told(client)
    for change in STATES:
        change(client, key)
        made += run_cases(client, aimed(client, decision_id), half // len(STATES) + 1)
    assert made >= number


def faults_of_answers(client: FlaskClient, described: dict[str, Any], decision_id: str) -> list[str]:
    """What the schemas say against the answers about a decision and its campaign as they are now."""
    found = []
    for path, address in {
        "/decisions/{decision_id}": f"/decisions/{decision_id}",
        "/decisions/{decision_id}/explanation": f"/decisions/{decision_id}/explanation",
        "/decisions": f"/decisions?user={TOLD}",
        "/campaigns": "/campaigns",
        "/campaigns/{campaign_id}/models": "/campaigns/reengage/models",
        "/campaigns/{campaign_id}/insights": "/campaigns/reengage/insights",
    }.items():
        answer = client.get(address)
        (content,) = described["paths"][path]["get"]["responses"][str(answer.status_code)]["content"].values()
        schema = {**content["schema"], "components": described["components"]}
        found += [f"{path}: {error.message}" for error in jsonschema_rs.iter_errors(schema, json.loads(answer.data))]
    return found


def test_whatever_happened_since_the_answers_about_a_decision_are_as_their_schemas_say(
    client: FlaskClient, key: Issued
) -> None:
    decision_id, described = told(client), document(client.application)
    statuses = []
    for change in STATES:
        change(client, key)
        assert not faults_of_answers(client, described, decision_id), change.__name__
        statuses.append(client.get(f"/decisions/{decision_id}").status_code)
    assert statuses == [200, 200, 200, 404, 401]


def test_a_schema_that_did_not_know_of_purges_would_be_found_out(client: FlaskClient, key: Issued) -> None:
    decision_id, described = told(client), document(client.application)
    del described["components"]["schemas"]["StoredEvent"]["properties"]["excluded"]
    assert not faults_of_answers(client, described, decision_id)
    purge(client, key)
    assert "excluded" in faults_of_answers(client, described, decision_id)[0]


def test_an_answer_that_the_document_does_not_know_is_found_out(client: FlaskClient) -> None:
    described = aimed(client, decided(client)["decision_id"])
    receipts = described["paths"]["/decisions/{decision_id}"]
    del receipts["get"]["responses"]["200"]
    with pytest.raises(BaseException, match="Undocumented status code"):
        run_cases(client, {**described, "paths": {"/decisions/{decision_id}": receipts}}, 10)


def test_an_answer_of_another_shape_is_found_out(client: FlaskClient) -> None:
    described = aimed(client, decided(client)["decision_id"])
    described["components"]["schemas"]["Receipt"]["properties"]["draw"] = {"type": "string"}
    receipts = {"/decisions/{decision_id}": described["paths"]["/decisions/{decision_id}"]}
    with pytest.raises(BaseException, match="Response violates schema"):
        run_cases(client, {**described, "paths": receipts}, 10)
