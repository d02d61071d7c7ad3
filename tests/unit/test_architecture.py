"""The house: which way imports go, who may import what, and that nothing happens at import."""

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("bandit", "sim", "api")  # each imports only from itself and from those before it
# The rooms inside each package, lowest first: a room imports from itself and from rooms of lower storeys only.
STOREYS: dict[str, tuple[tuple[str, ...], ...]] = {
    "bandit": (
        ("errors",),
        ("sendtimes", "engine", "settings", "times"),
        ("domain",),
        ("ids",),
        ("campaign",),
        ("wire",),
        ("decide",),
        ("store",),
        ("serve",),
        ("learn",),
        ("service",),
    ),
    "sim": (
        ("common",),
        ("logs", "baselines"),
        ("ope", "world"),
        ("evaluate", "contest", "replay"),
    ),
    "api": (
        ("logging_setup",),
        ("edge", "client", "words"),
        ("routes", "processes", "demo"),
        ("spec", "commands"),
        ("app", "__main__"),
    ),
}
MOST_FILES = 16  # in one folder, not counting __init__.py
TYPICAL_LINES, SHORT_LINES, MOST_LINES = 8, 20, 80  # of a function: the median, nine in ten, every one
SHORT_SHARE = 0.9
SERVING_ONLY = ("flask", "granian", "werkzeug", "typer", "rich", "urllib3")
IMPORTS = (ast.Import, ast.ImportFrom)
LOCKS = ("requirements.lock", "requirements-dev.lock")


def files_of(room: str) -> list[Path]:
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    return files


def imports_of(source: str, package: str) -> Iterator[str]:
    """Full names of what a module imports, anywhere in it; relative ones resolved within `package`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield _base_of(node, package)
        elif isinstance(node, ast.Call) and _is_import_call(node.func):
            yield from (
                one.value for one in node.args[:1] if isinstance(one, ast.Constant) and isinstance(one.value, str)
            )


def _base_of(node: ast.ImportFrom, package: str) -> str:
    if node.level == 0:
        return node.module or ""
    parents = package.split(".")
    base = parents[: len(parents) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def _is_import_call(function: ast.expr) -> bool:
    name = (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )
    return name in ("import_module", "__import__")


def imported(path: Path) -> set[str]:
    """Top-level names that a file of ours imports."""
    package = ".".join(path.relative_to(ROOT).parent.parts)
    return {name.split(".")[0] for name in imports_of(path.read_text("utf-8"), package)}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_from_rooms_below_it(room: str) -> None:
    above = set(ROOMS[ROOMS.index(room) + 1 :]) | {"tests", "benchmarks"}
    breaches = {str(path.relative_to(ROOT)): found for path in files_of(room) if (found := imported(path) & above)}
    assert not breaches


def modules_of(source: str, package: str) -> set[str]:
    """Modules of ours that a file imports; `from bandit.store import keys` names the module `bandit.store.keys`."""
    found = set(imports_of(source, package))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            base = _base_of(node, package)
            found |= {f"{base}.{alias.name}" for alias in node.names if is_module(f"{base}.{alias.name}")}
    return {name for name in found if name.split(".")[0] in STOREYS and is_module(name)}


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or path.is_dir()


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def storey_of(module: str) -> int:
    package, *rest = module.split(".")
    (storey,) = (n for n, rooms in enumerate(STOREYS[package]) if rest and rest[0] in rooms)
    return storey


def breaches_of_order(module: str, imports: Iterable[str]) -> set[str]:
    """Imports from rooms that are not below the module's own; of the same storey only from the very same room."""
    package, room = module.split(".")[:2]
    same = [name.split(".") for name in imports if name.startswith(package + ".")]
    return {".".join(name) for name in same if name[1] != room and storey_of(".".join(name[:2])) >= storey_of(module)}


def graph() -> dict[str, set[str]]:
    """What every module of ours imports of ours, inside functions and under TYPE_CHECKING included."""
    found = {}
    for package in ROOMS:
        for path in files_of(package):
            name = module_of(path)
            inside = name if path.name == "__init__.py" else name.rpartition(".")[0]
            found[name] = modules_of(path.read_text("utf-8"), inside) - {name}
    return found


def circle_in(edges: Mapping[str, set[str]]) -> list[str]:
    """A circle of imports, empty when there is none. A package stands for its `__init__.py`."""
    done: set[str] = set()

    def walk(name: str, trail: list[str]) -> list[str]:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name in done:
            return []
        for other in sorted(edges.get(name, ())):
            if found := walk(other, [*trail, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(edges) if (found := walk(name, []))), [])


