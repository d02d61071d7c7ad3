"""Gated promotion: the gate's judgement, what follows from it, and both in words.

Imported where it is used: what evaluates takes longer to load than the service takes to start.
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
    """The judgement about the pair, and the champion that its challenger is from now on if it was let through.

    Raises:
        Conflict: challenger or champion were changed meanwhile; nothing was promoted.
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
    """Looks at every campaign with a challenger beside a champion that is not held, and promotes what may be.

    A rollback holds the champion: what a person took back only a person promotes again.
    """
    for pair in service.versions.pairs_to_judge():
        try:
            promote_gated(service, pair, progress)
        except SendoptError as error:
            # One campaign's broken row or a rollback meanwhile must not keep the others waiting.
            log.warning("promotion_failed", campaign=pair.campaign_id, kind=type(error).__name__, error=str(error))


def judged_words(judgement: Judgement, promoted: Listed | None) -> Iterator[str]:
    """What was compared, what came of it, and what is missing."""
    pair, promotion = judgement.pair, judgement.promotion
    yield (
        f"{pair.campaign_id}: challenger {pair.challenger} against champion {pair.champion}, side by side since "
        f"{utc_text(pair.since)}, on {judgement.decisions:,} decisions that neither learned from"
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
        return "how many more decisions it takes cannot be said before the log can answer"
    more = judgement.promotion.more_decisions
    if more is None:
        return "at these estimates no number of further decisions would do"
    return f"about {more:,} more decisions would do, if the estimates stay as they are"
