"""decide(): eligibility -> policy -> draw -> Decision. Pure: no clock, no database, no randomness of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from bandit.campaign.document import Campaign
from bandit.decide.eligibility import EligibleSet, check_channels, eligible_set
from bandit.decide.exploration import draw, draw_number, one_hot, uniform, with_floor
from bandit.decide.features import channel_lines, content_line, new_content_lines, shared_line, time_lines
from bandit.decide.history import History, Send
from bandit.decide.policies import assigned_policy, baseline_index
from bandit.domain import Content, DecideRequest, Decision, DecisionId, Policy, Reason, UserId
from bandit.engine.learner import Scores
from bandit.engine.lines import ActionLines
from bandit.errors import InvalidPropensity
from bandit.sendtimes import zone
from bandit.times import HOUR

Pmf = NDArray[np.float64]
log = structlog.get_logger(__name__)


class Predictor(Protocol):
    """An object that scores the actions of one decision: the engine, or a fake in a test."""

    def predict(self, shared: str, actions: ActionLines) -> Scores: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A published version, loaded."""

    version: int  # 0: nothing learned yet
    predictor: Predictor


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveCampaign:
    """A campaign as it is served at this moment."""

    document: Campaign
    version: int
    paused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """A decision with all the evidence that a receipt, the learner and an evaluation need."""

    decision: Decision
    campaign_version: int
    request: DecideRequest
    eligible: EligibleSet
    shared_line: str  # what the model saw of the user
    action_lines: ActionLines  # and of the actions
    pmf: Pmf  # shape (1 + eligible actions,), silence first
    action_index: int
    draw_number: float
    history_features: Mapping[str, float]
    learned_pmf: Pmf | None  # in shadow mode: what the learned policy would have drawn from

    @property
    def local_hour(self) -> int | None:
        """The hour on the user's clock at the send; None for silence."""
        if self.action_index == 0:
            return None
        return self.eligible.candidates.times[self.eligible.cells.eligible[self.action_index - 1].time].local_hour

    @property
    def reserved_send(self) -> Send | None:
        """The send that this decision reserves under the caps; None for silence."""
        if self.action_index == 0:
            return None
        cell = self.eligible.cells.eligible[self.action_index - 1]
        candidates = self.eligible.candidates
        content = candidates.contents[cell.content]
        return Send(
            decision_id=self.decision.id,
            channel=candidates.channels[cell.channel],
            content=content.id,
            kind=content_kind(content),
            send_at=candidates.times[cell.time].send_at,
        )


def decide(
    live: LiveCampaign,
    request: DecideRequest,
    history: History,
    model: Model | None,
    *,
    decision_id: DecisionId,
    now: datetime,
) -> DecisionRecord:
    """One decision, with the propensity that was used to draw it.

    Args:
        model: None if no version can be served; then the campaign's baseline, or silence, answers as a fallback.
        now: aware, UTC; the moment of the decision.

    Raises:
        InvalidInput: the user's channels are not said, and the campaign does not assume consent.
        UnknownTimeZone: the user's zone is not in the IANA list.
        ImpossibleInput: a channel or content that the campaign does not have, or too many actions.
    """
    campaign = live.document
    check_channels(campaign, request.user.channels)
    eligible = eligible_set(campaign, request, history, now=now, local=zone(request.user.timezone))
    history_features = history.features(now)
    shared = shared_line(request.user.features, history_features)
    actions = action_lines(campaign, eligible, history, now)
    choice = choose_policy(live, request.user.id, eligible, shared, actions, model)
    if choice.policy is Policy.FALLBACK and not live.paused:
        log.warning("decided_by_fallback", campaign=campaign.id, decision_id=decision_id)
    number = draw_number(campaign.id, decision_id)
    index = draw(choice.pmf, number)
    decision = Decision(
        id=decision_id,
        campaign=request.campaign,
        action=eligible.action(index),
        propensity=float(choice.pmf[index]),
        policy=choice.policy,
        model_version=0 if model is None else model.version,
        decided_at=now,
        reward_deadline=now + campaign.reward.window_hours * HOUR,
        reason=_reason(live, choice.policy, eligible, index),
    )
    return DecisionRecord(
        decision=decision,
        campaign_version=live.version,
        request=request,
        eligible=eligible,
        shared_line=shared,
        action_lines=actions,
        pmf=choice.pmf,
        action_index=index,
        draw_number=number,
        history_features=history_features,
        learned_pmf=choice.learned_pmf,
    )