@pytest.mark.parametrize("package", ROOMS)
def test_every_module_stands_in_a_room_that_is_listed(package: str) -> None:
    listed = {room for storey in STOREYS[package] for room in storey}
    found = {name.split(".")[1] for path in files_of(package) if "." in (name := module_of(path))}
    assert found == listed


def test_a_room_inside_a_package_imports_only_from_rooms_below_it() -> None:
    edges = {name: imports for name, imports in graph().items() if "." in name}
    breaches = {name: found for name, imports in edges.items() if (found := breaches_of_order(name, imports))}
    assert not breaches


def test_an_import_from_a_room_above_is_found_out() -> None:
    source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from bandit.learn import teach"
    assert breaches_of_order("bandit.store.keys", modules_of(source, "bandit.store")) == {
        "bandit.learn",
        "bandit.learn.teach",
    }


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circle_in(graph()) == []


@pytest.mark.parametrize(
    "source",
    [
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from api.app import create_app",
        "def later():\n    import api.app",
    ],
)
def test_a_circle_through_type_checking_or_a_function_is_found_out(source: str) -> None:
    edges = graph()
    edges["api.edge.shared"] |= modules_of(source, "api.edge")
    assert {"api.app", "api.edge.shared"} <= set(circle_in(edges))


@pytest.mark.parametrize("package", ROOMS)
def test_no_folder_holds_more_files_than_one_can_take_in(package: str) -> None:
    folders = Counter(path.parent for path in files_of(package) if path.name != "__init__.py")
    assert not {str(folder): number for folder, number in folders.items() if number > MOST_FILES}


def lengths(sources: Iterable[str]) -> list[int]:
    """Lines of each function, from its `def` to its end, shortest first."""
    nodes = [node for source in sources for node in ast.walk(ast.parse(source))]
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return sorted((node.end_lineno or node.lineno) - node.lineno + 1 for node in functions)


def is_short(found: list[int]) -> bool:
    return found[len(found) // 2] <= TYPICAL_LINES and found[int(SHORT_SHARE * len(found))] <= SHORT_LINES


@pytest.mark.parametrize("package", ROOMS)
def test_nine_functions_in_ten_have_at_most_twenty_lines(package: str) -> None:
    found = lengths(path.read_text("utf-8") for path in files_of(package))
    assert is_short(found)
    # The longest say what they take and raise: `evaluate` has a line for each of its options.
    assert found[-1] <= MOST_LINES


def test_a_package_of_longer_functions_is_found_out() -> None:
    source = "def f():\n" + "    1\n" * SHORT_LINES
    assert lengths([source]) == [SHORT_LINES + 1]
    assert is_short([6] * 90 + [20] * 10)
    assert not is_short([6] * 89 + [21] * 11)
    assert not is_short([9] * 100)


def test_migrations_import_nothing_of_ours() -> None:
    versions = [path for path in files_of("migrations") if path.parent.name == "versions"]
    assert versions
    assert not {path.name for path in versions if imported(path) & {*ROOMS, "tests"}}


def test_deciding_and_learning_know_no_server_and_no_command_line() -> None:
    assert not {path.name for path in files_of("bandit") if imported(path) & set(SERVING_ONLY)}


def test_only_one_file_imports_the_engine() -> None:
    users = [path for room in (*ROOMS, "migrations") for path in files_of(room) if "vowpalwabbit" in imported(path)]
    assert users == [ROOT / "bandit" / "engine" / "vw.py"]


def test_a_tool_of_development_is_imported_only_when_it_is_used() -> None:
    users = [path for room in ROOMS for path in files_of(room) if "mabwiser" in imported(path)]
    assert users == [ROOT / "sim" / "baselines" / "mabwiser_linear.py"]
    at_import = [node for node in ast.parse(users[0].read_text("utf-8")).body if isinstance(node, IMPORTS)]
    assert at_import
    assert not [node for node in at_import if "mabwiser" in ast.unparse(node)]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import api.app", "api.app"),
        ("import os, api", "api"),
        ("from api.app import create_app as c", "api.app"),
        ("def f():\n    from api import app", "api"),
        ("if TYPE_CHECKING:\n    import api", "api"),
        ("import importlib\nimportlib.import_module('api.app')", "api.app"),
        ("__import__('api')", "api"),
        ("from ..engine.vw import Engine", "bandit.engine.vw"),
        ("from . import vw", "bandit.store"),
    ],
)
def test_every_way_to_import_is_seen(source: str, name: str) -> None:
    assert name in set(imports_of(source, "bandit.store"))


