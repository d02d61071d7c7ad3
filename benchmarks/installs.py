"""What each install needs on disk: `python -m benchmarks.installs` makes fresh environments and prints a table.

pip fetches what is needed; nothing is taken from the environment that runs this.
"""

import subprocess
import venv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

ROOT = Path(__file__).parents[1]
INSTALLS: Mapping[str, str] = {
    "sendopt-client": f"{ROOT}/clients/python",
    "base": f"{ROOT}",
    "base[postgres]": f"{ROOT}[postgres]",
    "base[study]": f"{ROOT}[study]",
    "base[study,postgres]": f"{ROOT}[study,postgres]",
}
BROUGHT_BY_VENV = ("pip", "setuptools")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What one install put into an environment."""

    distributions: int
    bytes: int


def measured(requirement: str) -> Size:
    """The size of a fresh environment after installing the requirement, less that of the environment before."""
    with TemporaryDirectory(prefix="sendopt-install-") as folder:
        venv.create(folder, with_pip=True)
        (site,) = Path(folder).glob("lib/python*/site-packages")
        before = _bytes_of(site)
        pip = [f"{folder}/bin/python", "-m", "pip", "--disable-pip-version-check", "--quiet"]
        subprocess.run([*pip, "install", "--no-compile", requirement], check=True)
        return Size(distributions=sum(1 for _ in _installed(site)), bytes=_bytes_of(site) - before)


def _bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _installed(site: Path) -> Iterator[Path]:
    return (path for path in site.glob("*.dist-info") if not path.name.startswith(BROUGHT_BY_VENV))


def main() -> None:
    """Prints the table of the documentation."""
    table = Table("install", "distributions", "MB on disk", box=None)
    for name, requirement in track(INSTALLS.items(), "installing", console=Console(stderr=True), transient=True):
        size = measured(requirement)
        table.add_row(escape(name), str(size.distributions), f"{size.bytes / 1e6:,.{0 if size.bytes > 1e7 else 1}f}")
    Console().print(table)


if __name__ == "__main__":
    main()
