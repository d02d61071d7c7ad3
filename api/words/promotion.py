"""Gated promotion: the gate's judgement, the promotion that follows, and both in words.

Imported only where it is used: the evaluation code takes longer to load than the service takes to start.
"""

from collections.abc import Iterator

import structlog

from bandit.errors import SendoptError
from bandit.learn.versions import Listed
from bandit.service import Service
from bandit.store.pairs import Pair
from bandit.times import utc_text
from sim.common.progress import ProgressCallback
from sim.evaluate.promotion import Judgement, judge

log = structlog.get_logger(__name__)


def promote_gated(service: Service, pair: Pair, progress: ProgressCallback) -> tuple[Judgement, Listed | None]:
    """The judgement about the pair; and the new champion, if its challenger was promoted.

    Raises:
        Conflict: challenger or champion was changed meanwhile; nothing was promoted.
    """
    judgement = judge(service.store, service.campaigns, pair, progress=progress)
    promotion = judgement.promotion
    log.info(
        "promotion_judged",
        campaign=pair.campaign_id,
        challenger=pair.challenger,
        champion=pair.champion,
        decisions=judgement.decisions,
        promote=promotion.promote,
        missing=promotion.missing,
        more_decisions=promotion.more_decisions,
    )
    return judgement, service.versions.promote_challenger(pair) if promotion.promote else None


def promote_all(service: Service, progress: ProgressCallback) -> None:
    """Checks every campaign that has a challenger and a champion that is not held, and promotes what passes the gate.

    A rollback holds the champion: if a person took a version back, only a person may promote it again.
    """
    for pair in service.versions.pairs_to_judge():
        try:
            promote_gated(service, pair, progress)
        except SendoptError as error:
            # A broken row or a concurrent rollback in one campaign must not stop the others.
            log.warning("promotion_failed", campaign=pair.campaign_id, kind=type(error).__name__, error=str(error))


def judged_words(judgement: Judgement, promoted: Listed | None) -> Iterator[str]:
    """What was compared, the result, and what is missing."""
    pair, promotion = judgement.pair, judgement.promotion
    yield (
        f"{pair.campaign_id}: challenger {pair.challenger} against champion {pair.champion}, side by side since "
        f"{utc_text(pair.since)}, on {judgement.decisions:,} decisions that neither has learned"
    )
    if judgement.reward is not None:
        named = [("reward", judgement.reward), *((one.name, one.difference) for one in judgement.guardrails)]
        for name, found in named:
            yield f"difference in {name}: {found.value:+.4f} per decision, standard error {found.standard_error:.4f}"
    yield from (f"note: {note}" for note in judgement.notes)
    if promoted is not None:
        yield f"{pair.campaign_id}: version {promoted.version} is the champion"
        return
    yield f"{pair.campaign_id}: the challenger is not promoted:"
    yield from (f"- {reason}" for reason in promotion.missing)
    yield _more_words(judgement)


def _more_words(judgement: Judgement) -> str:
    if judgement.reward is None:
        return "how many more decisions it takes is not known before the log can answer"
    more = judgement.promotion.more_decisions
    if more is None:
        return "with these estimates no number of further decisions is enough"
    return f"about {more:,} more decisions are enough if the estimates do not change"
