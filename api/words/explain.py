"""A receipt in words, and its draw repeated."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import Connection

from bandit.campaign.document import Campaign
from bandit.decide.exploration import draw, draw_number
from bandit.sendtimes import ALL_DAY, zone
from bandit.serve.campaigns import Campaigns
from bandit.serve.receipts import receipt

Receipt = dict[str, Any]

POLICY_WORDS = {
    "learned": "the learned policy",
    "uniform_holdout": "the uniform holdout: every option equally likely",
    "no_send_holdout": "the no-send holdout: this user never gets a message",
    "baseline": "the campaign's baseline, in shadow mode",
    "fallback": "the fallback: no model could decide",
}
MOST_SHOWN = 10


def draw_repeats(receipt: Receipt) -> bool:
    """Whether repeating the draw from the receipt alone gives the action that was answered."""
    pmf = np.array([action["probability"] for action in receipt["actions"]])
    number = draw_number(receipt["draw"]["salt"], receipt["decision_id"])
    place = draw(pmf, number)
    answered = {name: receipt[name] for name in ("channel", "content", "send_at")}
    drawn = receipt["actions"][place]
    return number == receipt["draw"]["number"] and answered == {name: drawn[name] for name in answered}


def explained(connection: Connection, campaigns: Campaigns, decision_id: str) -> tuple[Receipt, list[str]]:
    """The receipt of a decision, and its sentences.

    Raises:
        NotFound: there is no such decision.
    """
    found = receipt(connection, decision_id)
    campaign = campaigns.document(connection, found["campaign"], found["campaign_version"])
    return found, list(_explanation(found, campaign))


def _explanation(receipt: Receipt, campaign: Campaign) -> Iterator[str]:
    yield (
        f"Decision {receipt['decision_id']} for user {receipt['user']}, campaign {receipt['campaign']} "
        f"(version {receipt['campaign_version']}), at {receipt['decided_at']}."
    )
    local = zone(receipt["request"]["user"]["timezone"])
    yield f"Answered: {_action_words(receipt, local)}{_because(receipt)}."
    yield (
        f"Chosen by {POLICY_WORDS[receipt['policy']]} (model version {receipt['model_version']}) with probability "
        f"{receipt['propensity']:.4g} out of {len(receipt['actions'])} options."
    )
    yield from _absent(receipt, campaign)
    yield from _options(receipt, local)
    yield from _blocked(receipt, campaign, local)
    yield from _outcome(receipt)
    yield _draw_words(receipt)


def _action_words(action: dict[str, Any], local: ZoneInfo) -> str:
    """A channel, content and moment on the user's clock in words, or silence."""
    if action["channel"] is None:
        return "silence"
    at = datetime.fromisoformat(action["send_at"]).astimezone(local)
    return f"{action['content']} by {action['channel']} on {at:%A %d %B at %H:%M} in {local.key} ({action['send_at']})"


def _because(receipt: Receipt) -> str:
    words = {
        "policy": "the policy preferred it",
        "no_eligible_action": "the rules left nothing to send",
        "holdout": "the user is in the no-send holdout",
        "paused": "the campaign was paused",
    }
    return "" if receipt["reason"] is None else f", because {words[receipt['reason']]}"


def _absent(receipt: Receipt, campaign: Campaign) -> Iterator[str]:
    """The rules that would have looked at this send, and that there are not."""
    if receipt["channel"] is None:
        return
    user = receipt["request"]["user"]
    if campaign.quiet_hours is None and _users_window(user) is None:
        at_once = ", and sending at once is allowed" if campaign.send_times.allow_now else ""
        yield f"No quiet hours are set{at_once}."
    if user.get("channels") is None:
        yield f"Consent to {receipt['channel']} was assumed: the campaign says so, and the request named no channels."


def _users_window(user: dict[str, Any]) -> str | None:
    """The user's own quiet hours in words; None where there are none. Equal start and end once meant none."""
    own = user.get("quiet_hours")
    if own in (None, "none"):
        return None
    if own == "all_day":
        return "all day"
    return None if own["start"] == own["end"] else f"{own['start']} to {own['end']}"


def _options(receipt: Receipt, local: ZoneInfo) -> Iterator[str]:
    ranked = sorted(receipt["actions"], key=lambda action: -action["probability"])
    yield "Most likely options:"
    for action in ranked[:MOST_SHOWN]:
        yield f"  {action['probability']:.4f}  {_action_words(action, local)}"
    if len(ranked) > MOST_SHOWN:
        yield f"  and {len(ranked) - MOST_SHOWN} less likely ones"


def _blocked(receipt: Receipt, campaign: Campaign, local: ZoneInfo) -> Iterator[str]:
    for rule, blocked in receipt["blocked"].items():
        example = blocked["example"]
        why = _BLOCKED_WORDS[rule](campaign, receipt["request"], example)
        yield f"Blocked, {blocked['count']}: {why}; for example {_action_words(example, local)}."


Why = Callable[[Campaign, dict[str, Any], dict[str, Any]], str]  # of the campaign, the request and a blocked action


def _quiet(campaign: Campaign, request: dict[str, Any], _action: dict[str, Any]) -> str:
    windows = []
    if (own := campaign.quiet_hours) is not None:
        window = "all day" if own == ALL_DAY else f"{own.start:%H:%M} to {own.end:%H:%M}"
        windows.append(f"{window} by the campaign")
    if (users := _users_window(request["user"])) is not None:
        windows.append(f"{users} by the user")
    return f"quiet hours in {request['user']['timezone']}, {' and '.join(windows)}"


def _channel_cap(campaign: Campaign, _request: dict[str, Any], action: dict[str, Any]) -> str:
    cap = campaign.channels[action["channel"]].cap
    return "" if cap is None else f"{cap.count} of {cap.count} by {action['channel']} in {cap.hours:g} hours are taken"


def _cap(campaign: Campaign, _request: dict[str, Any], _action: dict[str, Any]) -> str:
    caps = campaign.caps
    return f"{caps.count} of {caps.count} over all channels in {caps.hours:g} hours are taken"


def _gap(campaign: Campaign, _request: dict[str, Any], _action: dict[str, Any]) -> str:
    return f"less than {campaign.caps.min_gap_hours:g} hours from another message"


_BLOCKED_WORDS: dict[str, Why] = {
    "unreachable": lambda _c, _r, action: f"the user cannot be reached by {action['channel']}, or has not consented",
    "content_channel": lambda _c, _r, action: f"{action['content']} is not made for {action['channel']}",
    "expired": lambda _c, _r, action: f"{action['content']} has expired by then",
    "quiet_hours": _quiet,
    "min_gap": _gap,
    "cap": _cap,
    "channel_cap": _channel_cap,
    "repeat": lambda _c, _r, action: f"the user gets {action['content']} too soon again",
}


def _outcome(receipt: Receipt) -> Iterator[str]:
    for event in receipt["feedback"]:
        marks = "".join(f" ({name})" for name in ("late", "excluded") if event.get(name))
        yield f"Feedback: {event['event']} at {event['occurred_at']}{marks}."
    if receipt["reward_final_at"] is None:
        yield f"The reward is open until {receipt['reward_deadline']}."
    elif receipt["reward"] is None:
        yield "There is no reward: the message was not sent."
    else:
        yield f"The reward is {receipt['reward']:.4g}, final since {receipt['reward_final_at']}."


def _draw_words(receipt: Receipt) -> str:
    number = f"{receipt['draw']['number']:.6f}"
    if draw_repeats(receipt):
        return f"The draw was repeated from this receipt: the number {number} gives the same action."
    return f"The draw does NOT repeat: the number {number} gives another action than the one that was answered."
