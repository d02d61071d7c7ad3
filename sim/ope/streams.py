"""Sums over a log that is read in batches, so that its length does not matter."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from sim.ope.batch import Batch
from sim.ope.sums import Sums


def summed(batches: Iterable[Batch], into: Sums) -> Sums:
    """`into`, with all batches added; the next batch is read while one is added.

    Groups of users must be the same in every batch (`sim.ope.groups.hashed_groups`).
    """
    for batch in _read_ahead(iter(batches)):
        into.add(batch)
    return into


def _read_ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    with ThreadPoolExecutor(max_workers=1) as reader:
        coming = reader.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = reader.submit(next, batches, None)
            yield batch
