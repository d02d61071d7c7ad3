"""The alarm rings soon after the level of rewards has fallen, says where, and hardly ever for nothing."""

from collections.abc import Iterable
from itertools import repeat
from math import exp, expm1, log

import numpy as np
import pytest
from scipy.optimize import brentq

from bandit.learn import fall as alarms
from bandit.learn.fall import FIRST, LIMIT, MEMORY, MOST, SLACK, FallDetector, Seen
from bandit.learn.labels import Reason, Refused
from bandit.learn.teach import Progress

CLICKED, OPT_OUT = 1.0, -5.0
QUIET = 100_000  # rewards of each kind that must leave it silent
TOO_MUCH = 2.0  # expected by a model that knows nothing: the level alone decides


def seen(seq: int, reward: float, *, document: int = 1, expected: float = TOO_MUCH) -> Seen:
    return Seen(seq=seq, document=document, reward=float(reward), expected=float(expected))


class Watch:
    """A detector that watches rewards one after the other."""

    def __init__(self) -> None:
        self.detector = FallDetector()

    def rings(self, seen: Seen, unit: float = CLICKED) -> bool:
        self.detector = self.detector.after(seen, unit)
        return self.detector.found


def first_ring(
    rewards: Iterable[float], watch: Watch | None = None, expected: Iterable[float] | None = None
) -> int | None:
    """Number of the reward at which the alarm rings; the first has the number 1."""
    watched, thought = watch or Watch(), repeat(TOO_MUCH) if expected is None else expected
    pairs = enumerate(zip(rewards, thought, strict=False), start=1)
    return next((seq for seq, (one, of) in pairs if watched.rings(seen(seq, one, expected=of))), None)


def clicks(rng: np.random.Generator, rate: float, number: int) -> list[float]:
    return [float(one) for one in CLICKED * (rng.random(number) < rate)]


@pytest.mark.parametrize(("before", "after", "soon"), [(0.45, 0.15, 250), (0.35, 0.15, 500), (0.8, 0.3, 120)])
def test_it_rings_soon_after_a_fall_and_says_where_it_began(before: float, after: float, soon: int) -> None:
    rng, alarm, fall = np.random.default_rng(1), Watch(), 4_000
    rang_at = first_ring([*clicks(rng, before, fall), *clicks(rng, after, 2_000)], alarm)
    assert rang_at is not None
    assert fall < rang_at <= fall + soon
    assert abs(alarm.detector.since - fall) < 100


@pytest.mark.parametrize("rate", [0.005, 0.05, 0.3, 0.7, 0.99])
def test_it_is_silent_while_nothing_changes(rate: float) -> None:
    assert first_ring(clicks(np.random.default_rng(2), rate, QUIET)) is None


def test_a_rare_event_that_costs_ten_times_as_much_does_not_ring_it() -> None:
    rng = np.random.default_rng(3)
    drawn = rng.random(QUIET)
    assert first_ring(np.where(drawn < 0.003, OPT_OUT, np.where(drawn < 0.3, CLICKED, 0.0))) is None


def test_what_opt_outs_cost_does_not_hide_a_fall() -> None:
    rng = np.random.default_rng(8)
    rewards = np.array([*clicks(rng, 0.4, 4_000), *clicks(rng, 0.25, 4_000)])
    leaves = rng.random(len(rewards)) < 0.003
    assert first_ring(np.where(leaves, OPT_OUT, rewards)) is not None
    heavy = Watch()  # the red twin: each counted as what it costs
    assert not any(
        heavy.rings(seen(seq, reward), -OPT_OUT) for seq, reward in enumerate(np.where(leaves, OPT_OUT, rewards))
    )


def test_its_limit_keeps_false_alarms_to_one_in_a_million_by_bennetts_inequality() -> None:
    def excess(t: float) -> float:
        return expm1(t * SLACK) - (exp(t * MOST) - 1 - t * MOST) / MOST**2

    rate = brentq(excess, 1e-3, 5.0)
    assert exp(rate * LIMIT) >= 1e6
    assert pytest.approx(log(1e6) / rate, rel=0.01) == LIMIT


def test_a_slow_fall_is_followed_and_not_noticed() -> None:
    rng = np.random.default_rng(4)
    rates = np.linspace(0.5, 0.1, 20 * MEMORY)  # to a fifth
    assert first_ring(rng.random(len(rates)) < rates) is None


