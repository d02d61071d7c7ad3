"""Who decides: holdouts by a stable hash, the campaign's baseline, or the learned policy."""

from bandit.campaign.document import Campaign
from bandit.decide.eligibility import EligibleSet
from bandit.decide.exploration import draw_number
from bandit.domain import Policy, UserId


def assigned_policy(campaign: Campaign, user: UserId) -> Policy:
    """The policy that decides for this user: always the same holdout, or by the campaign's mode."""
    if campaign.policy.no_send_holdout or campaign.policy.uniform_holdout:
        holdout = _holdout(campaign, user)
        if holdout is not None:
            return holdout
    return Policy.BASELINE if campaign.mode == "shadow" else Policy.LEARNED


def _holdout(campaign: Campaign, user: UserId) -> Policy | None:
    place = draw_number(f"holdout:{campaign.id}", user)
    if place < campaign.policy.no_send_holdout:
        return Policy.NO_SEND_HOLDOUT
    # Counted down from 1, so that a change of one share moves no user into or out of the other holdout.
    if place >= 1 - campaign.policy.uniform_holdout:
        return Policy.UNIFORM_HOLDOUT
    return None


def baseline_index(campaign: Campaign, eligible: EligibleSet) -> int:
    """Place of the campaign's baseline action; that of silence if the rules block it or there is none."""
    baseline = campaign.policy.baseline
    if baseline is None:
        return 0
    for time in eligible.candidates.times:
        if time.is_now == (baseline.local_hour is None) and (time.is_now or time.local_hour == baseline.local_hour):
            return eligible.find(baseline.channel, baseline.content, time) or 0
    return 0


def lowest_propensity(campaign: Campaign, policy: str, n_actions: int) -> float:
    """The smallest propensity that this service can have logged for one of so many eligible actions.

    The learned policy mixes its floor in evenly, the uniform holdout draws evenly, and all others are deterministic.
    """
    if policy == Policy.LEARNED:
        return campaign.policy.floor / n_actions
    return 1.0 / n_actions if policy == Policy.UNIFORM_HOLDOUT else 1.0
