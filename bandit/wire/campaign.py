"""Campaigns as they are put and as they are stored, and the versions of their models."""

from typing import Annotated, Any, Literal

import orjson
from pydantic import Field, PlainSerializer

from bandit.campaign.document import Campaign, CampaignName
from bandit.campaign.fields import about
from bandit.wire.fields import Answer, Moment, Whole


class CampaignBody(Campaign):
    """A campaign document as it is put: its id may be left to the address."""

    id: Annotated[CampaignName, about("Name of the campaign; absent: the id of the address.", example="reengage")] = (
        Field(default_factory=str)
    )
    if_version: Annotated[
        int | None,
        about("The version believed to be current (0: none); else 409. May stand in the address instead.", example=3),
    ] = None


def _as_stored(campaign: Campaign) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(campaign.to_json())
    return document


class StoredCampaign(Answer):
    """The current version of a campaign."""

    id: Annotated[str, about("Name of the campaign.", example="reengage")]
    version: Annotated[Whole, about("Version of the document; counted from 1.", example=3)]
    paused: Annotated[bool, about("Whether it decides silence until it is resumed.", example=False)]
    document: Annotated[Campaign, PlainSerializer(_as_stored), about("The document, defaults written out.")]


class StoredCampaigns(Answer):
    """Every campaign's current version."""

    campaigns: Annotated[list[StoredCampaign], about("The campaigns, by id.")]


class Model(Answer):
    """A stored version of a campaign's model."""

    version: Annotated[Whole, about("Version of the model; counted from 1.", example=12)]
    parent: Annotated[Whole, about("The version that it was taught from; 0: an untaught one.", example=11)]
    events_learned: Annotated[Whole, about("Decisions learned by it and the versions before it.", example=5120)]
    watermark: Annotated[Whole, about("Place in the sequence of the last decision that it learned.", example=5127)]
    created_at: Annotated[Moment, about("When it was stored.", example="2026-11-21T19:03:10Z")]
    alias: Annotated[
        Literal["champion", "challenger"] | None,
        about("champion: it serves; challenger: it learns beside the champion; null: neither.", example="champion"),
    ]
    held: Annotated[bool, about("Whether it is held by a rollback: the learner teaches it no further.", example=False)]
    health: Annotated[str, about("ok, or why the version is never served.", example="ok")]
    lineage: Annotated[Whole, about("Versions that were taught one from another have the same number.", example=1)]
    arguments: Annotated[
        str, about("The engine's command line.", example="--cb_explore_adf --cb_type mtr --clip_p 0.02 --squarecb")
    ]
    engine_version: Annotated[str, about("Version of the engine.", example="9.11.0")]
    size: Annotated[Whole, about("Bytes of the model.", example=48213)]
    digest: Annotated[str, about("Checksum of the model's bytes.", example="9f86d081884c7d65")]
    champion_since: Annotated[
        Moment | None,
        about("When it last became champion; null: it never was.", example="2026-11-21T19:03:10Z"),
    ]


class Models(Answer):
    """The model versions of a campaign."""

    models: Annotated[list[Model], about("The versions, newest first.")]


class QuarantinedDecision(Answer):
    """A decision that no model may learn."""

    decision_id: Annotated[str, about("Id of the decision.", example="01JD4CTE7M3K6ZQ2V9XW5R8YAB")]
    seq: Annotated[Whole, about("Its place in the sequence of closed decisions.", example=5127)]
    reason: Annotated[
        Literal["actions", "action", "propensity", "reward", "events", "lines"],
        about("What cannot be true of it.", example="reward"),
    ]
    detail: Annotated[str, about("The value and its rule.", example="reward 1e+30 is outside [-5.0, 5.0]")]
    quarantined_at: Annotated[Moment, about("When the learner refused it.", example="2026-11-22T19:03:10Z")]


class Quarantine(Answer):
    """Decisions that no model may learn."""

    quarantine: Annotated[list[QuarantinedDecision], Field(max_length=100), about("The decisions, last closed first.")]
