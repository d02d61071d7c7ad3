"""The command `sendopt`."""

import json
import logging
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, NoReturn

import structlog
import typer
from rich.console import Console

from api.commands import evaluate, study
from api.commands.opened import opened
from api.commands.progress import progress_bar
from api.edge.auth import MAKE_A_KEY, PER_SECOND, Scope, has_keys, issue, revoke
from api.logging_setup import configure_logs
from api.words.explain import draw_repeats, explained
from api.words.models import (
    counted_words,
    engine_settings,
    instant,
    purged_words,
    relearned_words,
    teaching_shown,
    worths_of_events,
)
from bandit.campaign.checks import parse_campaign, parse_campaign_toml
from bandit.campaign.document import LearnerName
from bandit.errors import (
    FieldError,
    InvalidInput,
    RejectedInput,
    SendoptError,
    SettingsError,
    extras_named,
    require_extra,
)
from bandit.service import Service
from bandit.settings import MOST_WORKERS, Settings
from bandit.store import keys
from bandit.store.models import OK
from bandit.store.sql.database import Store
from bandit.store.sql.migrate import upgrade
from bandit.times import utc_text

app = typer.Typer(
    name="sendopt",
    help="Chooses channel, content and send time, or silence, for each user and campaign, and learns online.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
campaign_app = typer.Typer(help="Store campaign documents.", no_args_is_help=True)
keys_app = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True)
app.add_typer(campaign_app, name="campaign")
app.add_typer(keys_app, name="keys")
models_app = typer.Typer(help="Model versions of a campaign.", no_args_is_help=True)
app.add_typer(models_app, name="models")
app.command()(study.demo)
app.command()(study.replay)
app.command()(evaluate.evaluate)
app.command()(evaluate.export)
app.command()(evaluate.plan)
app.command()(study.simulate)
console = Console(highlight=False)
DISTRIBUTION = "notification-send-optimizer"
NOT_PROMOTED = 3  # exit status: neither an error (1) nor wrong usage (2)
CampaignId = Annotated[str, typer.Argument(metavar="CAMPAIGN", help="Id of the campaign.")]


def main() -> None:
    """Runs the command line; an expected error is printed as one clear line, and the exit status is not 0."""
    configure_logs(logging.WARNING)
    try:
        with extras_named():
            status = app(standalone_mode=False)
    except typer.TyperException as error:  # wrong usage; the message is empty where the help was shown instead
        _fail(filter(None, [error.format_message()]), status=error.exit_code)
    except RejectedInput as error:
        _fail([f"{one.field}: {one.message}" for one in error.errors])
    except SendoptError as error:
        _fail([str(error)])
    raise SystemExit(status)


def _fail(errors: Iterable[str], *, status: int = 1) -> NoReturn:
    for error in errors:
        typer.echo(f"sendopt: {' '.join(error.split())}", err=True)
    raise SystemExit(status)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"sendopt {version(DISTRIBUTION)}")
        raise typer.Exit


VERSION = typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")


@app.callback()
def options(version: Annotated[bool, VERSION] = False) -> None:
    """Options of the command itself; each takes effect as it is read."""


def _settings() -> Settings:
    return Settings.from_environment(os.environ)


@app.command()
def migrate() -> None:
    """Migrate the database to this program's schema."""
    store = Store(_settings().database_url)
    try:
        before, after = upgrade(store)
    finally:
        store.close()
    typer.echo(
        f"{store.shown_url}: {before or 'empty'} -> {after}" if before != after else f"{store.shown_url}: up to date"
    )


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default: SENDOPT_HOST, or 127.0.0.1.")] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port to listen on. Default: SENDOPT_PORT, or 8000.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_WORKERS, help="Number of serving processes. Default: SENDOPT_WORKERS, or 1."),
    ] = None,
    worker: Annotated[bool, typer.Option(help="Also start the learner process.")] = True,
) -> None:
    """Run the HTTP service and its learner process."""
    from api.processes.server import check_address
    from api.processes.server import serve as run_server

    configure_logs(logging.INFO)
    settings = _settings()
    host = settings.host if host is None else host
    port = settings.port if port is None else port
    workers = settings.workers if workers is None else workers
    if worker:
        _check_can_promote(settings)
    with opened(settings) as service:
        is_keyed = has_keys(service.store)
        shown = service.store.shown_url
    check_address(host, port, has_keys=is_keyed)
    if not is_keyed:
        structlog.get_logger(__name__).warning("no_keys", rule="answers on a loopback address only", help=MAKE_A_KEY)
    typer.echo(f"sendopt: http://{host}:{port} on {shown}")
    run_server(host=host, port=port, workers=workers, with_learner=worker)


