"""Targets by the words that name them on a command line."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from bandit.campaign import Campaign, parse_campaign, parse_campaign_toml
from bandit.decide import Model
from bandit.errors import FieldError, InvalidInput, NotFound
from bandit.registry import Campaigns
from bandit.serving import load_engine
from bandit.store import logged, models
from bandit.store.engine import Store
from bandit.vw import Engine
from sim.targets import Function, Logged, OfCampaign, OfColumn, OfFunction, Silence, Target, Uniform

FORMS = "logged, uniform, silence, baseline, champion, version:N, document:FILE, function:FILE.py:NAME or column:NAME"


@dataclass(frozen=True, kw_only=True)
class Targets:
    """The targets that can be asked about one campaign's log."""

    store: Store
    campaigns: Campaigns
    campaign_id: str
    _documents: dict[int, Campaign] = field(default_factory=dict)

    def named(self, text: str) -> Target:
        """The target of a name.

        Raises:
            InvalidInput: not one of the forms, or a file that is none of its kind.
            NotFound: no such campaign, model version or champion.
        """
        kind, _, rest = text.partition(":")
        makers: dict[str, Callable[[], Target]] = {
            "logged": Logged,
            "uniform": lambda: Uniform(changes_own_features=_looks_back(self._current())),
            "silence": Silence,
            "baseline": self._baseline,
            "champion": lambda: self._served(text, self._current(), self._champion_version()),
            "version": lambda: self._served(text, self._current(), _version(rest)),
            "document": lambda: self._served(text, _document(rest), self._champion_version()),
            "function": lambda: OfFunction(name=text, function=_function(rest)),
            "column": lambda: OfColumn(name=text, column=rest),
        }
        if kind not in makers or bool(rest) != (kind in ("version", "document", "function", "column")):
            raise _refused(f"{text!r}: is not one of {FORMS}")
        return makers[kind]()

    def _current(self) -> Campaign:
        return self.campaigns.get(self.campaign_id).campaign

    def _baseline(self) -> Target:
        document = self._current()
        if document.policy.baseline is None:
            raise NotFound("baseline of campaign", self.campaign_id)
        shadow = document.model_copy(update={"mode": "shadow"})
        return OfCampaign(name="baseline", document=shadow, model=None, logged_documents=self._logged())

    def _served(self, name: str, document: Campaign, version: int | None) -> Target:
        """A document with a stored version; a version is asked what it would do live, even in shadow mode."""
        model, watermark = self._model(document, version)
        live = document if name.startswith("document") else document.model_copy(update={"mode": "live"})
        return OfCampaign(name=name, document=live, model=model, watermark=watermark, logged_documents=self._logged())

    def _model(self, document: Campaign, version: int | None) -> tuple[Model, int]:
        """The version, loaded, and what it learned last; before there is one, an untaught engine as the service has."""
        if version is None:
            return Model(version=0, predictor=Engine(document.engine_arguments)), 0
        with self.store.read() as connection:
            row = models.get(connection, self.campaign_id, version)
        if row is None:
            raise NotFound("model version", f"{self.campaign_id}/{version}")
        return Model(version=version, predictor=load_engine(row)), row.watermark

    def _champion_version(self) -> int | None:
        with self.store.read() as connection:
            return models.champion_versions(connection).get(self.campaign_id)

    def _logged(self) -> dict[int, Campaign]:
        """Every version of the campaign's document."""
        if not self._documents:
            with self.store.read() as connection:
                for version in logged.versions(connection, self.campaign_id):
                    self._documents[version] = self.campaigns.document(connection, self.campaign_id, version)
        return self._documents


def _refused(message: str) -> InvalidInput:
    return InvalidInput([FieldError(field="target", message=message)])


def _looks_back(document: Campaign) -> bool:
    return document.rule_reach_hours > 0.0


def _version(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise _refused(f"version:{text}: must be a model version, 1 or more")
    return int(text)


def _document(name: str) -> Campaign:
    path = Path(name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _refused(f"document:{name}: cannot be read: {error}") from None
    return parse_campaign(text) if path.suffix == ".json" else parse_campaign_toml(text)


def _function(text: str) -> Function:
    """The function of a Python file. The file is run: it is the caller's own program."""
    name, _, function_name = text.rpartition(":")
    spec = spec_from_file_location("sendopt_target", name) if name.endswith(".py") and Path(name).is_file() else None
    if spec is None or spec.loader is None:
        raise _refused(f"function:{text}: must be FILE.py:NAME, with a Python file that exists")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # as a plain import would: dataclasses and pickles look there
    spec.loader.exec_module(module)
    function: Function | None = getattr(module, function_name, None)
    if not callable(function):
        raise _refused(f"function:{text}: {name} has no function {function_name!r}")
    return function
