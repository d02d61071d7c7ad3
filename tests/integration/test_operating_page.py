"""docs/operating.md names every metric and every alarming event of the log, and none that does not exist."""

import re
from pathlib import Path

from flask.testing import FlaskClient

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
LOGGED = re.compile(r'\.(?:warning|error|exception|critical)\(\s*"(\w+)"')
HISTOGRAM = "sendopt_request_seconds"


def section(title: str) -> str:
    """The part of the page under a heading."""
    return re.split(r"^## ", PAGE.split(f"\n## {title}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]


def first_cells(text: str) -> set[str]:
    """Every name in the first column of the tables."""
    return {name for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}


def events_of_the_code() -> set[str]:
    sources = [path for room in ("api", "bandit", "sim") for path in (ROOT / room).rglob("*.py")]
    return {event for path in sources for event in LOGGED.findall(path.read_text(encoding="utf-8"))}


def test_every_alarming_event_of_the_log_is_on_the_page_and_no_other() -> None:
    assert first_cells(section("Logs")) == events_of_the_code() != set()


def metrics_of(client: FlaskClient) -> set[str]:
    """Names of all metrics; prometheus-client adds to each counter when it was made."""
    found = re.findall(r"^# TYPE (\w+) ", client.get("/metrics").get_data(as_text=True), re.MULTILINE)
    return {name for name in found if not name.endswith("_created")}


def test_every_metric_is_on_the_page_and_no_other(client: FlaskClient) -> None:
    assert first_cells(section("Metrics")) == metrics_of(client) != set()


def test_no_formula_of_the_page_asks_for_a_metric_that_does_not_exist(client: FlaskClient) -> None:
    parts = {HISTOGRAM + ending for ending in ("_bucket", "_count", "_sum")}
    assert set(re.findall(r"sendopt_\w+", PAGE)) <= metrics_of(client) | parts


def test_every_setting_and_every_route_that_the_page_names_exists(client: FlaskClient) -> None:
    rules = {re.sub(r"<(?:\w+:)?(\w+)>", "{}", rule.rule) for rule in client.application.url_map.iter_rules()}
    named = {re.sub(r"\{\w+\}", "{}", path) for path in re.findall(r"`(?:GET|POST|DELETE|PUT) (/[^`, ?]*)", PAGE)}
    assert named <= rules
    assert len(named) > 8
