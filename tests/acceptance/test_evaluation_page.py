"""The page of `sendopt evaluate --html` in a real browser."""

from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser

from bandit.store.sql.database import Store
from sim.evaluate.question import Question, evaluate_log
from sim.evaluate.report import write_page
from sim.evaluate.targets import Uniform
from sim.logs.store import StoreLog
from tests.support.logs import logged_service
from tests.support.pages import SCREENS, assert_fits_and_is_accessible


@pytest.fixture
def written(sqlite_store: Store, tmp_path: Path) -> Path:
    service = logged_service(sqlite_store, n_users=100)
    log = StoreLog(service.store, service.campaigns, "spring")
    question = Question(target=Uniform(changes_own_features=False), show_anyway=True)
    path = tmp_path / "page.html"
    write_page(evaluate_log(log, question, progress=lambda _rows: None), path, command=["sendopt", "evaluate"])
    return path


@pytest.mark.parametrize(("scheme", "width"), SCREENS)
def test_the_page_fits_and_is_accessible(
    browser: Browser, written: Path, scheme: Literal["light", "dark"], width: int
) -> None:
    page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    page.goto(written.as_uri())
    assert_fits_and_is_accessible(page)
    page.close()
