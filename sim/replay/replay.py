"""Replay of a randomised log through the service: what it would have learned and earned.

This is the method of Li et al. (2011). Each row's user is offered the arms of the trial. If the service chooses the arm
that the trial chose, the trial's outcome comes back as feedback. Otherwise the row is skipped: the decision is
cancelled, so that it is not learned and its slot is free again. Because the trial drew its arm independently of the
user, the rows that count have the same distribution of users as the log, and the arms of the service.

This is true if every arm had the same probability. If not, a matching row counts only with probability p_min / p(arm),
by a coin that is independent of the outcome: then each arm counts equally often, p_min of the time.

There are two limits. The service's history of a user has only the rows that counted, a share of about p_min of real
use. And a user's later days followed the trial's arm, not the service's. Nothing here is a copy of the service: decide,
store, feedback, learn and publish are the functions that serve.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bandit.decide.decision import DecisionRecord
from bandit.domain import DecideRequest, Delivery, Feedback, FeedbackStatus
from bandit.errors import Conflict, FieldError, InvalidInput, SendoptError
from bandit.serve.decisions import Ask
from bandit.service import Service
from bandit.times import utc_text
from sim.common.means import clustered_mean
from sim.common.progress import ProgressOfTotal
from sim.common.scratch import scratch_service
from sim.replay.datasets import load_drinkless, load_hillstrom
from sim.replay.published_trials import drinkless, hillstrom
from sim.replay.result import ArmInLog, ReplayResult, UsedRow
from sim.replay.trial import RESPONSE_AFTER, Arm, Round, Row, Trial

DATASETS = ("hillstrom", "drinkless")


def replay(
    dataset: str, *, folder: Path | None, seed: int, database_url: str | None, progress: ProgressOfTotal
) -> ReplayResult:
    """The result of replaying a published log; the same for the same seed.

    Args:
        dataset: "hillstrom" or "drinkless".
        folder: folder of the published logs.
        database_url: URL of an empty database, which then keeps everything; None: a temporary database.
        progress: progress callback, called after each round.

    Raises:
        InvalidInput: the dataset is unknown.
        DatasetError: the log is missing or altered.
        Conflict: the database has a campaign already.
    """
    trial = _trial(dataset, folder, seed)
    with scratch_service(database_url, seed) as service:
        return replay_trial(trial, service, seed=seed, progress=progress)


def _trial(dataset: str, folder: Path | None, seed: int) -> Trial:
    if dataset == "hillstrom":
        return hillstrom(load_hillstrom(folder), seed=seed)
    if dataset == "drinkless":
        return drinkless(load_drinkless(folder))
    raise InvalidInput([FieldError(field="dataset", message=f"{dataset!r} is not one of {', '.join(DATASETS)}")])


def replay_trial(trial: Trial, service: Service, *, seed: int, progress: ProgressOfTotal) -> ReplayResult:
    """The result of replaying a trial through a service that has no campaign yet and runs on the request clock.

    Raises:
        Conflict: it has a campaign; a replay moves the clock, so it needs a database of its own.
    """
    existing = service.campaigns.list()
    if existing:
        raise Conflict(
            f"the database has the campaign {existing[0].campaign.id!r}: a replay needs a database without campaigns"
        )
    service.campaigns.put(trial.campaign)
    run = _Run(trial, service, np.random.default_rng([seed, 2]))
    for one in trial.rounds():
        run.play(one)
        progress(run.done, trial.size)
    return ReplayResult(
        dataset=trial.name,
        title=trial.title,
        reward_name=trial.reward_name,
        seed=seed,
        rows_in_log=trial.size,
        arms=tuple(rows.summary(arm) for rows, arm in zip(run.log, trial.arms, strict=True)),
        used=tuple(run.used),
        versions_published=run.published,
    )


class _ArmRows:
    """The rows of one arm in the log, used or not."""

    def __init__(self) -> None:
        self.clusters: list[int] = []
        self.responses: list[float] = []
        self.rewards: list[float] = []

    def add(self, row: Row, reward: float) -> None:
        self.clusters.append(row.cluster)
        self.responses.append(float(row.responded))
        self.rewards.append(reward)

    def summary(self, arm: Arm) -> ArmInLog:
        return ArmInLog(
            name=arm.name,
            sends=arm.content is not None,
            gross=clustered_mean(self.responses, self.clusters),
            net=clustered_mean(self.rewards, self.clusters),
        )


class _Run:
    """One replay and its current state."""

    def __init__(self, trial: Trial, service: Service, coins: np.random.Generator) -> None:
        self.trial = trial
        self.service = service
        self.coins = coins
        self.used: list[UsedRow] = []
        self.log = [_ArmRows() for _ in trial.arms]
        self.done = 0  # rows
        self.published = 0  # models

    def play(self, one: Round) -> None:
        """Decides the rows with the model that serves, reports the outcomes, and runs the learner."""
        outcomes = self.service.decider.decide_many([Ask(request=self._request(row)) for row in one.rows])
        keeps = kept(self.trial, one.rows, self.coins)
        events: list[Feedback] = []
        for row, outcome, keep in zip(one.rows, outcomes, keeps, strict=True):
            self.log[row.arm].add(row, self.trial.reward(row))
            events.extend(self._follow(row, _decided(outcome), keep))
            self.done += 1
        _report(self.service, events)
        self.service.clock.observe(one.learn_at)
        self.published += len(self.service.learner.run_pass().published)
        self.service.models.refresh()

    def _follow(self, row: Row, record: DecisionRecord, keep: bool) -> list[Feedback]:
        """The feedback after a decision: the trial's outcome if the row counts, otherwise `cancelled`."""
        if not keep or record.decision.action.content != self.trial.arms[row.arm].content:
            return [Feedback(decision_id=record.decision.id, event=Delivery.CANCELLED.value, occurred_at=row.at)]
        self.used.append(UsedRow(place=self.done, cluster=row.cluster, arm=row.arm, reward=self.trial.reward(row)))
        return self._response(row, record) if row.responded else []

    def _request(self, row: Row) -> DecideRequest:
        campaign = self.trial.campaign.campaign_id
        return DecideRequest(campaign=campaign, user=row.user, now=row.at, body=_body(campaign, row))

    def _response(self, row: Row, record: DecisionRecord) -> list[Feedback]:
        occurred_at = row.at + RESPONSE_AFTER
        return [Feedback(decision_id=record.decision.id, event=self.trial.event, occurred_at=occurred_at)]


def _body(campaign: str, row: Row) -> str:
    """The request as an HTTP body, for the receipt."""
    user = {"id": row.user.id, "timezone": row.user.timezone, "features": dict(row.user.features)}
    return json.dumps({"campaign": campaign, "user": user, "now": utc_text(row.at)})


def kept(trial: Trial, rows: Sequence[Row], coins: np.random.Generator) -> list[bool]:
    """Whether each row counts if it matches: with probability p_min / p(arm), independent of outcome and choice."""
    lowest = min(arm.probability for arm in trial.arms)
    tosses = coins.random(len(rows))
    return [bool(toss < lowest / trial.arms[row.arm].probability) for toss, row in zip(tosses, rows, strict=True)]


def _decided(outcome: object) -> DecisionRecord:
    if isinstance(outcome, DecisionRecord):
        return outcome
    raise outcome if isinstance(outcome, SendoptError) else SendoptError(f"not a decision: {outcome!r}")


def _report(service: Service, events: Sequence[Feedback]) -> None:
    for status in service.feedback.accept_many(events):
        if isinstance(status, SendoptError):
            raise status
        if status is not FeedbackStatus.ACCEPTED:
            raise SendoptError(f"feedback of the replay was {status.value}: its clock and the database's disagree")
