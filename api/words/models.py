"""The texts of relearning and purging on the command line: arguments, progress, results."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from math import isfinite

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from bandit.engine.explorers import Explorer
from bandit.errors import FieldError, InvalidInput
from bandit.learn.purge import Purged
from bandit.learn.relearn import Relearned
from bandit.learn.teach import ProgressCallback
from bandit.store.models import OK, ModelRow
from bandit.store.purges import Count


def engine_settings(options: Sequence[str]) -> Explorer:
    """Settings by name: numbers, true and false as values, anything else as text."""
    return {name: _value(text) for name, text in _pairs("--vw", options)}


def _value(text: str) -> str | int | float | bool:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float) else text


def worths_of_events(options: Sequence[str]) -> dict[str, float]:
    """Worths by event; raises InvalidInput if one is not a finite number."""
    return {event: _worth(event, text) for event, text in _pairs("--reward", options)}


def _worth(event: str, text: str) -> float:
    try:
        worth = float(text)
    except ValueError:
        worth = float("nan")
    if not isfinite(worth):
        raise InvalidInput([FieldError(field="--reward", message=f"{event}={text}: is not a finite number")])
    return worth


def _pairs(option: str, given: Sequence[str]) -> Iterator[tuple[str, str]]:
    for text in given:
        name, is_pair, value = text.partition("=")
        if not (name and is_pair and value):
            raise InvalidInput([FieldError(field=option, message=f"{text!r}: must have the form NAME=VALUE")])
        yield name, value


def instant(option: str, text: str) -> datetime:
    """The moment; raises InvalidInput unless it has an offset."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.utcoffset() is None:
        message = f"{text!r}: is not a time with an offset, as in 2026-11-20T17:03:00Z"
        raise InvalidInput([FieldError(field=option, message=message)])
    return found


class _Rate(ProgressColumn):
    """Decisions per second over the recent past."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")


@contextmanager
def teaching_shown(what: str, decisions: int) -> Iterator[ProgressCallback]:
    """A progress callback, called with the number of further decisions; shows a bar with the rate on a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=decisions)
        yield lambda read: progress.advance(task, read)


def relearned_words(campaign: str, relearned: Relearned) -> Iterator[str]:
    """What a relearn did, and how much it differs from the champion."""
    row = relearned.row
    state = "is the challenger" if row.health == OK else f"was refused: {row.health}"
    yield f"{campaign}: version {row.version} {state}; read {relearned.read} decisions, learned {relearned.learned}"
    if relearned.quarantined:
        yield f"{relearned.quarantined} labels went to quarantine"
    difference = relearned.difference
    if difference is None:
        yield "there is no champion to compare it with"
        return
    yield (
        f"over the latest {difference.decisions} decisions: another most probable action in "
        f"{difference.other_choices:.1%}, mean distance of the probabilities {difference.mean_distance:.3f}"
    )


def counted_words(counts: Sequence[Count]) -> Iterator[str]:
    """How much feedback a purge affects."""
    if not counts:
        yield "no such feedback is stored"
    for one in counts:
        before = f", {one.excluded} of them excluded before" if one.excluded else ""
        yield f"{one.campaign_id}: {one.events} events of {one.decisions} decisions{before}"


def purged_words(purged: Purged) -> str:
    """What a purge did to a campaign."""
    campaign = purged.count.campaign_id
    if not purged.steps:
        return f"{campaign}: no version that serves or learns was trained on them"
    versions = ", ".join(_version_words(step.row) for step in purged.steps)
    return f"{campaign}: {purged.refused} versions refused as purged; taught without them: version {versions}"


def _version_words(row: ModelRow) -> str:
    return str(row.version) if row.health == OK else f"{row.version} (refused: {row.health})"
