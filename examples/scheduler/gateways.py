"""The ways out: e-mail by SMTP, push by a gateway's HTTP interface."""

import smtplib
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Protocol

import urllib3
from urllib3.exceptions import HTTPError

from examples.scheduler.people import Person

TIMEOUT_SECONDS = 5.0
TEXTS = {"streak": "Your streak is waiting.", "digest": "This week's digest."}


class NotDelivered(Exception):
    """The message did not go out."""


class Gateway(Protocol):
    """Anything that can carry a message to a person."""

    def send(self, person: Person, content: str, message_id: str) -> None:
        """Hands the message over; raises NotDelivered when that failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailGateway:
    """An SMTP server."""

    host: str
    port: int

    def send(self, person: Person, content: str, message_id: str) -> None:
        """Hands one e-mail over; raises NotDelivered when the server does not take it."""
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = "hello@example.com", person.email, TEXTS[content]
        message["X-Message-Id"] = message_id
        message.set_content(TEXTS[content])
        try:
            with smtplib.SMTP(self.host, self.port, timeout=TIMEOUT_SECONDS) as server:
                server.send_message(message)
        except (OSError, smtplib.SMTPException) as error:
            raise NotDelivered(f"e-mail to {person.email}: {error}") from error


class PushGateway:
    """A push provider with an HTTP interface."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool = urllib3.PoolManager(timeout=TIMEOUT_SECONDS, retries=False)

    def send(self, person: Person, content: str, message_id: str) -> None:
        """Hands one push message over; raises NotDelivered when the gateway does not take it."""
        message = {"to": person.id, "text": TEXTS[content], "message_id": message_id}
        try:
            answer = self._pool.request("POST", self._url, json=message)
        except HTTPError as error:
            raise NotDelivered(f"push to {person.id}: {error}") from error
        if answer.status >= 300:
            raise NotDelivered(f"push to {person.id}: the gateway answered {answer.status}")
