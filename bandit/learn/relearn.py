"""Trains a challenger on the whole log, with the same or other settings, while the champion serves and learns on.

Nothing is stored before the end: if a relearn is killed, it leaves no trace and can be started again. For most of the
time it reads far behind the learner. Only for the last part does it take the learner's turn, so that the log does not
grow, and then publishes through the same fence as every pass.
"""

from dataclasses import dataclass

import structlog
from sqlalchemy import Connection

from bandit.campaign.document import Campaign, LearnerName
from bandit.engine.explorers import Explorer
from bandit.engine.learner import OnlineLearner
from bandit.engine.load import learner_of
from bandit.errors import Conflict, CorruptModel, StaleLearner
from bandit.learn.difference import Difference, difference
from bandit.learn.lineage import Lineage
from bandit.learn.overrides import Overrides
from bandit.learn.publish import Fence, Start, checked, publish
from bandit.learn.teach import Log, Progress, ProgressCallback, no_progress, teach
from bandit.serve.campaigns import Campaigns
from bandit.serve.clock import Clock
from bandit.serve.models import load_version
from bandit.store import closings, models
from bandit.store.models import CHALLENGER, RELEARN, ModelRow
from bandit.store.sql.database import Store
from bandit.store.sql.turns import awaited_learner_turn, relearn_turn

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The plan of a relearn."""

    campaign: Campaign
    overrides: Overrides
    decisions: int  # number of decisions that are closed now

    @property
    def adopted(self) -> Campaign:
        """The campaign as it would be with these settings as its own."""
        return self.overrides.adopted_by(self.campaign)


@dataclass(frozen=True, slots=True, kw_only=True)
class Relearned:
    """The result of a relearn."""

    row: ModelRow  # the challenger; or the version that the canary refused, without its bytes
    read: int
    learned: int
    quarantined: int  # newly quarantined labels
    difference: Difference | None  # difference from the champion; None if there is no champion that loads


class Relearner:
    """Builds challengers from the whole log."""

    def __init__(self, store: Store, clock: Clock, campaigns: Campaigns) -> None:
        self._store = store
        self._clock = clock
        self._campaigns = campaigns
        self._log = Log(store=store, campaigns=campaigns)

    def plan(
        self, campaign_id: str, vw: Explorer, worths: dict[str, float], learner: LearnerName | None = None
    ) -> Plan:
        """The plan with these settings of the engine and worths of events; all others are the campaign's.

        Raises:
            NotFound: there is no such campaign.
            InvalidInput: an unknown parameter or event, or a value out of range.
            Conflict: no decision has closed yet, so there is nothing to learn.
        """
        campaign = self._campaigns.get(campaign_id).campaign
        overrides = Overrides.of(campaign, vw, worths, learner)
        with self._store.read() as connection:
            head = closings.last_seq(connection, campaign_id)
            decisions = closings.number_between(connection, campaign_id, 0, head)
        if not decisions:
            raise Conflict(f"campaign {campaign_id!r} has no closed decision yet: there is nothing to learn from")
        return Plan(campaign=campaign, overrides=overrides, decisions=decisions)

    def run(self, plan: Plan, report: ProgressCallback = no_progress) -> Relearned:
        """Runs the relearn; returns the published challenger, or the version that the canary refused.

        Raises:
            Conflict: the campaign is being relearned already.
            StaleLearner: another challenger was set meanwhile; nothing is stored.
        """
        campaign_id = plan.campaign.id
        with relearn_turn(self._store, campaign_id) as ours:
            if not ours:
                raise Conflict(f"campaign {campaign_id!r} is being relearned already: wait for that to end")
            relearned = self._relearn(plan, report)
        log.info(
            "model_relearned", campaign=campaign_id, model_version=relearned.row.version, health=relearned.row.health
        )
        return relearned

    def _relearn(self, plan: Plan, report: ProgressCallback) -> Relearned:
        with self._store.read() as connection:
            begun = self._start(connection, plan)
            lineage = self._challengers_lineage(connection, plan)
        with learner_of(begun.lineage.settings) as learner:
            progress = self._taught(learner, begun, Progress.at_start_of(begun.lineage), report)
            with awaited_learner_turn(self._store):
                progress = self._taught(learner, begun, progress, report)
                with self._store.read() as connection:
                    self._check_challenger(connection, plan, lineage)
                    start = self._start(connection, plan)
                row = checked(start.next_version(learner, progress, self._clock.now()), plan.adopted, None)
                quarantined = publish(self._store, start, row, progress.refused)
            return Relearned(
                row=row,
                read=progress.read,
                learned=progress.learned,
                quarantined=quarantined,
                difference=self._difference(plan, learner),
            )

    def _start(self, connection: Connection, plan: Plan) -> Start:
        campaign_id = plan.campaign.id
        named = models.aliases(connection, campaign_id).get(CHALLENGER)
        fence = Fence(
            alias=CHALLENGER,
            pointed=None if named is None else named.version,
            latest=models.latest_version(connection, campaign_id),
        )
        lineage = Lineage(
            campaign_id=campaign_id,
            settings=plan.adopted.learner_arguments,
            overrides=plan.overrides,
            hindsight=True,
        )
        return Start(
            lineage=lineage, fence=fence, campaign_arguments=plan.campaign.learner_arguments.text, cause=RELEARN
        )

    def _taught(self, learner: OnlineLearner, start: Start, progress: Progress, report: ProgressCallback) -> Progress:
        """The progress after all decisions that are closed now."""
        lineage = start.lineage
        head = self._log.head(lineage.campaign_id)
        return teach(learner, self._log, lineage, progress, head=head, most=start.most_events, report=report)

    @staticmethod
    def _challengers_lineage(connection: Connection, plan: Plan) -> int | None:
        named = models.aliases(connection, plan.campaign.id).get(CHALLENGER)
        row = None if named is None else models.manifest(connection, plan.campaign.id, named.version)
        return None if row is None else row.lineage

    def _check_challenger(self, connection: Connection, plan: Plan, lineage: int | None) -> None:
        """Raises if the challenger was replaced meanwhile; it may have learned on."""
        found = self._challengers_lineage(connection, plan)
        if found != lineage:
            raise StaleLearner(
                f"campaign {plan.campaign.id!r}: the challenger was of lineage {lineage} when the relearn began, and "
                f"by now is of lineage {found}; nothing was stored"
            )

    def _difference(self, plan: Plan, learner: OnlineLearner) -> Difference | None:
        with self._store.read() as connection:
            row = models.champion(connection, plan.campaign.id)
            if row is None:
                return None
            try:
                champion = load_version(row)
            except CorruptModel as error:
                log.error("model_refused", campaign=row.campaign_id, model_version=row.version, error=str(error))
                return None
            with champion:
                return difference(connection, plan.campaign, champion, learner)
