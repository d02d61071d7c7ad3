"""The real service: `python -m api serve` with its learner beside it, driven over HTTP, stopped and killed."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from threading import Event, Lock
from time import monotonic, sleep
from typing import Any

import pytest

from api.demo.service import held_port
from tests.support.databases import migrate, sqlite_file_url
from tests.support.wire import campaign_document, decide_about, feedback_document

ROOT = Path(__file__).parents[2]
STOP_SECONDS = 10
PATIENCE_SECONDS = 30
THREADS = 8
DECISIONS = 200

# Ends each process that serves requests as soon as Python has started in it.
DYING = """
import os, sys
if "--multiprocessing-fork" in sys.argv:
    os._exit(3)
"""

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and process groups")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A running service, which leads a process group of its own."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def call(self, method: str, address: str, document: Any = None) -> tuple[int, Any]:
        """Status and document of one request on a connection of its own."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)) as connection:
            return call(connection, method, address, document)

    def serving_process(self) -> int:
        """Id of the latest process that serves requests."""
        return int(re.findall(r"Spawning worker-1 with PID: (\d+)", self.log.read_text())[-1])

    def is_gone(self) -> bool:
        """Whether no process of the group is left."""
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def kill_all(self) -> None:
        """What a power cut would do."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def call(connection: HTTPConnection, method: str, address: str, document: Any = None) -> tuple[int, Any]:
    connection.request(method, address, None if document is None else json.dumps(document))
    response = connection.getresponse()
    return response.status, json.loads(response.read())


@contextmanager
def launched(folder: Path, *words: str, path: str = "", temporary: Path | None = None) -> Iterator[Service]:
    """The service on the database of the folder, just started; whatever is left of it at the end is killed.

    Args:
        path: of Python, before the one of this repository.
        temporary: folder; None: the system's.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SENDOPT_")}
    settings = {
        "SENDOPT_DATABASE_URL": sqlite_file_url(folder / "sendopt.db"),
        "SENDOPT_CLOCK": "request",
        "SENDOPT_WORKER_INTERVAL_SECONDS": "0.2",
        "SENDOPT_MODEL_POLL_SECONDS": "0.1",
    }
    if temporary is not None:
        settings["TMPDIR"] = str(temporary)
    with held_port() as port, (folder / f"{port}.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "api", "serve", "--port", str(port), *words],
            cwd=folder,
            env={**environment, **settings, "PYTHONPATH": f"{path}{os.pathsep * bool(path)}{ROOT}"},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        service = Service(process=process, port=port, log=Path(output.name))
        try:
            yield service
        finally:
            service.kill_all()


@contextmanager
def ready(folder: Path, *words: str, temporary: Path | None = None) -> Iterator[Service]:
    """The same once it answers that it is ready."""
    with launched(folder, *words, temporary=temporary) as service:
        wait_until(lambda: is_ready(service), service)
        yield service


def is_ready(service: Service) -> bool:
    try:
        return service.call("GET", "/readyz")[0] == 200
    except OSError:
        return False


def wait_until(holds: Callable[[], bool], service: Service) -> None:
    end = monotonic() + PATIENCE_SECONDS
    while not holds():
        assert service.process.poll() is None, service.log.read_text()
        assert monotonic() < end, service.log.read_text()
        sleep(0.02)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a migrated database."""
    migrate(sqlite_file_url(tmp_path / "sendopt.db"))
    return tmp_path


def check_stops(service: Service) -> None:
    """Asserts that a SIGTERM ends every process of the service in time."""
    begin = monotonic()
    service.process.send_signal(signal.SIGTERM)
    service.process.wait(STOP_SECONDS)
    while not service.is_gone():
        assert monotonic() - begin < STOP_SECONDS, "a process outlived the service"
        sleep(0.02)
    assert monotonic() - begin < STOP_SECONDS


def test_it_decides_hears_feedback_learns_serves_what_it_learned_and_stops(folder: Path) -> None:
    with ready(folder) as service:
        assert service.call("PUT", "/campaigns/reengage", campaign_document())[0] == 201
        decisions = decide_in_threads(service)
        assert len({one["decision_id"] for one in decisions}) == DECISIONS
        assert {one["model_version"] for one in decisions} == {0}
        give_feedback(service, decisions)
        # Past learn_after_hours: the learner closes the decisions, learns them and publishes.
        assert service.call("POST", "/decide", decide_about("u-later", now="2026-11-21T19:04:00Z"))[0] == 200
        wait_until(lambda: learned(service) >= 0.8 * DECISIONS, service)
        # What /readyz says may be a second old: from before the campaign was there.
        wait_until(
            lambda: service.call("GET", "/readyz")[1]["models"].get("reengage", "version 0") != "version 0", service
        )
        status, later = service.call("POST", "/decide", decide_about("u-latest", now="2026-11-21T19:05:00Z"))
        assert (status, later["model_version"] > 0) == (200, True)
        assert len(service.call("GET", f"/decisions/{decisions[0]['decision_id']}")[1]["feedback"]) == 1
        check_stops(service)
        assert service.process.returncode == 0
        assert "Traceback" not in service.log.read_text()
        assert '"level": "error"' not in service.log.read_text()


def decide_in_threads(service: Service) -> list[dict[str, Any]]:
    def some(thread: int) -> list[dict[str, Any]]:
        with closing(HTTPConnection("127.0.0.1", service.port, timeout=PATIENCE_SECONDS)) as connection:
            answers = [
                call(connection, "POST", "/decide", decide_about(f"u-{number}"))
                for number in range(thread, DECISIONS, THREADS)
            ]
        assert {status for status, _ in answers} == {200}
        return [document for _, document in answers]

    with ThreadPoolExecutor(THREADS) as threads:
        return [one for part in threads.map(some, range(THREADS)) for one in part]


def give_feedback(service: Service, decisions: list[dict[str, Any]]) -> None:
    events = [
        feedback_document(one["decision_id"], event="clicked" if one["channel"] == "push" else "opened")
        for one in decisions
    ]
    status, answer = service.call("POST", "/feedback/batch", {"events": events})
    assert (status, answer["results"]) == (200, [{"status": "accepted"}] * DECISIONS)


def learned(service: Service) -> int:
    """Events that the serving version has learned."""
    versions = service.call("GET", "/campaigns/reengage/models")[1]["models"]
    return max((one["events_learned"] for one in versions if one["alias"] == "champion"), default=0)


def test_each_of_several_serving_processes_answers_metrics_for_all_of_them(folder: Path) -> None:
    with ready(folder, "--workers", "2", "--no-worker") as service:
        service.call("PUT", "/campaigns/reengage", campaign_document())
        decide_in_threads(service)
        wait_until(lambda: {decisions_counted(service) for _ in range(8)} == {DECISIONS}, service)
        check_stops(service)


def decisions_counted(service: Service) -> float:
    """The total that whichever process answers says."""
    lines = metrics_text(service).splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("sendopt_decisions_total"))


def metrics_text(service: Service) -> str:
    with closing(HTTPConnection("127.0.0.1", service.port, timeout=PATIENCE_SECONDS)) as connection:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()


class Load:
    """Threads that go on asking for decisions, whatever happens to the service, and remember what was answered."""

    def __init__(self, service: Service) -> None:
        self.answered: list[str] = []
        self.refused: set[int] = set()
        self._service = service
        self._stopped = Event()
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(4)
        self._runs = [self._pool.submit(self._run, thread) for thread in range(4)]

    def _run(self, thread: int) -> None:
        number = 0
        while not self._stopped.is_set():
            with (
                suppress(OSError, HTTPException),
                closing(HTTPConnection("127.0.0.1", self._service.port)) as connection,
            ):
                while not self._stopped.is_set():
                    number += 1
                    self._keep(*call(connection, "POST", "/decide", decide_about(f"u-{thread}-{number}")))
            sleep(0.02)

    def _keep(self, status: int, document: dict[str, Any]) -> None:
        with self._lock:
            if status == 200:
                self.answered.append(document["decision_id"])
            else:
                self.refused.add(status)

    def stop(self) -> None:
        """Ends the load; raises what a thread did not expect."""
        self._stopped.set()
        self._pool.shutdown()
        for run in self._runs:
            run.result()


def test_a_killed_service_loses_no_decision_that_it_answered(folder: Path) -> None:
    with ready(folder) as service:
        service.call("PUT", "/campaigns/reengage", campaign_document())
        load = Load(service)
        try:
            wait_until(lambda: len(load.answered) >= 50, service)
            killed = service.serving_process()
            os.kill(killed, signal.SIGKILL)
            wait_until(lambda: service.serving_process() != killed, service)  # it is replaced, and goes on
            before = len(load.answered)
            wait_until(lambda: len(load.answered) >= before + 50, service)
            service.kill_all()
        finally:
            load.stop()
    assert load.refused <= {503}
    with (
        ready(folder, "--host", "localhost") as service,
        closing(HTTPConnection("127.0.0.1", service.port)) as connection,
    ):
        receipts = [call(connection, "GET", f"/decisions/{one}") for one in load.answered]
    assert len(receipts) >= 100
    assert [status for status, _ in receipts] == [200] * len(receipts)
    assert [one["decision_id"] for _, one in receipts] == load.answered
    assert all(abs(sum(one["probability"] for one in receipt["actions"]) - 1) < 1e-9 for _, receipt in receipts)


def test_a_process_that_keeps_dying_does_not_end_its_sister_nor_the_service(folder: Path) -> None:
    """Four deaths within seconds; Granian alone would end the service at the second."""
    with ready(folder, "--workers", "2") as service:
        service.call("PUT", "/campaigns/reengage", campaign_document())
        load = Load(service)
        try:
            for _ in range(4):
                kill_and_wait(service, load)
            assert service.call("GET", "/healthz")[0] == 200
            assert len(learners(service)) == 1
        finally:
            load.stop()
        check_stops(service)
    assert load.refused == set()


def kill_and_wait(service: Service, load: Load) -> None:
    """Kills a serving process, and waits until it is replaced and some more decisions were answered."""
    killed = service.serving_process()
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: service.serving_process() != killed, service)
    before = len(load.answered)
    wait_until(lambda: len(load.answered) >= before + 20, service)


def test_a_service_of_which_no_process_can_live_ends_with_an_error(folder: Path) -> None:
    broken = folder / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(DYING)
    with launched(folder, "--no-worker", "--workers", "2", path=str(broken)) as service:
        assert service.process.wait(2 * PATIENCE_SECONDS) == 1
        assert '"no_process_lives"' in service.log.read_text()


@pytest.fixture
def small_folder(tmp_path: Path) -> Iterator[Path]:
    """A temporary folder that is full after 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this test must mount a small file system, which takes rights that it does not have")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_temporary_folder_stops_no_decision_and_metrics_say_that_they_are_old(
    folder: Path, small_folder: Path
) -> None:
    with ready(folder, "--workers", "2", "--no-worker", temporary=small_folder) as service:
        service.call("PUT", "/campaigns/reengage", campaign_document())
        fill(small_folder)
        decide_in_threads(service)
        wait_until(lambda: "sendopt_counts_complete 0.0" in metrics_text(service), service)
        assert "serving_process_died" not in service.log.read_text()
        (small_folder / "ballast").unlink()
        wait_until(lambda: {decisions_counted(service) for _ in range(8)} == {DECISIONS}, service)
        assert "sendopt_counts_complete 1.0" in metrics_text(service)
        check_stops(service)


