"""The learners by name, and how a campaign document asks for one."""

import json
from collections.abc import Mapping

from bandit.campaign.checks import parse_campaign
from bandit.campaign.document import Campaign
from sim.world.world import Document

DEFAULT = "lines"  # what a document has that asks for none
# Changes to the document's table `policy`.
LEARNERS: Mapping[str, Document] = {"lines": {"learner": "lines"}, "events": {"learner": "events"}}


def with_learner(document: Document, learner: str) -> Campaign:
    """The campaign of a document, taught by this learner."""
    policy = {**document.get("policy", {}), **LEARNERS[learner]}
    return parse_campaign(json.dumps({**document, "policy": policy} if policy else document))
