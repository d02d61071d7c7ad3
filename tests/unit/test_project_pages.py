"""The pages for contributors: the files that they name exist, and versions are the same everywhere."""

import re

import pytest

from tests.support.environments import CLIENT, ROOT, project

PAGES = ("CONTRIBUTING.md", "SECURITY.md", "clients/python/README.md", "docs/decisions/two-distributions.md")
# In backquotes, with a slash, and beginning with a folder of the repository.
NAMED = re.compile(r"`((?:api|bandit|sim|tests|docs|migrations|clients|examples|\.github)/[\w./-]+)`")
LINKED = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def paths_in(page: str) -> set[str]:
    return set(NAMED.findall((ROOT / page).read_text("utf-8")))


def exists(path: str) -> bool:
    """Whether there is such a file or folder; a module may be named without its ending, to become a package later."""
    return (ROOT / path).exists() or (ROOT / f"{path}.py").is_file()


@pytest.mark.parametrize("page", PAGES)
def test_every_path_that_a_page_names_exists(page: str) -> None:
    assert not [path for path in paths_in(page) if not exists(path)]
    links = LINKED.findall((ROOT / page).read_text("utf-8"))
    assert not [link for link in links if not (ROOT / page).parent.joinpath(link).exists()]


def test_contributing_names_the_files_of_every_recipe() -> None:
    assert len(paths_in("CONTRIBUTING.md")) > 25


def test_a_path_that_does_not_exist_is_found_out() -> None:
    assert NAMED.findall("see `bandit/no_such.py`") == ["bandit/no_such.py"]
    assert not exists("bandit/no_such.py")


def test_one_version_is_said_everywhere() -> None:
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE)
    assert cited is not None
    assert cited[1] == project()["version"] == project(CLIENT)["version"]


def test_the_makefile_has_what_the_pages_tell_to_make() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    told = {name for page in PAGES for name in re.findall(r"make ([a-z-]+)", (ROOT / page).read_text("utf-8"))}
    assert {"quick", "check", "lock", "installs"} <= told <= targets
