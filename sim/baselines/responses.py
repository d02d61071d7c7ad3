"""Whether a user responded, for baselines that know nothing of worths."""

from bandit.campaign.document import Campaign
from sim.baselines.protocol import Outcome

ROUNDING = 1e-9  # of a cost subtracted and added again


def responded(campaign: Campaign, outcome: Outcome) -> bool:
    """Whether what came back was worth anything by itself: the reward without the cost of the send is positive."""
    channel = outcome.opportunity.eligible.action(outcome.place).channel
    cost = 0.0 if channel is None else campaign.channels[channel].cost
    return outcome.reward + cost > ROUNDING
