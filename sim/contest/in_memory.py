"""The service without its store: the same decisions and the same learning in a fraction of the time.

Eligibility, histories, lines, explorer, floor, draw and the detector of falls are the service's own functions, and the
learner is the very class that serves. Decision ids come from the same entropy, so the draws are those of `InProcess`
too. What is left out changes no decision of a contest: SQL, receipts, idempotency, the canary, and that versions are
stored and loaded. `tests/integration/test_in_memory.py` compares the two, decision by decision.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bandit.campaign.checks import parse_campaign
from bandit.campaign.document import Campaign
from bandit.campaign.rewards import reward_of, worths_of
from bandit.decide.decision import DecisionRecord, LiveCampaign, Model, decide
from bandit.domain import Policy, Reason
from bandit.engine.learner import Lesson, OnlineLearner
from bandit.ids import Entropy, new_decision_id
from bandit.learn.fall import FallDetector, Seen
from bandit.wire.decision import decision_document
from bandit.wire.feedback import FeedbackAnswer, event_of
from bandit.wire.request import request_of
from sim.contest.ledger import Ledger, Made
from sim.world.world import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class _Logged:
    """A closed decision; the lesson is None where there is nothing to learn from it."""

    lesson: Lesson | None
    is_learned_policy: bool


class InMemory:
    """Decides and takes feedback for a learner, which learns exactly when the service's would."""

    def __init__(self, campaign: Campaign, learner: OnlineLearner, *, entropy: Entropy, learn_every: int) -> None:
        """
        Args:
            entropy: of the decision ids, and so of every draw.
            learn_every: decisions between two passes, counted in whole batches as `InProcess` does.
        """
        self.learner = learner
        self.version = 0  # passes in which something had closed
        self.restarts = 0  # falls after which the learner started from nothing
        stored = parse_campaign(campaign.to_json())  # its channels in the store's order, which the draws depend on
        self._live = LiveCampaign(document=stored, version=1, paused=False)
        self._entropy, self._learn_every = entropy, learn_every
        self._since_pass = 0
        self._ledger: Ledger[DecisionRecord] = Ledger(stored)
        self._log: list[_Logged] = []  # in learning order; the place of an event is its sequence number less one
        self._watermark = 0
        self._detector = FallDetector()

    def decide_batch(self, requests: Sequence[Document]) -> list[Document]:
        """One decision per request, in order; each sees the sends of those before it."""
        answers = [decision_document(self._decide(document).decision) for document in requests]
        self._since_pass += len(answers)
        if self._since_pass >= self._learn_every:
            self._since_pass = 0
            self.learn(datetime.fromisoformat(requests[-1]["now"]))
        return answers

    def feedback_batch(self, events: Sequence[Document]) -> list[Document]:
        """One status per event, in order."""
        return [FeedbackAnswer(status=self._ledger.take(event_of(event, None))).sent() for event in events]

    def learn(self, now: datetime) -> None:
        """One pass over what has closed by now."""
        closed = self._ledger.close(now)
        self._log += [self._logged(made) for made in closed]
        while self._watermark < len(self._log):
            logged = self._log[self._watermark]
            self._watermark += 1
            if logged.lesson is not None:
                self._detector = self._taught(logged.lesson, logged.is_learned_policy)
            if self._detector.found:
                self.learner.forget_learned()
                self.restarts += 1
                self._watermark, self._detector = self._detector.since, FallDetector()
        self.version += bool(closed)

    def _decide(self, document: Document) -> DecisionRecord:
        request, now = request_of(document), datetime.fromisoformat(document["now"])
        record = decide(
            self._live,
            request,
            self._ledger.history(request.user.id, now),
            Model(version=self.version, predictor=self.learner),
            decision_id=new_decision_id(now, self._entropy),
            now=now,
        )
        self._ledger.note(
            Made(
                id=record.decision.id,
                user=request.user.id,
                now=now,
                eligible=record.eligible,
                place=record.action_index,
                seen=record,
            )
        )
        return record

    def _logged(self, made: Made[DecisionRecord]) -> _Logged:
        record, decision = made.seen, made.seen.decision
        if decision.policy is Policy.FALLBACK or decision.reason is Reason.NO_ELIGIBLE_ACTION:
            return _Logged(lesson=None, is_learned_policy=False)
        campaign = self._live.document
        lesson = Lesson(
            shared=record.shared_line,
            actions=record.action_lines,
            action_index=record.action_index,
            propensity=decision.propensity,
            reward=reward_of(campaign, made.channel, made.events),
            events=worths_of(campaign, made.events),
        )
        return _Logged(lesson=lesson, is_learned_policy=decision.policy is Policy.LEARNED)

    def _taught(self, lesson: Lesson, is_learned_policy: bool) -> FallDetector:
        """The detector of falls after this lesson, which is learned."""
        expected = self.learner.expected(lesson.shared, lesson.actions, lesson.action_index)
        self.learner.learn(lesson)
        if self.learner.follows_changes or not is_learned_policy or expected is None:
            return self._detector
        seen = Seen(seq=self._watermark, document=self._live.version, reward=lesson.reward, expected=expected)
        return self._detector.after(seen, self._live.document.reward.unit)
