"""Virtual environments that have only what one install brings."""

import subprocess
import venv
from collections.abc import Iterable, Iterator
from importlib.metadata import distribution
from pathlib import Path
from tomllib import loads
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "python"


def project(folder: Path = ROOT) -> dict[str, Any]:
    """The table `project` of the folder's pyproject.toml."""
    found: dict[str, Any] = loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    return found


def closure(requirements: Iterable[str]) -> set[str]:
    """Names of the distributions that the requirements bring, with what those need in turn.

    Raises:
        PackageNotFoundError: one that is needed here is not installed.
    """
    found: set[str] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        needed = list(_needed_by(one))
        waiting += [other for other in needed if canonicalize_name(other.name) not in found]
        found.add(name)
    return found


def _needed_by(one: Requirement) -> Iterator[Requirement]:
    for text in distribution(one.name).requires or ():
        other = Requirement(text)
        if other.marker is None or any(other.marker.evaluate({"extra": extra}) for extra in (*one.extras, "")):
            yield other


def environment(folder: Path, requirements: Iterable[str], packages: Iterable[Path]) -> Path:
    """The interpreter of a new virtual environment that has only these distributions and these packages of ours.

    They are links to what is installed here and to the checkout, so that nothing is fetched or copied.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    (site,) = folder.glob("lib/python*/site-packages")
    for name in closure(requirements):
        for entry in _entries(name):
            _link(site / entry.name, entry)
    for package in packages:
        _link(site / package.name, package)
    return python


def _entries(name: str) -> set[Path]:
    """Files and folders at the top of site-packages that a distribution owns."""
    found = distribution(name)
    tops = {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}
    return {Path(str(found.locate_file(top))) for top in tops}


def _link(at: Path, target: Path) -> None:
    if not at.exists():
        at.symlink_to(target)


def environment_of_wheels(folder: Path, requirement: str) -> Path:
    """The interpreter of a new virtual environment into which pip built and installed the requirement and its needs."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", requirement], check=True)
    return python
