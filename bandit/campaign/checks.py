"""Reads and checks a campaign document: its parts, and the rules about several parts."""

import json
import tomllib

from bandit.campaign.document import Baseline, Campaign, Reward
from bandit.campaign.fields import validated, validated_text
from bandit.engine.events.arguments import LARGEST_UNIT
from bandit.engine.events.arguments import LEARNER as EVENTS
from bandit.errors import FieldError, InvalidInput, RejectedInput


def parse_campaign(document: str | bytes) -> Campaign:
    """The campaign of a JSON document.

    Raises:
        InvalidInput: with every fault of the document, each by its path and rule.
    """
    return _checked(validated_text(Campaign, document))


def campaign_of(document: object) -> Campaign:
    """The campaign of a document that was read from JSON; errors as in `parse_campaign`."""
    return _checked(validated(Campaign, document))


def parse_campaign_toml(document: str) -> Campaign:
    """The campaign of a TOML document; errors as in `parse_campaign`."""
    try:
        text = json.dumps(tomllib.loads(document), default=lambda value: value.isoformat())
    except (ValueError, RecursionError) as error:  # not TOML, an integer of thousands of digits, or nested too deep
        raise InvalidInput([FieldError(field="document", message=f"is not TOML: {error}")]) from None
    return parse_campaign(text)


def _checked(campaign: Campaign) -> Campaign:
    errors = _contradictions(campaign)
    if errors:
        raise InvalidInput(errors)
    return campaign


def _contradictions(campaign: Campaign) -> list[FieldError]:
    """Violations of rules about several parts of the document."""
    return [
        *_content_errors(campaign),
        *_reward_errors(campaign),
        *_baseline_errors(campaign),
        *_engine_errors(campaign),
    ]


def _content_errors(campaign: Campaign) -> list[FieldError]:
    errors = []
    seen: set[str] = set()
    for position, content in enumerate(campaign.contents):
        if content.id in seen:
            errors.append(FieldError(field=f"contents.{position}.id", message=f"{content.id!r} appears twice"))
        seen.add(content.id)
        for channel in content.channels or ():
            if channel not in campaign.channels:
                path = f"contents.{position}.channels"
                errors.append(FieldError(field=path, message=f"{channel!r} is not a channel of the campaign"))
    return errors


def _reward_errors(campaign: Campaign) -> list[FieldError]:
    reward = campaign.reward
    low, high = reward.bounds
    if not low < high:
        return [FieldError(field="reward.bounds", message=f"[{low}, {high}]: must be [low, high] with low < high")]
    values = {"default": reward.default, **{f"events.{name}": value for name, value in reward.events.items()}}
    return [
        *(
            FieldError(field=f"reward.{name}", message=f"{value}: is outside the bounds [{low}, {high}]")
            for name, value in values.items()
            if not low <= value <= high
        ),
        *_window_errors(reward, campaign.horizon_hours),
    ]


def _window_errors(reward: Reward, horizon_hours: float) -> list[FieldError]:
    errors = []
    given = {"window_hours": reward.window_hours, "learn_after_hours": reward.learn_after_hours}
    for name, hours in given.items():
        if hours is not None and hours < horizon_hours:
            message = f"{hours}: is shorter than horizon_hours = {horizon_hours}"
            errors.append(FieldError(field=f"reward.{name}", message=message))
    if reward.learn_hours > reward.window_hours:
        message = f"{reward.learn_hours}: is longer than window_hours = {reward.window_hours}"
        errors.append(FieldError(field="reward.learn_after_hours", message=message))
    return errors


def _baseline_errors(campaign: Campaign) -> list[FieldError]:
    baseline = campaign.policy.baseline
    if baseline is None:
        if campaign.mode == "shadow":
            return [FieldError(field="policy.baseline", message="is required when mode is 'shadow'")]
        return []
    errors = []
    if baseline.channel not in campaign.channels:
        message = f"{baseline.channel!r} is not a channel of the campaign"
        errors.append(FieldError(field="policy.baseline.channel", message=message))
    content = campaign.catalogue.get(baseline.content)
    if content is None:
        message = f"{baseline.content!r} is not a content of the campaign"
        errors.append(FieldError(field="policy.baseline.content", message=message))
    elif content.channels is not None and baseline.channel not in content.channels:
        message = f"{baseline.content!r} is not offered on channel {baseline.channel!r}"
        errors.append(FieldError(field="policy.baseline.content", message=message))
    return [*errors, *_baseline_time_errors(campaign, baseline)]


def _baseline_time_errors(campaign: Campaign, baseline: Baseline) -> list[FieldError]:
    field = "policy.baseline.local_hour"
    if baseline.local_hour is None:
        if not campaign.send_times.allow_now:
            return [FieldError(field=field, message="is required when allow_now is false")]
    elif baseline.local_hour not in campaign.send_times.local_hours:
        message = f"{baseline.local_hour}: is not one of send_times.local_hours"
        return [FieldError(field=field, message=message)]
    return []


def _engine_errors(campaign: Campaign) -> list[FieldError]:
    try:
        _ = campaign.learner_arguments
    except RejectedInput as error:
        return list(error.errors)
    if campaign.policy.learner == EVENTS and campaign.reward.unit > LARGEST_UNIT:
        message = f"{campaign.reward.unit:g}: the learner `events` takes a best event worth at most {LARGEST_UNIT:g}"
        return [FieldError(field="reward", message=message)]
    return []
