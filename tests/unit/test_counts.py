"""Counts of several processes add up, gauges are the lowest of those that live, and nothing half written is read."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.registry import Collector

from api.edge.counts import SharedCounts
from api.processes.keeping import MOST_PAUSE_SECONDS, STEADY_SECONDS, Deaths


def process(folder: Path, decisions: int, version: float) -> SharedCounts:
    """What a process shares that counted so many decisions and serves this version."""
    own = CollectorRegistry()
    Counter("sendopt_decisions", "Decisions.", ["campaign"], registry=own).labels("a").inc(decisions)
    Histogram("sendopt_request_seconds", "Time.", buckets=(0.1, 1.0), registry=own).observe(0.5)
    Gauge("sendopt_served_model_version", "Version.", ["campaign"], registry=own).labels("a").set(version)
    shared = SharedCounts(folder, own)
    shared.write()
    return shared


def lines(collector: Collector) -> set[str]:
    registry = CollectorRegistry()
    registry.register(collector)
    return {line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")}


def test_counters_add_up_and_gauges_are_the_lowest(tmp_path: Path) -> None:
    shared = [process(tmp_path, 3, 7), process(tmp_path, 4, 5)]
    assert lines(shared[0]) == lines(shared[1])
    assert lines(shared[0]) >= {
        'sendopt_decisions_total{campaign="a"} 7.0',
        'sendopt_request_seconds_bucket{le="0.1"} 0.0',
        'sendopt_request_seconds_bucket{le="+Inf"} 2.0',
        'sendopt_served_model_version{campaign="a"} 5.0',
    }


@pytest.mark.process
def test_what_a_dead_process_counted_stays_and_what_it_served_goes(tmp_path: Path) -> None:
    shared = process(tmp_path, 3, 7)
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    content = json.loads(shared._path.read_text())
    for family in content:
        if family[2] == "gauge":
            family[3][0][2] = 1.0
    (tmp_path / f"{int(dead.stdout)}-0.json").write_text(json.dumps(content))
    assert lines(shared) >= {
        'sendopt_decisions_total{campaign="a"} 6.0',
        'sendopt_served_model_version{campaign="a"} 7.0',
    }


def test_what_cannot_be_written_leaves_the_sums_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = process(tmp_path, 3, 7)
    before = lines(shared)

    def full(_path: Path, content: bytes) -> int:
        with _path.open("wb") as file:
            file.write(content[:5])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        shared.write()
    assert lines(shared) == before
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_the_host_cleared_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "counts"
    shared = process(folder, 3, 7)
    shared._path.unlink()
    folder.rmdir()
    shared.write()
    assert 'sendopt_decisions_total{campaign="a"} 3.0' in lines(shared)


def test_writing_takes_a_twentieth_of_the_time_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("api.edge.counts.monotonic", lambda: clock[0])
    shared = SharedCounts(tmp_path, CollectorRegistry())
    written: list[float] = []

    def slow() -> None:
        written.append(clock[0])
        clock[0] += 0.5

    monkeypatch.setattr(shared, "write", slow)
    while clock[0] < 100:
        shared.write_seldom()
        clock[0] += 1.0
    assert 0.5 * len(written) <= 0.06 * clock[0]
    assert len(written) >= 9


def test_pauses_after_deaths_grow_to_a_limit_and_start_again_after_a_steady_life() -> None:
    deaths = Deaths()
    pauses = [deaths.died(1.0) for _ in range(10)]
    assert pauses[:4] == [0.0, 0.25, 0.5, 1.0]
    assert pauses[-1] == MOST_PAUSE_SECONDS
    assert deaths.died(STEADY_SECONDS) == 0.0
    assert deaths.in_a_row == 1
