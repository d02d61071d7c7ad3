"""Commands about the log: write it to a file, and estimate from it what another policy would have earned.

The code that evaluates and draws is imported only when it is used: loading it takes longer than starting the service.
"""

import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Column, Table

from api.commands.opened import opened
from api.commands.progress import progress_bar
from api.words.models import instant
from bandit.errors import FieldError, InvalidInput
from bandit.service import Service
from bandit.settings import Settings

if TYPE_CHECKING:
    from sim.evaluate.question import Answer
    from sim.evaluate.target_names import CampaignTargets
    from sim.logs.event import EventLog

SINCE = typer.Option(metavar="TIME", help="Only decisions from then on, as 2026-11-20T17:03:00Z.")
UNTIL = typer.Option(metavar="TIME", help="Only decisions before then.")
BY = typer.Option(help="Break the target's value down by channel, hour, day or the name of a feature.")
ASSUME_ZONE = typer.Option(help="Time zone of a file's times that have no offset.")
KEEP_LATE = typer.Option("--keep-late", help="dsjson: add rewards on lines of their own to what a decision has.")
INTERVAL = typer.Option(
    help="Kind of interval. auto is normal, or betting if few users carry the estimate. "
    "anytime is for a log that is evaluated repeatedly."
)
FORMAT = typer.Option("--format", help="Format: parquet, csv or dsjson. Default: the ending of the file name.")


def export(
    campaign: Annotated[str, typer.Option(help="Id of the campaign whose log is written.")],
    file: Annotated[Path, typer.Argument(help="File to write: FILE.parquet, FILE.csv or FILE.dsjson.")],
    file_format: Annotated[str | None, FORMAT] = None,
    since: Annotated[str | None, SINCE] = None,
    until: Annotated[str | None, UNTIL] = None,
) -> None:
    """Write a campaign's decisions with their final rewards to a file."""
    from sim.logs.open import export_log
    from sim.logs.store import StoreLog

    with opened(Settings.from_environment(os.environ)) as service:
        log = _between(StoreLog(service.store, service.campaigns, campaign), since, until)
        size = log.size
        with progress_bar("rows") as bar:
            rows, digest = export_log(log, file, file_format=file_format, progress=lambda done: bar(done, size))
    left_out = ", ".join(f"{number:,} {reason}" for reason, number in (+log.left_out).items())
    low, high = log.reward_bounds
    typer.echo(
        f"{file}: {rows:,} rows, excluded: {left_out or 'nothing'}; "
        f"to evaluate it: --bounds {low:g} {high:g}; data digest sha256 {digest}"
    )


def evaluate(
    target: Annotated[
        str,
        typer.Option(
            help="Policy to evaluate: uniform, silence, baseline, champion, progressive, version:N, document:FILE, "
            "function:FILE.py:NAME, column:NAME or logged."
        ),
    ],
    campaign: Annotated[
        str | None, typer.Option(help="Id of the campaign whose log, models and documents are used.")
    ] = None,
    against: Annotated[str | None, typer.Option(help="Second target: estimate the difference to it.")] = None,
    log: Annotated[Path | None, typer.Option(help="Read the log from this file instead of the database.")] = None,
    file_format: Annotated[str | None, FORMAT] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="FIELD=NAME: the file's column NAME has this field. May be repeated.")
    ] = None,
    bounds: Annotated[tuple[float, float], typer.Option(help="Lowest and highest reward in the file.")] = (
        0.0,
        1.0,
    ),
    assume_zone: Annotated[str | None, ASSUME_ZONE] = None,
    keep_late: Annotated[bool, KEEP_LATE] = False,
    since: Annotated[str | None, SINCE] = None,
    until: Annotated[str | None, UNTIL] = None,
    by: Annotated[str | None, BY] = None,
    unseen: Annotated[
        bool, typer.Option("--unseen", help="Exclude rows that the evaluated model was trained on.")
    ] = False,
    reward_model: Annotated[
        bool,
        typer.Option(
            "--reward-model", help="Fit a reward model; adds the estimators that need one, such as DM and DR."
        ),
    ] = False,
    interval: Annotated[Literal["auto", "normal", "bootstrap", "anytime"], INTERVAL] = "auto",
    confidence: Annotated[float, typer.Option(help="Confidence level of the intervals.")] = 0.95,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the resampling and of the reward model's folds.")] = 0,
    html: Annotated[Path | None, typer.Option(help="Write a page with the results to FILE.html.")] = None,
    show_anyway: Annotated[
        bool, typer.Option("--show-anyway", help="Show the numbers even if the log cannot answer.")
    ] = False,
) -> int:
    """Estimate what another policy would have earned.

    The command first says whether the log can answer; it exits with 2 if it cannot.
    """
    from sim.evaluate.question import Question, evaluate_log
    from sim.evaluate.report import check_page_path, write_page
    from sim.evaluate.target_names import target_named

    if html is not None:
        check_page_path(html)
    with _campaign(campaign) as (service, targets):
        question = Question(
            target=target_named(target, targets),
            against=None if against is None else target_named(against, targets),
            unseen_only=unseen,
            reward_model=reward_model,
            interval=interval,
            confidence=confidence,
            seed=seed,
            by=by,
            show_anyway=show_anyway,
        )
        names = [name.removeprefix("column:") for name in (target, against or "") if name.startswith("column:")]
        options = {"assume_zone": assume_zone, "keep_late": keep_late}
        source = _log(service, campaign, log, file_format, _column_map(column or []), names, bounds, options)
        source = _between(source, since, until)
        size = source.size
        with progress_bar("rows") as bar:
            answer = evaluate_log(source, question, progress=lambda done: bar(done, size))
    if html is not None:
        write_page(answer, html, command=["sendopt", *map(shlex.quote, sys.argv[1:])])
    _print(answer)
    if html is not None:
        typer.echo(f"page: {html}")
    return 0 if answer.verdict.ok else 2


