"""The rewards that a lineage learns from.

A lineage that grew with its campaign learned each decision with the reward at its closing, and so does every pass. A
lineage that starts from nothing over an existing log can use better rewards: the final ones, including events that
happened inside the window but arrived after the reward was final. Events that happened after the deadline never count.

Stored rewards are used where they say the same. A reward is calculated again only where a lineage has other worths or
an event came late, and the events of a reward where it closed before they were stored with it. An open decision keeps
what was known when it closed, but one whose message, as is known by now, did not go out is not learned.

The final reward stores no events: they are the feedback that was not late, which stays as long as the decision.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from bandit.campaign.document import Campaign
from bandit.campaign.rewards import is_voided, reward_from, worths_of, worths_text
from bandit.learn.overrides import Overrides
from bandit.store import closings
from bandit.store.closings import ClosedDecision, Known

VOIDED = "voided"  # why a decision is skipped if its message was not sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewards:
    """The rewards of closed decisions that a lineage learns."""

    overrides: Overrides
    hindsight: bool  # final rewards instead of the rewards at closing

    def of(
        self,
        connection: Connection,
        campaign_id: str,
        chunk: Sequence[ClosedDecision],
        documents: Mapping[int, Campaign],
        *,
        with_events: bool,
    ) -> Sequence[ClosedDecision]:
        """The same decisions in the same order, each with the reward to learn, or the reason why it is not learned.

        Args:
            chunk: all decisions that closed in this campaign between the first and the last of them.
            documents: documents of all campaign versions in the chunk.
            with_events: whether each decision must name the events that are part of its reward.
        """
        lacking = with_events and any(map(_lacks_events, chunk))
        if not chunk or not (self.hindsight or self.overrides.worths or lacking):
            return chunk
        known = closings.known(connection, campaign_id, chunk[0].seq, chunk[-1].seq)
        adopted = {version: self.overrides.rewarding(document, version) for version, document in documents.items()}
        return [self._taught(one, adopted[one.campaign_version], known[one.decision_id]) for one in chunk]

    def _taught(self, closed: ClosedDecision, campaign: Campaign, known: Known) -> ClosedDecision:
        if closed.skipped is not None:
            return closed
        if self.hindsight and is_voided(known.events):
            return replace(closed, reward=None, skipped=VOIDED)
        final = self.hindsight and known.is_final
        worths = worths_of(campaign, known.events if final else known.seen)
        closed = replace(closed, events=worths_text(worths))
        if self.overrides.changes_rewards_of(closed.campaign_version) or (final and known.late):
            return replace(closed, reward=reward_from(campaign, known.channel, worths))
        return replace(closed, reward=known.final_reward) if final else closed


def _lacks_events(closed: ClosedDecision) -> bool:
    """Whether it is to be learned and closed before events were stored with the reward."""
    return closed.events is None and closed.skipped is None
