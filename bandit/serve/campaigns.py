"""Stored campaigns: put, read, pause. Parsed documents are cached, because a version never changes."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import Connection

from bandit.campaign.checks import parse_campaign
from bandit.campaign.document import Campaign
from bandit.decide.decision import LiveCampaign
from bandit.errors import Conflict, InvalidInput, NotFound, UnreadableCampaign
from bandit.serve.clock import Clock
from bandit.store import campaigns
from bandit.store.sql.database import Store

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCampaign:
    """One stored version of a campaign."""

    campaign: Campaign
    version: int
    paused: bool
    is_new: bool = False  # this call stored the campaign's first version


def lock_name(campaign_id: str) -> str:
    """The name of the lock for transactions that add a version to the campaign."""
    return f"campaign:{campaign_id}"


class Campaigns:
    """The campaigns of a store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._parsed: dict[tuple[str, int], Campaign] = {}

    def put(self, campaign: Campaign, *, if_version: int | None = None) -> StoredCampaign:
        """The campaign's current version after storing the document; an unchanged document adds no version.

        Raises:
            Conflict: `if_version` is given and is not the current version (0: there is no version).
        """
        now = self._clock.now()
        with self._store.write() as connection:
            self._store.lock(connection, [lock_name(campaign.id)])
            return self.put_locked(connection, campaign, now, if_version=if_version)

    def put_locked(
        self, connection: Connection, campaign: Campaign, now: datetime, *, if_version: int | None = None
    ) -> StoredCampaign:
        """The same, in a transaction that has the campaign's lock."""
        head = next(iter(campaigns.heads(connection, [campaign.id])), None)
        current, paused = (0, False) if head is None else (head.version, head.paused)
        if if_version is not None and if_version != current:
            raise Conflict(f"if_version: {if_version} is not the current version {current} of {campaign.id!r}")
        if head is None or not self._is_stored(connection, campaign, current):
            current += 1
            campaigns.add_version(connection, campaign.id, current, campaign.to_json(), now)
        return StoredCampaign(campaign=campaign, version=current, paused=paused, is_new=head is None)

    def get(self, campaign_id: str) -> StoredCampaign:
        """The current version.

        Raises:
            NotFound: there is no such campaign.
        """
        with self._store.read() as connection:
            found = self.live(connection, [campaign_id])
        if campaign_id not in found:
            raise NotFound("campaign", campaign_id)
        live = found[campaign_id]
        return StoredCampaign(campaign=live.document, version=live.version, paused=live.paused)

    def _is_stored(self, connection: Connection, campaign: Campaign, version: int) -> bool:
        """Whether the version says the same; one that cannot be read does not, so that a PUT repairs it."""
        try:
            return self.document(connection, campaign.id, version).to_json() == campaign.to_json()
        except UnreadableCampaign:
            return False

    def list(self) -> list[StoredCampaign]:
        """Every campaign's current version, by id; those that cannot be read are logged and left out."""
        with self._store.read() as connection:
            found, unreadable = self.readable(connection, None)
        for campaign_id, error in unreadable.items():
            log.error("campaign_unreadable", campaign=campaign_id, error=str(error))
        return [StoredCampaign(campaign=one.document, version=one.version, paused=one.paused) for one in found.values()]

    def set_paused(self, campaign_id: str, paused: bool) -> StoredCampaign:
        """The campaign after pausing or resuming it; raises NotFound."""
        stored = self.get(campaign_id)
        with self._store.write() as connection:
            campaigns.set_paused(connection, campaign_id, paused)
        return StoredCampaign(campaign=stored.campaign, version=stored.version, paused=paused)

    def live(self, connection: Connection, ids: Iterable[str] | None) -> dict[str, LiveCampaign]:
        """Current versions by id, as this transaction sees them; unknown ids are absent.

        Raises:
            UnreadableCampaign: one of them cannot be read.
        """
        found, unreadable = self.readable(connection, ids)
        for error in unreadable.values():
            raise error
        return found

    def readable(
        self, connection: Connection, ids: Iterable[str] | None
    ) -> tuple[dict[str, LiveCampaign], dict[str, UnreadableCampaign]]:
        """Current versions by id, and why others cannot be read: one campaign must not stop the rest."""
        found: dict[str, LiveCampaign] = {}
        unreadable: dict[str, UnreadableCampaign] = {}
        for head in campaigns.heads(connection, ids):
            try:
                document = self.document(connection, head.id, head.version)
            except UnreadableCampaign as error:
                unreadable[head.id] = error
            else:
                found[head.id] = LiveCampaign(document=document, version=head.version, paused=head.paused)
        return found, unreadable

    def document(self, connection: Connection, campaign_id: str, version: int) -> Campaign:
        """The document of one version; raises UnreadableCampaign."""
        key = (campaign_id, version)
        if key not in self._parsed:
            text = campaigns.document(connection, campaign_id, version)
            if text is None:
                raise NotFound("campaign version", f"{campaign_id}/{version}")
            self._parsed[key] = _parsed(text, campaign_id, version)
        return self._parsed[key]


def _parsed(text: str, campaign_id: str, version: int) -> Campaign:
    try:
        return parse_campaign(text)
    except InvalidInput as error:
        raise UnreadableCampaign(
            f"version {version} of campaign {campaign_id!r} is stored, but breaks a rule of this program: {error}; "
            "PUT a document that keeps the rules"
        ) from error