@app.command()
def worker(
    once: Annotated[bool, typer.Option("--once", help="Make one pass and exit.")] = False,
) -> None:
    """Run the learner process: close rewards, learn, publish."""
    from api.processes.beside import end_with_parent
    from api.processes.worker import run_forever, run_once

    configure_logs(logging.INFO)
    end_with_parent()
    settings = _settings()
    _check_can_promote(settings)
    with opened(settings) as service:
        if once:
            result = run_once(service)
            typer.echo(f"closed {result.closed}, learned {result.learned}, published {len(result.published)}")
        else:
            run_forever(service, settings.worker_interval_seconds, settings.promotion_interval_seconds)


def _check_can_promote(settings: Settings) -> None:
    """Raises MissingExtra where promotion is switched on and what evaluates is not installed."""
    if settings.promotion_interval_seconds is not None:
        require_extra("study")


@campaign_app.command("apply")
def campaign_apply(
    file: Annotated[Path, typer.Argument(help="Campaign document: TOML, or JSON if the file name ends in .json.")],
) -> None:
    """Store a campaign document as the campaign's current version."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: cannot be read: {error}") from None
    campaign = parse_campaign(text) if file.suffix == ".json" else parse_campaign_toml(text)
    with opened(_settings()) as service:
        stored = service.campaigns.put(campaign)
    typer.echo(f"{campaign.id}: version {stored.version}")


@campaign_app.command("show")
def campaign_show(campaign: CampaignId) -> None:
    """Print a campaign's current document as JSON, with every default that it did not name."""
    with opened(_settings()) as service:
        stored = service.campaigns.get(campaign)
    typer.echo(json.dumps(json.loads(stored.campaign.to_json()), indent=2, ensure_ascii=False))


@keys_app.command("create")
def keys_create(
    scope: Annotated[list[Scope], typer.Option(help="What the key may do. May be repeated.")],
    per_second: Annotated[
        int, typer.Option(min=1, max=100_000, help="Requests per second that each serving process accepts.")
    ] = PER_SECOND,
) -> None:
    """Create a key and show it. It cannot be shown again, because only its digest is stored."""
    with opened(_settings()) as service:
        issued = issue(service.store, scope, per_second=per_second, now=datetime.now(UTC))
    typer.echo(f"id   {issued.id}\nkey  {issued.secret}")


@keys_app.command("list")
def keys_list() -> None:
    """List all keys, including revoked ones, oldest first."""
    with opened(_settings()) as service, service.store.read() as connection:
        rows = keys.every(connection)
    for row in rows:
        revoked = "" if row.revoked_at is None else f", revoked {utc_text(row.revoked_at)}"
        scopes = " ".join(sorted(row.scopes))
        typer.echo(f"{row.id}  {scopes}, {row.per_second} a second, made {utc_text(row.created_at)}{revoked}")


@keys_app.command("revoke")
def keys_revoke(
    key_id: Annotated[str, typer.Argument(help="Id of the key, as `keys list` shows it.")],
) -> None:
    """Revoke a key; serving processes refuse it within two seconds."""
    with opened(_settings()) as service:
        revoke(service.store, key_id, datetime.now(UTC))
    typer.echo(f"{key_id}: revoked")


@models_app.command("list")
def models_list(campaign: CampaignId) -> None:
    """List the stored versions, newest first."""
    with opened(_settings()) as service:
        rows = service.versions.list(campaign)
    for row in rows:
        named = " ".join(filter(None, [row.alias, "held" if row.held else None])) or "-"
        typer.echo(
            f"{row.version}\t{named}\tparent {row.parent}\tlineage {row.lineage}\t{row.events_learned} events\t"
            f"{utc_text(row.created_at)}\t{row.health}"
        )