def test_a_level_that_grows_does_not_ring_it() -> None:
    rng = np.random.default_rng(5)
    assert first_ring([*clicks(rng, 0.1, 4_000), *clicks(rng, 0.6, 4_000)]) is None


def test_the_level_is_taken_anew_with_another_version_of_the_campaign() -> None:
    rng, alarm = np.random.default_rng(6), Watch()
    assert first_ring(clicks(rng, 0.8, 2 * FIRST), alarm) is None
    later = clicks(rng, 0.1, 2 * FIRST)  # what a click is worth may have changed with it
    assert not any(alarm.rings(seen(2 * FIRST + place, reward, document=2)) for place, reward in enumerate(later))


def test_nothing_that_never_varies_rings_it() -> None:
    assert first_ring([0.3] * 5_000) is None


def test_written_down_and_read_again_at_any_place_it_is_the_same() -> None:
    rng = np.random.default_rng(7)
    rewards = [*clicks(rng, 0.5, 2_000), *clicks(rng, 0.2, 1_000)]
    whole, cut = Watch(), Watch()
    for seq, reward in enumerate(rewards, start=1):
        if seq % 7 == 0:
            cut.detector = FallDetector.from_text(cut.detector.to_text())
        assert cut.rings(seen(seq, reward)) == whole.rings(seen(seq, reward))
    assert cut.detector == whole.detector
    assert whole.detector.fallen > LIMIT


def test_a_version_from_before_there_was_an_alarm_has_a_new_one() -> None:
    assert FallDetector.from_text(None) == FallDetector()


KEEN, SHY = 0.5, 0.1  # how often users of two kinds click; the scheduler asks about all of the keen ones first
BATCH = 4_000  # decisions of each kind in turn


def in_batches(rng: np.random.Generator, batches: int) -> tuple[list[float], list[float]]:
    """Rewards, and what a model that knows the kinds expects of them."""
    rates = [rate for _ in range(batches) for rate in [KEEN] * BATCH + [SHY] * BATCH]
    return [float(one) for one in rng.random(len(rates)) < rates], rates


def test_users_of_whom_less_is_expected_do_not_ring_it_when_they_come_together() -> None:
    rewards, rates = in_batches(np.random.default_rng(9), batches=20)
    assert first_ring(rewards, expected=rates) is None


def test_without_what_the_model_expected_they_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarms, "SURE", -np.inf)
    rewards, rates = in_batches(np.random.default_rng(9), batches=20)
    rang_at = first_ring(rewards, expected=rates)
    assert rang_at is not None
    assert rang_at < 2 * BATCH


def outage(rng: np.random.Generator) -> list[float]:
    return [*clicks(rng, 0.4, 4_000), *[0.0] * 3_000, *clicks(rng, 0.4, 20_000)]


def test_feedback_that_stops_coming_does_not_ring_it_nor_does_its_return() -> None:
    assert all(first_ring(outage(np.random.default_rng(seed))) is None for seed in range(20))


def test_without_looking_for_responses_it_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarms, "UNANSWERED", np.inf)
    assert first_ring(outage(np.random.default_rng(0))) is not None


def test_a_change_rings_it_though_the_model_soon_comes_to_expect_less() -> None:
    rng, fall = np.random.default_rng(10), 4_000
    before, after = 0.45, 0.2
    expected = [*repeat(before, fall), *(after + (before - after) * np.exp(-np.arange(2_000) / 100))]
    rang_at = first_ring([*clicks(rng, before, fall), *clicks(rng, after, 2_000)], expected=expected)
    assert rang_at is not None
    assert fall < rang_at < fall + 500


def test_a_label_that_is_read_again_is_not_refused_twice() -> None:
    refused = tuple(Refused(decision_id=str(seq), seq=seq, reason=Reason.REWARD, detail="") for seq in (3, 5, 7))
    progress = Progress(watermark=9, detector=FallDetector(since=5), read=9, learned=6, refused=refused).restarted()
    assert (progress.watermark, progress.learned, progress.restarts, progress.read_before) == (5, 0, 1, 9)
    assert [one.seq for one in progress.refused] == [3, 5]
