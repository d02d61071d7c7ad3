"""The service behind nginx, with the configuration of examples/nginx/ as it is but for its ports and files."""

import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from time import monotonic, sleep

import pytest
import urllib3
from werkzeug.serving import make_server

from api.app import serving
from api.demo.service import held_port
from api.edge.auth import Scope, issue
from api.edge.shared import BATCH_BYTES
from bandit.settings import Settings
from bandit.store.sql.database import Store
from tests.support.wire import campaign_document, decide_document, seeded_app

NOW = datetime(2026, 11, 20, 17, tzinfo=UTC)
CONFIGURATION = (Path(__file__).parents[2] / "examples" / "nginx" / "sendopt.conf").read_text(encoding="utf-8")
NAME = "sendopt.example.com"


def test_what_the_service_takes_nginx_lets_through() -> None:
    allowed = re.search(r"client_max_body_size (\d+)m;", CONFIGURATION)
    assert allowed is not None
    assert int(allowed[1]) * 2**20 > BATCH_BYTES
    assert "proxy_set_header Host $host;" in CONFIGURATION
    assert CONFIGURATION.count("{") == CONFIGURATION.count("}")


@contextmanager
def service(url: str) -> Iterator[int]:
    """The port of a service on the database."""
    app = seeded_app(Settings(database_url=url, clock="request"))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.port
    finally:
        server.shutdown()
        thread.join()
        serving(app).close()


def certificate(folder: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN={NAME}"]
    command += ["-addext", f"subjectAltName=DNS:{NAME}", "-out", "sendopt.pem", "-keyout", "sendopt.key"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


@contextmanager
def nginx(folder: Path, configuration: str, ports: list[int]) -> Iterator[int]:
    """The port of an nginx in front of the services."""
    with held_port() as port:
        (folder / "nginx.conf").write_text(nginx_configuration(folder, configuration, port, ports))
        process = subprocess.Popen(["nginx", "-p", str(folder), "-c", "nginx.conf"], stderr=subprocess.DEVNULL)
        try:
            deadline = monotonic() + 20
            while not (folder / "pid").exists():
                assert process.poll() is None, (folder / "error.log").read_text()
                assert monotonic() < deadline
                sleep(0.02)
            yield port
        finally:
            process.terminate()
            process.wait(20)


def nginx_configuration(folder: Path, configuration: str, port: int, ports: list[int]) -> str:
    """The configuration for this folder and these ports, in what a whole configuration needs around it."""
    here = configuration.replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
    here = here.replace("/etc/nginx/tls", str(folder))
    for usual, real in zip(("8001", "8002"), ports, strict=True):
        here = here.replace(f"127.0.0.1:{usual}", f"127.0.0.1:{real}")
    paths = " ".join(
        f"{kind}_temp_path {folder / kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""  # the temporary folder is closed to everybody else
    return (
        f"daemon off; {user} pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;\n"
        f"events {{}}\nhttp {{ access_log off; {paths}\n{here}\n}}\n"
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for program in ("nginx", "openssl"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program} is installed: the service was not tried behind nginx")
    certificate(tmp_path)
    return tmp_path


@contextmanager
def behind_nginx(url: str, folder: Path, configuration: str = CONFIGURATION) -> Iterator[urllib3.HTTPSConnectionPool]:
    """A client of two services on one database through nginx, by its public name."""
    with ExitStack() as stack:
        ports = [stack.enter_context(service(url)) for _ in range(2)]
        port = stack.enter_context(nginx(folder, configuration, ports))
        context = ssl.create_default_context(cafile=str(folder / "sendopt.pem"))
        pool = urllib3.HTTPSConnectionPool(
            "127.0.0.1", port, ssl_context=context, server_hostname=NAME, assert_hostname=NAME, retries=False
        )
        yield stack.enter_context(pool)


def test_two_services_behind_nginx_answer_as_one(sqlite_url: str, folder: Path) -> None:
    store = Store(sqlite_url)
    key = issue(store, list(Scope), per_second=1_000, now=NOW).secret
    store.close()
    sent = {"Authorization": f"Bearer {key}", "Host": NAME}
    with behind_nginx(sqlite_url, folder) as client:
        assert client.request("PUT", "/campaigns/reengage", json=campaign_document(), headers=sent).status == 201
        repeated = {**sent, "Idempotency-Key": "one"}
        answers = {client.request("POST", "/decide", json=decide_document(), headers=repeated).data for _ in range(4)}
        assert len(answers) == 1  # whichever of the two answers
        assert b'"decision_id"' in answers.pop()
        batch = b'{"requests": [' + b" " * (BATCH_BYTES - 16) + b"]}"
        assert client.request("POST", "/decide/batch", body=batch, headers=sent).status == 200
        too_large = client.request("POST", "/decide/batch", body=batch + b" ", headers=sent)
        assert (too_large.status, too_large.headers["Content-Type"]) == (413, "application/problem+json")
        assert client.request("GET", "/metrics", headers=sent).status == 404
        assert client.request("GET", "/readyz", headers=sent).status == 200
        forged = {"Host": NAME, "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "localhost"}
        assert client.request("GET", "/campaigns", headers=forged).status == 401


def test_without_keys_nothing_is_answered_through_nginx(sqlite_url: str, folder: Path) -> None:
    with behind_nginx(sqlite_url, folder) as client:
        refused = client.request("GET", "/campaigns", headers={"Host": NAME})
    assert refused.status == 401
    assert b"no loopback name" in refused.data


def test_with_a_local_name_in_place_of_the_callers_a_service_without_keys_would_stand_open(
    sqlite_url: str, folder: Path
) -> None:
    careless = CONFIGURATION.replace("proxy_set_header Host $host;", "proxy_set_header Host localhost;")
    with behind_nginx(sqlite_url, folder, careless) as client:
        assert client.request("GET", "/campaigns", headers={"Host": NAME}).status == 200
