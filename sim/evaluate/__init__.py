"""Questions to a log: what another policy would have earned, and pages that show it."""

from bandit.errors import require_extra

require_extra("study")
