"""Policies x presets x seeds, each run by itself in a process of its own, kept as Parquet.

A run is one policy in one world of one seed: same seed, same world, same arrivals, same luck, whatever the policy. Its
file is written when it has ended, so that an interrupted contest goes on with what is missing. All rewards reach every
policy alike: after the campaign's window, in passes of 200 decisions.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import structlog

from bandit.errors import Conflict, FieldError, InvalidInput, extras_named
from sim.baselines.registry import BASELINES, absent_package
from sim.common.scratch import scratch_service
from sim.contest.drive import Decides, InProcess, Progress, drive
from sim.contest.player import Playing
from sim.contest.references import pacing, repeating
from sim.world.presets import preset_named
from sim.world.state import State
from sim.world.truth import MYOPIC, best_capped, best_fixed, far_sighted
from sim.world.world import START, World, build_world, day_of

with extras_named():
    import pyarrow as pa
    import pyarrow.parquet as pq
    from threadpoolctl import threadpool_limits

SERVICE = "service"
BATCH = 50
LEARN_EVERY = 200
ROW_EVERY = 100  # decisions
SEARCH_DAYS = 60  # over which a reference's frequency is searched
SETTINGS = b"sendopt.run"  # key in a file's metadata

Reference = Callable[[World, State, int], Decides]
REFERENCES: Mapping[str, Reference] = {
    "oracle": lambda world, state, _seed: pacing(world, state, MYOPIC),
    "best_fixed": lambda world, state, seed: repeating(world, state, best_fixed(world, days=SEARCH_DAYS, seed=seed)),
    "best_capped": lambda world, state, seed: repeating(world, state, best_capped(world, days=SEARCH_DAYS, seed=seed)),
    "far_sighted": lambda world, state, seed: pacing(world, state, far_sighted(world, days=SEARCH_DAYS, seed=seed)),
}
POLICIES = (SERVICE, *BASELINES, *REFERENCES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run: a policy in a world."""

    preset: str
    policy: str
    seed: int
    decisions: int

    def path(self, folder: Path) -> Path:
        return folder / self.preset / self.policy / f"{self.seed}.parquet"

    def settings(self) -> bytes:
        """What a file must have been made with to count as this run's."""
        world = sha256(repr(preset_named(self.preset)).encode()).hexdigest()
        return json.dumps({**asdict(self), "world": world}, sort_keys=True).encode()


def jobs_of(
    presets: Sequence[str], policies: Sequence[str], seeds: Sequence[int], *, decisions: int | None
) -> list[Job]:
    """All runs, those of one seed together.

    Args:
        decisions: of each run; as many as each preset says when None.

    Raises:
        InvalidInput: a preset or a policy that there is not, or a policy of a package that is not installed.
    """
    for policy in policies:
        _check_policy(policy)
    lengths = {name: preset_named(name).decisions if decisions is None else decisions for name in presets}
    return [
        Job(preset=preset, policy=policy, seed=seed, decisions=lengths[preset])
        for preset in presets
        for seed in seeds
        for policy in policies
    ]


def _check_policy(policy: str) -> None:
    if policy not in POLICIES:
        raise InvalidInput([FieldError(field="policy", message=f"{policy!r} is not one of {', '.join(POLICIES)}")])
    if (package := absent_package(policy)) is not None:
        message = f"{policy!r} needs the package {package}, which is not installed: it is in the extra 'dev'"
        raise InvalidInput([FieldError(field="policy", message=message)])


def playable() -> list[str]:
    """The policies of which everything is installed."""
    return [policy for policy in POLICIES if absent_package(policy) is None]


def missing(jobs: Sequence[Job], folder: Path) -> list[Job]:
    """The runs that have no file yet.

    Raises:
        Conflict: a file was made with other settings.
    """
    return [job for job in jobs if not _is_done(job, job.path(folder))]


def _is_done(job: Job, path: Path) -> bool:
    if not path.exists():
        return False
    if (pq.read_schema(path).metadata or {}).get(SETTINGS) != job.settings():
        raise Conflict(f"{path}: was made with other settings than this run's; name another folder")
    return True


def run_all(jobs: Sequence[Job], folder: Path, *, processes: int) -> Iterator[Job]:
    """Each missing run when it has ended, in the order of ending; a run that fails raises what it raised.

    Stopped early, it lets the runs that have begun end and begins no other.
    """
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_calm)
    try:
        futures: dict[Future[None], Job] = {pool.submit(run_job, job, folder): job for job in missing(jobs, folder)}
        for future in as_completed(futures):
            future.result()
            yield futures[future]
    finally:
        pool.shutdown(cancel_futures=True)


def _calm() -> None:
    """One thread per process, for there are as many processes as wanted; and no log line per published model."""
    threadpool_limits(limits=1)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))


def run_job(job: Job, folder: Path) -> None:
    """Runs it and writes its file, whole or not at all."""
    table = run_table(job).replace_schema_metadata({SETTINGS: job.settings()})
    path = job.path(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    pq.write_table(table, unfinished)
    unfinished.replace(path)


def run_table(job: Job) -> pa.Table:
    """One row every 100 decisions: sums since the start of the run."""
    preset = preset_named(job.preset)
    world = build_world(seed=job.seed, preset=preset)
    state = world.new_state()
    arrivals = world.arrivals(start=START, per_day=preset.per_day, rng=np.random.default_rng([job.seed, 1]))
    luck = np.random.default_rng([job.seed, 2])
    with _player(job, world, state) as player:
        first = islice(arrivals, job.decisions)
        rows = [*_rows(drive(world, player, first, batch_size=BATCH, rng=luck, state=state))]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    facts = {name: [getattr(job, name)] * len(rows) for name in ("preset", "policy", "seed")}
    return pa.table({**facts, **columns})


def _rows(progress: Iterator[Progress]) -> Iterator[dict[str, float]]:
    """The state of the sums each time that another hundred decisions are full, and at the end."""
    written, last = 0, None
    for last in progress:
        if last.total.decisions // ROW_EVERY > written // ROW_EVERY:
            written = last.total.decisions
            yield _row(last)
    if last is not None and last.total.decisions > written:
        yield _row(last)


def _row(progress: Progress) -> dict[str, float]:
    return {"day": day_of(progress.now), **asdict(progress.total)}


@contextmanager
def _player(job: Job, world: World, state: State) -> Iterator[Decides]:
    if job.policy == SERVICE:
        with scratch_service(None, job.seed) as service:
            service.campaigns.put(world.campaign)
            yield InProcess(service, learn_every=LEARN_EVERY)
    elif job.policy in REFERENCES:
        yield REFERENCES[job.policy](world, state, job.seed)
    else:
        baseline = BASELINES[job.policy](world.campaign, np.random.default_rng([job.seed, 3]))
        yield Playing(baseline, world.campaign, learn_every=LEARN_EVERY)
