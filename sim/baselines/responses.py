"""Whether a user responded, for baselines that do not use worths."""

from bandit.campaign.document import Campaign
from sim.baselines.protocol import Outcome

ROUNDING = 1e-9  # rounding error of a cost that is subtracted and added again


def responded(campaign: Campaign, outcome: Outcome) -> bool:
    """Whether the response had a positive worth: the reward plus the cost of the send is positive."""
    channel = outcome.opportunity.eligible.action(outcome.place).channel
    cost = 0.0 if channel is None else campaign.channels[channel].cost
    return outcome.reward + cost > ROUNDING
