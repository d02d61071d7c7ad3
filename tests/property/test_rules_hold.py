"""No decision breaks a rule: each is compared with an oracle that takes the contract's words one action at a time."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from itertools import combinations, product
from math import fsum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandit.campaign.document import Cap, QuietHoursDocument
from bandit.decide import eligibility
from bandit.decide.decision import DecisionRecord, LiveCampaign, Model, Predictor, decide
from bandit.decide.eligibility import MAX_ACTIONS
from bandit.decide.history import History, Send
from bandit.domain import SILENCE, Action, Content, DecisionId, Policy, Reason
from bandit.engine.explorers import engine_arguments
from bandit.engine.learner import OnlineLearner
from bandit.engine.load import learner_of
from bandit.sendtimes import QuietHours
from tests.support.builders import MORNING, campaign, request
from tests.support.predictors import FakePredictor
from tests.support.strategies import Situation, content_names, local_hours_ahead, situations, zone_of

seeded = settings(derandomize=True, deadline=None, max_examples=500, print_blob=True)
sparing = settings(seeded, max_examples=100)

EAGER = FakePredictor(silence=1e-9)


# --- the oracle: what the contract says, one action at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One action that a rule is asked about."""

    channel: str
    content: str
    documents: tuple[Content, ...]  # what the catalogue says of the content, and what the request does
    send_at: datetime

    @property
    def action(self) -> Action:
        return Action(channel=self.channel, content=self.content, send_at=self.send_at)


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


def proposals(at: Situation) -> list[Proposal]:
    """Channels x contents x times, whatever the rules say."""
    times = at.campaign.send_times
    ahead = local_hours_ahead(at.zone, times.local_hours, at.now, at.campaign.horizon_hours)
    instants = [at.now, *ahead] if times.allow_now else ahead
    return [
        Proposal(channel=channel, content=content, documents=documents_of(at, content), send_at=send_at)
        for channel, content, send_at in product(at.campaign.channels, content_names(at.campaign, at.request), instants)
    ]


def documents_of(at: Situation, content: str) -> tuple[Content, ...]:
    """A request's content that the catalogue has as well is under the rules of both."""
    brought = [one for one in at.request.contents or () if isinstance(one, Content)]
    listed = [one.to_domain() for one in at.campaign.contents]
    return tuple(one for one in (*brought, *listed) if one.id == content)


def unreachable(at: Situation, one: Proposal) -> bool:
    """user.channels: channels this user can be reached on and has consented to; absent means every channel."""
    return at.request.user.channels is not None and one.channel not in at.request.user.channels


def not_for_channel(_: Situation, one: Proposal) -> bool:
    """channels: optional; default: every channel."""
    return any(each.channels is not None and one.channel not in each.channels for each in one.documents)


def expired(_: Situation, one: Proposal) -> bool:
    """Not sent at or after expires_at."""
    return any(each.expires_at is not None and not one.send_at < each.expires_at for each in one.documents)


def repeated(at: Situation, one: Proposal) -> bool:
    """repeat_after_hours: not again to the same user sooner."""
    distances = [each.repeat_after_hours for each in one.documents if each.repeat_after_hours is not None]
    return any(
        send.content == one.content and abs(send.send_at - one.send_at) < hours(distance)
        for send, distance in product(at.history.sends, distances)
    )


def quiet(at: Situation, one: Proposal) -> bool:
    """Local time, the campaign's window and the user's own; start > end crosses midnight."""
    wall = one.send_at.astimezone(at.zone).time()
    document = at.campaign.send_times.quiet_hours
    windows = []
    if isinstance(document, QuietHoursDocument):
        windows.append((time.fromisoformat(document.start), time.fromisoformat(document.end)))
    own = at.request.user.quiet_hours
    windows += [] if own is None else [(own.start, own.end)]
    return any(in_window(wall, start, end) for start, end in windows)


def in_window(wall: time, start: time, end: time) -> bool:
    if start > end:
        return not end <= wall < start
    return start <= wall < end


def too_close(at: Situation, one: Proposal) -> bool:
    """min_gap_hours, over all channels."""
    gap = at.campaign.caps.min_gap_hours
    return gap is not None and any(abs(send.send_at - one.send_at) < hours(gap) for send in at.history.sends)


