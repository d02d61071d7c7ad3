"""docs/campaign.md is what the models say, all of it."""

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel

from api.spec import campaign_page as pages
from api.spec.campaign_page import campaign_page
from bandit.campaign.document import Baseline, Campaign, ContentDocument, PolicyDocument, Reward
from bandit.campaign.fields import about

ROOT = Path(__file__).parents[2]


def test_the_page_is_the_one_that_the_models_make() -> None:
    page = (ROOT / "docs" / "campaign.md").read_text("utf-8")
    assert page == campaign_page(), "run `make reference`"


@pytest.mark.parametrize("model", [Campaign, ContentDocument, Reward, PolicyDocument, Baseline])
def test_every_field_is_on_the_page_with_its_reason(model: type[BaseModel]) -> None:
    page = campaign_page()
    for name, field in model.model_fields.items():
        (row,) = [line for line in page.splitlines() if f"| `{name}` | {field.description} " in line]
        extra = field.json_schema_extra
        assert isinstance(extra, dict)
        assert str(extra["x-why"]) in row


def test_a_field_without_a_reason_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Extended(Campaign):
        """A campaign with a plan."""

        plan: Annotated[str, about("A plan.", example="a")] = ""

    monkeypatch.setattr(pages, "Campaign", Extended)
    with pytest.raises(KeyError, match="x-why"):
        campaign_page()


@pytest.mark.parametrize(
    "row",
    [
        "| `window_hours` | How long after the decision feedback counts.",
        "| hours | required | number, more than 0, at most 8,784; at least `horizon_hours` |",
        "| probability | `0.02` | number, at least 1e-6, at most 1 |",
        "| absent | table; needed where `mode` is shadow; see `policy.baseline` |",
        "## `channels.NAME.cap`",
        "## The feature `kind`",
    ],
)
def test_the_page_says(row: str) -> None:
    assert row in campaign_page()


def test_the_scheduler_example_points_there() -> None:
    assert "docs/campaign.md" in (ROOT / "examples" / "scheduler" / "campaign.toml").read_text("utf-8")
