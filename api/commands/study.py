"""Commands that study: the demo, the replay of published logs, and simulation.

The code that draws and reads tables is imported only when it is used: loading it takes longer than starting the
    service.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from api.commands.progress import progress_bar
from bandit.errors import FieldError, InvalidInput
from bandit.settings import Settings

if TYPE_CHECKING:
    from sim.contest.result import Entry
    from sim.contest.runs import Job
    from sim.replay.result import ReplayResult


TABLE_WIDTH = 160


def demo(
    database: Annotated[
        Path, typer.Option(help="SQLite file of the demo. The file of an earlier demo is replaced.")
    ] = Path("demo.db"),
    seconds: Annotated[
        float, typer.Option(min=5, max=80, help="Seconds for which the simulated users are active.")
    ] = 60,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulated users.")] = 1,
) -> int:
    """Show the real service as it learns from simulated users, live in the terminal. It takes two minutes."""
    from api.demo.run import run_demo

    return run_demo(
        database=database, seed=seed, seconds=seconds, console=Console(highlight=False), environment=os.environ
    )


def replay(
    dataset: Annotated[
        str, typer.Argument(help="hillstrom or drinkless. Its file must be in the folder SENDOPT_DATA.")
    ],
    seed: Annotated[int, typer.Option(min=0, help="Seed of the order of rows and of every draw.")] = 1,
    plot: Annotated[Path | None, typer.Option(help="Write a picture to FILE.png or FILE.html.")] = None,
) -> None:
    """Stream a published randomised trial through the code that serves, and print its mean reward."""
    from sim.replay.picture import check_picture_path, write_picture

    if plot is not None:
        check_picture_path(plot)
    settings = Settings.from_environment(os.environ)
    result = _replayed(dataset, settings.data, seed)
    Console(highlight=False).print(_table(result))
    if plot is not None:
        write_picture(result, plot)
        typer.echo(f"picture: {plot}")


def simulate(
    presets: Annotated[str, typer.Option("--presets", help="Presets to run, separated by commas. Default: all.")] = "",
    policies: Annotated[
        str, typer.Option("--policies", help="Policies to run, separated by commas. Default: all.")
    ] = "",
    seeds: Annotated[str, typer.Option(help="Seeds to run: numbers or ranges, as in 1-10 or 1,4,7-9.")] = "1-10",
    decisions: Annotated[
        int | None, typer.Option(min=1, help="Decisions per run. Default: the number of the preset.")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, max=256, help="Number of runs at the same time.")] = os.cpu_count()
    or 1,
    folder: Annotated[
        Path, typer.Option(help="Folder of the results. Runs whose results are there are not repeated.")
    ] = Path("simulated"),
    page: Annotated[
        Path | None, typer.Option(help="Write a page with learning curves to FILE.html, or only the tables to FILE.md.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Compare the shares of all policies with those of this policy, seed by seed.")
    ] = None,
) -> None:
    """Compare policies in simulated worlds.

    The table says how far each policy came from uniform choice towards the best possible policy.
    """
    from sim.contest.result import entries_of
    from sim.contest.runs import jobs_of, playable
    from sim.world.presets import PRESETS

    if page is not None:
        _check_page(page)
    named = _named(policies, playable())
    if against is not None and against not in named:
        raise InvalidInput([FieldError(field="against", message=f"{against!r} is not one of {', '.join(named)}")])
    numbers = _numbers(seeds)
    jobs = jobs_of(_named(presets, PRESETS), named, numbers, decisions=decisions)
    _run_all(jobs, folder, processes)
    entries = entries_of(jobs, folder)
    console = Console(highlight=False)
    console.width = max(console.width, TABLE_WIDTH)  # a terminal can scroll, but text that is cut off is lost
    for preset in dict.fromkeys(entry.preset for entry in entries):
        console.print(_standings([entry for entry in entries if entry.preset == preset], against))
    if page is not None:
        _write_page(entries, numbers, page)
        typer.echo(f"page: {page}")


def _check_page(page: Path) -> None:
    """Refuses a page that cannot be written before anything runs."""
    from sim.contest.markdown import check_has_heading
    from sim.contest.page import check_page_path

    check_page_path(page)
    if page.suffix.lower() == ".md":
        check_has_heading(page)


def _write_page(entries: "Sequence[Entry]", seeds: Sequence[int], page: Path) -> None:
    from sim.contest.markdown import write_tables
    from sim.contest.page import write_page

    if page.suffix.lower() == ".md":
        write_tables(entries, seeds, page)
    else:
        write_page(entries, page)


def _named(text: str, every: Iterable[str]) -> list[str]:
    """The names of a comma-separated list; all names if it is empty."""
    return list(dict.fromkeys(text.split(","))) if text else list(every)


def _numbers(text: str) -> list[int]:
    """The numbers of a list of numbers and ranges."""
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not (first.isdecimal() and (last or first).isdecimal() and int(first) <= int(last or first)):
            raise InvalidInput(
                [FieldError(field="seeds", message=f"{part!r} is neither a number nor a range like 1-10")]
            )
        numbers.extend(range(int(first), int(last or first) + 1))
    return list(dict.fromkeys(numbers))


def _run_all(jobs: "Sequence[Job]", folder: Path, processes: int) -> None:
    """Runs the jobs whose results are missing in the folder, and shows the progress."""
    from sim.contest.runs import missing, run_all

    done = len(jobs) - len(missing(jobs, folder))
    with progress_bar("runs") as progress:
        progress(done, len(jobs))
        for number, _ in enumerate(run_all(jobs, folder, processes=processes), start=done + 1):
            progress(number, len(jobs))


def _standings(entries: "Sequence[Entry]", against: str | None) -> Table:
    """The table of one preset, the policy with the highest reward first."""
    from sim.contest.result import shown
    from sim.world.presets import preset_named

    title = f"{entries[0].preset}: {preset_named(entries[0].preset).about}"
    table = Table("policy", title=title, title_justify="left", box=None, header_style="dim")
    compared = [entry for entry in entries if entry.policy == against]
    columns = [dict(entry.figures) for entry in entries]
    for entry, figures in zip(entries, columns, strict=True):
        for other in compared:
            figures.update({**entry.against(other), **entry.effort_against(other)})
    for name in columns[0]:
        table.add_column(name, justify="right", no_wrap=True)
    rows = sorted(zip(entries, columns, strict=True), key=lambda row: -row[1]["reward"].value)
    for entry, figures in rows:
        table.add_row(entry.policy, *(shown(mean) for mean in figures.values()))
    return table


def _replayed(dataset: str, folder: Path | None, seed: int) -> "ReplayResult":
    from sim.replay.replay import replay as replay_log

    with progress_bar("rows") as progress:
        return replay_log(dataset, folder=folder, seed=seed, database_url=None, progress=progress)


def _table(result: "ReplayResult") -> Table:
    from sim.replay.result import summary

    table = Table("what", "value", title=result.title, title_justify="left")
    for name, value in summary(result):
        table.add_row(name, value)
    return table
