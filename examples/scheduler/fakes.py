"""Stand-ins for the outside world: a mail server and a push provider that keep what they get."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message as Email
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from aiosmtpd.controller import Controller

from api.demo.service import held_port


@dataclass(slots=True, kw_only=True)
class Mailbox:
    """Every e-mail that the server accepted."""

    port: int
    emails: list[Email] = field(default_factory=list)

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        self.emails.append(message_from_bytes(envelope.content))
        return "250 OK"


@contextmanager
def running_mailbox() -> Iterator[Mailbox]:
    """A real SMTP server on a free port of this host."""
    with held_port() as port:
        mailbox = Mailbox(port=port)
        controller = Controller(mailbox, hostname="127.0.0.1", port=port)
        controller.start()
        try:
            yield mailbox
        finally:
            controller.stop()


@dataclass(slots=True, kw_only=True)
class PushInbox:
    """Every push message that the provider accepted; it answers with `status`."""

    url: str = ""
    status: int = 202
    messages: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def running_push_provider() -> Iterator[PushInbox]:
    """An HTTP server on a free port of this host."""
    inbox = PushInbox()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if inbox.status < 300:
                inbox.messages.append(message)
            self.send_response(inbox.status)
            self.end_headers()

        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Logs nothing: the inbox has every message."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    inbox.url = f"http://127.0.0.1:{server.server_address[1]}/push"
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield inbox
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
