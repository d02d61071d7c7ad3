"""Closed decisions -> a taught engine: the chunk of the log that one version adds to its parent."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from bandit.campaign import Campaign
from bandit.gate import Refused, learn_checked
from bandit.hindsight import Rewards
from bandit.registry import Campaigns
from bandit.store import closings
from bandit.store.closings import ClosedDecision
from bandit.store.engine import Store
from bandit.vw import Engine

READ_CHUNK = 1_000

Shown = Callable[[int], None]  # told how many events were read, now and then


def unseen(_events: int) -> None:
    """Shows nobody how far the teaching has come."""


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far an engine has come through the log of a campaign."""

    watermark: int  # last `closings.seq` that was read
    read: int = 0
    learned: int = 0
    refused: list[Refused] = field(default_factory=list)

    def followed_by(self, more: "Progress") -> "Progress":
        """This progress and what came after it together."""
        return Progress(
            watermark=more.watermark,
            read=self.read + more.read,
            learned=self.learned + more.learned,
            refused=[*self.refused, *more.refused],
        )

    @property
    def reasons(self) -> dict[str, int]:
        """Number of refused events by the rule that they break."""
        return dict(Counter(one.reason.value for one in self.refused))


def teach(
    engine: Engine,
    store: Store,
    campaigns: Campaigns,
    campaign_id: str,
    *,
    after: int,
    head: int,
    most: float,
    rewards: Rewards,
    shown: Shown = unseen,
) -> Progress:
    """Teaches the engine the campaign's closed decisions in order, from chunk to chunk.

    Args:
        after: watermark of the engine; the first event read is the next one.
        head: watermark to stop at.
        most: events, counted in whole chunks, after which to stop.
        rewards: which of each decision.
    """
    progress = Progress(watermark=after)
    while progress.watermark < head and progress.read < most:
        with store.read() as connection:
            logged = list(closings.after(connection, campaign_id, progress.watermark, READ_CHUNK))
            documents = {
                version: campaigns.document(connection, campaign_id, version)
                for version in {closed.campaign_version for closed in logged}
            }
            chunk = rewards.of(connection, campaign_id, logged, documents)
        if not chunk:
            break
        for closed in chunk:
            _teach_one(engine, documents[closed.campaign_version], closed, progress)
        shown(len(chunk))
    return progress


def _teach_one(engine: Engine, campaign: Campaign, closed: ClosedDecision, progress: Progress) -> None:
    progress.watermark = closed.seq
    progress.read += 1
    if closed.skipped is not None:
        return
    refused = learn_checked(engine, campaign, closed)
    if refused is None:
        progress.learned += 1
    else:
        progress.refused.append(refused)