def over_cap(at: Situation, one: Proposal) -> bool:
    """At most so many sends in any rolling window, over all channels."""
    return overfills(at.campaign.caps.cap, one.send_at, [send.send_at for send in at.history.sends])


def over_channel_cap(at: Situation, one: Proposal) -> bool:
    """At most so many sends on this channel in any rolling window."""
    sent = [send.send_at for send in at.history.sends if send.channel == one.channel]
    return overfills(at.campaign.channels[one.channel].cap, one.send_at, sent)


def overfills(cap: Cap | None, send_at: datetime, sent: Sequence[datetime]) -> bool:
    """Whether some window (end - hours, end] that holds the new send holds more than the cap allows.

    The fullest windows end at a send.
    """
    if cap is None:
        return False
    together = [*sent, send_at]
    window = hours(cap.hours)
    return any(
        end - window < send_at <= end and sum(end - window < other <= end for other in together) > cap.count
        for end in together
    )


# In the order in which a blocked action is put down to one of them.
RULES: Mapping[str, Callable[[Situation, Proposal], bool]] = {
    "unreachable": unreachable,
    "content_channel": not_for_channel,
    "expired": expired,
    "repeat": repeated,
    "quiet_hours": quiet,
    "min_gap": too_close,
    "cap": over_cap,
    "channel_cap": over_channel_cap,
}


def blocking_rule(at: Situation, one: Proposal) -> str | None:
    return next((name for name, blocks in RULES.items() if blocks(at, one)), None)


# --- decisions


def decision(at: Situation, predictor: Predictor, *, number: int = 0) -> DecisionRecord:
    live = LiveCampaign(document=at.campaign, version=1, paused=False)
    model = Model(version=1, predictor=predictor)
    return decide(live, at.request, at.history, model, decision_id=DecisionId(f"d{number}"), now=at.now)


def assert_set_is_the_oracles(at: Situation, record: DecisionRecord) -> None:
    eligible = record.eligible
    everything = proposals(at)
    rules = {one.action: blocking_rule(at, one) for one in everything}
    allowed = [action for action, rule in rules.items() if rule is None]
    assert [eligible.action(place) for place in range(len(eligible))] == [SILENCE, *allowed]

    blocked = {rule: one.number for rule, one in eligible.cells.blocked}
    assert blocked == Counter(rule for rule in rules.values() if rule is not None)
    assert len(allowed) + sum(blocked.values()) == len(everything) <= MAX_ACTIONS

    examples = {rule: eligible.candidates.action(one.example) for rule, one in eligible.cells.blocked}
    by_action = {one.action: one for one in everything}
    assert all(RULES[rule](at, by_action[example]) for rule, example in examples.items())
    assert examples == {rule: next(one for one in rules if rules[one] == rule) for rule in blocked}


def assert_pmf_is_the_one_drawn_from(at: Situation, record: DecisionRecord) -> None:
    pmf, made = record.pmf, record.decision
    assert pmf.shape == (len(record.eligible),)
    assert abs(fsum(pmf) - 1.0) <= 1e-9
    assert made.policy is Policy.LEARNED
    assert pmf.min() >= at.campaign.policy.floor / pmf.size

    assert made.action == record.eligible.action(record.action_index)
    assert made.propensity == pmf[record.action_index]
    assert 0 < made.propensity <= 1
    below = fsum(pmf[: record.action_index])
    assert below - 1e-9 <= record.draw_number <= below + made.propensity + 1e-9
    if pmf.size == 1:
        assert (made.propensity, made.reason) == (1.0, Reason.NO_ELIGIBLE_ACTION)
    else:
        assert (made.reason is None) == made.action.send


@seeded
@given(situations())
def test_the_eligible_set_is_exactly_what_the_contract_allows(at: Situation) -> None:
    record = decision(at, FakePredictor())

    assert_set_is_the_oracles(at, record)
    assert_pmf_is_the_one_drawn_from(at, record)


