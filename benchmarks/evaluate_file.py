"""Evaluating a Parquet file, and only reading it; as a program it evaluates once and prints its peak memory."""

import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sim.ope.batch import Batch, checked_batch
from sim.ope.evaluation import Evaluation, evaluation_of
from sim.ope.groups import HASHED_GROUPS, hashed_groups
from sim.ope.streams import summed
from sim.ope.sums import Sums

COLUMNS = ["reward", "propensity", "target_propensity", "q_logged", "q_target", "user"]
USERS = 1_000_000
ROWS_AT_ONCE = 1 << 18
KILOBYTES_PER_MEGABYTE = 1_000.0 / 1.024


def make_file(path: Path, rows: int, *, seed: int) -> None:
    """A log with rare rewards and weights up to some 50, a million users."""
    rng = np.random.default_rng(seed)
    schema = pa.schema([(name, pa.int64() if name == "user" else pa.float64()) for name in COLUMNS])
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, rows, 1 << 20):
            writer.write_table(pa.table(_columns(rng, min(1 << 20, rows - first)), schema=schema))


def _columns(rng: np.random.Generator, n: int) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    propensity = rng.uniform(0.02, 0.2, n)
    return {
        "reward": (rng.random(n) < 0.005).astype(np.float64),
        "propensity": propensity,
        "target_propensity": np.minimum(1.0, propensity * rng.exponential(1.0, n)),
        "q_logged": rng.uniform(0.003, 0.007, n),
        "q_target": rng.uniform(0.003, 0.007, n),
        "user": rng.integers(0, USERS, n),
    }


def read_only(path: Path) -> None:
    """What the evaluation is measured against: all the columns, as quickly as pyarrow reads them."""
    pq.read_table(path, columns=COLUMNS)


def evaluated(path: Path) -> Evaluation:
    """All closed-form estimators, clustered errors, diagnostics and verdict."""
    return evaluation_of(summed(_batches(path), Sums(n_groups=HASHED_GROUPS, with_model=True)))


def _batches(path: Path) -> Iterator[Batch]:
    first = 0
    with pq.ParquetFile(path) as file:
        for piece in file.iter_batches(batch_size=ROWS_AT_ONCE, columns=COLUMNS):
            column = {name: piece.column(name).to_numpy() for name in COLUMNS}
            yield checked_batch(
                rewards=column["reward"],
                propensities=column["propensity"],
                target_propensities=column["target_propensity"],
                q_logged=column["q_logged"],
                q_target=column["q_target"],
                groups=hashed_groups(column["user"]),
                reward_bounds=(0.0, 1.0),
                first_row=first,
            )
            first += len(piece)


if __name__ == "__main__":
    if not evaluated(Path(sys.argv[1])).verdict.ok:
        raise SystemExit("the made file was refused")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KILOBYTES_PER_MEGABYTE)
