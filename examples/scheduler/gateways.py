"""The gateways: e-mail by SMTP, push by HTTP."""

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
    """The message was not sent."""


class Gateway(Protocol):
    """An object that can deliver a message to a person."""

    def send(self, person: Person, content: str, message_id: str) -> None:
        """Sends the message; raises NotDelivered if that failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailGateway:
    """An SMTP server."""

    host: str
    port: int

    def send(self, person: Person, content: str, message_id: str) -> None:
        """Sends one e-mail; raises NotDelivered if the server does not accept it."""
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
        """Sends one push message; raises NotDelivered if the gateway does not accept it."""
        message = {"to": person.id, "text": TEXTS[content], "message_id": message_id}
        try:
            answer = self._pool.request("POST", self._url, json=message)
        except HTTPError as error:
            raise NotDelivered(f"push to {person.id}: {error}") from error
        if answer.status >= 300:
            raise NotDelivered(f"push to {person.id}: the gateway answered {answer.status}")
