"""The dashboard in a real browser: legible, alive, and without a word to any other host."""

import shutil
from collections.abc import Iterator
from threading import Thread

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from sqlalchemy import update
from werkzeug.serving import make_server

from api.app import serving
from bandit.settings import Settings
from bandit.store.sql.database import Store
from bandit.store.sql.schema import decisions
from tests.integration.test_outcomes import close_all, live_with_past
from tests.support.wire import seeded_app

HOSTILE = "<img src=x onerror=alert(1)>"
# Without these a browser looks for its maker's hosts at every start.
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium is installed: the dashboard was not tested in a browser")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield chromium
        chromium.close()


@pytest.fixture
def address(sqlite_url: str) -> Iterator[str]:
    """Of the service on the request clock."""
    app = seeded_app(Settings(database_url=sqlite_url, clock="request"))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        serving(app).close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A page that must neither fail nor ask another host."""
    opened = browser.new_page()
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    opened.on("request", lambda one: None if one.url.startswith((address, "data:")) else faults.append(one.url))
    yield opened
    opened.close()
    assert faults == []


def test_an_empty_service_says_what_to_do_first(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.get_by_text("There is no campaign yet.")).to_be_visible()
    expect(page.get_by_text("sendopt campaign apply FILE.toml")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_campaign_with_a_past_is_shown_whole(
    browser: Browser, page: Page, address: str, sqlite_url: str, scheme: str
) -> None:
    store = Store(sqlite_url)
    live, records = live_with_past(store)
    with store.write() as connection:  # as damage to the store would
        damaged = decisions.c.id == records[1].decision.id
        connection.execute(update(decisions).where(damaged).values(propensity=1.5))
    close_all(live)
    store.close()
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(address)
    expect(page.locator("#tiles")).to_contain_text("Lift of sending")
    expect(page.locator("#rewards svg polyline")).to_have_count(3)
    expect(page.locator("#hours table.heat td[title]")).not_to_have_count(0)
    expect(page.locator("#contents svg rect")).not_to_have_count(0)
    expect(page.locator("#versions tbody tr").first).to_contain_text("champion")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")  # nothing hangs over on a phone
    page.locator("#quarantine").get_by_role("button", name=records[1].decision.id).click()
    expect(page.locator("#receipt")).to_contain_text("with probability")
    page.locator("#receipt").evaluate("one => one.replaceChildren()")
    page.fill("#receipt-id", records[0].decision.id)
    page.get_by_role("button", name="Explain the decision").click()
    expect(page.locator("#receipt")).to_contain_text("with probability")


def test_what_users_are_called_never_becomes_markup(page: Page, address: str) -> None:
    page.goto(address)
    page.evaluate("id => fetch('/campaigns/x', {method: 'PUT', body: JSON.stringify(id)})", _campaign())
    page.reload()
    page.evaluate("body => fetch('/decide', {method: 'POST', body: JSON.stringify(body)})", _request())
    page.fill("#receipt-id", HOSTILE)
    page.get_by_role("button", name="Latest of the user").click()
    expect(page.locator("#receipt li")).to_contain_text(HOSTILE)
    assert page.locator("#receipt img").count() == 0


def _campaign() -> dict[str, object]:
    return {
        "id": "x",
        "horizon_hours": 24,
        "channels": {"push": {}},
        "contents": [{"id": HOSTILE}],
        "reward": {"window_hours": 24, "bounds": [0.0, 1.0], "events": {"clicked": 1.0}},
    }


def _request() -> dict[str, object]:
    return {"campaign": "x", "user": {"id": HOSTILE, "timezone": "UTC"}, "now": "2026-03-02T09:00:00Z"}
