"""Commands that study: the demo and the replay of published logs.

What draws and reads tables is imported when it is used: it takes longer to load than the service takes to start.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from api.progress import progress_bar
from bandit.settings import Settings

if TYPE_CHECKING:
    from sim.replay_result import ReplayResult


def demo(
    database: Annotated[Path, typer.Option(help="SQLite file to keep; an earlier demo's is replaced.")] = Path(
        "demo.db"
    ),
    seconds: Annotated[float, typer.Option(min=5, max=80, help="How long simulated users are driven.")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="Of the simulated users.")] = 1,
) -> int:
    """Two minutes: the real service learns from simulated users, live in the terminal."""
    from api.demo import run_demo

    return run_demo(
        database=database, seed=seed, seconds=seconds, console=Console(highlight=False), environment=os.environ
    )


def replay(
    dataset: Annotated[str, typer.Argument(help="hillstrom or drinkless; its file lies in SENDOPT_DATA.")],
    seed: Annotated[int, typer.Option(min=0, help="Of the order of rows and of every draw.")] = 1,
    plot: Annotated[Path | None, typer.Option(help="Picture to write: FILE.png or FILE.html.")] = None,
) -> None:
    """Stream a published randomised trial through the code that serves, and say what it earned."""
    from sim.pictures import check_picture_path, write_picture

    if plot is not None:
        check_picture_path(plot)
    settings = Settings.from_environment(os.environ)
    result = _replayed(dataset, settings.data, seed)
    Console(highlight=False).print(_table(result))
    if plot is not None:
        write_picture(result, plot)
        typer.echo(f"picture: {plot}")


def _replayed(dataset: str, folder: Path | None, seed: int) -> "ReplayResult":
    from sim.replay import replay as replay_log

    with progress_bar("rows") as progress:
        return replay_log(dataset, folder=folder, seed=seed, database_url=None, progress=progress)


def _table(result: "ReplayResult") -> Table:
    from sim.replay_result import summary

    table = Table("what", "value", title=result.title, title_justify="left")
    for name, value in summary(result):
        table.add_row(name, value)
    return table
