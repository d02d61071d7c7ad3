"""The decision core, without I/O, against predicting the very same examples from text."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median
from time import perf_counter

import numpy as np

from api.edge.payloads import parse_decide
from bandit.campaign.document import Campaign
from bandit.decide.decision import DecisionRecord, LiveCampaign, Model, decide
from bandit.decide.exploration import with_floor
from bandit.decide.history import History
from bandit.domain import DecideRequest, DecisionId
from bandit.engine.load import learner_of
from bandit.engine.vw import Engine, Label
from bandit.ids import new_decision_id
from benchmarks import scenario
from benchmarks.measure import Bar, Figure, Run, interleaved, ratio_figure

BETWEEN_DECISIONS = timedelta(seconds=1)
LESSONS = 600


def core(run: Run) -> list[Figure]:
    bench = Bench.of(scenario.campaign(), size=150 if run.quick else scenario.POPULATION)
    decided, text = interleaved(bench.decide_window, bench.predict_window_from_text, run.pairs)
    facts = {
        "actions": scenario.ACTIONS,
        "core, µs a decision": 1e6 * median(decided),
        "from text, µs a decision": 1e6 * median(text),
    }
    what = "decision core without I/O, 73 actions, against predicting the same examples from text"
    return [ratio_figure("core", what, Bar(least=4.0), over=text, under=decided, facts=facts)]


@dataclass(slots=True, kw_only=True)
class Bench:
    """Users about whom a trained model decides, window after window, while the clock moves."""

    live: LiveCampaign
    asked: Sequence[tuple[DecideRequest, History, DecisionId]]
    model: Model
    engine_from_text: Engine
    now: datetime = scenario.START
    records: list[DecisionRecord] = field(default_factory=list)  # of the last window

    @classmethod
    def of(cls, campaign: Campaign, *, size: int) -> "Bench":
        """The users, and an engine that has learned something."""
        live = LiveCampaign(document=campaign, version=1, paused=False)
        luck = random.Random(1)
        asked = [
            (
                parse_decide(body),
                scenario.history(number, campaign),
                new_decision_id(scenario.START, luck.randbytes),
            )
            for number, body in enumerate(scenario.decide_bodies(range(size), campaign.id))
        ]
        taught = Engine(campaign.engine_arguments)
        bench = cls(
            live=live,
            asked=asked,
            model=Model(version=0, predictor=learner_of(campaign.learner_arguments)),
            engine_from_text=taught,
        )
        bench.decide_window()
        _teach(taught, bench.records, luck)
        learned = taught.to_bytes()
        bench.model = Model(version=1, predictor=learner_of(campaign.engine_arguments, learned))
        bench.engine_from_text = Engine(campaign.engine_arguments, learned)
        return bench

    def decide_window(self) -> float:
        """Seconds a decision."""
        live, model, now = self.live, self.model, self.now
        records = []
        start = perf_counter()
        for request, history, decision_id in self.asked:
            records.append(decide(live, request, history, model, decision_id=decision_id, now=now))
            now += BETWEEN_DECISIONS
        seconds = perf_counter() - start
        self.now, self.records = now, records
        return seconds / len(self.asked)

    def predict_window_from_text(self) -> float:
        """Seconds a decision; the pmfs are those of the last window, exactly."""
        groups = [[record.shared_line, *record.action_lines.joined()] for record in self.records]
        predict: Callable[[list[str]], list[float]] = self.engine_from_text._opened().predict
        start = perf_counter()
        answers = [predict(group) for group in groups]
        seconds = perf_counter() - start
        for record, answer in zip(self.records, answers, strict=True):
            self._check(record, answer)
        return seconds / len(groups)

    def _check(self, record: DecisionRecord, answer: list[float]) -> None:
        document = self.live.document
        everything = 1 + 12 * len(document.contents)
        if len(record.pmf) != everything:
            raise AssertionError(f"{len(record.pmf)} of {everything} actions were eligible")
        if not np.array_equal(record.pmf, with_floor(answer, document.policy.floor)):
            raise AssertionError(f"decision {record.decision.id}: its pmf is not the one predicted from text")


def _teach(engine: Engine, records: Sequence[DecisionRecord], luck: random.Random) -> None:
    for lesson in range(LESSONS):
        record = records[lesson % len(records)]
        reward = luck.choice((0.0, 0.0, 0.0, 1.0)) - 0.01
        label = Label(action_index=record.action_index, reward=reward, propensity=record.decision.propensity)
        engine.learn(record.shared_line, record.action_lines.joined(), label)
