"""The command `sendopt`."""

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import structlog
import typer
from rich.console import Console

from api import study
from api.explain import draw_repeats, explanation
from api.logs import configure_logs
from bandit.campaign import parse_campaign, parse_campaign_toml
from bandit.errors import RejectedInput, SendoptError, SettingsError
from bandit.receipt_book import receipt
from bandit.service import Service, build_service
from bandit.settings import Settings
from bandit.store.engine import Store
from bandit.store.migrate import pending, upgrade

app = typer.Typer(
    name="sendopt",
    help="Chooses channel, content and send time, or silence, for each user and campaign, and learns online.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
campaign_app = typer.Typer(help="Campaign documents.", no_args_is_help=True)
app.add_typer(campaign_app, name="campaign")
app.command()(study.demo)
app.command()(study.replay)
app.command()(study.simulate)
console = Console(highlight=False)


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


@contextmanager
def _opened(settings: Settings) -> Iterator[Service]:
    """The service on the configured database, which must have this program's schema."""
    store = Store(settings.database_url)
    try:
        if pending(store):
            raise SettingsError(f"the database {store.shown_url} has another schema: run `sendopt migrate` first")
        yield build_service(store, clock=settings.clock, entropy=os.urandom)
    finally:
        store.close()


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
    from api.server import check_address
    from api.server import serve as run_server

    check_address(host, port)
    configure_logs(logging.INFO)
    settings = _settings()
    with _opened(settings) as service:
        structlog.get_logger(__name__).info("no_keys", rule="without keys the service answers on loopback only")
        shown = service.store.shown_url
    typer.echo(f"sendopt: http://{host}:{port} on {shown}", err=True)
    run_server(host=host, port=port, workers=workers, with_learner=worker)


@app.command()
def worker(
    once: Annotated[bool, typer.Option("--once", help="Make one pass and exit.")] = False,
) -> None:
    """Run the learner process: close rewards, learn, publish."""
    from api.worker import run_forever, run_once

    configure_logs(logging.INFO)
    settings = _settings()
    with _opened(settings) as service:
        if once:
            result = run_once(service)
            typer.echo(f"closed {result.closed}, learned {result.learned}, published {len(result.published)}")
        else:
            run_forever(service, settings.worker_interval_seconds)


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
    with _opened(_settings()) as service:
        stored = service.campaigns.put(campaign)
    typer.echo(f"{campaign.id}: version {stored.version}")


@app.command()
def explain(
    decision_id: Annotated[str, typer.Argument(help="Id of a stored decision.")],
) -> int:
    """Say in words why a decision was made, and repeat its draw; exits with 1 when the draw does not repeat."""
    with _opened(_settings()) as service, service.store.read() as connection:
        found = receipt(connection, decision_id)
    for line in explanation(found):
        typer.echo(line)
    return 0 if draw_repeats(found) else 1
