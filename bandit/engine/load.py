"""From the arguments of a manifest to the learner that they mean: the only place that knows which class it is."""

from bandit.engine.explorers import EngineArguments
from bandit.engine.joint import LinesLearner
from bandit.engine.learner import OnlineLearner


def learner_of(arguments: EngineArguments, model: bytes | None = None) -> OnlineLearner:
    """The learner with these arguments, untaught or with the bytes that one of its kind wrote.

    Raises:
        CorruptModel: the bytes do not load, or with other arguments than these.
    """
    return LinesLearner(arguments, model)
