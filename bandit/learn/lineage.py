"""A lineage: versions of one campaign, each trained from the one before, with the same settings and kind of rewards."""

from dataclasses import dataclass, replace
from typing import Self

from sqlalchemy import Connection

from bandit.engine.learner import LearnerArguments, OnlineLearner
from bandit.engine.load import learner_of
from bandit.errors import StaleLearner
from bandit.learn.fall import FallDetector
from bandit.learn.overrides import Overrides
from bandit.learn.rewards_of import Rewards
from bandit.serve.models import load_version
from bandit.store import models
from bandit.store.models import Manifest, ModelRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """The start of the next version, and the settings of its training."""

    campaign_id: str
    settings: LearnerArguments
    overrides: Overrides
    hindsight: bool = False  # whether it learns final rewards instead of the rewards at closing
    parent: Manifest | None = None  # None: from nothing

    @property
    def watermark(self) -> int:
        """The last event that the parent learned."""
        return 0 if self.parent is None else self.parent.watermark

    @property
    def detector(self) -> FallDetector:
        """The state of the change detection at the watermark."""
        return FallDetector.from_text(None if self.parent is None else self.parent.alarm)

    @property
    def rewards(self) -> Rewards:
        """The rewards that it learns."""
        return Rewards(overrides=self.overrides, hindsight=self.hindsight)

    def parent_row(self, connection: Connection) -> ModelRow | None:
        """The parent with its bytes; raises StaleLearner if it is no longer stored."""
        if self.parent is None:
            return None
        row = models.get(connection, self.campaign_id, self.parent.version)
        if row is None:
            raise StaleLearner(f"campaign {self.campaign_id!r}: version {self.parent.version} is no longer stored")
        return row

    def learner(self, parent: ModelRow | None) -> OnlineLearner:
        """The learner to train; raises CorruptModel if the parent's bytes are not those that were published."""
        return learner_of(self.settings) if parent is None else load_version(parent)

    def restarted(self) -> Self:
        """The lineage that starts after a fall was found: it contains nothing of the parent."""
        return replace(self, parent=None)
