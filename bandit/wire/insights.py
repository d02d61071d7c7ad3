"""The dashboard's data of a campaign: sums over final rewards."""

from typing import Annotated, Literal

from bandit.campaign.fields import about
from bandit.domain import Policy
from bandit.wire.fields import Answer, Day, Number, Whole

PolicyName = Annotated[Policy, about("The policy that decided.", example="learned")]
DayName = Annotated[Day, about("UTC day of the decisions.", example="2026-11-20")]


class Interval(Answer):
    """A 95 % interval; null if there is only one group of users."""

    lower: Annotated[Number | None, about("Lower end of the 95 % interval; null: not known.", example=0.08)]
    upper: Annotated[Number | None, about("Upper end of the 95 % interval; null: not known.", example=0.16)]


class _Mean(Answer):
    n: Annotated[Whole, about("Number of decisions with a final reward.", example=1_200)]
    mean: Annotated[Number, about("Their mean reward.", example=0.12)]


class _OfPolicy(Answer):
    policy: PolicyName


class _OfDay(Answer):
    day: DayName


class PolicyMean(Interval, _Mean, _OfPolicy):
    """The mean reward of a policy, users as clusters."""


class DailyMean(PolicyMean, _OfDay):
    """The mean reward of a policy on one day."""


class _Value(Answer):
    value: Annotated[Number, about("Mean reward of the learned policy less that of the no-send holdout.", example=0.05)]


class Lift(Interval, _Value):
    """What sending is worth."""


class SendsByHour(Answer):
    """The sends of a policy on one channel at one hour."""

    policy: PolicyName
    channel: Annotated[str, about("The channel.", example="push")]
    local_hour: Annotated[Whole, about("Hour of the user's clock, 0 to 23.", example=18)]
    sends: Annotated[Whole, about("How many messages.", example=340)]
    mean_reward: Annotated[Number | None, about("Their mean reward; null: none is final.", example=0.14)]


class ContentsByDay(_OfPolicy, _OfDay):
    """How often a policy chose a content on one day."""

    content: Annotated[str, about("Id of the content.", example="streak")]
    decisions: Annotated[Whole, about("How many decisions.", example=85)]


class LearningByDay(_OfDay):
    """How much the learned policy explored on one day."""

    decisions: Annotated[Whole, about("Decisions of the learned policy.", example=410)]
    exploration_share: Annotated[
        Number, about("Share of decisions that were not the most probable action.", example=0.21)
    ]
    entropy: Annotated[
        Number, about("Mean entropy of the probabilities as a share of that of uniform choice.", example=0.63)
    ]


class Insights(Answer):
    """What a campaign's policies earned and chose."""

    campaign: Annotated[str, about("Id of the campaign.", example="reengage")]
    days: Annotated[Whole, about("How many days, up to the last one with a final reward.", example=30)]
    mode: Annotated[Literal["live", "shadow"], about("The campaign's mode.", example="live")]
    paused: Annotated[bool, about("Whether the campaign is paused.", example=False)]
    rewards: Annotated[list[DailyMean], about("Mean reward by day and policy.")]
    overall: Annotated[list[PolicyMean], about("Mean reward by policy, over all days.")]
    lift: Annotated[Lift | None, about("What sending is worth; null: one of the two policies has no final reward.")]
    sends: Annotated[list[SendsByHour], about("Sends by policy, channel and local hour.")]
    contents: Annotated[list[ContentsByDay], about("Contents chosen, by day and policy.")]
    learning: Annotated[list[LearningByDay], about("Exploration by day.")]
