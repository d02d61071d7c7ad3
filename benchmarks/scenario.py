"""The campaign, the users and their past that every figure is measured on."""

import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from bandit.campaign.checks import parse_campaign
from bandit.campaign.document import Campaign
from bandit.decide.history import History, Response, Send
from bandit.ids import new_decision_id

Document = dict[str, Any]

CAMPAIGN = "bench"
ACTIONS = 73  # 3 channels x 6 contents x 4 hours, and silence
CHANNELS = ("push", "email", "sms")
LOCAL_HOURS = (8, 12, 18, 20)
POPULATION = 600  # users that differ; those after them have the same features under other ids
START = datetime(2026, 6, 1, tzinfo=UTC)  # no zone below changes its clock in the weeks after

_ZONES = (
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Los_Angeles",
    "America/Sao_Paulo",
    "America/Argentina/Buenos_Aires",
    "America/Mexico_City",
    "Europe/London",
    "Europe/Berlin",
    "Europe/Madrid",
    "Europe/Warsaw",
    "Europe/Istanbul",
    "Africa/Lagos",
    "Africa/Johannesburg",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Asia/Jakarta",
    "Asia/Shanghai",
    "Asia/Tokyo",
    "Australia/Sydney",
)
_COUNTRIES = ("US", "BR", "AR", "MX", "GB", "DE", "ES", "PL", "TR", "NG", "ZA", "IN", "NP", "ID", "CN", "JP", "AU")
_TOPICS = ("art", "food", "travel", "home", "style", "garden", "music", "film", "diy", "sport")
_KINDS = ("habit", "news", "offer", "social")


def campaign_document(name: str = CAMPAIGN, contents: int = 6) -> Document:
    """A campaign of 12 actions for each content, whose caps, gap and repeat distance see every send."""
    return {
        "id": name,
        "horizon_hours": 24,
        "channels": {
            "push": {"cost": 0.01, "cap": {"count": 2, "hours": 24}},
            "email": {"cost": 0.005, "cap": {"count": 3, "hours": 168}},
            "sms": {"cost": 0.05},
        },
        "consent": "assumed",
        "caps": {"count": 3, "hours": 24, "min_gap_hours": 4},
        "contents": [_content(number) for number in range(contents)],
        "send_times": {
            "local_hours": LOCAL_HOURS,
            "allow_now": False,
            "quiet_hours": {"start": "22:00", "end": "08:00"},
        },
        "reward": {
            "window_hours": 48,
            "learn_after_hours": 26,
            "bounds": [-5, 5],
            "events": {"opened": 0.1, "clicked": 1.0, "unsubscribed": -5.0},
        },
        "policy": {"floor": 0.02},
    }


def _content(number: int) -> Document:
    features = {
        "kind": _KINDS[number % len(_KINDS)],
        "topic": _TOPICS[number % len(_TOPICS)],
        "words": 8 + 3 * number % 40,
        "image": number % 2 == 0,
    }
    content: Document = {"id": f"content-{number}", "features": features}
    return {**content, "repeat_after_hours": 48} if number % 3 == 0 else content


def campaign(name: str = CAMPAIGN, contents: int = 6) -> Campaign:
    return parse_campaign(orjson.dumps(campaign_document(name, contents)))


def user_document(number: int, population: int = POPULATION) -> Document:
    """The user of that number, reachable everywhere: eight features, one of them a list of topics.

    Args:
        population: users that differ; those after them have the same features again.
    """
    luck = random.Random(number % population)
    features = {
        "country": luck.choice(_COUNTRIES),
        "language": luck.choice(("en", "es", "pt", "de", "zh", "hi")),
        "plan": luck.choice(("free", "plus", "family")),
        "premium": luck.random() < 0.2,
        "days_since_visit": round(luck.expovariate(0.3), 2),
        "sessions_7d": luck.randrange(20),
        "account_days": luck.randrange(2_000),
        "topics": luck.sample(_TOPICS, luck.randint(1, 4)),
    }
    user: Document = {"id": f"user-{number}", "timezone": luck.choice(_ZONES), "features": features}
    if luck.random() < 0.5:
        user["channels"] = list(CHANNELS)
    if luck.random() < 0.3:
        user["quiet_hours"] = {"start": "21:30", "end": "07:30"}
    return user


def decide_document(number: int, name: str = CAMPAIGN) -> Document:
    """A request about the user of that number."""
    return {"campaign": name, "user": user_document(number)}


def decide_bodies(numbers: Iterable[int], name: str = CAMPAIGN) -> Iterator[bytes]:
    """Requests about these users as JSON text, cheaply made."""
    shapes = [_shape(number, name) for number in range(POPULATION)]
    for number in numbers:
        before, after = shapes[number % POPULATION]
        yield b"%buser-%d%b" % (before, number, after)


def _shape(number: int, name: str) -> tuple[bytes, bytes]:
    """A user's request without the user's id: what comes before it, and after."""
    document = decide_document(number, name)
    document["user"]["id"] = "\0"
    before, _, after = orjson.dumps(document).partition(b"\\u0000")
    return before, after


def sends_before(number: int) -> int:
    """How many sends lie in a user's past: none for half of the users, one to three for the others."""
    return random.Random(~number).choice((0, 0, 0, 1, 2, 3))


def history(number: int, document: Campaign) -> History:
    """A user's past as of the start: too long ago to block anything, near enough to be a feature."""
    luck = random.Random(~number)
    sent = sorted(
        (_past_send(luck, document) for _ in range(sends_before(number))),
        key=lambda send: send.send_at,
    )
    opened = [send for send in sent if luck.random() < 0.3]
    return History(
        sends=tuple(sent),
        responses=tuple(
            Response(decision_id=send.decision_id, occurred_at=send.send_at + timedelta(hours=1)) for send in opened
        ),
    )


def _past_send(luck: random.Random, document: Campaign) -> Send:
    content = luck.choice(document.catalogue_contents)
    send_at = START - timedelta(days=luck.uniform(8, 26))
    return Send(
        decision_id=new_decision_id(send_at, luck.randbytes),
        channel=luck.choice(CHANNELS),
        content=content.id,
        kind=str(content.features["kind"]),
        send_at=send_at,
    )
