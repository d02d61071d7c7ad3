"""A receipt in words, and its draw repeated."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from bandit.exploration import draw, draw_number

Receipt = dict[str, Any]

BLOCKED_WORDS = {
    "unreachable": "the user cannot be reached there, or has not consented",
    "content_channel": "the content is not made for the channel",
    "expired": "the content has expired by then",
    "quiet_hours": "quiet hours",
    "min_gap": "too close to another message",
    "cap": "the cap over all channels is reached",
    "channel_cap": "the channel's cap is reached",
    "repeat": "the user gets this content too soon again",
}
POLICY_WORDS = {
    "learned": "the learned policy",
    "uniform_holdout": "the uniform holdout: every option equally likely",
    "no_send_holdout": "the no-send holdout: this user is never sent anything",
    "baseline": "the campaign's baseline, in shadow mode",
    "fallback": "the fallback: no model could decide",
}
MOST_SHOWN = 10


def draw_repeats(receipt: Receipt) -> bool:
    """Whether the draw, done again from the receipt alone, gives the action that was answered."""
    pmf = np.array([action["probability"] for action in receipt["actions"]])
    number = draw_number(receipt["draw"]["salt"], receipt["decision_id"])
    place = draw(pmf, number)
    answered = {name: receipt[name] for name in ("channel", "content", "send_at")}
    drawn = receipt["actions"][place]
    return number == receipt["draw"]["number"] and answered == {name: drawn[name] for name in answered}


def explanation(receipt: Receipt) -> Iterator[str]:
    """The receipt in sentences, one a line."""
    yield (
        f"Decision {receipt['decision_id']} for user {receipt['user']}, campaign {receipt['campaign']} "
        f"(version {receipt['campaign_version']}), at {receipt['decided_at']}."
    )
    yield f"Answered: {action_words(receipt)}{_because(receipt)}."
    yield (
        f"Chosen by {POLICY_WORDS[receipt['policy']]} (model version {receipt['model_version']}) with probability "
        f"{receipt['propensity']:.4g} out of {len(receipt['actions'])} options."
    )
    yield from _options(receipt)
    yield from _blocked(receipt)
    yield from _outcome(receipt)
    yield _draw_words(receipt)


def action_words(action: dict[str, Any]) -> str:
    """A channel, content and moment in words, or silence."""
    if action["channel"] is None:
        return "silence"
    return f"{action['content']} by {action['channel']} at {action['send_at']}"


def _because(receipt: Receipt) -> str:
    words = {
        "policy": "the policy preferred it",
        "no_eligible_action": "the rules left nothing to send",
        "holdout": "the user is in the no-send holdout",
        "paused": "the campaign was paused",
    }
    return "" if receipt["reason"] is None else f", because {words[receipt['reason']]}"


def _options(receipt: Receipt) -> Iterator[str]:
    ranked = sorted(receipt["actions"], key=lambda action: -action["probability"])
    yield "Most likely options:"
    for action in ranked[:MOST_SHOWN]:
        yield f"  {action['probability']:.4f}  {action_words(action)}"
    if len(ranked) > MOST_SHOWN:
        yield f"  and {len(ranked) - MOST_SHOWN} less likely ones"


def _blocked(receipt: Receipt) -> Iterator[str]:
    for rule, blocked in receipt["blocked"].items():
        example = action_words(blocked["example"])
        yield f"Blocked, {blocked['count']}: {BLOCKED_WORDS[rule]}; for example {example}."


def _outcome(receipt: Receipt) -> Iterator[str]:
    for event in receipt["feedback"]:
        marks = "".join(f" ({name})" for name in ("late", "excluded") if event.get(name))
        yield f"Feedback: {event['event']} at {event['occurred_at']}{marks}."
    if receipt["reward_final_at"] is None:
        yield f"The reward is open until {receipt['reward_deadline']}."
    elif receipt["reward"] is None:
        yield "There is no reward: the message did not go out."
    else:
        yield f"The reward is {receipt['reward']:.4g}, final since {receipt['reward_final_at']}."


def _draw_words(receipt: Receipt) -> str:
    number = f"{receipt['draw']['number']:.6f}"
    if draw_repeats(receipt):
        return f"The draw was repeated from this receipt: the number {number} gives the same action."
    return f"The draw does NOT repeat: the number {number} gives another action than the one answered."
