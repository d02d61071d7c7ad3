"""Replays of published trials through the code that serves."""

from bandit.errors import require_extra

require_extra("study")
