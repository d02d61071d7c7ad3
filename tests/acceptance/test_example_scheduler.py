"""The worked example end to end: the real service, real SMTP, a push provider, and what the service hears of it."""

import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from api.client import Choice, SendoptClient
from api.demo.service import RunningService, held_port, running_service
from examples.scheduler.fakes import Mailbox, PushInbox, running_mailbox, running_push_provider
from examples.scheduler.gateways import EmailGateway, Gateway, PushGateway
from examples.scheduler.outbox import Message, Outbox
from examples.scheduler.people import EXAMPLE_PEOPLE, People
from examples.scheduler.scheduler import FRESH_FOR, Scheduler
from tests.support.databases import sqlite_file_url

CAMPAIGN = Path("examples", "scheduler", "campaign.toml")
ROOT = Path(__file__).parents[2]
NOW_ONLY = {"send_times": {"local_hours": [], "allow_now": True}, "policy": {"floor": 0.05}}
FALLBACK = Choice(send=True, channel="email", content="digest")
PATIENCE_SECONDS = 20.0


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def service(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """With a campaign that sends at once or not at all."""
    database = shutil.copyfile(sqlite_template, tmp_path_factory.mktemp("service") / "sendopt.db")
    with running_service(sqlite_file_url(database), os.environ, clock="system") as service:
        with SendoptClient(service.base_url) as client:
            service.wait_until_ready(client)
            client.put_campaign({**tomllib.loads((ROOT / CAMPAIGN).read_text()), **NOW_ONLY})
        yield service


@pytest.fixture
def client(service: RunningService) -> Iterator[SendoptClient]:
    """Of the service, which has forgotten everybody: what an earlier test sent counts under no cap."""
    for person in EXAMPLE_PEOPLE:
        urlopen(Request(f"{service.base_url}/users/{person.id}", method="DELETE")).close()
    # Patient: the machine that tests may be busy, and degraded decisions are another test's matter.
    with SendoptClient(service.base_url, timeout_seconds=10) as client:
        yield client


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with running_mailbox() as running:
        yield running


@pytest.fixture
def inbox() -> Iterator[PushInbox]:
    with running_push_provider() as running:
        yield running


@pytest.fixture(autouse=True)
def reports_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("examples.scheduler.scheduler.REPORT_SECONDS", 0.1)


@pytest.fixture
def people() -> People:
    return People(EXAMPLE_PEOPLE)


@contextmanager
def scheduling(
    client: SendoptClient, people: People, outbox: Outbox, mail_port: int, push_url: str
) -> Iterator[Scheduler]:
    gateways: dict[str, Gateway] = {
        "email": EmailGateway(host="127.0.0.1", port=mail_port),
        "push": PushGateway(push_url),
    }
    scheduler = Scheduler(client=client, people=people, gateways=gateways, outbox=outbox, fallback=FALLBACK)
    scheduler.start()
    try:
        yield scheduler
    finally:
        scheduler.stop()


def message(**changes: Any) -> Message:
    """One e-mail to Ana that the service knows nothing of, at once."""
    usual: dict[str, Any] = {
        "id": "m-1",
        "decision_id": None,
        "person": "u-ana",
        "channel": "email",
        "content": "digest",
        "send_at": datetime.now(UTC),
    }
    return Message(**{**usual, **changes})


def events_of(client: SendoptClient, decision_id: str) -> list[str]:
    return [event["event"] for event in client.receipt(decision_id)["feedback"]]


def test_what_is_decided_is_sent_once_and_reported(
    client: SendoptClient, people: People, mailbox: Mailbox, inbox: PushInbox, tmp_path: Path
) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    with scheduling(client, people, outbox, mailbox.port, inbox.url) as scheduler:
        held = scheduler.ask_about_everyone()
        assert held > 0
        wait_for(lambda: outbox.states() == {"delivered": held})
    sent = [email["X-Message-Id"] for email in mailbox.emails] + [push["message_id"] for push in inbox.messages]
    assert len(sent) == len(set(sent)) == held
    assert outbox.unreported() == []
    assert all(events_of(client, decision_id) == ["delivered"] for decision_id in sent)


def test_a_message_that_is_not_taken_is_reported_and_its_slot_is_free_again(
    client: SendoptClient, people: People, tmp_path: Path
) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    with (
        held_port() as nobody,
        scheduling(client, people, outbox, nobody, f"http://127.0.0.1:{nobody}/") as scheduler,
    ):
        held = scheduler.ask_about_everyone()
        wait_for(lambda: outbox.states() == {"failed": held} and not outbox.unreported())
        assert scheduler.ask_about_everyone() > 0  # every slot and repeat distance is free again


def test_an_opt_out_or_a_long_delay_after_the_decision_cancels_the_message(
    people: People, mailbox: Mailbox, inbox: PushInbox, tmp_path: Path
) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    outbox.hold(message(id="opted-out"))
    outbox.hold(message(id="stale", person="u-ben", send_at=datetime.now(UTC) - FRESH_FOR))
    outbox.hold(message(id="fine", person="u-chi"))
    outbox.hold(message(id="later", person="u-chi", send_at=datetime.now(UTC) + timedelta(hours=3)))
    people.opt_out("u-ana", "email")
    with SendoptClient("http://127.0.0.1:9") as nobody, scheduling(nobody, people, outbox, mailbox.port, inbox.url):
        wait_for(lambda: outbox.states() == {"cancelled": 2, "delivered": 1, "waiting": 1})
    assert [email["X-Message-Id"] for email in mailbox.emails] == ["fine"]
    assert [one.id for one in outbox.waiting()] == ["later"]


def test_reports_wait_until_the_service_hears_them(
    client: SendoptClient, people: People, mailbox: Mailbox, inbox: PushInbox, tmp_path: Path
) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    choice = Choice(send=False)
    while not choice.send:
        user = {"id": "u-ana", "timezone": "UTC", "channels": ["email", "push"]}
        choice = client.decide({"campaign": "welcome-back", "user": user}, fallback=None)
    assert choice.decision_id is not None
    outbox.hold(message(id=choice.decision_id, decision_id=choice.decision_id))
    with SendoptClient("http://127.0.0.1:9") as nobody, scheduling(nobody, people, outbox, mailbox.port, inbox.url):
        wait_for(lambda: outbox.states() == {"delivered": 1})
    assert len(outbox.unreported()) == 1
    with scheduling(client, people, outbox, mailbox.port, inbox.url):
        wait_for(lambda: not outbox.unreported())
    assert events_of(client, choice.decision_id) == ["delivered"]
    assert len(mailbox.emails) == 1  # told again, not sent again


def test_without_the_service_people_still_get_the_fallback(
    people: People, mailbox: Mailbox, inbox: PushInbox, tmp_path: Path
) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    with (
        SendoptClient("http://127.0.0.1:9") as nobody,
        scheduling(nobody, people, outbox, mailbox.port, inbox.url) as scheduler,
    ):
        assert scheduler.ask_about_everyone() == len(EXAMPLE_PEOPLE)
        wait_for(lambda: outbox.states() == {"delivered": len(EXAMPLE_PEOPLE)})
    assert {email["Subject"] for email in mailbox.emails} == {"This week's digest."}
    assert outbox.unreported() == []


def test_the_one_command_says_what_became_of_every_message() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.scheduler"], cwd=ROOT, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"asked about {len(EXAMPLE_PEOPLE)} people" in done.stdout
    assert "messages by state:" in done.stdout
