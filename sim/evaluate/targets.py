"""Target policies: what another policy would have done in each logged decision, with its eligible set.

Everything that the service could serve (a model version, the baseline, a campaign document) runs through the functions
that serve: `bandit.decide.decision.choose_policy` on the logged lines. So holdouts, shadow mode, floor and fallback are
those of the service.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Protocol
from zoneinfo import ZoneInfo

import numpy as np

from bandit.campaign.document import Campaign
from bandit.decide.decision import LiveCampaign, Model, choose_policy
from bandit.decide.eligibility import Cells, EligibleSet, eligible_set
from bandit.decide.exploration import Pmf, one_hot, uniform
from bandit.decide.features import channel_lines, content_line, time_lines, with_features_of
from bandit.decide.history import NO_HISTORY
from bandit.decide.logged import LoggedActions, logged_eligible_set
from bandit.domain import Action, Content, DecideRequest
from bandit.engine.cells import Cell, mask_of
from bandit.engine.lines import ActionLines
from bandit.errors import InvalidInput, InvalidLog, UnknownTimeZone
from bandit.sendtimes import zone
from bandit.wire.request import stored_request
from sim.logs.event import Document, LoggedEvent, pmf_tolerance

Function = Callable[[Document, Sequence[Document]], Sequence[float]]  # (context, actions) -> pmf


@dataclass(frozen=True, slots=True, kw_only=True)
class Likelihood:
    """What a target would have done in one logged decision."""

    propensity: float  # of the logged action, under the target
    pmf: Pmf | None  # over the logged eligible actions, sums to 1 - unlogged; None if only the propensity is known
    unlogged: float = 0.0  # probability of actions that the logging service could not take


class Target(Protocol):
    """A policy whose value is estimated."""

    @property
    def name(self) -> str: ...

    @property
    def changes_own_features(self) -> bool:
        """Whether it chooses by what it did before (recency, caps): then one step is only a part of its value."""

    @property
    def identity(self) -> str:
        """What must be the same for another run to be the same question; empty if the name is enough."""

    @property
    def watermark(self) -> int:
        """Last place in the learning order that it was trained on; 0: it was trained on no row of the log."""

    def likelihood(self, event: LoggedEvent) -> Likelihood:
        """What it would have done; raises InvalidLog if the log lacks data for this."""


def taught_by(target: Target, event: LoggedEvent) -> bool:
    """Whether the target was trained on this row, so that the row makes it look too good."""
    return event.learning_place is not None and event.learning_place <= target.watermark


def _of_pmf(event: LoggedEvent, pmf: Pmf, unlogged: float = 0.0) -> Likelihood:
    return Likelihood(propensity=float(pmf[event.action_index]), pmf=pmf, unlogged=unlogged)


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """The policy that made the log."""

    name: str = "logged"
    changes_own_features: bool = False  # its histories are those of the log
    watermark: int = 0
    identity: str = ""

    def likelihood(self, event: LoggedEvent) -> Likelihood:
        return Likelihood(propensity=event.propensity, pmf=event.pmf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform:
    """Every eligible action equally likely."""

    changes_own_features: bool  # whether rules about earlier sends limit its sets
    name: str = "uniform"
    watermark: int = 0
    identity: str = ""

    def likelihood(self, event: LoggedEvent) -> Likelihood:
        n_actions = event.n_actions
        if n_actions is None:
            raise InvalidLog(f"row {event.row}: actions: the log does not say how many actions were eligible")
        return _of_pmf(event, uniform(n_actions))


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Never send anything."""

    name: str = "silence"
    changes_own_features: bool = False
    watermark: int = 0
    identity: str = ""

    def likelihood(self, event: LoggedEvent) -> Likelihood:
        if not isinstance(event.actions, LoggedActions):
            raise InvalidLog(f"row {event.row}: actions: only logs of this service have silence; use a function")
        return _of_pmf(event, one_hot(len(event.actions), 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class OfFunction:
    """A Python function from the context and the actions, both as documents, to a pmf."""

    name: str
    function: Function
    changes_own_features: bool = True  # it may read anything in the context
    watermark: int = 0
    identity: str = ""

    def likelihood(self, event: LoggedEvent) -> Likelihood:
        actions = event.action_documents()
        answer = self.function(event.context, actions)
        try:
            pmf = np.array(answer, dtype=np.float64)
        except (TypeError, ValueError):
            pmf = np.empty(0)
        if pmf.shape != (len(actions),) or not _is_pmf(pmf):
            rule = f"must be {len(actions)} probabilities that sum to 1"
            raise InvalidLog(f"row {event.row}: {self.name} answered {str(answer)[:100]}: {rule}")
        return _of_pmf(event, pmf)


def _is_pmf(pmf: Pmf) -> bool:
    return bool(np.minimum.reduce(pmf) >= 0.0 and abs(float(np.add.reduce(pmf)) - 1.0) <= pmf_tolerance(pmf.size))


@dataclass(frozen=True, slots=True, kw_only=True)
class OfColumn:
    """A target whose probability of the logged action is a column of the log."""

    name: str
    column: str
    changes_own_features: bool = True  # it may have been made from anything
    watermark: int = 0
    identity: str = ""

    def likelihood(self, event: LoggedEvent) -> Likelihood:
        propensity = event.columns[self.column]
        if not 0.0 <= propensity <= 1.0:
            raise InvalidLog(f"row {event.row}: {self.column}: {propensity}: must be in [0, 1]")
        return Likelihood(propensity=propensity, pmf=None)


@dataclass(frozen=True, kw_only=True)
class OfCampaign:
    """A campaign document with a model, as the service would serve them.

    If a row was logged under another document, the target's set is that of its own document: the logged set, without
    what the document does not offer, and with what only the document offers. About the latter the log says nothing; its
    probability is `unlogged`. Rules about earlier sends (caps, gap, repeat distance) are those under which the row was
    logged, because the log has no other history.
    """

    name: str
    document: Campaign
    model: Model | None
    logged_documents: Mapping[int, Campaign]  # by version
    watermark: int = 0
    identity: str = ""
    changes_own_features: bool = True  # it reads the history, or its set depends on it

    @cached_property
    def _live(self) -> LiveCampaign:
        return LiveCampaign(document=self.document, version=0, paused=False)

    @cached_property
    def _same_offers(self) -> frozenset[int]:
        """Versions that make the same set of actions with the same lines as this document."""
        mine = _without_policy(self.document)
        return frozenset(version for version, one in self.logged_documents.items() if _without_policy(one) == mine)

    def likelihood(self, event: LoggedEvent) -> Likelihood:
        actions = event.actions
        if not isinstance(actions, LoggedActions) or event.campaign_version is None:
            raise InvalidLog(f"row {event.row}: actions: {self.name} can be evaluated only on logs of this service")
        if event.campaign_version in self._same_offers:
            return self._as_logged(event, actions)
        logged = self.logged_documents.get(event.campaign_version)
        if logged is None:
            raise InvalidLog(f"row {event.row}: campaign_version: {event.campaign_version}: is not in the store")
        return self._recut(event, actions, logged)

    def _as_logged(self, event: LoggedEvent, actions: LoggedActions) -> Likelihood:
        eligible = logged_eligible_set(actions, now=_decided_at(event), local=_local(event))
        choice = choose_policy(self._live, event.user, eligible, actions.shared_line, actions.action_lines, self.model)
        return _of_pmf(event, choice.pmf)

    def _recut(self, event: LoggedEvent, actions: LoggedActions, logged: Campaign) -> Likelihood:
        offer = _Offer.of(event, actions, self.document, logged)
        lines = offer.lines(actions, event, horizon_hours=self.document.horizon_hours)
        choice = choose_policy(self._live, event.user, offer.eligible, actions.shared_line, lines, self.model)
        pmf = np.zeros(len(actions))
        places = np.array([0, *offer.places])
        known = places >= 0
        pmf[places[known]] = choice.pmf[known]
        return _of_pmf(event, pmf, unlogged=float(np.add.reduce(choice.pmf[~known])))


def _without_policy(document: Campaign) -> str:
    return document.model_copy(update={"policy": type(document.policy)(), "mode": "live"}).to_json()


_UNLOGGED = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    """The eligible set of a document in a decision that was logged under another document."""

    eligible: EligibleSet
    places: tuple[int, ...]  # of each cell in the logged set; -1: not in it

    @classmethod
    def of(cls, event: LoggedEvent, actions: LoggedActions, document: Campaign, logged: Campaign) -> "_Offer":
        now, local, request = _decided_at(event), _local(event), _request(event)
        mine = eligible_set(document, _for(document, request), NO_HISTORY, now=now, local=local)
        theirs = eligible_set(logged, request, NO_HISTORY, now=now, local=local)
        allowed = {theirs.action(index) for index in range(1, len(theirs))}
        places = {actions.action(index): index for index in range(1, len(actions))}
        # If the logging rules allow some content and the log has none, a rule about earlier sends blocked the send
        # time.
        shut = {_moment(one) for one in allowed} - {_moment(one) for one in places}
        kept: list[tuple[Cell, int]] = []
        for index, cell in enumerate(mine.cells.eligible, start=1):
            action = mine.action(index)
            if action in places:
                kept.append((cell, places[action]))
            elif action not in allowed and _moment(action) not in shut:
                kept.append((cell, _UNLOGGED))
        cells = tuple(cell for cell, _ in kept)
        candidates = mine.candidates
        mask = mask_of(cells, len(candidates.contents), len(candidates.times))
        return cls(
            eligible=EligibleSet(candidates=candidates, cells=Cells(cells, (), mask)),
            places=tuple(place for _, place in kept),
        )

    def lines(self, actions: LoggedActions, event: LoggedEvent, *, horizon_hours: float) -> ActionLines:
        """What the model sees: the document's own features, and the logged recency."""
        candidates = self.eligible.candidates
        logged = dict(zip(actions.contents, actions.action_lines.contents, strict=True))
        return ActionLines(
            channels=channel_lines(candidates.channels),
            contents=tuple(
                with_features_of(one, logged[one.id]) if one.id in logged else content_line(one, None, None)
                for one in candidates.contents
            ),
            times=time_lines(candidates.times, _decided_at(event), horizon_hours=horizon_hours),
            mask=self.eligible.cells.mask,
        )


def _moment(action: Action) -> tuple[object, object]:
    return action.channel, action.send_at


def _for(document: Campaign, request: DecideRequest) -> DecideRequest:
    """The request without the contents and channels that this document does not have."""
    if request.contents is None:
        return request
    known = [one for one in request.contents if not isinstance(one, str) or one in document.catalogue]
    return replace(request, contents=tuple(_on_channels_of(document, one) for one in known))


def _on_channels_of(document: Campaign, content: str | Content) -> str | Content:
    if isinstance(content, str) or content.channels is None:
        return content
    return replace(content, channels=content.channels & document.channels.keys())


def _decided_at(event: LoggedEvent) -> datetime:
    if event.decided_at is None:
        raise InvalidLog(f"row {event.row}: decided_at: is missing")
    return event.decided_at


def _local(event: LoggedEvent) -> ZoneInfo:
    try:
        return zone(event.context["request"]["user"]["timezone"])
    except (KeyError, TypeError, UnknownTimeZone) as error:
        raise InvalidLog(f"row {event.row}: context: has no request with the user's time zone: {error}") from None


def _request(event: LoggedEvent) -> DecideRequest:
    try:
        return stored_request(event.context["request"])
    except InvalidInput as error:
        raise InvalidLog(f"row {event.row}: context: its request cannot be read again: {error}") from None