def plan(
    campaign: Annotated[str, typer.Argument(metavar="CAMPAIGN", help="Id of the campaign.")],
    lift: Annotated[str, typer.Option(help="The lift that must be seen, as 5% of the mean reward.")] = "5%",
    holdout: Annotated[
        float | None, typer.Option(help="Share of the users in holdouts; by default the campaign's own, or 0.1.")
    ] = None,
) -> None:
    """Say how many decisions, and how many days, it takes to see a lift: by the holdouts, and by the promotion gate."""
    from sim.evaluate.plan import DIFFERENT, planned
    from sim.logs.store import StoreLog

    with opened(Settings.from_environment(os.environ)) as service:
        policy = service.campaigns.get(campaign).campaign.policy
        share = holdout or policy.uniform_holdout + policy.no_send_holdout or 0.1
        log = StoreLog(service.store, service.campaigns, campaign)
        size = log.size
        with progress_bar("rows") as bar:
            found = planned(log, lift=_percent(lift), holdout=share, progress=lambda done: bar(done, size))
    console = Console(highlight=False)
    console.print(f"To see a lift of {found.lift:.3g} of the mean reward, {found.mean_reward:.4g} per decision:")
    gate = f"the promotion gate, for versions that differ in {DIFFERENT:.0%} of decisions"
    for way, needed in ((f"holdouts of {share:.0%} of the users", found.by_holdout), (gate, found.by_gate)):
        days = "" if needed.days is None else f", {needed.days:,.0f} days at the pace of the log"
        console.print(f"  {way}: about {needed.decisions:,} decisions{days}", soft_wrap=True)


def _percent(text: str) -> float:
    """A share, as 5% or 0.05."""
    try:
        found = float(text.removesuffix("%")) / (100.0 if text.endswith("%") else 1.0)
    except ValueError:
        found = 0.0
    if not 0.0 < found <= 10.0:
        raise InvalidInput([FieldError(field="lift", message=f"{text!r}: must be a share above 0, as 5% or 0.05")])
    return found


@contextmanager
def _campaign(campaign: str | None) -> "Iterator[tuple[Service | None, CampaignTargets | None]]":
    """The service and its targets, if a campaign is named."""
    from sim.evaluate.target_names import CampaignTargets

    if campaign is None:
        yield None, None
        return
    with opened(Settings.from_environment(os.environ)) as service:
        service.campaigns.get(campaign)
        yield service, CampaignTargets(store=service.store, campaigns=service.campaigns, campaign_id=campaign)


def _log(
    service: Service | None,
    campaign: str | None,
    path: Path | None,
    file_format: str | None,
    columns: Mapping[str, str],
    extra: Sequence[str],
    bounds: tuple[float, float],
    options: Mapping[str, Any],
) -> "EventLog":
    from sim.logs.open import open_log
    from sim.logs.store import StoreLog

    if path is not None:
        return open_log(path, file_format=file_format, reward_bounds=bounds, columns=columns, extra=extra, **options)
    if service is None or campaign is None:
        raise InvalidInput([FieldError(field="campaign", message="name a campaign, or a file with --log")])
    if columns or extra or file_format or any(options.values()):
        message = "a column map, a format, a zone and column targets are for a file: name it with --log"
        raise InvalidInput([FieldError(field="log", message=message)])
    return StoreLog(service.store, service.campaigns, campaign)


def _between(log: "EventLog", since: str | None, until: str | None) -> "EventLog":
    from sim.logs.between import Between

    if since is None and until is None:
        return log
    first, end = (None if text is None else instant(name, text) for name, text in (("since", since), ("until", until)))
    return Between(log, since=first, until=end)


def _column_map(pairs: Sequence[str]) -> dict[str, str]:
    for pair in pairs:
        if not all(pair.partition("=")):
            raise InvalidInput([FieldError(field="column", message=f"{pair!r}: must be FIELD=NAME")])
    return {name: column for name, _, column in (pair.partition("=") for pair in pairs)}


def _print(answer: "Answer") -> None:
    from sim.evaluate.report import (
        CELL_HEAD,
        ESTIMATE_HEAD,
        cell_rows,
        deed_rows,
        estimate_rows,
        figure_rows,
        run_rows,
        title_of,
        verdict_lines,
    )

    console = Console(highlight=False)
    console.print(title_of(answer), markup=False, style="bold")
    for line in (*verdict_lines(answer), *(f"Note: {note}." for note in answer.notes)):
        console.print(line, markup=False)
    if answer.is_shown:
        console.print(_table(ESTIMATE_HEAD, estimate_rows(answer)))
    cells = list(cell_rows(answer))
    if cells:
        console.print(_table(CELL_HEAD, iter(cells)))
    deeds = list(deed_rows(answer))
    if deeds:
        console.print(_table(("what the policies do", *answer.deeds), iter(deeds)))
    console.print(_table(("the log, for this question", ""), figure_rows(answer)))
    console.print(_table(("to run it again", ""), run_rows(answer)))


def _table(head: Sequence[str], rows: Iterator[tuple[str, ...]]) -> Table:
    table = Table(*(Column(name, overflow="fold") for name in head))
    for row in rows:
        table.add_row(*row)
    return table