@models_app.command("promote")
def models_promote(
    campaign: CampaignId,
    version: Annotated[
        int | None, typer.Argument(help="Version that becomes the champion and learns on.", show_default=False)
    ] = None,
    gated: Annotated[
        bool,
        typer.Option("--gated", help="Promote the challenger, if the log shows that it earns more and does no harm."),
    ] = False,
) -> int:
    """Make a version the champion; every serving process follows within two polls.

    With --gated the challenger is promoted if the log shows that it earns more and does no harm. Otherwise the command
    says what is missing and exits with 3.
    """
    if gated == (version is not None):
        message = "give either a version or --gated"
        raise InvalidInput([FieldError(field="version", message=message)])
    with opened(_settings()) as service:
        if version is None:
            return _promote_gated(service, campaign)
        row = service.versions.promote(campaign, version)
    typer.echo(f"{campaign}: version {row.version} is the champion")
    return 0


def _promote_gated(service: Service, campaign: str) -> int:
    from api.words.promotion import judged_words, promote_gated

    with progress_bar("decisions") as bar:
        judgement, promoted = promote_gated(service, service.versions.pair(campaign), lambda done: bar(done, None))
    for line in judged_words(judgement, promoted):
        typer.echo(line)
    return NOT_PROMOTED if promoted is None else 0


@models_app.command("rollback")
def models_rollback(campaign: CampaignId) -> None:
    """Go back to the champion before the last promotion, and hold it.

    The version that is replaced learns on as challenger.
    """
    with opened(_settings()) as service:
        row = service.versions.rollback(campaign)
    typer.echo(f"{campaign}: version {row.version} is the champion, held until the next promotion")


@models_app.command("relearn")
def models_relearn(
    campaign: CampaignId,
    vw: Annotated[
        list[str] | None,
        typer.Option("--vw", metavar="NAME=VALUE", help="Setting of the engine, as in policy.vw. May be repeated."),
    ] = None,
    reward: Annotated[
        list[str] | None,
        typer.Option("--reward", metavar="EVENT=WORTH", help="Worth of an event. May be repeated."),
    ] = None,
    learner: Annotated[
        LearnerName | None,
        typer.Option("--learner", help="What learns, as in policy.learner; the campaign's own by default."),
    ] = None,
) -> int:
    """Train a challenger on the whole stored log, with other settings, rewards or another learner.

    The champion serves and learns on meanwhile.
    """
    engine, worths = engine_settings(vw or []), worths_of_events(reward or [])
    with opened(_settings()) as service:
        plan = service.relearner.plan(campaign, engine, worths, learner)
        with teaching_shown(f"relearning {campaign}", plan.decisions) as shown:
            relearned = service.relearner.run(plan, shown)
    for line in relearned_words(campaign, relearned):
        typer.echo(line)
    return 0 if relearned.row.health == OK else 1


@models_app.command("purge")
def models_purge(
    source: Annotated[str, typer.Option(metavar="KEY", help="Id of the API key with which the feedback was sent.")],
    since: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="Start of the purge: feedback received at this time or later. RFC 3339 with an offset."
        ),
    ],
    campaign: Annotated[
        str | None, typer.Argument(metavar="[CAMPAIGN]", help="Id of the campaign. Default: all campaigns.")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="End of the purge: feedback received before this time. Default: now."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count the feedback; change nothing.")] = False,
) -> int:
    """Purge the feedback of one key: exclude it, correct the rewards, and train a new champion without it."""
    with opened(_settings()) as service:
        end = None if until is None else instant("--until", until)
        suspects = service.purger.suspects(source, instant("--since", since), end, campaign)
        counts = service.purger.count(suspects)
        for line in counted_words(counts):
            typer.echo(line)
        if dry_run or not counts:
            return 0
        with teaching_shown("retraining", service.purger.decisions_to_learn(counts)) as shown:
            purged = service.purger.run(suspects, shown)
    for one in purged:
        typer.echo(purged_words(one))
    return 0 if all(step.row.health == OK for one in purged for step in one.steps) else 1


@app.command()
def explain(
    decision_id: Annotated[str, typer.Argument(help="Id of a stored decision.")],
) -> int:
    """Explain why a decision was made, and repeat its draw; exits with 1 if the draw cannot be repeated."""
    with opened(_settings()) as service, service.store.read() as connection:
        found, sentences = explained(connection, service.campaigns, decision_id)
    for sentence in sentences:
        typer.echo(sentence)
    return 0 if draw_repeats(found) else 1
