"""`make example`: the service, a mail server, a push provider and the scheduler, for some seconds, all on this host."""

import os
import time
import tomllib
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from api.client import Choice, SendoptClient
from api.demo.service import running_service
from bandit.store.sql.database import Store
from bandit.store.sql.migrate import upgrade
from examples.scheduler.fakes import Mailbox, PushInbox, running_mailbox, running_push_provider
from examples.scheduler.gateways import EmailGateway, Gateway, PushGateway
from examples.scheduler.outbox import Outbox
from examples.scheduler.people import EXAMPLE_PEOPLE, People
from examples.scheduler.scheduler import Scheduler

PATIENCE_SECONDS = 6.0  # for messages that are to be sent at once
FALLBACK = Choice(send=True, channel="email", content="digest")  # at once


def main() -> None:
    """Runs the example and prints the state of every message."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        url = f"sqlite:///{folder / 'sendopt.db'}"
        _migrate(url)
        service = stack.enter_context(running_service(url, os.environ, clock="system"))
        mailbox, inbox = stack.enter_context(running_mailbox()), stack.enter_context(running_push_provider())
        client = stack.enter_context(SendoptClient(service.base_url))
        service.wait_until_ready(client)
        client.put_campaign(tomllib.loads(Path(__file__).with_name("campaign.toml").read_text()))
        outbox = Outbox(folder / "outbox.db")
        _run(client, mailbox, inbox, outbox)
        _say(mailbox, inbox, outbox)


def _migrate(url: str) -> None:
    store = Store(url)
    try:
        upgrade(store)
    finally:
        store.close()


def _run(client: SendoptClient, mailbox: Mailbox, inbox: PushInbox, outbox: Outbox) -> None:
    people = People(EXAMPLE_PEOPLE)
    gateways: dict[str, Gateway] = {
        "email": EmailGateway(host="127.0.0.1", port=mailbox.port),
        "push": PushGateway(inbox.url),
    }
    scheduler = Scheduler(client=client, people=people, gateways=gateways, outbox=outbox, fallback=FALLBACK)
    scheduler.start()
    print(f"asked about {len(EXAMPLE_PEOPLE)} people: {scheduler.ask_about_everyone()} messages to send")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while _is_due(outbox) and time.monotonic() < deadline:
        time.sleep(0.1)
    scheduler.stop()


def _is_due(outbox: Outbox) -> bool:
    """Whether a waiting message is due."""
    return any(message.send_at <= datetime.now(UTC) for message in outbox.waiting())


def _say(mailbox: Mailbox, inbox: PushInbox, outbox: Outbox) -> None:
    for email in mailbox.emails:
        print(f"e-mail to {email['To']}: {email['Subject']}")
    for push in inbox.messages:
        print(f"push to {push['to']}: {push['text']}")
    for message in outbox.waiting():
        print(f"held for {message.person} until {message.send_at:%Y-%m-%d %H:%M} UTC: {message.content}")
    print("messages by state:", outbox.states())


if __name__ == "__main__":
    main()
