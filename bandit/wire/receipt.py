"""A receipt: everything that is stored about a decision."""

from typing import Annotated, Any

from pydantic import Field

from bandit.campaign.fields import about
from bandit.wire.decision import ActionDocument, DecisionBody, DecisionNames
from bandit.wire.fields import Answer, Moment, Number, Probability, Whole


class OfferedAction(ActionDocument):
    """An eligible action and its probability."""

    probability: Annotated[Probability, about("Probability with which it could have been drawn.", example=0.137)]


class Draw(Answer):
    """How the action was drawn, so that everybody can repeat the draw."""

    salt: Annotated[str, about("Hashed together with the decision's id.", example="reengage")]
    number: Annotated[Number, about("The hash as a number in [0, 1): where the draw fell.", example=0.6180339887)]


class BlockedActions(Answer):
    """The actions that one rule removed."""

    count: Annotated[Whole, about("How many actions the rule cut.", example=6)]
    example: Annotated[ActionDocument, about("The first of them.")]


class ModelLines(Answer):
    """The text that the model saw, by parts: an action's line joins one entry of each list."""

    shared: Annotated[str, about("The line of user and history.", example="shared |U country=US |H sent_7d_push:2.0")]
    channels: Annotated[list[str], about("Per channel its line.", example=["|C id=push"])]
    contents: Annotated[
        list[str], about("Per content its line.", example=["|M id=streak kind=habit |R since=never kind_since=never"])
    ]
    times: Annotated[list[str], about("Per send time its line.", example=["|T hour=18"])]


class StoredEvent(Answer):
    """A feedback event as stored."""

    event: Annotated[str, about("The event.", example="clicked")]
    value: Annotated[Number | None, about("Its number; null: it has none.", example=1.0)]
    occurred_at: Annotated[Moment, about("When it happened.", example="2026-11-20T23:11:09Z")]
    received_at: Annotated[Moment, about("When the service got it.", example="2026-11-20T23:11:10Z")]
    event_id: Annotated[str | None, about("The sender's own id; null: none was given.", example="e-77")]
    late: Annotated[bool, about("Whether it came too late to count in the reward.", example=False)]
    excluded: Annotated[
        str | None,
        about(
            "Why a purge took it out of learning; absent: it was not.",
            example="purged: learned feedback of source 'k-1f2e'",
        ),
    ] = None


class ReceiptNames(DecisionNames):
    """The fields that identify a receipt."""

    campaign_version: Annotated[Whole, about("Version of the campaign document.", example=3)]
    user: Annotated[str, about("Id of the user.", example="u-123")]


class Receipt(DecisionBody, ReceiptNames):
    """A decision with its evidence and its outcome."""

    request: Annotated[
        dict[str, Any],
        about("The request as received.", example={"campaign": "reengage", "user": {"id": "u-123", "timezone": "UTC"}}),
    ]
    actions: Annotated[list[OfferedAction], about("Every eligible action, silence first, with its probability.")]
    action_index: Annotated[Whole, about("Place of the chosen action in `actions`.", example=0)]
    draw: Annotated[Draw, about("How the action was drawn.")]
    blocked: Annotated[
        dict[str, BlockedActions],
        about(
            "By rule the actions that it cut.",
            example={
                "quiet_hours": {
                    "count": 6,
                    "example": {"channel": "push", "content": "streak", "send_at": "2026-11-21T03:00:00Z"},
                }
            },
        ),
    ]
    history: Annotated[
        dict[str, Number],
        about("The user's history as the model saw it.", example={"sent_7d_push": 2.0, "ignored_streak": 1.0}),
    ]
    lines: Annotated[ModelLines, about("What the model saw, as text.")]
    learned_pmf: Annotated[
        list[Number],
        about("What the learned policy would have drawn from, where another policy decided.", example=[0.1, 0.9]),
    ] = Field(default_factory=list)
    feedback: Annotated[list[StoredEvent], about("The feedback so far, in the order of its coming.")]
    reward: Annotated[
        Number | None, about("The final reward; null: still open, or the message did not go out.", example=0.99)
    ]
    reward_final_at: Annotated[
        Moment | None, about("When the reward became final; null: still open.", example="2026-11-21T19:03:10Z")
    ]


class Receipts(Answer):
    """The latest receipts of a user, newest first."""

    decisions: Annotated[list[Receipt], about("The receipts.")]


class Explanation(Answer):
    """A receipt in words."""

    decision_id: Annotated[str, about("Id of the decision.", example="01JD4CTE7M3K6ZQ2V9XW5R8YAB")]
    sentences: Annotated[
        list[str],
        about("The explanation, line by line.", example=["The reward is open until 2026-11-22T17:03:00Z."]),
    ]
    draw_repeats: Annotated[
        bool, about("Whether the draw, done again from the receipt alone, gives the same action.", example=True)
    ]
