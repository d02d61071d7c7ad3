"""From the arguments of a manifest to the learner that they mean: the only place that knows which class it is."""

from bandit.engine.events.arguments import EventArguments
from bandit.engine.events.learner import EventLearner
from bandit.engine.explorers import EngineArguments
from bandit.engine.joint import LinesLearner
from bandit.engine.learner import LearnerArguments, OnlineLearner
from bandit.errors import CorruptModel


def arguments_of(text: str) -> LearnerArguments:
    """The arguments that a manifest's text means: a JSON document for events, a command line for lines.

    Raises:
        CorruptModel: no learner writes such a text.
    """
    return EventArguments.parsed(text) if text.startswith("{") else EngineArguments(text=text)


def learner_of(arguments: LearnerArguments, model: bytes | None = None) -> OnlineLearner:
    """The learner with these arguments, untaught or with the bytes that one of its kind wrote.

    Raises:
        CorruptModel: the bytes do not load, or with other arguments than these.
    """
    if isinstance(arguments, EventArguments):
        return EventLearner(arguments, model)
    if isinstance(arguments, EngineArguments):
        return LinesLearner(arguments, model)
    raise CorruptModel(f"no learner has the arguments {arguments.text[:200]!r}")
