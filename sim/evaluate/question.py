"""A target's value from a streamed log: the evaluation by `sim.ope`, and the data that a page shows."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from bandit.errors import InvalidLog
from sim.common.arrays import Ints
from sim.common.progress import ProgressCallback
from sim.evaluate.breakdown import Breakdown
from sim.evaluate.deeds import Deeds
from sim.evaluate.draws import ArmDraws
from sim.evaluate.reward_model import ModelledRewards, modelled_rewards
from sim.evaluate.targets import Likelihood, Target, taught_by
from sim.evaluate.timeline import Timeline, WeightHistogram
from sim.logs.event import DataDigest, EventLog, LeftOut, LoggedEvent
from sim.ope.batch import Batch, checked_batch
from sim.ope.checks.carry_over import CarryOverSums, RecentWeights
from sim.ope.checks.distinct import Distinct
from sim.ope.checks.drift import Blocks
from sim.ope.comparison import Comparison, comparison_of
from sim.ope.diagnostics import Checks
from sim.ope.evaluation import Evaluation, evaluation_of
from sim.ope.groups import HASHED_GROUPS, Hashes, groups_of, user_hashes
from sim.ope.intervals import IntervalName
from sim.ope.sums import Sums
from sim.ope.verdict import Verdict

ROWS_TO_FIND_A_REPEAT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question about a log: the target, and how to estimate its value."""

    target: Target
    against: Target | None = None
    unseen_only: bool = False  # exclude rows that a target was trained on
    reward_model: bool = False
    interval: IntervalName = "auto"
    confidence: float = 0.95
    seed: int = 0
    by: str | None = None  # what the target's value is broken down by
    show_anyway: bool = False

    @property
    def targets(self) -> tuple[Target, ...]:
        return (self.target,) if self.against is None else (self.target, self.against)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer of a log, and what identifies the data."""

    question: Question
    log_name: str
    data_digest: str
    reward_bounds: tuple[float, float]
    left_out: dict[str, int]
    taught: int  # rows that a target was trained on, excluded or not
    first_decided_at: datetime | None
    last_decided_at: datetime | None
    evaluation: Evaluation  # of the target
    comparison: Comparison | None  # with `against`
    timeline: Timeline
    weights: WeightHistogram
    deeds: dict[str, Deeds]  # what each policy does, the logging one first
    breakdown: Breakdown | None  # of the target

    @property
    def verdict(self) -> Verdict:
        """The verdict on the target; on both targets if two are compared."""
        return self.evaluation.verdict if self.comparison is None else self.comparison.verdict

    @property
    def is_shown(self) -> bool:
        """Whether numbers may be shown."""
        return self.verdict.ok or self.question.show_anyway

    @property
    def notes(self) -> tuple[str, ...]:
        """What readers must keep in mind even if the verdict is ok."""
        return (*self.verdict.notes, *self._own_notes())

    def _own_notes(self) -> Iterator[str]:
        n = self.evaluation.diagnostics.n
        if self.taught and not self.question.unseen_only:
            yield (
                f"the evaluated model was trained on {self.taught:,} of {n:,} rows, so the estimate is too favourable: "
                "evaluate unseen rows only, or an older version"
            )
        voided = self.left_out.get(LeftOut.VOIDED, 0)
        if voided:
            yield (
                f"{voided:,} decisions were voided because the message was not sent. Only sends can be voided, so the "
                "rest contains somewhat more silence than was drawn"
            )


def evaluate_log(log: EventLog, question: Question, *, progress: ProgressCallback) -> Answer:
    """The log's answer to the question. Memory does not grow with the rows, unless the question wants a reward model.

    Raises:
        InvalidLog: a row breaks a rule, no rows are left, or the log lacks data that a target needs.
    """
    rewards_model = modelled_rewards(log, question.targets, question.seed) if question.reward_model else None
    reading = _Reading(log, question, rewards_model)
    for events in log.batches():
        reading.add(events)
        progress(reading.rows)
    return reading.answer()


class _Reading:
    """One pass over a log."""

    def __init__(self, log: EventLog, question: Question, model: ModelledRewards | None) -> None:
        self.rows = 0
        self._log = log
        self._question = question
        self._model = model
        self._sums = [
            Sums(n_groups=HASHED_GROUPS, with_model=model is not None, reward_bounds=log.reward_bounds)
            for _ in question.targets
        ]
        self._in_time = [_InTime() for _ in question.targets]
        self._draws = ArmDraws()
        self._distinct = Distinct()
        self._digest = DataDigest()
        self._timeline = Timeline()
        self._weights = WeightHistogram()
        self._breakdown = None if question.by is None else Breakdown(question.by, reward_bounds=log.reward_bounds)
        self._deeds = {name: Deeds() for name in dict.fromkeys(["logged", *(one.name for one in question.targets)])}
        self._span = _Span()
        self._users = _Repeats()
        self._counts: Counter[str] = Counter()

    def add(self, events: Sequence[LoggedEvent]) -> None:
        self.rows += len(events)
        taught = [any(taught_by(target, event) for target in self._question.targets) for event in events]
        self._counts["taught"] += sum(taught)
        if self._question.unseen_only:
            events = [event for event, known in zip(events, taught, strict=True) if not known]
        if events:
            self._add_kept(events)

    def _add_kept(self, events: Sequence[LoggedEvent]) -> None:
        for event in events:
            self._digest.add(event)
            self._span.add(event.decided_at)
        self._draws.add(events)
        self._deeds["logged"].add(events, [event.pmf for event in events])
        self._users.add(event.user for event in events)
        hashes = user_hashes(np.array([event.user for event in events], dtype=object))
        self._distinct.add(hashes)
        for place, (target, sums) in enumerate(zip(self._question.targets, self._sums, strict=True)):
            likelihoods = [target.likelihood(event) for event in events]
            if target.name != "logged":
                self._deeds[target.name].add(events, [one.pmf for one in likelihoods])
            batch = self._batch(place, events, likelihoods, groups_of(hashes))
            sums.add(batch)
            self._in_time[place].add(batch, hashes)
            if place == 0 and self._breakdown is not None:
                self._breakdown.add(events, batch)
            if place == 0:
                weights = batch.weights
                self._timeline.add(batch.rewards, weights, [event.decided_at for event in events])
                self._weights.add(weights)

    def _batch(
        self, place: int, events: Sequence[LoggedEvent], likelihoods: Sequence[Likelihood], groups: Ints
    ) -> Batch:
        exact = all(one.pmf is not None for one in likelihoods)
        q = None if self._model is None else self._model.of_rows(place, [event.row for event in events])
        return checked_batch(
            rewards=[event.reward for event in events],
            propensities=[event.propensity for event in events],
            target_propensities=[one.propensity for one in likelihoods],
            groups=groups,
            reward_bounds=self._log.reward_bounds,
            q_logged=None if q is None else q[0],
            q_target=None if q is None else q[1],
            unlogged_mass=[one.unlogged for one in likelihoods] if exact else None,
        )

    def answer(self) -> Answer:
        question = self._question
        if self._sums[0].n == 0:
            raise InvalidLog(
                f"{self._log.name}: the evaluated model was trained on all {self.rows:,} rows: none is unseen"
            )
        options: dict[str, Any] = {
            "confidence": question.confidence,
            "interval": question.interval,
            "seed": question.seed,
            "show_anyway": question.show_anyway,
        }
        checks = [self._checks(one) for one in self._in_time]
        comparison = None
        if question.against is not None:
            comparison = comparison_of(self._sums[0], self._sums[1], checks=(checks[0], checks[1]), **options)
        return Answer(
            question=question,
            log_name=self._log.name,
            data_digest=self._digest.hexdigest(),
            reward_bounds=self._log.reward_bounds,
            left_out=dict(+self._log.left_out),
            taught=self._counts["taught"],
            first_decided_at=self._span.first,
            last_decided_at=self._span.last,
            evaluation=evaluation_of(self._sums[0], checks=checks[0], **options)
            if comparison is None
            else comparison.target,
            comparison=comparison,
            timeline=self._timeline,
            weights=self._weights,
            deeds=self._deeds,
            breakdown=self._breakdown,
        )

    def _checks(self, in_time: "_InTime") -> Checks:
        looks_back = any(one.changes_own_features for one in self._question.targets)
        return Checks(
            draws=self._draws.draws,
            drift=in_time.blocks.drift(),
            carry_over=in_time.carry_over.figure() if self._users.found else None,
            users=self._distinct.count(),
            target_changes_features=self._users.found and looks_back,
        )


class _InTime:
    """What the order of the rows tells about one target: drift, and what one decision does to the next."""

    def __init__(self) -> None:
        self.blocks = Blocks()
        self.carry_over = CarryOverSums(n_groups=HASHED_GROUPS)
        self._recent = RecentWeights()

    def add(self, batch: Batch, hashes: Hashes) -> None:
        weights = batch.weights
        self.blocks.add(batch.rewards, weights)
        self.carry_over.add(batch.rewards, weights, self._recent.earlier(weights, hashes), batch.groups)


@dataclass(slots=True)
class _Span:
    """The first and the last moment."""

    first: datetime | None = None
    last: datetime | None = None

    def add(self, moment: datetime | None) -> None:
        if moment is not None:
            self.first = moment if self.first is None else min(self.first, moment)
            self.last = moment if self.last is None else max(self.last, moment)


@dataclass(slots=True)
class _Repeats:
    """Whether a user appears more than once among the first 10,000 users."""

    found: bool = False
    _seen: set[str] = field(default_factory=set)

    def add(self, users: Iterator[str]) -> None:
        for user in users:
            if self.found or len(self._seen) > ROWS_TO_FIND_A_REPEAT:
                return
            self.found = user in self._seen
            self._seen.add(user)
