"""The counts of several serving processes, added up through a file that each of them writes.

Counting itself happens in memory. prometheus-client's own way maps files into memory, and a process that writes to such
a page while the disk is full is killed. Here, a full disk only makes the sums old.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from secrets import token_hex
from time import monotonic
from typing import Any

import orjson
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

MOST_OF_THE_TIME = 0.05  # share of the time that writing may take
NO_COUNTER = "_created"  # samples with the time since when something is counted

Labels = tuple[tuple[str, str], ...]
Family = tuple[str, str, str]  # name, documentation, type
Numbers = dict[tuple[str, Labels], float]


class SharedCounts(Collector):
    """The counts of every process that writes into the folder; a gauge is the lowest value of the running processes.

    Everything comes from the files, even this process's own part, so that a sum never falls, whichever process answers.
    """

    def __init__(self, folder: Path, own: CollectorRegistry) -> None:
        self._folder = folder
        self._own = own
        self._path = folder / f"{os.getpid()}-{token_hex(4)}.json"
        self._next_at = 0.0

    def write_seldom(self) -> None:
        """Writes the counts of this process, unless that would take too much of its time."""
        if monotonic() >= self._next_at:
            begun_at = monotonic()
            self.write()
            self._next_at = monotonic() + (monotonic() - begun_at) / MOST_OF_THE_TIME

    def write(self) -> None:
        """Writes the counts of this process, completely or not at all; raises OSError."""
        self._folder.mkdir(mode=0o700, exist_ok=True)  # hosts clear their temporary folders from time to time
        content = orjson.dumps([_family(metric) for metric in self._own.collect()])
        unfinished = self._path.with_suffix(f".{token_hex(4)}")
        try:
            unfinished.write_bytes(content)
            unfinished.replace(self._path)
        finally:
            unfinished.unlink(missing_ok=True)

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that registering the collector does not collect."""
        return []

    def collect(self) -> Iterator[Metric]:
        sums: dict[Family, Numbers] = defaultdict(dict)
        for path in sorted(self._folder.glob("*.json")):
            for name, documentation, kind, samples in _read(path):
                if kind != "gauge":
                    _add(sums[name, documentation, kind], samples)
                elif _lives(path):
                    _lower(sums[name, documentation, kind], samples)
        for (name, documentation, kind), numbers in sums.items():
            metric = Metric(name, documentation, kind)
            for (sample, labels), number in numbers.items():
                metric.add_sample(sample, dict(labels), number)
            yield metric


def _family(metric: Metric) -> tuple[Any, ...]:
    samples = [
        (one.name, sorted(one.labels.items()), one.value) for one in metric.samples if not one.name.endswith(NO_COUNTER)
    ]
    return metric.name, metric.documentation, metric.type, samples


def _read(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except FileNotFoundError:  # the host has just cleared the folder
        return []


def _keyed(samples: Iterable[tuple[str, list[tuple[str, str]], float]]) -> Iterator[tuple[tuple[str, Labels], float]]:
    for name, labels, number in samples:
        yield (name, tuple((label, value) for label, value in labels)), number


def _add(numbers: Numbers, samples: Any) -> None:
    for key, number in _keyed(samples):
        numbers[key] = numbers.get(key, 0.0) + number


def _lower(numbers: Numbers, samples: Any) -> None:
    for key, number in _keyed(samples):
        numbers[key] = min(numbers.get(key, number), number)


def _lives(path: Path) -> bool:
    """Whether the process that wrote the file still runs."""
    try:
        os.kill(int(path.name.partition("-")[0]), 0)
    except ProcessLookupError:
        return False
    return True
