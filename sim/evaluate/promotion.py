"""Does the challenger earn more than the champion and do no harm? Judged on decisions that neither has learned.

Both aliases go on learning and have soon learned the whole log, and on rows that it was trained on, a model that
learned by heart looks best. So two versions are compared that do not change: challenger and champion as they were when
the comparison began, on the decisions after the watermarks of both. Because the versions are fixed before the
rows arrive, they may be compared as often as one likes: the gate's bound is valid for all these checks together.

The difference in reward is that of paired SNIPS, clustered by user, for which the power of the gate was measured; a
reward model would have to be fitted again at every check. How often a policy sends needs no weights: its pmf says so
in every logged decision. So this difference is that of the pmfs, which is DR with the send itself as the model.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from bandit.campaign.document import Campaign
from bandit.errors import EmptyLog, EstimatesWithheld, InvalidLog
from bandit.serve.campaigns import Campaigns
from bandit.store import models
from bandit.store.models import OK
from bandit.store.pairs import Pair
from bandit.store.sql.database import Store
from sim.common.arrays import Ints
from sim.common.progress import ProgressCallback
from sim.evaluate.draws import ArmDraws
from sim.evaluate.target_names import CampaignTargets
from sim.evaluate.targets import Likelihood, OfCampaign
from sim.logs.event import LoggedEvent
from sim.logs.store import StoreLog
from sim.ope.batch import checked_batch
from sim.ope.comparison import Comparison, comparison_of
from sim.ope.diagnostics import Checks
from sim.ope.gate import (
    LEAST_USERS,
    Evidence,
    Gate,
    Guardrail,
    Promotion,
    decide_promotion,
    evidence_of,
    with_one_more,
)
from sim.ope.groups import HASHED_GROUPS, hashed_groups
from sim.ope.sums import Sums

_SHARE = (0.0, 1.0)  # bounds of an event that happens or does not


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The conditions of a promotion."""

    gate: Gate = field(default_factory=Gate)
    most_more_sends: float = 0.05  # per decision: one more in twenty
    most_more_opt_outs: float = 0.002  # per decision: two more in a thousand


DEFAULT_RULES = Rules()


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The decision about a pair, and its evidence."""

    pair: Pair
    promotion: Promotion
    decisions: int = 0  # that neither version learned from, with final rewards
    reward: Evidence | None = None  # None: the log cannot answer
    guardrails: tuple[Guardrail, ...] = ()
    notes: tuple[str, ...] = ()


def opt_out_events(campaign: Campaign) -> tuple[str, ...]:
    """The events that count as opt-outs: every event with a negative worth in the campaign's reward."""
    return tuple(sorted(event for event, worth in campaign.reward.events.items() if worth < 0.0))


def judge(
    store: Store, campaigns: Campaigns, pair: Pair, *, progress: ProgressCallback, rules: Rules = DEFAULT_RULES
) -> Judgement:
    """Whether the pair's challenger may replace the champion. Reads in short transactions, and changes nothing.

    Raises:
        InvalidLog: a row breaks a rule.
        CorruptModel: a version of the pair does not load.
    """
    refused = _refused(store, pair)
    if refused is not None:
        return _withheld(pair, refused)
    named = CampaignTargets(store=store, campaigns=campaigns, campaign_id=pair.campaign_id)
    reading = _Reading(named.version(pair.challenger), named.version(pair.champion))
    events = opt_out_events(campaigns.get(pair.campaign_id).campaign)
    log = StoreLog(store, campaigns, pair.campaign_id, after=reading.watermark, events=events)
    try:
        reading.read(log, progress)
        return _judged(pair, reading, rules, events)
    except EmptyLog:
        none = "no decision that neither version has learned has a final reward yet"
        return _withheld(pair, f"{none}: decisions of at least {LEAST_USERS} users are needed")
    except EstimatesWithheld as error:
        return _withheld(pair, *error.reasons, decisions=reading.rows)


def _refused(store: Store, pair: Pair) -> str | None:
    """Why the pair cannot be judged at all: a purged version must not win a comparison."""
    with store.read() as connection:
        for version in (pair.challenger, pair.champion):
            row = models.manifest(connection, pair.campaign_id, version)
            if row is None or row.health != OK:
                health = "is no longer stored" if row is None else f"was refused: {row.health}"
                return f"version {version} {health}; the learner's next pass starts another comparison"
    return None


