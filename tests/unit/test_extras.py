"""Extras: what belongs to which, that every import of one can say so, and what a missing one says."""

import ast
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from tomllib import loads

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bandit.errors import EXTRA_OF, MissingExtra, extras_named, require_extra
from tests.support.environments import CLIENT, ROOT, closure, project

ROOMS = ("bandit", "sim", "api", "migrations")
# Rooms that nobody enters without the extra: their __init__.py asks for it.
STUDY_ROOMS = ("sim/ope", "sim/evaluate", "sim/replay")
TYPES_ONLY = "TYPE_CHECKING"


def files() -> list[Path]:
    return [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def imports_at_run_time(node: ast.AST, *, named: bool = False) -> Iterator[tuple[str, bool]]:
    """Top-level name of each import, and whether it stands in `with extras_named()`; imports for types are left out."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == TYPES_ONLY:
        return
    if isinstance(node, ast.Import):
        yield from ((alias.name.split(".")[0], named) for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
        yield node.module.split(".")[0], named
    inside = named or (isinstance(node, ast.With) and "extras_named()" in map(ast.unparse, node.items))
    for child in ast.iter_child_nodes(node):
        yield from imports_at_run_time(child, named=inside)


def unnamed(source: str) -> set[str]:
    """Packages of extras whose absence would be a bare ModuleNotFoundError."""
    return {name for name, named in imports_at_run_time(ast.parse(source)) if name in EXTRA_OF and not named}


def is_in_a_study_room(path: Path) -> bool:
    return any(path.is_relative_to(ROOT / room) for room in STUDY_ROOMS)


def test_every_import_of_an_extra_can_say_which_extra_is_missing() -> None:
    elsewhere = [path for path in files() if not is_in_a_study_room(path)]
    assert not {str(path): found for path in elsewhere if (found := unnamed(path.read_text("utf-8")))}


@pytest.mark.parametrize("source", ["import pandas as pd", "def f():\n    from pyarrow.parquet import ParquetFile"])
def test_an_import_that_cannot_is_found_out(source: str) -> None:
    assert unnamed(source)
    assert not unnamed(f"with extras_named():\n    {source.replace(chr(10), chr(10) + '    ')}")


@pytest.mark.parametrize("room", STUDY_ROOMS)
def test_a_room_of_studies_asks_for_the_extra_before_anything_else(room: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    source = (ROOT / room / "__init__.py").read_text("utf-8")
    with pytest.raises(MissingExtra, match="extra 'study', as matplotlib is not installed"):
        exec(compile(source, room, "exec"), {"__name__": room.replace("/", ".")})


def distributions_imported(folders: Iterator[Path] | list[Path]) -> set[str]:
    """Distributions that the files import at run time, the standard library and our own packages left out."""
    owners = packages_distributions()
    own = {*ROOMS, "sendopt_client", "tests"}
    names = {name for path in folders for name, _ in imports_at_run_time(ast.parse(path.read_text("utf-8")))}
    third = names - own - set(sys.stdlib_module_names)
    return {str(canonicalize_name(owners[name][0])) for name in third if name != "pylibvw"}


def named_in(requirements: list[str]) -> set[str]:
    return {str(canonicalize_name(Requirement(text).name)) for text in requirements}


def test_every_imported_distribution_is_declared_by_the_base_or_by_the_extra_of_the_table() -> None:
    declared = project()
    owners = packages_distributions()
    extras = {str(canonicalize_name(owners[package][0])): extra for package, extra in EXTRA_OF.items()}
    for name in distributions_imported(files()):
        if name in extras:
            assert name in named_in(declared["optional-dependencies"][extras[name]]), name
        else:
            assert name in closure(declared["dependencies"]), name


def test_the_table_and_the_extra_study_have_the_same_packages() -> None:
    owners = packages_distributions()
    table = {canonicalize_name(owners[package][0]) for package, extra in EXTRA_OF.items() if extra == "study"}
    assert table == named_in(project()["optional-dependencies"]["study"])
    assert not closure(project()["dependencies"]) & table


def test_a_missing_module_of_an_extra_is_named_and_any_other_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingExtra, match=r"pip install 'notification-send-optimizer\[study\]'"), extras_named():
        import sklearn.base  # noqa: F401
    with pytest.raises(ModuleNotFoundError, match="no_such_module"), extras_named():
        import no_such_module  # type: ignore[import-not-found]  # noqa: F401


def test_an_extra_that_is_installed_is_not_asked_for_twice() -> None:
    require_extra("study")


def client_files() -> list[Path]:
    return sorted((CLIENT / "sendopt_client").glob("*.py"))


def test_the_client_imports_only_what_its_distribution_declares() -> None:
    assert distributions_imported(client_files()) == named_in(project(CLIENT)["dependencies"]) == {"orjson", "urllib3"}
    names = {name for path in client_files() for name, _ in imports_at_run_time(ast.parse(path.read_text("utf-8")))}
    assert not names & set(ROOMS)


def test_the_client_is_written_in_the_python_that_it_promises() -> None:
    low = tuple(int(part) for part in project(CLIENT)["requires-python"].removeprefix(">=").split("."))
    assert low == (3, 9)
    for path in client_files():
        ast.parse(path.read_text("utf-8"), feature_version=low)


def test_both_distributions_that_contain_the_client_have_one_version_and_licence() -> None:
    assert project()["version"] == project(CLIENT)["version"]
    assert (ROOT / "LICENSE").read_bytes() == (CLIENT / "LICENSE").read_bytes()
    assert set(project(CLIENT)["dependencies"]) <= set(project()["dependencies"])


@pytest.mark.parametrize("package", [*ROOMS, "clients/python/sendopt_client"])
def test_every_package_says_that_it_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


def test_every_package_of_the_checkout_is_one_that_is_installed() -> None:
    listed = set(loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"])
    found = {
        ".".join(path.parent.relative_to(ROOT).parts) for room in ROOMS for path in (ROOT / room).rglob("__init__.py")
    }
    assert listed == found | {"sendopt_client"}