@pytest.mark.process
@pytest.mark.parametrize("name", ["matplotlib", "sklearn", "pyarrow", "pandas", "scipy"])
def test_serving_loads_nothing_that_only_studies_need(name: str) -> None:
    modules = "api.commands.main, api.processes.server, api.app, api.processes.worker"
    program = f"import sys, {modules}; print({name!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


IMPORT_EVERYTHING = """
import importlib, os, pkgutil, sys, threading

def refuse(event, arguments):
    if event in ("subprocess.Popen", "os.fork", "socket.connect", "socket.bind", "sqlite3.connect"):
        raise RuntimeError(f"{event} at import: {arguments}")
    if event == "open" and isinstance(arguments[1], str) and set("wax+") & set(arguments[1]):
        raise RuntimeError(f"a file written at import: {arguments}")

sys.addaudithook(refuse)
{line}
for room in ("bandit", "sim", "api", "migrations"):
    package = importlib.import_module(room)
    for module in pkgutil.walk_packages(package.__path__, room + "."):
        if module.name not in ("api.__main__", "migrations.env"):
            importlib.import_module(module.name)
print([thread.name for thread in threading.enumerate()], sorted(os.listdir()))
"""


@pytest.mark.process
def test_nothing_happens_at_import(tmp_path: Path) -> None:
    done = importing_everything(tmp_path, before="")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['MainThread'] []\n"
    assert done.stderr == ""


@pytest.mark.process
@pytest.mark.parametrize(
    "line", ["import sqlite3; sqlite3.connect('x')", "open('x', 'w')", "import subprocess; subprocess.run(['true'])"]
)
def test_what_happens_at_import_is_found_out(tmp_path: Path, line: str) -> None:
    assert "RuntimeError" in importing_everything(tmp_path, before=line).stderr


def importing_everything(folder: Path, before: str) -> subprocess.CompletedProcess[str]:
    """A process that imports every module after the line `before`, in an environment that settings would refuse."""
    changes = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "SENDOPT_NO_SUCH_SETTING": "x"}
    return subprocess.run(
        [sys.executable, "-c", IMPORT_EVERYTHING.replace("{line}", before)],
        cwd=folder,
        env={**os.environ, **changes},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def packages_of(distribution: Distribution) -> set[str]:
    """Top-level names that a distribution installs."""
    listed = (distribution.read_text("top_level.txt") or "").split()
    return {*listed, *(file.parts[0] for file in distribution.files or () if len(file.parts) > 1)}


def other_owners_of_bandit(found: Iterator[Distribution]) -> list[str]:
    """Names of distributions, other than this project, that install a package named `bandit`."""
    owners = {one.name for one in found if "bandit" in packages_of(one)}
    return sorted(owners - {"notification-send-optimizer"})


def test_no_other_distribution_installs_a_package_named_bandit() -> None:
    others = other_owners_of_bandit(iter(distributions()))
    assert not others, f"the package `bandit` of this project is shadowed: run `pip uninstall {' '.join(others)}`"


def test_the_linter_of_that_name_would_be_found(tmp_path: Path) -> None:
    folder = tmp_path / "bandit-1.8.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: bandit\nVersion: 1.8.0\n")
    (folder / "RECORD").write_text("bandit/__init__.py,,\nbandit-1.8.0.dist-info/METADATA,,\n")
    assert other_owners_of_bandit(iter(distributions(path=[str(tmp_path)]))) == ["bandit"]


def test_the_package_named_bandit_is_this_projects() -> None:
    import bandit

    assert bandit.__file__ is not None
    assert Path(bandit.__file__).parent == ROOT / "bandit"


def faults_of_lock(text: str) -> list[str]:
    """Lines that name an index or a host, and requirements that are not pinned with a hash."""
    hosts = [
        line
        for line in text.splitlines()
        if "://" in line or re.match(r"\s*(-i|-f|--index|--extra|--find|--trusted)", line)
    ]
    entries = re.split(r"\n(?=\S)", re.sub(r"(?m)^\s*#.*\n?", "", text).strip())
    unpinned = [
        entry.split("\n")[0] for entry in entries if "==" not in entry.split("\n")[0] or "--hash=sha256:" not in entry
    ]
    return hosts + unpinned


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_pins_everything_with_hashes_and_names_no_index(name: str) -> None:
    assert faults_of_lock((ROOT / name).read_text("utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://example.org/simple",
        "-i x",
        "--extra-index-url x",
        "--find-links x",
        "--trusted-host x",
        "a @ https://example.org/a.whl --hash=sha256:0",
        "a==1",
        "a>=1 --hash=sha256:0",
    ],
)
def test_a_lock_that_does_not_is_found_out(line: str) -> None:
    assert faults_of_lock(f"a==1 \\\n    --hash=sha256:0\n    # via b\n{line}\n")
