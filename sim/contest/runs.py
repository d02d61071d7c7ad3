"""Policies x presets x seeds: each run has a process of its own, and its result is stored as Parquet.

A run is one policy in one world of one seed. With the same seed, all policies meet the same world, arrivals and luck.
The file is written when the run has ended, so that an interrupted contest continues with the missing runs. Rewards
reach
every policy in the same way: after the campaign's window, in passes of 200 decisions.
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
from threadpoolctl import threadpool_limits

from bandit.engine.load import learner_of
from bandit.errors import Conflict, FieldError, InvalidInput, extras_named
from sim.baselines.registry import BASELINES, NEED_A_CATALOGUE, absent_package
from sim.common.scratch import scratch_entropy, scratch_service
from sim.contest.drive import Decides, InProcess, Progress, drive
from sim.contest.in_memory import InMemory
from sim.contest.learners import DEFAULT, LEARNERS, with_learner
from sim.contest.player import Playing
from sim.contest.references import knowing_features, pacing, repeating
from sim.world.presets import preset_named
from sim.world.state import State
from sim.world.truth import MYOPIC, best_capped, best_fixed, far_sighted
from sim.world.world import START, World, build_world, day_of

with extras_named():
    import pyarrow as pa
    import pyarrow.parquet as pq

SERVICE = "service"  # with the learner that a campaign has by default; service:NAME is with another one
IN_MEMORY = "memory"  # memory:NAME is the same without a store, for tuning
BATCH = 50
LEARN_EVERY = 200
ROW_EVERY = 100  # decisions
SEARCH_DAYS = 60  # over which a reference's frequency is searched
SETTINGS = b"sendopt.run"  # key in a file's metadata

Reference = Callable[[World, State, int], Decides]
REFERENCES: Mapping[str, Reference] = {
    "oracle": lambda world, state, _seed: pacing(world, state, MYOPIC),
    "features_best": lambda world, state, seed: knowing_features(world, state, seed=seed),
    "best_fixed": lambda world, state, seed: repeating(world, state, best_fixed(world, days=SEARCH_DAYS, seed=seed)),
    "best_capped": lambda world, state, seed: repeating(world, state, best_capped(world, days=SEARCH_DAYS, seed=seed)),
    "far_sighted": lambda world, state, seed: pacing(world, state, far_sighted(world, days=SEARCH_DAYS, seed=seed)),
}
_LEARNERS_SERVED = {f"{SERVICE}:{name}": name for name in LEARNERS}
_LEARNERS_PLAYED = {f"{IN_MEMORY}:{name}": name for name in LEARNERS}
POLICIES = (SERVICE, *_LEARNERS_SERVED, *_LEARNERS_PLAYED, *BASELINES, *REFERENCES)


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
        """The settings with which a file must have been made to be the result of this run."""
        world = sha256(repr(preset_named(self.preset)).encode()).hexdigest()
        return json.dumps({**asdict(self), "world": world}, sort_keys=True).encode()


def jobs_of(
    presets: Sequence[str], policies: Sequence[str], seeds: Sequence[int], *, decisions: int | None
) -> list[Job]:
    """All runs, grouped by seed.

    Args:
        decisions: per run; None: the number of each preset.

    What needs a catalogue does not play where contents come with the requests.

    Raises:
        InvalidInput: a preset or a policy does not exist, or a policy needs a package that is not installed.
    """
    for policy in policies:
        _check_policy(policy)
    lengths = {name: preset_named(name).decisions if decisions is None else decisions for name in presets}
    return [
        Job(preset=preset, policy=policy, seed=seed, decisions=lengths[preset])
        for preset in presets
        for seed in seeds
        for policy in policies
        if preset_named(preset).library is None or policy not in NEED_A_CATALOGUE
    ]


def _check_policy(policy: str) -> None:
    if policy not in POLICIES:
        raise InvalidInput([FieldError(field="policy", message=f"{policy!r} is not one of {', '.join(POLICIES)}")])
    if (package := absent_package(policy)) is not None:
        message = f"{policy!r} needs the package {package}, which is not installed: it is in the extra 'dev'"
        raise InvalidInput([FieldError(field="policy", message=message)])


def playable() -> list[str]:
    """The policies that run by default: the service with every learner, and all whose packages are installed."""
    others = [name for name, learner in _LEARNERS_SERVED.items() if learner != DEFAULT]
    return [SERVICE, *others, *(one for one in (*BASELINES, *REFERENCES) if absent_package(one) is None)]


def missing(jobs: Sequence[Job], folder: Path) -> list[Job]:
    """The runs without a file.

    Raises:
        Conflict: a file was made with other settings.
    """
    return [job for job in jobs if not _is_done(job, job.path(folder))]


def _is_done(job: Job, path: Path) -> bool:
    if not path.exists():
        return False
    if (pq.read_schema(path).metadata or {}).get(SETTINGS) != job.settings():
        raise Conflict(f"{path}: was made with other settings than this run's; use another folder")
    return True


def run_all(jobs: Sequence[Job], folder: Path, *, processes: int) -> Iterator[Job]:
    """Each missing run when it has ended, in the order of ending; the error of a failed run is raised.

    If it is stopped early, running runs are finished and no others are started.
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
    """Sets one thread per process, because there are several processes, and no log line per published model."""
    threadpool_limits(limits=1)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))


def run_job(job: Job, folder: Path) -> None:
    """Runs the job and writes its file, completely or not at all."""
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
    """The sums after every hundred decisions, and at the end."""
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
    if job.policy == SERVICE or job.policy in _LEARNERS_SERVED:
        learner = _LEARNERS_SERVED.get(job.policy, DEFAULT)
        with scratch_service(None, job.seed) as service:
            service.campaigns.put(with_learner(world.document, learner))
            yield InProcess(service, learn_every=LEARN_EVERY)
    elif job.policy in _LEARNERS_PLAYED:
        campaign = with_learner(world.document, _LEARNERS_PLAYED[job.policy])
        with learner_of(campaign.learner_arguments) as online:
            entropy = scratch_entropy(job.seed)
            yield InMemory(campaign, online, entropy=entropy, learn_every=LEARN_EVERY)
    elif job.policy in REFERENCES:
        yield REFERENCES[job.policy](world, state, job.seed)
    else:
        baseline = BASELINES[job.policy](world.campaign, np.random.default_rng([job.seed, 3]))
        yield Playing(baseline, world.campaign, learn_every=LEARN_EVERY)
