"""`python -m benchmarks`: measures, prints a table, writes benchmarks/results.json."""

import logging
import signal
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import structlog
import typer
from rich.console import Console

from benchmarks import machine, report
from benchmarks.batch import batch
from benchmarks.core import core
from benchmarks.duolingo import duolingo
from benchmarks.evaluation import bootstrap, coverage, evaluation
from benchmarks.growth import growth
from benchmarks.learning import learning, relearning
from benchmarks.many import many
from benchmarks.measure import RELEARNED, Figure, Run
from benchmarks.memory import hostile, memory
from benchmarks.publish import publishing
from benchmarks.simulation import simulation
from benchmarks.swaps import swaps
from benchmarks.throughput import http
from benchmarks.verdict import verdict

FIGURES: Mapping[str, Callable[[Run], list[Figure]]] = {
    "core": core,
    "http": http,
    "batch": batch,
    "growth": growth,
    "memory": memory,
    "hostile": hostile,
    "many": many,
    "learning": learning,
    "relearning": relearning,
    "publish": publishing,
    "swaps": swaps,
    "evaluation": evaluation,
    "bootstrap": bootstrap,
    "coverage": coverage,
    "verdict": verdict,
    "simulation": simulation,
    "duolingo": duolingo,
}
RESULTS = Path(__file__).with_name("results.json")


def main(
    only: Annotated[str, typer.Option(help="Figures to measure, separated by commas.")] = ",".join(FIGURES),
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes, only to check that the benchmarks run.")] = False,
    folder: Annotated[
        Path, typer.Option(help="Folder in which databases are created and removed; on a real disk.")
    ] = Path("build/benchmarks"),
    relearned: Annotated[
        int, typer.Option(min=1, help="Events of the log that is relearned; 1,000,000 takes 7 GB of disk.")
    ] = RELEARNED,
) -> None:
    """Run the benchmarks. A complete run writes benchmarks/results.json; a quick or partial run only prints."""
    names = _names(only)
    # Readers want the table, without log lines about published or loaded models in between.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        machine.check_disk(folder)
    except machine.NoDisk as error:
        raise typer.BadParameter(str(error)) from None
    figures, now = _measured(names, folder, quick=quick, relearned=relearned)
    report.show(figures, Console())
    if not quick and names == list(FIGURES):
        report.write(RESULTS, figures, machine=machine.facts(folder), day=now.date())


def _names(only: str) -> list[str]:
    unknown = sorted(set(only.split(",")) - FIGURES.keys())
    if unknown:
        raise typer.BadParameter(f"--only: {unknown[0]!r} is not one of {', '.join(FIGURES)}")
    return [name for name in FIGURES if name in only.split(",")]


def _measured(names: list[str], folder: Path, *, quick: bool, relearned: int) -> tuple[list[Figure], datetime]:
    progress = Console(stderr=True)
    now = datetime.now(UTC)
    figures = []
    for name in names:
        # A folder for each figure, so that its gigabytes can be removed before the next one.
        progress.print(f"measuring {name}")
        with TemporaryDirectory(dir=folder) as own:
            run = Run(folder=Path(own).resolve(), quick=quick, now=now, console=progress, relearned=relearned)
            figures += FIGURES[name](run)
    return figures, now


if __name__ == "__main__":
    # SIGTERM and SIGHUP stop it as Ctrl-C does; the servers are in sessions that receive neither of them.
    for one in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, signal.default_int_handler)
    typer.run(main)