def check_drawn(record: DecisionRecord) -> None:
    """Raises InvalidPropensity unless what is answered was drawn, with the probability that is logged."""
    decision, index = record.decision, record.action_index
    if decision.propensity != record.pmf[index]:
        raise InvalidPropensity(
            f"propensity: {decision.propensity!r} is not the entry {float(record.pmf[index])!r} of the pmf at {index}"
        )
    if decision.action != record.eligible.action(index):
        raise InvalidPropensity(f"action: {decision.action} is not the one that was drawn, at {index} of the pmf")


def action_lines(campaign: Campaign, eligible: EligibleSet, history: History, now: datetime) -> ActionLines:
    """The lines that the model sees of the eligible actions, including when this user last got each content."""
    candidates = eligible.candidates
    return ActionLines(
        channels=channel_lines(candidates.channels),
        contents=_content_lines(candidates.contents, history, now),
        times=time_lines(candidates.times, now, horizon_hours=campaign.horizon_hours),
        mask=eligible.cells.mask,
    )


def _content_lines(contents: tuple[Content, ...], history: History, now: datetime) -> tuple[str, ...]:
    if not history.sends:
        return new_content_lines(contents)
    since = history.days_since_contents(now)
    since_kind = history.days_since_kinds(now)
    return tuple([content_line(one, since.get(one.id), since_kind.get(content_kind(one))) for one in contents])


def content_kind(content: Content) -> str | None:
    """The kind of a content: its feature "kind" if that is text."""
    kind = content.features.get("kind")
    return kind if isinstance(kind, str) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The policy that decides, and its pmf."""

    policy: Policy
    pmf: Pmf  # shape (1 + eligible actions,), silence first
    learned_pmf: Pmf | None = None  # in shadow mode: what the learned policy would have drawn from


def choose_policy(
    live: LiveCampaign, user: UserId, eligible: EligibleSet, shared: str, actions: ActionLines, model: Model | None
) -> Choice:
    """The policy that decides for this user, over a new eligible set or one that was read from a log."""
    campaign, size = live.document, len(eligible)
    if live.paused:
        return Choice(policy=Policy.FALLBACK, pmf=one_hot(size, 0))
    policy = assigned_policy(campaign, user)
    if policy is Policy.NO_SEND_HOLDOUT:
        return Choice(policy=policy, pmf=one_hot(size, 0))
    if policy is Policy.UNIFORM_HOLDOUT:
        return Choice(policy=policy, pmf=uniform(size))
    learned = _learned_pmf(campaign, shared, actions, model)
    if policy is Policy.BASELINE:
        return Choice(policy=policy, pmf=one_hot(size, baseline_index(campaign, eligible)), learned_pmf=learned)
    if learned is None:
        return Choice(policy=Policy.FALLBACK, pmf=one_hot(size, baseline_index(campaign, eligible)))
    return Choice(policy=policy, pmf=learned)


def _learned_pmf(campaign: Campaign, shared: str, actions: ActionLines, model: Model | None) -> Pmf | None:
    if model is None:
        return None
    try:
        return with_floor(model.predictor.predict(shared, actions), campaign.policy.floor)
    except InvalidPropensity as error:
        # The caller gets a fallback, marked as such; the log has the reason for the operator.
        log.error("model_unusable", campaign=campaign.id, model_version=model.version, error=str(error))
        return None


def _reason(live: LiveCampaign, policy: Policy, eligible: EligibleSet, index: int) -> Reason | None:
    if index != 0:
        return None
    if live.paused:
        return Reason.PAUSED
    if policy is Policy.NO_SEND_HOLDOUT:
        return Reason.HOLDOUT
    return Reason.NO_ELIGIBLE_ACTION if len(eligible) == 1 else Reason.POLICY
