"""Targets by their names on the command line."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from bandit.campaign.checks import parse_campaign, parse_campaign_toml
from bandit.campaign.document import Campaign
from bandit.decide.decision import Model
from bandit.engine.load import learner_of
from bandit.errors import FieldError, InvalidInput, NotFound
from bandit.learn.versions import LARGEST_VERSION
from bandit.serve.campaigns import Campaigns
from bandit.serve.models import load_version
from bandit.store import logged, models
from bandit.store.models import OK
from bandit.store.sql.database import Store
from sim.evaluate.progressive import Progressive, Stage
from sim.evaluate.targets import Function, Logged, OfCampaign, OfColumn, OfFunction, Silence, Target, Uniform

FORMS = (
    "logged, uniform, silence, baseline, champion, progressive, version:N, document:FILE, function:FILE.py:NAME or "
    "column:NAME"
)


OF_A_CAMPAIGN = ("baseline", "champion", "progressive", "version", "document")
WITH_MORE = ("version", "document", "function", "column")  # words after the colon


def target_named(text: str, of_campaign: "CampaignTargets | None") -> Target:
    """The target of a name.

    Args:
        of_campaign: the targets of a campaign in the store; None for a log from another system.

    Raises:
        InvalidInput: not one of the forms, a file of the wrong kind, or a target that needs a campaign.
        NotFound: no such campaign, model version or baseline.
    """
    kind, _, rest = text.partition(":")
    makers: dict[str, Callable[[], Target]] = {
        "logged": Logged,
        "uniform": lambda: Uniform(changes_own_features=of_campaign is not None and of_campaign.looks_back()),
        "silence": Silence,
        "function": lambda: _of_function(text, rest),
        "column": lambda: OfColumn(name=text, column=rest),
    }
    if kind not in (*makers, *OF_A_CAMPAIGN) or bool(rest) != (kind in WITH_MORE):
        raise _refused(f"{text!r}: is not one of {FORMS}")
    if kind in makers:
        return makers[kind]()
    if of_campaign is None:
        raise _refused(f"{text!r}: needs a campaign of the store")
    return of_campaign.named(kind, rest)


@dataclass(frozen=True, kw_only=True)
class CampaignTargets:
    """The policies that one campaign could serve."""

    store: Store
    campaigns: Campaigns
    campaign_id: str
    _documents: dict[int, Campaign] = field(default_factory=dict)

    def looks_back(self) -> bool:
        """Whether some rule of the campaign depends on what was sent before."""
        return self._current().rule_reach_hours > 0.0

    def named(self, kind: str, rest: str) -> Target:
        """A target of a kind that only a campaign has; raises the same as `target_named`."""
        if kind == "baseline":
            return self._baseline()
        if kind == "champion":
            return self._served("champion", self._live(), self._champion_version())
        if kind == "progressive":
            return self._progressive()
        if kind == "version":
            return self.version(_version(rest))
        return self._served(f"document:{rest}", _document(rest), self._champion_version())

    def version(self, number: int) -> OfCampaign:
        """A stored version under the current document; raises NotFound if there is no such version."""
        return self._served(f"version:{number}", self._live(), number)

    def _progressive(self) -> Progressive:
        """The champion and its stored ancestors, each for the rows that it had not learned."""
        with self.store.read() as connection:
            rows = {row.version: row for row in models.manifests(connection, self.campaign_id) if row.health == OK}
        stages: list[Stage] = []
        version = self._champion_version()
        while version is not None and version in rows:
            stages.insert(0, Stage(watermark=rows[version].watermark, version=version))
            version = rows[version].parent
        if version is None or version == 0:  # the lineage is whole: before its first version nothing was learned
            stages.insert(0, Stage(watermark=0, version=None))
        if not stages:
            raise NotFound("champion of campaign", self.campaign_id)
        document = self._live()
        return Progressive(
            stages=stages,
            load=lambda number: self._served("progressive", document, number),
            identity=f"versions {', '.join(str(stage.version or 0) for stage in stages)}",
        )

    def _live(self) -> Campaign:
        """The current document as it would serve a model, even while it is in shadow mode."""
        return self._current().model_copy(update={"mode": "live"})

    def _current(self) -> Campaign:
        return self.campaigns.get(self.campaign_id).campaign

    def _baseline(self) -> Target:
        document = self._current()
        if document.policy.baseline is None:
            raise NotFound("baseline of campaign", self.campaign_id)
        shadow = document.model_copy(update={"mode": "shadow"})
        return OfCampaign(
            name="baseline",
            document=shadow,
            model=None,
            logged_documents=self._logged(),
            identity=f"document {_digest(shadow.to_json().encode())}",
        )

    def _served(self, name: str, document: Campaign, version: int | None) -> OfCampaign:
        model, watermark = self._model(document, version)
        return OfCampaign(
            name=name,
            document=document,
            model=model,
            logged_documents=self._logged(),
            watermark=watermark,
            identity=f"model version {model.version}, document {_digest(document.to_json().encode())}",
        )

    def _model(self, document: Campaign, version: int | None) -> tuple[Model, int]:
        """The loaded version and its watermark; without a version, an untrained engine, as in the service."""
        if version is None:
            return Model(version=0, predictor=learner_of(document.learner_arguments)), 0
        with self.store.read() as connection:
            row = models.get(connection, self.campaign_id, version)
        if row is None:
            raise NotFound("model version", f"{self.campaign_id}/{version}")
        return Model(version=version, predictor=load_version(row)), row.watermark

    def _champion_version(self) -> int | None:
        with self.store.read() as connection:
            return models.champion_versions(connection).get(self.campaign_id)

    def _logged(self) -> dict[int, Campaign]:
        """All versions of the campaign's document."""
        if not self._documents:
            with self.store.read() as connection:
                for version in logged.versions(connection, self.campaign_id):
                    self._documents[version] = self.campaigns.document(connection, self.campaign_id, version)
        return self._documents


def _refused(message: str) -> InvalidInput:
    return InvalidInput([FieldError(field="target", message=message)])


def _digest(content: bytes) -> str:
    return f"sha256 {sha256(content).hexdigest()}"


def _version(text: str) -> int:
    digits = len(str(LARGEST_VERSION))
    if not text.isdecimal() or len(text) > digits or not 1 <= int(text) <= LARGEST_VERSION:
        raise _refused(f"version:{text[: 2 * digits]}: must be a model version, 1 to {LARGEST_VERSION}")
    return int(text)


def _document(name: str) -> Campaign:
    path = Path(name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _refused(f"document:{name}: cannot be read: {error}") from None
    return parse_campaign(text) if path.suffix == ".json" else parse_campaign_toml(text)


def _of_function(name: str, text: str) -> Target:
    """The function of a Python file. The file is executed: it is the caller's own program."""
    file, _, function_name = text.rpartition(":")
    spec = spec_from_file_location("sendopt_target", file) if file.endswith(".py") and Path(file).is_file() else None
    if spec is None or spec.loader is None:
        raise _refused(f"{name}: must be function:FILE.py:NAME, with a Python file that exists")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # as a plain import does: dataclasses and pickles look there
    spec.loader.exec_module(module)
    function: Function | None = getattr(module, function_name, None)
    if not callable(function):
        raise _refused(f"{name}: {file} has no function {function_name!r}")
    return OfFunction(name=name, function=function, identity=_digest(Path(file).read_bytes()))
