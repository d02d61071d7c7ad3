"""Trains a learner on closed decisions: the part of the log that one version adds to its parent.

When the learned policy earns far less than before (`bandit.learn.fall`), a learner that cannot adapt by itself is reset
and retrained from where the fall began. This place depends on the log alone, so training on the same log again, from
any place and in any pieces, gives the same learner.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from bandit.campaign.document import Campaign
from bandit.domain import Policy
from bandit.engine.learner import OnlineLearner
from bandit.learn.fall import FallDetector, Seen
from bandit.learn.labels import Learned, Refused, learn_checked
from bandit.learn.lineage import Lineage
from bandit.serve.campaigns import Campaigns
from bandit.store import closings
from bandit.store.closings import ClosedDecision
from bandit.store.sql.database import Store

READ_CHUNK = 1_000

ProgressCallback = Callable[
    [int], None
]  # progress callback: called with the number of events that were read since the last call


def no_progress(_events: int) -> None:
    """A progress callback that shows nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The progress of a learner through the log of a campaign."""

    watermark: int  # last `closings.seq` that was read
    detector: FallDetector
    read: int = 0  # events that are read again are counted again
    learned: int = 0  # since the last start from nothing
    restarts: int = 0  # falls after which the learner was retrained
    read_before: int = 0  # of the read events, those before the last restart
    refused: tuple[Refused, ...] = ()

    @classmethod
    def at_start_of(cls, lineage: Lineage) -> Self:
        """The progress before any event was learned."""
        return cls(watermark=lineage.watermark, detector=lineage.detector)

    @property
    def reasons(self) -> dict[str, int]:
        """Number of refused events by rule."""
        return dict(Counter(one.reason.value for one in self.refused))

    def restarted(self) -> Self:
        """The progress at the place where the fall began; all learned events are forgotten."""
        watermark = self.detector.since
        return replace(
            self,
            watermark=watermark,
            detector=FallDetector(),
            learned=0,
            restarts=self.restarts + 1,
            read_before=self.read,
            refused=tuple(one for one in self.refused if one.seq <= watermark),  # the others are read again
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """The closed decisions of a store, read in learning order."""

    store: Store
    campaigns: Campaigns

    def head(self, campaign_id: str) -> int:
        """The watermark at the current end of the log."""
        with self.store.read() as connection:
            return closings.last_seq(connection, campaign_id)

    def after(self, watermark: int, lineage: Lineage, *, with_events: bool) -> "Chunk":
        """The next closed decisions, with the rewards that the lineage learns."""
        with self.store.read() as connection:
            logged = list(closings.after(connection, lineage.campaign_id, watermark, READ_CHUNK))
            documents = {
                version: self.campaigns.document(connection, lineage.campaign_id, version)
                for version in {closed.campaign_version for closed in logged}
            }
            decisions = lineage.rewards.of(connection, lineage.campaign_id, logged, documents, with_events=with_events)
        return Chunk(decisions=decisions, documents=documents)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Some closed decisions in learning order, with the campaign documents under which they were made."""

    decisions: Sequence[ClosedDecision]
    documents: Mapping[int, Campaign]  # by version


def teach(
    learner: OnlineLearner,
    log: Log,
    lineage: Lineage,
    progress: Progress,
    *,
    head: int,
    most: float,
    report: ProgressCallback = no_progress,
) -> Progress:
    """Trains the learner on the lineage's closed decisions in order, chunk by chunk; returns the progress.

    Args:
        progress: state at the start; the first event that is read is the one after its watermark.
        head: watermark to stop at.
        most: number of events after which to stop, counted in whole chunks since the last restart.
    """
    start = progress.read
    while progress.watermark < head and progress.read - max(start, progress.read_before) < most:
        chunk = log.after(progress.watermark, lineage, with_events=learner.reads_events)
        if not chunk.decisions:
            break
        progress = _taught_chunk(learner, chunk, progress)
        if progress.detector.found:
            learner.forget_learned()
            progress = progress.restarted()
        report(len(chunk.decisions))
    return progress


def _taught_chunk(learner: OnlineLearner, chunk: Chunk, progress: Progress) -> Progress:
    """The progress after the chunk, or after the event at which a fall was found."""
    watermark, detector, read, learned = progress.watermark, progress.detector, 0, 0
    refused: list[Refused] = []
    for closed in chunk.decisions:
        watermark, read = closed.seq, read + 1
        if closed.skipped is not None:
            continue
        campaign = chunk.documents[closed.campaign_version]
        outcome = learn_checked(learner, campaign, closed)
        if isinstance(outcome, Refused):
            refused.append(outcome)
            continue
        learned += 1
        seen = None if learner.follows_changes else _seen(closed, outcome)
        if seen is not None:
            detector = detector.after(seen, campaign.reward.unit)
            if detector.found:
                break
    return replace(
        progress,
        watermark=watermark,
        detector=detector,
        read=progress.read + read,
        learned=progress.learned + learned,
        refused=(*progress.refused, *refused),
    )


def _seen(closed: ClosedDecision, outcome: Learned) -> Seen | None:
    """The input of the change detection for a decision; None if the learned policy did not make it."""
    if closed.policy != Policy.LEARNED or closed.reward is None or outcome.expected is None:
        return None
    return Seen(seq=closed.seq, document=closed.campaign_version, reward=closed.reward, expected=outcome.expected)
