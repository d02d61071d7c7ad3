"""The send-optimizer as one object: what the HTTP service, the worker, a simulation and a replay all run."""

from dataclasses import dataclass

from bandit.clock import Clock, RequestClock, SystemClock
from bandit.decider import Decider
from bandit.ids import Entropy
from bandit.intake import FeedbackIntake
from bandit.learner import Learner
from bandit.purging import Purger
from bandit.registry import Campaigns
from bandit.relearning import Relearner
from bandit.serving import ModelServer
from bandit.store.engine import Store
from bandit.versions import Versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Everything that acts on one store."""

    store: Store
    clock: Clock
    campaigns: Campaigns
    models: ModelServer
    decider: Decider
    feedback: FeedbackIntake
    learner: Learner
    versions: Versions
    relearner: Relearner
    purger: Purger


def build_service(store: Store, *, clock: str, entropy: Entropy) -> Service:
    """The service on a migrated store.

    Args:
        clock: "system" or "request".
        entropy: source of random bytes for decision ids, and so of every draw.
    """
    time: Clock = RequestClock(store) if clock == "request" else SystemClock()
    campaigns = Campaigns(store, time)
    models = ModelServer(store)
    learner = Learner(store, time, campaigns)
    return Service(
        store=store,
        clock=time,
        campaigns=campaigns,
        models=models,
        decider=Decider(store, time, campaigns, models, entropy),
        feedback=FeedbackIntake(store, time, campaigns),
        learner=learner,
        versions=Versions(store, time, campaigns),
        relearner=Relearner(store, time, campaigns),
        purger=Purger(store, time, campaigns, learner),
    )
