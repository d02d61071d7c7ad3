"""The send-optimizer as one object: the HTTP service, the worker, simulations and replays all use it."""

from dataclasses import dataclass

from bandit.ids import Entropy
from bandit.learn.learner import Learner
from bandit.learn.purge import Purger
from bandit.learn.relearn import Relearner
from bandit.learn.versions import Versions
from bandit.serve.campaigns import Campaigns
from bandit.serve.clock import Clock, RequestClock, SystemClock
from bandit.serve.decisions import Decider
from bandit.serve.feedback import FeedbackIntake
from bandit.serve.models import ModelServer
from bandit.store.sql.database import Store


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
        entropy: source of random bytes for decision ids, and so for every draw.
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