@pytest.fixture(scope="module", params=["squarecb", "cover"])
def learner(request: pytest.FixtureRequest) -> Iterator[OnlineLearner]:
    with learner_of(engine_arguments({"explorer": request.param}, floor=0.02)) as learner:
        yield learner


@sparing
@given(situations())
def test_the_engines_pmf_covers_exactly_the_eligible_set(learner: OnlineLearner, at: Situation) -> None:
    record = decision(at, learner)

    assert_set_is_the_oracles(at, record)
    assert_pmf_is_the_one_drawn_from(at, record)


# --- many decisions about one user

pauses = st.lists(st.integers(0, 60), min_size=29, max_size=29)  # quarters of an hour


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A send, and the situation in which it was decided."""

    at: Situation
    send: Send


def decide_in_a_row(start: Situation, pauses: Sequence[int]) -> list[Sent]:
    """The sends of a user who is decided about again after each pause, each decision seeing those before it."""
    log: list[Sent] = []
    at = start
    for number, pause in enumerate((0, *pauses)):
        at = replace(at, now=at.now + pause * timedelta(minutes=15))
        send = decision(at, EAGER, number=number).reserved_send
        if send is not None:
            log.append(Sent(at=at, send=send))
            at = replace(at, history=at.history.with_send(send))
    return log


def assert_log_keeps_the_rules(log: Sequence[Sent]) -> None:
    for one in log:
        alone = replace(one.at, history=History())
        action = Action(channel=one.send.channel, content=one.send.content, send_at=one.send.send_at)
        (proposal,) = [each for each in proposals(alone) if each.action == action]
        assert blocking_rule(alone, proposal) is None
        assert one.at.now <= one.send.send_at <= one.at.now + hours(one.at.campaign.horizon_hours)
    for one, other in combinations(log, 2):
        apart = abs(one.send.send_at - other.send.send_at)
        assert apart >= hours(one.at.campaign.caps.min_gap_hours or 0.0)
        if one.send.content == other.send.content:
            documents = documents_of(one.at, one.send.content)
            assert all(apart >= hours(each.repeat_after_hours or 0.0) for each in documents)
    if log:
        document = log[0].at.campaign
        assert_windows_hold([one.send.send_at for one in log], document.caps.cap)
        for name, channel in document.channels.items():
            assert_windows_hold([one.send.send_at for one in log if one.send.channel == name], channel.cap)


def assert_windows_hold(sent: Sequence[datetime], cap: Cap | None) -> None:
    """Every window that starts or ends at a send, open at the one end and at the other."""
    if cap is not None:
        window = hours(cap.hours)
        for edge in sent:
            assert sum(edge - window < one <= edge for one in sent) <= cap.count
            assert sum(edge <= one < edge + window for one in sent) <= cap.count


@sparing
@given(situations(with_past=False), pauses)
def test_thirty_decisions_in_a_row_keep_every_rule_over_the_whole_log(at: Situation, pauses: list[int]) -> None:
    assert_log_keeps_the_rules(decide_in_a_row(at, pauses))


# --- red twins: one rule off, and what stands above fails


def never(*_: Any) -> bool:
    return False


def nothing(*_: Any) -> None:
    return None


def nowhere(places: Sequence[object], *_: Any) -> tuple[None, ...]:
    return (None,) * len(places)


def nowhere_for_content(_: object, times: Sequence[object], *__: Any) -> tuple[None, ...]:
    return (None,) * len(times)


def sent(channel: str = "push", content: str = "streak", *, hours_ago: float) -> Send:
    return Send(
        decision_id=f"past-{hours_ago}", channel=channel, content=content, kind=None, send_at=MORNING - hours(hours_ago)
    )


def situation(*past: Send, changes: Mapping[str, Any] | None = None, **asked: Any) -> Situation:
    return Situation(
        campaign=campaign(**(changes or {})),
        request=request(**asked),
        history=History(sends=past),
        now=MORNING,
        zone=zone_of("UTC"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """A rule, how it is switched off, and a situation in which it alone matters."""

    rule: str
    defence: str
    without: Callable[..., Any]
    at: Situation


TWINS = [
    Twin(
        rule="quiet_hours",
        defence="_quiet_rules",
        without=nowhere,
        at=situation(changes={"send_times": {"quiet_hours": {"start": "18:00", "end": "08:00"}}}),
    ),
    Twin(
        rule="quiet_hours",
        defence="_quiet_rules",
        without=nowhere,
        at=situation(quiet_hours=QuietHours(start=time(9), end=time(9, 1))),
    ),
    Twin(
        rule="cap",
        defence="reaches_cap",
        without=never,
        at=situation(sent(hours_ago=20), changes={"caps": {"count": 1, "hours": 24}}),
    ),
    Twin(
        rule="channel_cap",
        defence="_channel_time_rules",
        without=nothing,
        at=situation(sent(hours_ago=20), changes={"channels": {"push": {"cap": {"count": 1, "hours": 24}}}}),
    ),
    Twin(
        rule="min_gap",
        defence="_too_close",
        without=lambda times, *_: (False,) * len(times),
        at=situation(sent(hours_ago=1), changes={"caps": {"min_gap_hours": 4}}),
    ),
    Twin(
        rule="repeat",
        defence="_content_rules",
        without=nowhere_for_content,
        at=situation(sent(hours_ago=20), changes={"contents": [{"id": "streak", "repeat_after_hours": 24}]}),
    ),
    Twin(
        rule="expired",
        defence="_content_rules",
        without=nowhere_for_content,
        at=situation(changes={"contents": [{"id": "streak", "expires_at": "2026-03-02T12:00:00Z"}]}),
    ),
    Twin(rule="unreachable", defence="_channel_rules", without=nowhere, at=situation(channels=["email"])),
    Twin(
        rule="content_channel",
        defence="_offer_rules",
        without=nothing,
        at=situation(changes={"contents": [{"id": "streak", "channels": ["push"]}]}),
    ),
]


def test_every_rule_has_a_twin() -> None:
    assert {twin.rule for twin in TWINS} == RULES.keys()


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.rule)
def test_with_a_rule_switched_off_the_oracle_objects(twin: Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = decision(twin.at, FakePredictor())
    assert [rule for rule, _ in kept.eligible.cells.blocked] == [twin.rule]
    assert_set_is_the_oracles(twin.at, kept)

    monkeypatch.setattr(eligibility, twin.defence, twin.without)
    broken = decision(twin.at, FakePredictor())
    assert len(broken.eligible) > len(kept.eligible)
    with pytest.raises(AssertionError):
        assert_set_is_the_oracles(twin.at, broken)


@pytest.mark.parametrize(
    ("defence", "without", "changes"),
    [
        ("reaches_cap", never, {"caps": {"count": 2, "hours": 24}}),
        ("reaches_cap", never, {"channels": {"push": {"cap": {"count": 1, "hours": 24}}}}),
        ("_too_close", lambda times, *_: (False,) * len(times), {"caps": {"min_gap_hours": 4}}),
    ],
)
def test_with_a_rule_switched_off_the_log_of_thirty_decisions_breaks_it(
    defence: str, without: Callable[..., Any], changes: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    at, pauses = situation(changes=changes), [8] * 29
    assert_log_keeps_the_rules(decide_in_a_row(at, pauses))

    monkeypatch.setattr(eligibility, defence, without)
    with pytest.raises(AssertionError):
        assert_log_keeps_the_rules(decide_in_a_row(at, pauses))


def test_a_check_of_the_past_window_alone_would_overfill_one_that_holds_sends_reserved_ahead() -> None:
    ahead = [MORNING + hours(number) for number in (3, 9)]
    cap = Cap(count=2, hours=24.0)

    assert not sum(MORNING - hours(24) < one <= MORNING for one in ahead)
    assert overfills(cap, MORNING, ahead)
    assert eligibility.reaches_cap(MORNING, ahead, cap)


def test_the_oracles_clock_is_read_not_computed() -> None:
    spring_forward = datetime(2026, 3, 8, 5, tzinfo=UTC)  # midnight in New York; 02:00 does not exist that day
    found = local_hours_ahead(zone_of("America/New_York"), (1, 2, 3), spring_forward, 12.0)
    assert found == [datetime(2026, 3, 8, hour, tzinfo=UTC) for hour in (6, 7)]
