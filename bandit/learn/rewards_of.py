"""The rewards that a lineage learns from.

A lineage that grew with its campaign learned each decision with the reward as it was known when it closed, and so does
every pass. One that starts from nothing over a log that is already there knows better: what a decision earned in the
end, with the events that happened inside its window but came after its reward was final. Those that happened after the
deadline never count.

What is stored is taken where it says the same; only where a lineage has other worths, or an event came late, is a
reward reckoned anew. An open decision keeps what was known when it closed, but one whose message, as is known by now,
did not go out is not learned.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from bandit.campaign.document import Campaign
from bandit.campaign.rewards import is_voided, reward_of, worths_of
from bandit.learn.overrides import Overrides
from bandit.store import closings
from bandit.store.closings import ClosedDecision, Known

VOIDED = "voided"  # why a decision is skipped whose message did not go out


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewards:
    """Which reward of a closed decision a lineage is taught."""

    overrides: Overrides
    hindsight: bool  # what became of it, rather than what was known when it closed

    def of(
        self,
        connection: Connection,
        campaign_id: str,
        chunk: Sequence[ClosedDecision],
        documents: Mapping[int, Campaign],
        *,
        with_events: bool,
    ) -> Sequence[ClosedDecision]:
        """The same decisions in the same order with the rewards to teach, or why they are not to be learned.

        Args:
            chunk: all that closed in this campaign between the first and the last of them.
            documents: of every version of the campaign in the chunk.
            with_events: whether each decision must say which events its reward was made of.
        """
        if not chunk or not (self.hindsight or self.overrides.worths or with_events):
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
        events = known.events if final else known.seen
        closed = replace(closed, events=worths_of(campaign, events))
        if self.overrides.changes_rewards_of(closed.campaign_version) or (final and known.late):
            return replace(closed, reward=reward_of(campaign, known.channel, events))
        return replace(closed, reward=known.final_reward) if final else closed
