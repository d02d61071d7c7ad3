"""Off-policy evaluation: can this log answer, and what would another policy have earned."""

from bandit.errors import require_extra

require_extra("study")

from sim.ope.comparison import compare  # noqa: E402 - only then the packages that may be missing
from sim.ope.evaluation import evaluate  # noqa: E402

__all__ = ["compare", "evaluate"]
