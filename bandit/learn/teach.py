"""Closed decisions -> a taught engine: the chunk of the log that one version adds to its parent.

When the learned policy has come to earn far less than it did (`bandit.learn.fall`), the engine forgets everything and
is taught again from where the fall began. Where that is follows from the log alone, so that whoever teaches the same
log again, from any place and in any pieces, ends with the same engine.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from bandit.campaign.document import Campaign
from bandit.domain import Policy
from bandit.engine.learner import OnlineLearner
from bandit.learn.fall import Alarm, Seen
from bandit.learn.labels import Refused, learn_checked
from bandit.learn.rewards_of import Rewards
from bandit.serve.campaigns import Campaigns
from bandit.store import closings
from bandit.store.closings import ClosedDecision
from bandit.store.sql.database import Store

READ_CHUNK = 1_000

Shown = Callable[[int], None]  # told how many events were read, now and then


def unseen(_events: int) -> None:
    """Shows nobody how far the teaching has come."""


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far an engine has come through the log of a campaign."""

    watermark: int  # last `closings.seq` that was read
    alarm: Alarm
    read: int = 0  # one that is read again is counted again
    learned: int = 0  # since the engine began anew, where it did
    began_anew: bool = False
    refused: list[Refused] = field(default_factory=list)

    def followed_by(self, more: "Progress") -> "Progress":
        """This progress and what came after it together."""
        return Progress(
            watermark=more.watermark,
            alarm=more.alarm,
            read=self.read + more.read,
            learned=more.learned if more.began_anew else self.learned + more.learned,
            began_anew=self.began_anew or more.began_anew,
            refused=[*self.refused, *more.refused],
        )

    @property
    def reasons(self) -> dict[str, int]:
        """Number of refused events by the rule that they break."""
        return dict(Counter(one.reason.value for one in self.refused))

    def begin_anew(self) -> None:
        """Goes back to where the fall began; nothing that was learned counts any more."""
        self.watermark, self.alarm = self.alarm.since, Alarm()
        self.learned, self.began_anew = 0, True
        self.refused = [one for one in self.refused if one.seq <= self.watermark]  # the others are read again


def teach(
    engine: OnlineLearner,
    store: Store,
    campaigns: Campaigns,
    campaign_id: str,
    *,
    after: int,
    alarm: Alarm,
    head: int,
    most: float,
    rewards: Rewards,
    shown: Shown = unseen,
) -> Progress:
    """Teaches the engine the campaign's closed decisions in order, from chunk to chunk.

    Args:
        after: watermark of the engine; the first event read is the next one.
        alarm: as it stands there; changed by the teaching.
        head: watermark to stop at.
        most: events, counted in whole chunks and from where the engine began anew, after which to stop.
        rewards: which of each decision.
    """
    progress, begun_at = Progress(watermark=after, alarm=alarm), 0
    while progress.watermark < head and progress.read - begun_at < most:
        with store.read() as connection:
            logged = list(closings.after(connection, campaign_id, progress.watermark, READ_CHUNK))
            documents = {
                version: campaigns.document(connection, campaign_id, version)
                for version in {closed.campaign_version for closed in logged}
            }
            chunk = rewards.of(connection, campaign_id, logged, documents, with_events=engine.reads_events)
        if not chunk:
            break
        if any(_rings(engine, documents[closed.campaign_version], closed, progress) for closed in chunk):
            engine.forget_learned()
            progress.begin_anew()
            begun_at = progress.read
        shown(len(chunk))
    return progress


def _rings(engine: OnlineLearner, campaign: Campaign, closed: ClosedDecision, progress: Progress) -> bool:
    """Whether the alarm rings at this event, which is taught."""
    progress.watermark = closed.seq
    progress.read += 1
    if closed.skipped is not None:
        return False
    outcome = learn_checked(engine, campaign, closed)
    if isinstance(outcome, Refused):
        progress.refused.append(outcome)
        return False
    progress.learned += 1
    if closed.policy != Policy.LEARNED or closed.reward is None or outcome.expected is None:
        return False
    seen = Seen(seq=closed.seq, document=closed.campaign_version, reward=closed.reward, expected=outcome.expected)
    return progress.alarm.rings(seen, campaign.reward.unit)
