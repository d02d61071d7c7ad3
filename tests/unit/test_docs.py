"""The documentation: every link leads somewhere, every page is reachable, and the pictures are those of the code."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table

from bandit.store.sql.schema import metadata
from benchmarks.pictures.__main__ import pictures
from benchmarks.pictures.rooms import LINES, PACKAGES, ROOM_WIDTH, Package, direct, read_package
from benchmarks.pictures.svg import wrapped
from benchmarks.pictures.tables import references, tables_picture

ROOT = Path(__file__).parents[2]
INDEX = ROOT / "docs" / "README.md"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")


def links_of(page: Path, words: str) -> Iterator[tuple[Path, str]]:
    """File and anchor of every relative link in the text of a page; code is not text."""
    prose = re.sub(r"^```.*?^```$|`[^`\n]*`", "", words, flags=re.DOTALL | re.MULTILINE)
    for target in LINK.findall(prose):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            yield (page.parent / path).resolve() if path else page, anchor


def anchors_of(page: Path) -> set[str]:
    """The anchors that a reader's viewer makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path, words: str) -> list[str]:
    return [
        f"{path.name}#{anchor}"
        for path, anchor in links_of(page, words)
        if not path.exists() or (anchor and anchor not in anchors_of(path))
    ]


def reached(first: Path) -> set[Path]:
    """Every page to which links lead, directly or through others."""
    seen, waiting = {first}, [first]
    while waiting:
        page = waiting.pop()
        new = {path for path, _ in links_of(page, page.read_text(encoding="utf-8"))} - seen
        seen |= new
        waiting.extend(path for path in new if path.suffix == ".md")
    return seen


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    assert broken_links(page, page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("link", ["missing.md", "README.md#no-such-heading", "#no-such-heading"])
def test_a_link_that_leads_nowhere_is_found_out(link: str) -> None:
    assert broken_links(INDEX, f"See [there]({link}).")


def test_every_page_of_the_docs_is_reachable_from_the_index_and_the_index_from_the_readme() -> None:
    files = {path for path in (ROOT / "docs").rglob("*") if path.suffix in {".md", ".svg"}}
    assert files - reached(INDEX) == set()
    assert INDEX in reached(ROOT / "README.md")


@pytest.mark.parametrize("path", sorted(pictures()), ids=lambda path: path.name)
def test_the_pictures_are_those_that_the_code_draws_now(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == pictures()[path], "run `make pictures`"


@pytest.mark.parametrize("name", PACKAGES)
def test_every_room_has_a_description_that_fits_into_its_box(name: str) -> None:
    package = read_package(ROOT, name)
    lines = {room: len(wrapped(about, ROOM_WIDTH - 12)) if about else 0 for room, about in package.rooms.items()}
    assert {room for room, n in lines.items() if not 1 <= n <= LINES} == set()


def test_a_new_room_and_a_new_import_change_the_picture(tmp_path: Path) -> None:
    for name in PACKAGES:
        (tmp_path / name / "low").mkdir(parents=True)
        (tmp_path / name / "__init__.py").write_text('"""A package."""\n')
        (tmp_path / name / "low" / "__init__.py").write_text('"""A room."""\n')
    assert read_package(tmp_path, "bandit").storeys == [["low"]]

    (tmp_path / "bandit" / "high.py").write_text('"""Another."""\ndef later():\n    from bandit.low import anything\n')
    package = read_package(tmp_path, "bandit")
    assert package.storeys == [["low"], ["high"]]
    assert list(direct(package.imports)) == [("high", "low")]


def test_rooms_in_a_circle_cannot_be_drawn() -> None:
    imports = {"one": frozenset({"two"}), "two": frozenset({"one"})}
    package = Package(name="x", about="", rooms={"one": "", "two": ""}, imports=imports, others=frozenset())
    with pytest.raises(ValueError, match="circle"):
        _ = package.storeys


def test_the_picture_of_the_tables_has_every_table_and_column() -> None:
    drawn = tables_picture()
    for table in metadata.sorted_tables:
        for name in (table.name, *(column.name for column in table.columns)):
            assert f">{name}<" in drawn


def test_a_reference_that_another_one_implies_has_no_arrow_of_its_own() -> None:
    declared = MetaData()
    Table("low", declared, Column("id", Integer, primary_key=True))
    Table("middle", declared, Column("id", Integer, primary_key=True), Column("low_id", ForeignKey("low.id")))
    Table("high", declared, Column("low_id", ForeignKey("low.id")), Column("middle_id", ForeignKey("middle.id")))
    assert sorted(references(declared)) == [("high", "middle"), ("middle", "low")]
