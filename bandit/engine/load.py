"""The learner for the arguments of a manifest: only this file knows which class it is."""

from bandit.engine.explorers import EngineArguments
from bandit.engine.joint import LinesLearner
from bandit.engine.learner import OnlineLearner


def learner_of(arguments: EngineArguments, model: bytes | None = None) -> OnlineLearner:
    """The learner with these arguments, untrained or with bytes that the same kind of learner wrote.

    Raises:
        CorruptModel: the bytes do not load, or have other arguments than these.
    """
    return LinesLearner(arguments, model)
