"""A baseline in place of the service: the same histories, rules and rewards, by the service's own functions."""

from collections.abc import Sequence
from datetime import datetime

from bandit.campaign.document import Campaign
from bandit.campaign.rewards import reward_of
from bandit.decide.eligibility import eligible_set
from bandit.sendtimes import zone
from bandit.wire.feedback import FeedbackAnswer, event_of
from bandit.wire.request import request_of
from sim.baselines.protocol import Baseline, Opportunity, Outcome
from sim.contest.drive import played
from sim.contest.ledger import Ledger, Made
from sim.world.world import Document


class Playing:
    """Decides and accepts feedback for a baseline, which learns rewards exactly when the service's learner would."""

    def __init__(self, baseline: Baseline, campaign: Campaign, *, learn_every: int) -> None:
        """
        Args:
            learn_every: decisions between two calls of `learn`.
        """
        self._baseline = baseline
        self._campaign = campaign
        self._learn_every = learn_every
        self._made = 0
        self._passes = 0
        self._since_pass = 0
        self._ledger: Ledger[Opportunity] = Ledger(campaign)

    def decide_batch(self, requests: Sequence[Document]) -> list[Document]:
        """One decision per request, in order; each sees the sends of those before it."""
        answers = [self._decide(document) for document in requests]
        self._since_pass += len(answers)
        if self._since_pass >= self._learn_every:
            self._since_pass = 0
            self._learn(datetime.fromisoformat(requests[-1]["now"]))
        return answers

    def feedback_batch(self, events: Sequence[Document]) -> list[Document]:
        """One status per event, in order."""
        return [FeedbackAnswer(status=self._ledger.take(event_of(event, None))).sent() for event in events]

    def _decide(self, document: Document) -> Document:
        request = request_of(document)
        now, user = datetime.fromisoformat(document["now"]), request.user
        history = self._ledger.history(user.id, now)
        eligible = eligible_set(self._campaign, request, history, now=now, local=zone(user.timezone))
        opportunity = Opportunity(number=self._made, user=user, now=now, history=history, eligible=eligible)
        place = self._baseline.choose(opportunity)
        made = Made(id=f"d-{self._made}", user=user.id, now=now, eligible=eligible, place=place, seen=opportunity)
        self._made += 1
        self._ledger.note(made)
        return played(made.id, eligible.action(place), model_version=self._passes)

    def _learn(self, now: datetime) -> None:
        """Passes final rewards to the baseline; later events are ignored."""
        self._baseline.learn([self._outcome(made) for made in self._ledger.close(now)])
        self._passes += 1

    def _outcome(self, made: Made[Opportunity]) -> Outcome:
        reward = reward_of(self._campaign, made.channel, made.events)
        return Outcome(opportunity=made.seen, place=made.place, reward=reward)
