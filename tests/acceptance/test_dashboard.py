"""The dashboard in a real browser: legible, alive, and without a word to any other host."""

from collections.abc import Iterator
from contextlib import closing
from threading import Thread
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, Route, expect
from sqlalchemy import update
from werkzeug.serving import make_server

from api.app import serving
from bandit.decide.decision import DecisionRecord
from bandit.service import Service
from bandit.settings import Settings
from bandit.store.sql.database import Store
from bandit.store.sql.schema import decisions
from tests.integration.test_outcomes import DAY, SHARES, close_all, live_with_past
from tests.support.builders import MORNING, campaign, decide, request, service
from tests.support.pages import SCREENS, assert_fits_and_is_accessible
from tests.support.wire import seeded_app

HOSTILE = "<img src=x onerror=alert(1)>"


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
    assert_fits_and_is_accessible(page)
    page.locator("#quarantine").get_by_role("button", name=records[1].decision.id).click()
    expect(page.locator("#receipt")).to_contain_text("with probability")
    page.locator("#receipt").evaluate("one => one.replaceChildren()")
    page.fill("#receipt-id", records[0].decision.id)
    page.get_by_role("button", name="Explain", exact=True).click()
    expect(page.locator("#receipt")).to_contain_text("with probability")


LONG = "a_name_that_somebody_chose_to_be_as_long_as_it_may_be_" * 2
# Contrast of the text with what is behind it, as the screen shows both (WCAG 2, relative luminance).
CONTRASTS = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
  const light = colour => {
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map(one => one / 255)
      .map(one => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  return [...document.querySelectorAll('.heat td[title]')].map(cell => {
    const {color, backgroundColor} = getComputedStyle(cell), both = [light(color), light(backgroundColor)];
    return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
  });
}"""


@pytest.fixture
def past(sqlite_url: str) -> Iterator[tuple[Service, list[DecisionRecord]]]:
    """The campaign "spring" with a past, in the store that the page shows; `live.store` is open."""
    with closing(Store(sqlite_url)) as store:
        live, records = live_with_past(store)
        close_all(live)
        yield live, records


def asked_for(page: Page, user: str) -> None:
    page.fill("#receipt-id", user)
    page.keyboard.press("Enter")


def test_an_answer_about_one_user_never_stands_under_the_question_about_another(
    page: Page, address: str, past: tuple[Service, list[DecisionRecord]]
) -> None:
    page.goto(address)
    asked_for(page, "u-1")
    expect(page.locator("#receipt")).to_contain_text("User u-1")
    expect(page.locator("#receipt li")).to_have_count(3)
    asked_for(page, "nobody")
    expect(page.locator("#receipt-error")).to_contain_text("Nothing is stored about a user “nobody”")
    expect(page.locator("#receipt-error")).to_be_in_viewport()
    expect(page.locator("#receipt")).to_be_empty()
    asked_for(page, past[1][0].decision.id)
    expect(page.locator("#receipt")).to_contain_text(f"Decision {past[1][0].decision.id}.")
    expect(page.locator("#receipt-error")).to_be_empty()


def test_a_slow_answer_does_not_replace_that_to_a_later_question(
    page: Page, address: str, past: tuple[Service, list[DecisionRecord]]
) -> None:
    held: list[Route] = []
    page.route("**/decisions?user=u-1&*", lambda route: held.append(route))
    page.goto(address)
    asked_for(page, "u-1")
    asked_for(page, "u-2")
    expect(page.locator("#receipt")).to_contain_text("User u-2")
    with page.expect_response("**/explanation"):
        held[0].continue_()
    page.wait_for_load_state("networkidle")
    expect(page.locator("#receipt")).to_contain_text("User u-2")


def test_what_a_button_cannot_do_is_said_beside_it(
    page: Page, address: str, past: tuple[Service, list[DecisionRecord]]
) -> None:
    # Answered inside the page: the browser itself would log a 409 as an error.
    refusal = {"title": "Conflict", "status": 409, "detail": "there is no step to go back"}
    page.goto(address)
    page.on("dialog", lambda dialog: dialog.accept())
    page.evaluate(
        "refusal => { const known = fetch; window.fetch = (path, ...rest) => String(path).endsWith('/rollback')"
        " ? Promise.resolve(new Response(JSON.stringify(refusal), {status: 409})) : known(path, ...rest); }",
        refusal,
    )
    page.get_by_role("button", name="Roll back one step").click()
    expect(page.locator("#versions-error")).to_have_text("there is no step to go back")
    expect(page.locator("#versions-error")).to_be_in_viewport()


def test_focus_stays_where_it_is_while_the_page_is_renewed(
    page: Page, address: str, past: tuple[Service, list[DecisionRecord]]
) -> None:
    live, _ = past
    for day in (1, 2):
        decide(live, [request(f"u-{user}", MORNING + (10 + day) * DAY) for user in range(5)])
        close_all(live, days=10 + day + 1)
    page.clock.install()
    page.goto(address)
    button = page.locator("#versions").get_by_role("button", name="Promote").first
    row = button.locator("xpath=ancestor::tr")
    expect(row).to_contain_text("2")
    button.focus()
    decide(live, [request(f"u-{user}", MORNING + 14 * DAY) for user in range(5)])
    close_all(live, days=15)
    with page.expect_response("**/insights?*"):
        page.clock.fast_forward(6_000)
    expect(page.locator("#versions tbody tr")).to_have_count(4)
    assert page.evaluate("document.activeElement.closest('tr')?.cells[0].textContent") == "2"


def test_an_unknown_campaign_shows_no_other_one(
    page: Page, address: str, past: tuple[Service, list[DecisionRecord]]
) -> None:
    page.goto(f"{address}/#campaign=autumn&days=7")
    expect(page.locator("#unknown-campaign")).to_have_text("There is no campaign “autumn”. Choose one above.")
    expect(page.locator("#campaign-view")).to_be_hidden()
    page.select_option("#campaign", "spring")
    expect(page.locator("#tiles")).to_contain_text("Lift of sending")
    expect(page.locator("#unknown-campaign")).to_be_hidden()


def test_the_address_names_the_campaign_and_the_days(
    page: Page, address: str, past: tuple[Service, list[DecisionRecord]]
) -> None:
    past[0].campaigns.put(campaign(id="autumn"))
    page.goto(f"{address}/#campaign=spring&days=7")
    expect(page.locator("#days")).to_have_value("7")
    page.select_option("#campaign", "autumn")
    page.wait_for_url("**/#campaign=autumn&days=7")
    expect(page.locator("#rewards")).to_contain_text("No reward is final yet")
    page.select_option("#days", "90")
    page.wait_for_url("**/#campaign=autumn&days=90")
    page.reload()
    expect(page.locator("#campaign")).to_have_value("autumn")
    expect(page.locator("#days")).to_have_value("90")
    page.go_back()
    page.go_back()
    expect(page.locator("#campaign")).to_have_value("spring")
    expect(page.locator("#rewards svg")).to_be_visible()


@pytest.mark.parametrize(("scheme", "width"), SCREENS)
def test_long_names_fit_and_every_page_is_accessible(
    page: Page, address: str, sqlite_url: str, scheme: Literal["light", "dark"], width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    with closing(Store(sqlite_url)) as store:
        named = campaign(
            id=LONG, channels={LONG: {}}, contents=[{"id": f"{LONG}{place}"} for place in range(9)], policy=SHARES
        )
        live = service(store, 1, named)
        decide(live, [request(f"u-{user}", campaign=LONG) for user in range(60)])
        close_all(live)
    page.goto(f"{address}/#campaign={LONG}")
    expect(page.locator("#hours td[title]").first).to_be_visible()
    asked_for(page, "u-1")
    expect(page.locator("#receipt li")).to_have_count(1)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert min(page.evaluate(CONTRASTS)) >= 4.5
    assert_fits_and_is_accessible(page)
    page.goto(f"{address}/docs")
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert_fits_and_is_accessible(page)


def test_print_is_light_and_keeps_its_colours(
    page: Page, address: str, past: tuple[Service, list[DecisionRecord]]
) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    page.goto(address)
    cell = page.locator("#hours td[title]").first
    assert cell.evaluate("one => getComputedStyle(one).printColorAdjust") == "exact"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(254, 254, 253)"


def test_what_users_are_called_never_becomes_markup(page: Page, address: str) -> None:
    page.goto(address)
    page.evaluate("id => fetch('/campaigns/x', {method: 'PUT', body: JSON.stringify(id)})", _campaign())
    page.reload()
    page.evaluate("body => fetch('/decide', {method: 'POST', body: JSON.stringify(body)})", _request())
    page.fill("#receipt-id", HOSTILE)
    page.keyboard.press("Enter")
    expect(page.locator("#receipt li")).to_contain_text(HOSTILE)
    assert page.locator("#receipt img").count() == 0


def _campaign() -> dict[str, object]:
    return {
        "id": "x",
        "horizon_hours": 24,
        "channels": {"push": {}},
        "consent": "assumed",
        "contents": [{"id": HOSTILE}],
        "reward": {"window_hours": 24, "bounds": [0.0, 1.0], "events": {"clicked": 1.0}},
    }


def _request() -> dict[str, object]:
    return {"campaign": "x", "user": {"id": HOSTILE, "timezone": "UTC"}, "now": "2026-03-02T09:00:00Z"}
