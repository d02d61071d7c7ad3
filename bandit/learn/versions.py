"""The registry of a campaign's model versions: which version serves, which served before, and how to go back.

The champion serves; the challenger learns at the same time. Promotion and rollback move these aliases in one
transaction; serving processes follow at their next poll.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Connection, Row

from bandit.campaign.document import Campaign
from bandit.errors import Conflict, CorruptModel, InvalidInput, NotFound
from bandit.learn.overrides import Overrides
from bandit.learn.publish import lock_name
from bandit.serve import campaigns as registry
from bandit.serve.campaigns import Campaigns
from bandit.serve.clock import Clock
from bandit.serve.models import load_version
from bandit.store import models, pairs
from bandit.store.models import CHALLENGER, CHAMPION, GATE, OK, PROMOTE, ROLLBACK, Alias, Change, ModelRow
from bandit.store.pairs import Pair
from bandit.store.sql.database import Store

LARGEST_VERSION = 2**31 - 1  # that a database can store

log = structlog.get_logger(__name__)
Listed = Row[*tuple[Any, ...]]  # a manifest with its alias, and whether the alias is held


class Versions:
    """The model versions of the campaigns of a store."""

    def __init__(self, store: Store, clock: Clock, campaigns: Campaigns) -> None:
        self._store = store
        self._clock = clock
        self._campaigns = campaigns

    def list(self, campaign_id: str) -> Sequence[Listed]:
        """Every stored version with its alias, newest first; raises NotFound if there is no such campaign."""
        self._campaigns.get(campaign_id)
        with self._store.read() as connection:
            return models.manifests(connection, campaign_id)

    def promote(self, campaign_id: str, version: int) -> Listed:
        """Makes the version the champion, which learns on from there; returns it.

        The settings of its lineage become the campaign's own: the same transaction writes a new version of the
        document, so that document and model always agree.

        Raises:
            NotFound: there is no such campaign or version.
            Conflict: it is the champion and not held, it was refused, it does not load, or the campaign no longer
                allows its settings.
        """
        with self._moves(campaign_id) as moves:
            champion = moves.named.get(CHAMPION)
            found = moves.servable(version)
            if champion is not None and champion.version == version and not champion.held:
                raise Conflict(f"version {version} of campaign {campaign_id!r} is already the champion")
            self._promote(moves, found, PROMOTE)
        log.info("model_promoted", campaign=campaign_id, model_version=version, cause=PROMOTE)
        return self._one(campaign_id, version)

    def pair(self, campaign_id: str) -> Pair:
        """The versions of challenger and champion that the gate compares.

        Raises:
            NotFound: there is no such campaign.
            Conflict: the campaign has no challenger or no champion.
        """
        self._campaigns.get(campaign_id)
        with self._store.read() as connection:
            pair = pairs.get(connection, campaign_id)
        if pair is None:
            raise Conflict(
                f"campaign {campaign_id!r} has no challenger beside its champion: `sendopt models relearn` teaches one"
            )
        return pair

    def pairs_to_judge(self) -> Sequence[Pair]:
        """The pairs of all campaigns whose champion is not held."""
        with self._store.read() as connection:
            return pairs.unheld(connection)

    def promote_challenger(self, pair: Pair) -> Listed:
        """Makes the current challenger the champion, with the same effect as `promote`; returns it.

        Raises:
            Conflict: challenger or champion is not the one that was compared, or as for `promote`.
        """
        campaign_id = pair.campaign_id
        with self._moves(campaign_id) as moves:
            if pairs.get(moves.connection, campaign_id) != pair:
                raise Conflict(
                    f"campaign {campaign_id!r}: challenger or champion were changed while versions {pair.challenger} "
                    f"and {pair.champion} were compared; nothing was promoted"
                )
            found = moves.servable(moves.named[CHALLENGER].version)
            self._promote(moves, found, GATE)
        log.info("model_promoted", campaign=campaign_id, model_version=found.version, cause=GATE)
        return self._one(campaign_id, found.version)

    def _promote(self, moves: "_Moves", found: ModelRow, cause: str) -> None:
        if found.settings is not None:
            moves = self._adopting(moves, found)
        moves.point(CHAMPION, found.version, cause)
        challenger = moves.named.get(CHALLENGER)
        if challenger is not None and challenger.version == found.version:
            moves.clear(CHALLENGER, cause)

    def rollback(self, campaign_id: str) -> Listed:
        """Goes back to the version before the last promotion, or, without a promotion, to the champion's parent.

        It is held until the next promotion. The version that it replaces becomes the challenger and learns on.

        Raises:
            NotFound: there is no such campaign.
            Conflict: there is no version to go back to, or it is no longer stored or does not load.
        """
        with self._moves(campaign_id) as moves:
            champion = moves.named.get(CHAMPION)
            if champion is None:
                raise Conflict(f"campaign {campaign_id!r} has no champion yet: there is nothing to go back from")
            version, undoes = moves.before(champion)
            moves.point(CHAMPION, version, ROLLBACK, held=True, undoes=undoes)
            moves.point(CHALLENGER, champion.version, ROLLBACK)
        log.info("model_rolled_back", campaign=campaign_id, model_version=version, replaced=champion.version)
        return self._one(campaign_id, version)

    @contextmanager
    def _moves(self, campaign_id: str) -> Iterator["_Moves"]:
        """A transaction in which nobody else moves the campaign's aliases."""
        with self._store.write() as connection:
            self._store.lock(connection, [lock_name(campaign_id), registry.lock_name(campaign_id)])
            live = self._campaigns.live(connection, [campaign_id]).get(campaign_id)
            if live is None:
                raise NotFound("campaign", campaign_id)
            now = self._clock.now()
            yield _Moves(
                connection=connection,
                campaign=live.document,
                now=now,
                named=models.aliases(connection, campaign_id),
            )
            pairs.begin(connection, campaign_id, now)

    def _adopting(self, moves: "_Moves", found: ModelRow) -> "_Moves":
        """The same, after the version's settings have become the campaign's own."""
        overrides = Overrides.from_text(found.settings)
        try:
            campaign = overrides.adopted_by(moves.campaign)
        except InvalidInput as error:
            raise Conflict(
                f"campaign {found.campaign_id!r} no longer allows the settings of version {found.version}: {error}"
            ) from error
        stored = self._campaigns.put_locked(moves.connection, campaign, moves.now)
        is_known = overrides.until is not None and campaign.to_json() == moves.campaign.to_json()
        adopted = overrides if is_known else replace(overrides, until=stored.version)
        models.set_settings(moves.connection, campaign.id, found.version, adopted.to_text())
        return replace(moves, campaign=campaign)

    def _one(self, campaign_id: str, version: int) -> Listed:
        return next(row for row in self.list(campaign_id) if row.version == version)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moves:
    """Moves the aliases of one campaign within a transaction."""

    connection: Connection
    campaign: Campaign
    now: datetime
    named: dict[str, Alias]  # as they were at the start

    @property
    def campaign_id(self) -> str:
        return self.campaign.id

    def point(self, alias: str, version: int, cause: str, *, held: bool = False, undoes: int | None = None) -> None:
        """Sets the alias to the version, and records the change."""
        named = Alias(alias=alias, version=version, held=held, campaign_arguments=self.campaign.learner_arguments.text)
        models.point(self.connection, self.campaign_id, named, self.now)
        self._note(alias, version, cause, undoes)

    def clear(self, alias: str, cause: str) -> None:
        """Removes the alias, and records the change."""
        models.clear(self.connection, self.campaign_id, alias)
        self._note(alias, None, cause)

    def _note(self, alias: str, version: int | None, cause: str, undoes: int | None = None) -> None:
        previous = self.named.get(alias)
        change = Change(
            campaign_id=self.campaign_id,
            alias=alias,
            version=version,
            previous=None if previous is None else previous.version,
            at=self.now,
            cause=cause,
            undoes=undoes,
        )
        models.note(self.connection, change)

    def before(self, champion: Alias) -> tuple[int, int | None]:
        """The version to go back to, and the change that this undoes; the champion's parent if there was no change."""
        change = models.last_promotion(self.connection, self.campaign_id)
        version = self._parent(champion) if change is None else int(change.previous)
        try:
            self.servable(version)
        except NotFound:
            raise Conflict(
                f"campaign {self.campaign_id!r}: version {version}, which was before version {champion.version}, is no "
                "longer stored; promote one that is"
            ) from None
        return version, None if change is None else change.seq

    def _parent(self, champion: Alias) -> int:
        row = models.manifest(self.connection, self.campaign_id, champion.version)
        if row is None or row.parent == 0:
            raise Conflict(
                f"version {champion.version} of campaign {self.campaign_id!r} was taught from nothing and never "
                "promoted: there is nothing to go back to"
            )
        return row.parent

    def servable(self, version: int) -> ModelRow:
        """The version; raises NotFound if there is none, Conflict if it must not or cannot serve."""
        found = models.get(self.connection, self.campaign_id, version) if 0 < version <= LARGEST_VERSION else None
        if found is None:
            raise NotFound("model", f"{self.campaign_id}/{version}")
        if found.health != OK:
            raise Conflict(f"version {version} of campaign {self.campaign_id!r} was refused: {found.health}")
        try:
            load_version(found).close()
        except CorruptModel as error:
            raise Conflict(f"version {version} of campaign {self.campaign_id!r} cannot serve: {error}") from error
        return found
