"""The published model of each campaign: a new one is loaded while the old one serves, then swapped."""

from threading import Lock

import structlog
from sqlalchemy import Connection

from bandit.campaign.document import Campaign
from bandit.decide.decision import Model
from bandit.engine.learner import OnlineLearner
from bandit.engine.load import arguments_of, learner_of
from bandit.engine.vw import digest
from bandit.errors import CorruptModel, ModelNotLoaded, StoreUnavailable
from bandit.store import models
from bandit.store.sql.database import Store

log = structlog.get_logger(__name__)


def load_version(row: models.ModelRow) -> OnlineLearner:
    """The learner of a stored version, checked against its manifest.

    Raises:
        CorruptModel: size, digest or arguments differ from those that were published.
    """
    if len(row.bytes) != row.size or digest(row.bytes) != row.digest:
        raise CorruptModel(
            f"model {row.version} of campaign {row.campaign_id!r}: its bytes are not those that were published"
        )
    return learner_of(arguments_of(row.arguments), row.bytes)


class ModelServer:
    """Keeps one engine per campaign and follows the champion alias."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._models: dict[str, Model] = {}
        self._learners: dict[str, OnlineLearner] = {}  # of those models
        self._refused: dict[str, int] = {}  # version that failed to load and is not tried again
        self._lock = Lock()

    def refresh(self) -> None:
        """Loads every champion that is not served yet; a version that does not load leaves the old one serving.

        Raises:
            ModelNotLoaded: some of them could not be loaded, for want of room or memory; the others were.
        """
        before = dict(self._learners)
        with self._lock, self._store.read() as connection:
            champions = models.champion_versions(connection)
            failed = [name for name, version in champions.items() if not self._follow(connection, name, version)]
        for campaign_id, learner in before.items():
            if self._learners[campaign_id] is not learner:
                learner.forget_parsed()
        if failed:
            raise ModelNotLoaded(f"published versions of {', '.join(failed)} could not be loaded; the old ones serve")

    def _follow(self, connection: Connection, campaign_id: str, version: int) -> bool:
        """Whether the campaign is served as well as it can be: False where the next look must try again."""
        served = self._models.get(campaign_id)
        if (served is not None and served.version == version) or self._refused.get(campaign_id) == version:
            return True
        try:
            if (row := models.get(connection, campaign_id, version)) is not None:
                self._swap(row)
        except StoreUnavailable:
            raise
        except Exception:
            # No room for the engine's temporary file, or no memory: the other campaigns are followed all the same.
            log.exception("model_not_loaded", campaign=campaign_id, model_version=version)
            return False
        return True

    def _swap(self, row: models.ModelRow) -> None:
        """Makes the version serve, unless it is broken."""
        try:
            learner = load_version(row)
        except CorruptModel as error:
            self._refused[row.campaign_id] = row.version
            log.error("model_refused", campaign=row.campaign_id, model_version=row.version, error=str(error))
            return
        # The old engine is not closed here, because a decision may be using it. It closes with its last reference.
        self._serve(row.campaign_id, row.version, learner)
        self._refused.pop(row.campaign_id, None)
        log.info("model_loaded", campaign=row.campaign_id, model_version=row.version)

    def versions(self) -> dict[str, int]:
        """The version that serves, by campaign; 0 before there is a published one."""
        return {campaign_id: model.version for campaign_id, model in self._models.items()}

    def _serve(self, campaign_id: str, version: int, learner: OnlineLearner) -> Model:
        self._learners[campaign_id] = learner
        self._models[campaign_id] = Model(version=version, predictor=learner)
        return self._models[campaign_id]

    def states(self) -> dict[str, str]:
        """For each campaign that was served here: the version in use, or that its fallback answers."""
        served = {campaign_id: f"version {model.version}" for campaign_id, model in self._models.items()}
        refused = {campaign_id: "fallback" for campaign_id in self._refused if campaign_id not in served}
        return served | refused

    def model_for(self, campaign: Campaign) -> Model | None:
        """The model that decides: the champion; an untrained one if there is none yet; None if it cannot be loaded."""
        model = self._models.get(campaign.id)
        if model is not None or campaign.id in self._refused:
            return model
        with self._lock:
            if (model := self._models.get(campaign.id)) is not None:
                return model  # loaded by another thread in the meantime
            return self._serve(campaign.id, 0, learner_of(campaign.learner_arguments))
