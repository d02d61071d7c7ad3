"""What a learner knows as a document of plain values and arrays, and back."""

from dataclasses import asdict
from typing import Any

from bandit.engine.events.bank import Bank, Duel, Member
from bandit.engine.events.designs import Columns, Family, Key, Users
from bandit.engine.events.feedback import Flow, Watch
from bandit.engine.events.model import Better, EventModel, Sizes
from bandit.engine.events.posterior import Gaussian, Posterior

Document = dict[str, Any]


def columns_document(columns: Columns) -> Document:
    """The user columns, and the keys of all weights."""
    return {
        "users": list(columns.users.numbers),
        "dense": [list(key) for key in columns.dense],
        "tail": [list(key) for key in columns.tail],
    }


def columns_of(most: int, document: Document) -> Columns:
    """The weights that `columns_document` wrote."""
    dense, tail = ([Key(Family(key[0]), *key[1:]) for key in document[name]] for name in ("dense", "tail"))
    return Columns(Users(document["users"]), most, dense, tail)


def model_document(model: EventModel) -> Document:
    """The model of one event."""
    return {
        "is_numeric": model.is_numeric,
        "is_bad": model.is_bad,
        "is_wide": model.is_wide,
        "bank": _bank_document(model.bank),
        "hazard": _posterior_document(model.hazard),
        "organic": _posterior_document(model.organic),
        "alone": _posterior_document(model.alone),
        "sends": asdict(model.sends),
        "silence": asdict(model.silence),
        "seen_after_silence": model.seen_after_silence,
        "watch": {channel: asdict(flow) for channel, flow in model.watch.flows.items()},
        "sizes": asdict(model.sizes),
        "gaussian": asdict(model.gaussian),
    }


def model_of(name: str, document: Document) -> EventModel:
    """The model that `model_document` wrote."""
    return EventModel(
        name=name,
        is_numeric=document["is_numeric"],
        is_bad=document["is_bad"],
        is_wide=document["is_wide"],
        bank=_bank_of(document["bank"]),
        hazard=Posterior(**document["hazard"]),
        organic=Posterior(**document["organic"]),
        alone=Posterior(**document["alone"]),
        sends=Better(**document["sends"]),
        silence=Better(**document["silence"]),
        seen_after_silence=document["seen_after_silence"],
        watch=Watch({channel: Flow(**flow) for channel, flow in document["watch"].items()}),
        sizes=Sizes(**document["sizes"]),
        gaussian=Gaussian(**document["gaussian"]),
    )


def _posterior_document(posterior: Posterior) -> Document:
    return {
        "mean": posterior.mean,
        "precision": posterior.precision,
        "tail_mean": posterior.tail_mean,
        "tail_precision": posterior.tail_precision,
    }


def _member_document(member: Member) -> Document:
    return {
        "walk": member.walk,
        "born": member.born,
        "loss": member.loss,
        "posterior": _posterior_document(member.posterior),
        "duel": asdict(member.duel),
    }


def _member_of(document: Document) -> Member:
    return Member(
        walk=document["walk"],
        born=document["born"],
        loss=document["loss"],
        posterior=Posterior(**document["posterior"]),
        duel=Duel(blocks=[tuple(block) for block in document["duel"]["blocks"]]),
    )


def _bank_document(bank: Bank) -> Document:
    return {
        "settled": [_member_document(one) for one in bank.settled],
        "challengers": [_member_document(one) for one in bank.challengers],
        "place": bank.place,
        "takeovers": bank.takeovers,
        "has_changed": bank.has_changed,
    }


def _bank_of(document: Document) -> Bank:
    return Bank(
        settled=[_member_of(one) for one in document["settled"]],
        challengers=[_member_of(one) for one in document["challengers"]],
        place=document["place"],
        takeovers=document["takeovers"],
        has_changed=document["has_changed"],
    )