def _withheld(pair: Pair, *reasons: str, decisions: int = 0) -> Judgement:
    promotion = Promotion(promote=False, missing=reasons, more_decisions=None)
    return Judgement(pair=pair, promotion=promotion, decisions=decisions)


def _judged(pair: Pair, reading: "_Reading", rules: Rules, events: Collection[str]) -> Judgement:
    """Raises EstimatesWithheld when the log cannot answer."""
    comparison = reading.of_rewards()
    reward = evidence_of(comparison, "snips")
    guardrails = tuple(reading.guardrails(rules, comparison.diagnostics.ess, with_opt_outs=bool(events)))
    notes = comparison.verdict.notes
    if not events:
        notes = (*notes, "no event has a negative worth in this campaign, so there are no opt-outs to compare")
    return Judgement(
        pair=pair,
        promotion=decide_promotion(rules.gate, reward, guardrails),
        decisions=reading.rows,
        reward=reward,
        guardrails=guardrails,
        notes=notes,
    )


class _Reading:
    """One pass over the log: rewards, sends and opt-outs of both versions."""

    def __init__(self, challenger: OfCampaign, champion: OfCampaign) -> None:
        self.rows = 0
        self.watermark = max(challenger.watermark, champion.watermark)
        self._targets = (challenger, champion)
        self._draws = ArmDraws()

    def read(self, log: StoreLog, progress: ProgressCallback) -> None:
        self._bounds = log.reward_bounds
        self._rewards = _two(self._bounds)
        self._sends = _two(_SHARE, with_model=True)
        self._opt_outs = _two(_SHARE)
        for events in log.batches():
            if events:
                self._add(events)
            progress(self.rows)

    def _add(self, events: Sequence[LoggedEvent]) -> None:
        self.rows += len(events)
        self._draws.add(events)
        groups = hashed_groups(np.array([event.user for event in events], dtype=object))
        for place, target in enumerate(self._targets):
            self._add_target(place, events, [target.likelihood(event) for event in events], groups)

    def _add_target(
        self, place: int, events: Sequence[LoggedEvent], likelihoods: Sequence[Likelihood], groups: Ints
    ) -> None:
        rows = checked_batch(
            rewards=[event.reward for event in events],
            propensities=[event.propensity for event in events],
            target_propensities=[one.propensity for one in likelihoods],
            unlogged_mass=[one.unlogged for one in likelihoods],
            groups=groups,
            reward_bounds=self._bounds,
        )
        sends = np.array([float(event.action_index > 0) for event in events])
        opt_outs = np.array([max(event.columns.values(), default=0.0) for event in events])
        send_probabilities = np.array([_send_probability(one) for one in likelihoods])
        self._rewards[place].add(rows)
        self._sends[place].add(replace(rows, rewards=sends, q_logged=sends, q_target=send_probabilities))
        self._opt_outs[place].add(replace(rows, rewards=opt_outs))

    def of_rewards(self) -> Comparison:
        looks_back = any(target.changes_own_features for target in self._targets)
        checks = Checks(draws=self._draws.draws, target_changes_features=looks_back)
        return comparison_of(*self._rewards, checks=(checks, checks))

    def guardrails(self, rules: Rules, ess: float, *, with_opt_outs: bool) -> Iterator[Guardrail]:
        """The guardrails; call it after the verdict on the rewards is ok, because the weights are the same here."""
        sends = evidence_of(comparison_of(*self._sends, show_anyway=True), "dr")
        yield Guardrail(name="sends", difference=sends, most=rules.most_more_sends)
        if with_opt_outs:
            opt_outs = evidence_of(comparison_of(*self._opt_outs, show_anyway=True), "snips")
            rise = with_one_more(opt_outs, ess)
            yield Guardrail(name="opt-outs", difference=rise, most=rules.most_more_opt_outs)


def _two(bounds: tuple[float, float], *, with_model: bool = False) -> tuple[Sums, Sums]:
    """Empty sums of challenger and champion."""
    challenger, champion = (Sums(n_groups=HASHED_GROUPS, with_model=with_model, reward_bounds=bounds) for _ in range(2))
    return challenger, champion


def _send_probability(one: Likelihood) -> float:
    if one.pmf is None:
        raise InvalidLog("a version of the service has a whole pmf; this likelihood has none")
    return 1.0 - float(one.pmf[0])