def fill(folder: Path) -> None:
    with (folder / "ballast").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(512))


def learners(service: Service) -> list[int]:
    """Ids of the learner's processes in the service's group."""
    words = ["pgrep", "-g", str(service.process.pid), "-f", "--", "-m api worker"]
    listed = subprocess.run(words, capture_output=True, text=True, check=False)
    return [int(line) for line in listed.stdout.split()]


def test_a_learner_that_dies_is_started_again(folder: Path) -> None:
    with ready(folder) as service:
        wait_until(lambda: len(learners(service)) == 1, service)
        (killed,) = learners(service)
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: len(learners(service)) == 1 and learners(service) != [killed], service)
        check_stops(service)


def test_when_the_service_alone_is_killed_its_processes_end_and_it_can_be_started_again(folder: Path) -> None:
    with ready(folder) as service:
        check_ends_together(service)


def test_killed_while_it_starts_its_processes_end_as_well(folder: Path) -> None:
    with launched(folder) as service:
        wait_until(lambda: "Spawning worker-1" in service.log.read_text(), service)
        check_ends_together(service)


def check_ends_together(service: Service) -> None:
    """Kills the service alone and waits until nothing that it started is left."""
    service.process.kill()
    service.process.wait()
    end = monotonic() + STOP_SECONDS
    while not service.is_gone():
        assert monotonic() < end, "a process outlived the service, and has its port"
        sleep(0.02)


@pytest.mark.parametrize("sign", [r"Starting granian", r"Spawning worker-1"])
def test_stopped_while_it_starts_it_leaves_no_process_behind(folder: Path, sign: str) -> None:
    with launched(folder) as service:
        wait_until(lambda: re.search(sign, service.log.read_text()) is not None, service)
        check_stops(service)


def test_without_keys_it_refuses_every_address_but_loopback(folder: Path) -> None:
    with launched(folder, "--host", "0.0.0.0") as service:
        assert service.process.wait(PATIENCE_SECONDS) == 1
        (line,) = service.log.read_text().splitlines()
        assert line.startswith("sendopt: --host 0.0.0.0: is not a loopback address")
        assert "sendopt keys create" in line
