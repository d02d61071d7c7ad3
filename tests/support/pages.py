"""What every page must be, on a phone and on a desk, on light and on dark screens."""

from typing import Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

SCREENS: list[tuple[Literal["light", "dark"], int]] = [
    ("light", 360),
    ("light", 1_280),
    ("dark", 360),
    ("dark", 1_280),
]


def assert_fits_and_is_accessible(page: Page) -> None:
    """Nothing hangs over the screen, and axe-core finds nothing that shuts somebody out."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    violations = Axe().run(page).response["violations"]
    found = [(one["id"], [node["target"] for node in one["nodes"]]) for one in violations]
    assert found == [], found
