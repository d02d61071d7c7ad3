"""Learning from the database against feeding the same events as ready text to one workspace; relearning a long log."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import timedelta
from math import inf
from pathlib import Path
from statistics import median
from time import perf_counter, sleep

import pylibvw
from vowpalwabbit import Workspace

from bandit.decide.logged import decode_actions
from bandit.engine.load import learner_of
from bandit.learn.lineage import Lineage
from bandit.learn.overrides import Overrides
from bandit.learn.teach import Log, Progress, teach
from bandit.serve.campaigns import Campaigns
from bandit.serve.clock import SystemClock
from bandit.store import closings
from bandit.store.closings import ClosedDecision
from bandit.store.sql.database import Store
from benchmarks import scenario
from benchmarks.databases import OPEN_FOR, Past, make_database
from benchmarks.measure import Bar, Figure, Run, interleaved, ratio_figure

EVENTS, QUICK_EVENTS = 4_000, 600
QUICK_RELEARNED = 5_000
STRETCH = timedelta(days=60)
MOST_MEGABYTES = 500.0
SAMPLE_SECONDS = 0.05


def learning(run: Run) -> list[Figure]:
    """Events a second: read from SQLite, decoded, checked and learned, against text that is only learned."""
    events = QUICK_EVENTS if run.quick else EVENTS
    database = run.folder / "learning.db"
    make_database(database, [scenario.campaign()], _closed_past(events, run), run)
    with closing(Store(f"sqlite:///{database}")) as store:
        what = f"learning {events:,} events of {scenario.ACTIONS} actions from SQL, against ready text, no database"
        return [
            _figure("learning", what, Bar(least=0.8), store, _learn, run),
            _figure("learning, bare", f"{what}, past the package's own wrappers", None, store, _learn_bare, run),
        ]


Learn = Callable[[Workspace, str], None]


def _figure(name: str, what: str, bar: Bar | None, store: Store, learn: Learn, run: Run) -> Figure:
    """The ratio of rates: seconds of the text over those of the database."""
    from_text, texts = _from_text(store, learn)
    seconds_sql, seconds_text = interleaved(_from_sql(store), from_text, run.pairs)
    facts = {"from SQL, events/s": texts / median(seconds_sql), "ready text, events/s": texts / median(seconds_text)}
    return ratio_figure(name, what, bar, over=seconds_text, under=seconds_sql, facts=facts)


def _learn(workspace: Workspace, text: str) -> None:
    workspace.learn(text)


def _learn_bare(workspace: Workspace, text: str) -> None:
    examples = pylibvw.vw._parse(workspace, text)
    pylibvw.vw.learn_multi(workspace, examples)
    pylibvw.vw._finish_example_multi_ex(workspace, examples)


def _closed_past(decisions: int, run: Run) -> Past:
    """Decisions of which every reward is final."""
    until = run.now - OPEN_FOR - timedelta(hours=1)
    return Past(users=range(decisions), decisions=decisions, since=until - STRETCH, until=until)


def _from_sql(store: Store) -> Callable[[], float]:
    """Seconds to teach an engine the whole log as a pass of the learner does."""
    learner = learner_of(scenario.campaign().learner_arguments)
    log = Log(store=store, campaigns=Campaigns(store, SystemClock()))
    lineage = Lineage(campaign_id=scenario.CAMPAIGN, settings=learner.arguments, overrides=Overrides())
    head = log.head(scenario.CAMPAIGN)

    def window() -> float:
        started = perf_counter()
        teach(learner, log, lineage, Progress.at_start_of(lineage), head=head, most=inf)
        return perf_counter() - started

    return window


def _from_text(store: Store, learn: Learn) -> tuple[Callable[[], float], int]:
    """Seconds to feed a raw workspace of the same arguments the same events, joined and labelled before."""
    workspace = Workspace(arg_list=scenario.campaign().engine_arguments.words)
    with store.read() as connection:
        log = list(closings.after(connection, scenario.CAMPAIGN, 0, sys.maxsize))
    texts = [_text(event) for event in log]

    def window() -> float:
        started = perf_counter()
        for text in texts:
            learn(workspace, text)
        return perf_counter() - started

    return window, len(texts)


def _text(event: ClosedDecision) -> str:
    logged = decode_actions(event.actions)
    lines: Sequence[str] = logged.action_lines.joined()
    labelled = [
        f"0:{-(event.reward or 0.0):.9g}:1 {line}" if place == event.action_index else line
        for place, line in enumerate(lines)
    ]
    return "\n".join([logged.shared_line, *labelled])


def relearning(run: Run) -> list[Figure]:
    """Peak memory of `sendopt models relearn`, a process of its own, over a long log."""
    events = QUICK_RELEARNED if run.quick else run.relearned
    database = run.folder / "relearning.db"
    make_database(database, [scenario.campaign()], _closed_past(events, run), run)
    started = perf_counter()
    said, peak = _relearn(database)
    seconds = perf_counter() - started
    facts: dict[str, float | str] = {"decisions": f"{events:,}", "events/s": events / seconds, "said": said}
    what = f"peak resident memory of relearning a log of {events:,} events"
    return [Figure(name="relearning", what=what, value=peak, bar=Bar(most=MOST_MEGABYTES, unit="MB"), facts=facts)]


def _relearn(database: Path) -> tuple[str, float]:
    """The first line that the command said, and the most memory that its process held, in megabytes."""
    settings = {**os.environ, "SENDOPT_DATABASE_URL": f"sqlite:///{database}"}
    command = [sys.executable, "-m", "api", "models", "relearn", scenario.CAMPAIGN]
    peak = 0.0
    with subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            peak = max(peak, _peak_megabytes(process.pid))
            sleep(SAMPLE_SECONDS)
        said = "" if process.stdout is None else process.stdout.read()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return said.splitlines()[0], peak


def _peak_megabytes(pid: int) -> float:
    """What the kernel remembers of the process; not the usage after its end, which counts its parent's memory too."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kilobytes = [line.split()[1] for line in lines if line.startswith("VmHWM:")]  # none once it has ended
    return int(kilobytes[0]) / 1024 if kilobytes else 0.0
