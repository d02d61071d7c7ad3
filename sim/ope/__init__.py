"""Off-policy evaluation: can this log answer, and what would another policy have earned."""

from sim.ope.comparison import compare
from sim.ope.evaluation import evaluate

__all__ = ["compare", "evaluate"]
