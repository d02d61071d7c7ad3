"""The command `sendopt`."""

import logging
import os
from collections.abc import Iterable
from datetime import UTC, datetime
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
from bandit.campaign.document import parse_campaign, parse_campaign_toml
from bandit.decide.logged import utc_text
from bandit.errors import FieldError, InvalidInput, RejectedInput, SendoptError, SettingsError
from bandit.service import Service
from bandit.settings import Settings
from bandit.store import keys
from bandit.store.models import OK
from bandit.store.sql.database import Store
from bandit.store.sql.migrate import upgrade

app = typer.Typer(
    name="sendopt",
    help="Chooses channel, content and send time, or silence, for each user and campaign, and learns online.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
campaign_app = typer.Typer(help="Campaign documents.", no_args_is_help=True)
keys_app = typer.Typer(help="API keys.", no_args_is_help=True)
app.add_typer(campaign_app, name="campaign")
app.add_typer(keys_app, name="keys")
models_app = typer.Typer(help="Model versions of a campaign: which one serves.", no_args_is_help=True)
app.add_typer(models_app, name="models")
app.command()(study.demo)
app.command()(study.replay)
app.command()(evaluate.evaluate)
app.command()(evaluate.export)
app.command()(evaluate.plan)
app.command()(study.simulate)
console = Console(highlight=False)
NOT_PROMOTED = 3  # exit status: neither an error (1) nor wrong usage (2)
CampaignId = Annotated[str, typer.Argument(metavar="CAMPAIGN", help="Id of the campaign.")]


def main() -> None:
    """Runs the command line; an error that we know is one clear line, and the exit status is not 0."""
    configure_logs(logging.WARNING)
    try:
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


def _settings() -> Settings:
    return Settings.from_environment(os.environ)


@app.command()
def migrate() -> None:
    """Bring the database to this program's schema."""
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
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Serving processes.")] = 1,
    worker: Annotated[bool, typer.Option(help="Start the learner process beside the service.")] = True,
) -> None:
    """Run the HTTP service, with the learner process beside it."""
    from api.processes.server import check_address
    from api.processes.server import serve as run_server

    configure_logs(logging.INFO)
    settings = _settings()
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
    with opened(settings) as service:
        if once:
            result = run_once(service)
            typer.echo(f"closed {result.closed}, learned {result.learned}, published {len(result.published)}")
        else:
            run_forever(service, settings.worker_interval_seconds, settings.promotion_interval_seconds)


@campaign_app.command("apply")
def campaign_apply(
    file: Annotated[Path, typer.Argument(help="Campaign document, TOML (or JSON by its ending).")],
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


@keys_app.command("create")
def keys_create(
    scope: Annotated[list[Scope], typer.Option(help="What the key may do; may be given several times.")],
    per_second: Annotated[
        int, typer.Option(min=1, max=100_000, help="Requests a second that each serving process takes.")
    ] = PER_SECOND,
) -> None:
    """Make a key and show it, this once: only its digest is stored."""
    with opened(_settings()) as service:
        issued = issue(service.store, scope, per_second=per_second, now=datetime.now(UTC))
    typer.echo(f"id   {issued.id}\nkey  {issued.secret}")


@keys_app.command("list")
def keys_list() -> None:
    """List the keys, revoked ones included, oldest first."""
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
    """End a key; serving processes refuse it within two seconds."""
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
        int | None, typer.Argument(help="The version that is to serve and to be taught further.", show_default=False)
    ] = None,
    gated: Annotated[
        bool, typer.Option("--gated", help="The challenger instead, if it is shown to earn more and do no harm.")
    ] = False,
) -> int:
    """Make a version the champion; every serving process follows within two polls.

    With --gated it is the challenger, and exits with 3 and what is missing when the log does not show that it may.
    """
    if gated == (version is not None):
        message = "name the version, or ask for the challenger with --gated, not both"
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
    """Go back to the champion before the last promotion, and hold it; what it replaces learns on as challenger."""
    with opened(_settings()) as service:
        row = service.versions.rollback(campaign)
    typer.echo(f"{campaign}: version {row.version} is the champion, held until the next promotion")


@models_app.command("relearn")
def models_relearn(
    campaign: CampaignId,
    vw: Annotated[
        list[str] | None,
        typer.Option("--vw", metavar="NAME=VALUE", help="Engine setting, as in policy.vw; may be given again."),
    ] = None,
    reward: Annotated[
        list[str] | None,
        typer.Option("--reward", metavar="EVENT=WORTH", help="What an event is worth; may be given again."),
    ] = None,
) -> int:
    """Teach a challenger the whole stored log, under other settings or rewards; the champion serves and learns on."""
    engine, worths = engine_settings(vw or []), worths_of_events(reward or [])
    with opened(_settings()) as service:
        plan = service.relearner.plan(campaign, engine, worths)
        with teaching_shown(f"relearning {campaign}", plan.decisions) as shown:
            relearned = service.relearner.run(plan, shown)
    for line in relearned_words(campaign, relearned):
        typer.echo(line)
    return 0 if relearned.row.health == OK else 1


@models_app.command("purge")
def models_purge(
    source: Annotated[str, typer.Option(metavar="KEY", help="Id of the API key that the feedback came with.")],
    since: Annotated[str, typer.Option(metavar="TIME", help="Received then or later: RFC 3339 with an offset.")],
    campaign: Annotated[
        str | None, typer.Argument(metavar="[CAMPAIGN]", help="Id of the campaign; without it, every one.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="And received before then.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
) -> int:
    """Take back the feedback of one key: exclude it, correct the rewards, teach a new champion without it."""
    with opened(_settings()) as service:
        end = None if until is None else instant("--until", until)
        suspects = service.purger.suspects(source, instant("--since", since), end, campaign)
        counts = service.purger.count(suspects)
        for line in counted_words(counts):
            typer.echo(line)
        if dry_run or not counts:
            return 0
        with teaching_shown("teaching anew", service.purger.decisions_to_learn(counts)) as shown:
            purged = service.purger.run(suspects, shown)
    for one in purged:
        typer.echo(purged_words(one))
    return 0 if all(step.row.health == OK for one in purged for step in one.steps) else 1


@app.command()
def explain(
    decision_id: Annotated[str, typer.Argument(help="Id of a stored decision.")],
) -> int:
    """Say in words why a decision was made, and repeat its draw; exits with 1 when the draw does not repeat."""
    with opened(_settings()) as service, service.store.read() as connection:
        found, sentences = explained(connection, service.campaigns, decision_id)
    for sentence in sentences:
        typer.echo(sentence)
    return 0 if draw_repeats(found) else 1
