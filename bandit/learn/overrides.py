"""The settings of a lineage that differ from its campaign's.

They are stored with the lineage, not with the campaign: the campaign describes what serves, and its champion learns on
while a challenger is trained with other settings. When the challenger is promoted, they become the campaign's own.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from bandit.campaign.checks import parse_campaign
from bandit.campaign.document import Campaign, LearnerName
from bandit.engine.explorers import Explorer
from bandit.errors import FieldError, InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """Engine settings, learner and worths of events that differ from the campaign's."""

    vw: Explorer | None = None  # all of policy.vw; None: the campaign's
    learner: LearnerName | None = None  # None: the campaign's
    worths: Mapping[str, float] = field(default_factory=dict)  # by event; other events have the campaign's worths
    # The campaign's version since which its own document has the same worths; None: it never had them.
    until: int | None = None

    @classmethod
    def of(
        cls, campaign: Campaign, vw: Explorer, worths: Mapping[str, float], learner: LearnerName | None = None
    ) -> Self:
        """The overrides that change these parameters of the engine, these worths and the learner.

        Naming an explorer drops the campaign's parameters of its explorer, because each explorer has other parameters.

        Raises:
            InvalidInput: unknown parameters or events, or values out of range; all of them at once.
        """
        unknown = [event for event in worths if event not in campaign.reward.events]
        if unknown:
            known = ", ".join(sorted(campaign.reward.events))
            message = f"{unknown[0]!r} is not an event with a worth in campaign {campaign.id!r}; it has: {known}"
            raise InvalidInput([FieldError(field="reward.events", message=message)])
        base = {} if "explorer" in vw else campaign.policy.vw
        overrides = cls(vw={**base, **vw} if vw else None, worths=dict(worths), learner=learner)
        overrides.adopted_by(campaign)
        return overrides

    @classmethod
    def from_text(cls, text: str | None) -> Self:
        """The overrides from the text of `to_text`."""
        return cls() if text is None else cls(**json.loads(text))

    def to_text(self) -> str | None:
        """JSON text; None if nothing is overridden."""
        if self.vw is None and self.learner is None and not self.worths:
            return None
        return json.dumps(asdict(self), sort_keys=True)

    def adopted_by(self, campaign: Campaign) -> Campaign:
        """The campaign with these settings as its own.

        Raises:
            InvalidInput: the campaign does not allow them, for example a worth outside its bounds.
        """
        document: dict[str, Any] = json.loads(campaign.to_json())
        if self.vw is not None:
            document["policy"]["vw"] = self.vw
        if self.learner is not None:
            document["policy"]["learner"] = self.learner
        document["reward"]["events"] |= self.worths
        return parse_campaign(json.dumps(document))

    def rewarding(self, campaign: Campaign, version: int) -> Campaign:
        """The campaign by which the rewards of decisions of this version of it are calculated.

        It is not checked like a new document: an old version may have narrower bounds, and its rewards stay within
            them.
        """
        if not self.changes_rewards_of(version):
            return campaign
        reward = campaign.reward.model_copy(update={"events": {**campaign.reward.events, **self.worths}})
        return campaign.model_copy(update={"reward": reward})

    def changes_rewards_of(self, version: int) -> bool:
        """Whether decisions of this campaign version have other rewards than the stored ones."""
        return bool(self.worths) and (self.until is None or version < self.until)
