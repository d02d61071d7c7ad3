"""One self-contained page per evaluation: verdict, numbers, pictures, and everything needed to run it again."""

import platform
from collections.abc import Iterator, Sequence
from datetime import datetime
from html import escape
from importlib.metadata import version
from pathlib import Path

from bandit.engine.vw import engine_version
from bandit.times import utc_text
from sim.common.files import check_can_be_written
from sim.common.page import page, table
from sim.evaluate.deeds import KINDS
from sim.evaluate.pictures import pictures, shown_estimates
from sim.evaluate.question import Answer
from sim.ope.diagnostics import Diagnostics
from sim.ope.evaluation import Evaluation
from sim.ope.intervals import Estimate

Row = tuple[str, ...]
CELL_HEAD = ("the target's value by", "rows", "SNIPS", "from", "to", "can answer")
ESTIMATE_HEAD = ("estimator", "value", "standard error", "from", "to", "interval")
_LIBRARIES = ("numpy", "scipy", "pandas", "scikit-learn")


def check_page_path(path: Path) -> None:
    """Raises InvalidInput unless the path ends in `.html` and its folder exists."""
    check_can_be_written(path, "html", [".html"])


def write_page(answer: Answer, path: Path, *, command: Sequence[str]) -> None:
    """Writes the page.

    Args:
        command: the words of the command line.
    """
    check_page_path(path)
    path.write_text(page(title_of(answer), "\n".join(_body(answer, command))), encoding="utf-8")


def title_of(answer: Answer) -> str:
    """The question in words."""
    against = answer.question.against
    than = "" if against is None else f" more than {against.name}"
    return f"What would {answer.question.target.name} have earned{than}? {answer.log_name}"


def verdict_lines(answer: Answer) -> Iterator[str]:
    """The verdict in sentences, the first of which says whether the log can answer."""
    yield "The log can answer." if answer.verdict.ok else "The log cannot answer:"
    yield from (f"{reason}." for reason in answer.verdict.reasons)
    lacks = answer.verdict.needed
    if lacks is not None:
        yield (
            f"About {lacks.decisions:,} more decisions like these would answer as far as length goes; so would as many "
            f"as there are, had no action of the target a propensity below {lacks.propensity:.2g} (a larger floor)."
        )
    if not answer.is_shown:
        yield "The numbers are withheld; --show-anyway shows them."
    elif not answer.verdict.ok:
        yield "The numbers are shown on request: do not rely on them."


def estimate_rows(answer: Answer) -> Iterator[Row]:
    """Each estimate as texts under `ESTIMATE_HEAD`; no rows while they are withheld."""
    if not answer.is_shown:
        return
    if answer.comparison is not None and answer.question.against is not None:
        sides = (
            (answer.question.target, answer.comparison.target),
            (answer.question.against, answer.comparison.baseline),
        )
        for target, evaluation in sides:
            yield from _value_rows(f"{target.name}: ", evaluation)
    for name, one in shown_estimates(answer).items():
        yield _estimate_row(name if answer.comparison is None else f"difference: {name}", one)
    if answer.comparison is None:
        for bound in answer.evaluation.bounds().values():
            yield "ips", "", "", f"{bound.lower:.6g}", f"{bound.upper:.6g}", bound.method


def _value_rows(prefix: str, evaluation: Evaluation) -> Iterator[Row]:
    """One policy's own value and bounds, of two that are compared."""
    for name in ("ips", "snips"):
        yield _estimate_row(f"{prefix}{name}", evaluation.estimates[name])
    bound = evaluation.bounds()["betting"]
    yield f"{prefix}ips", "", "", f"{bound.lower:.6g}", f"{bound.upper:.6g}", bound.method


def _estimate_row(name: str, one: Estimate) -> Row:
    numbers = (one.value, one.standard_error, one.lower, one.upper)
    return name, *(f"{number:.6g}" for number in numbers), one.interval


def cell_rows(answer: Answer) -> Iterator[Row]:
    """The target's value by cell under `CELL_HEAD`; no rows while numbers are withheld."""
    if answer.breakdown is None or not answer.is_shown:
        return
    for cell in answer.breakdown.cells(answer.question.confidence):
        one = cell.estimate
        numbers = (f"{number:.4g}" for number in (one.value, one.lower, one.upper))
        yield f"{answer.breakdown.by} {cell.name}", f"{cell.rows:,}", *numbers, "yes" if cell.ok else "no"


def deed_rows(answer: Answer) -> Iterator[Row]:
    """What the policies do: name, and a text for each of them."""
    deeds = answer.deeds
    if not all(one.decisions for one in deeds.values()):
        return
    yield "sends, of the decisions", *(f"{one.sends / one.decisions:.1%}" for one in deeds.values())
    users = answer.evaluation.diagnostics.users
    yield "sends of a user", *(f"{one.sends / users:.3g}" for one in deeds.values())
    for kind in KINDS:
        shares = [dict(one.shares(kind)) for one in deeds.values()]
        for name in sorted({name for one in shares for name in one}):
            yield f"{kind} {name}, of the sends", *(f"{one.get(name, 0.0):.1%}" for one in shares)


def figure_rows(answer: Answer) -> Iterator[Row]:
    """Figures about the log for this question: name and text."""
    found = answer.evaluation.diagnostics
    low, high = found.mean_weight_interval
    exact = "" if found.unlogged_share_is_exact else " (1 - mean weight)"
    yield "mean reward of the log", f"{found.logged_mean:.6g}"
    yield "rows", f"{found.n:,}"
    yield "users", f"{found.users:,}"
    yield "effective sample size", f"{found.ess:,.1f} ({found.ess / found.n:.1%} of the rows)"
    yield "mean weight, must be 1", f"{found.mean_weight:.4g} ({low:.4g} to {high:.4g})"
    yield "largest weight", f"{found.max_weight:.4g} ({found.largest_weight_share:.1%} of all weight)"
    yield "a hundred largest weights", f"{found.top_hundred_share:.1%} of all weight"
    yield "rows of weight 0", f"{found.zero_weight_share:.1%}"
    yield "target's mass on actions never logged", f"{found.unlogged_share:.1%}{exact}"
    yield "target's mass on actions hardly logged", f"{found.hardly_logged_share:.1%}"
    yield "smallest propensity", f"{found.smallest_propensity:.4g}"
    yield from _reward_rows(found)
    yield from _test_rows(found)


def _reward_rows(found: Diagnostics) -> Iterator[Row]:
    """Who carries the estimate."""
    yield "users, by their weight", f"{found.effective_clusters:,.1f}"
    yield "users that carry the estimate", f"{found.influential_clusters:,.1f}"
    yield "effective sample size of the rewards", f"{found.reward_ess:,.1f}"
    yield "largest row, largest user", f"{found.largest_row_share:.1%}, {found.largest_user_share:.1%} of the estimate"
    if found.model_residual is not None:
        yield "mean residual of the reward model", f"{found.model_residual:.4g}"


def _test_rows(found: Diagnostics) -> Iterator[Row]:
    """The tests of the log for which it has what they need."""
    if found.sample_ratio_p_value is not None:
        yield "arms drawn as often as logged, p", f"{found.sample_ratio_p_value:.3g}"
    if found.calibration_p_value is not None:
        yield "propensities calibrated, p", f"{found.calibration_p_value:.3g}"
    if found.missing_feedback and found.missing_feedback_p_value is not None:
        text = f"{found.missing_feedback:,} rows, p = {found.missing_feedback_p_value:.3g}"
        yield "feedback missing, whatever the action", text
    if found.drift is not None:
        first, second = found.drift.first.advantage, found.drift.second.advantage
        p_value = found.drift.advantage_p_value
        yield "more than logged, first half, second half", f"{first:+.4g}, {second:+.4g} (p = {p_value:.3g})"
    if found.carry_over is not None:
        one, three = found.carry_over.one_step, found.carry_over.three_steps
        yield "over one decision, over three", f"{one:.4g}, {three:.4g} (p = {found.carry_over.p_value:.3g})"


def run_rows(answer: Answer) -> Iterator[Row]:
    """What identifies the run: name and text."""
    question = answer.question
    yield "log", answer.log_name
    yield "data digest", f"sha256 {answer.data_digest}"
    yield "decided", _span(answer.first_decided_at, answer.last_decided_at)
    yield "left out", ", ".join(f"{number:,} {reason}" for reason, number in answer.left_out.items()) or "nothing"
    yield "rows that a target was trained on", f"{answer.taught:,}{' (left out)' if question.unseen_only else ''}"
    for name, target in (("target", question.target), ("against", question.against)):
        if target is not None:
            yield name, f"{target.name}{f' ({target.identity})' if target.identity else ''}"
    low, high = answer.reward_bounds
    yield "reward bounds", f"{low:g} to {high:g}"
    yield "reward model", "cross-fitted, linear in hashed features" if question.reward_model else "none"
    yield "intervals", f"{question.interval}, {question.confidence:.4g}, clustered by user"
    yield "seed", f"{question.seed}"
    yield "versions", _versions()


def _span(first: datetime | None, last: datetime | None) -> str:
    return "not said" if first is None or last is None else f"{utc_text(first)} to {utc_text(last)}"


def _versions() -> str:
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    own = f"sendopt {version('notification-send-optimizer')}"
    return f"{own}, Python {platform.python_version()}, vowpalwabbit {engine_version()}, {libraries}"


def _body(answer: Answer, command: Sequence[str]) -> Iterator[str]:
    first, *others = verdict_lines(answer)
    yield f"<p><strong>{escape(first)}</strong></p>"
    yield _list(others)
    if answer.notes:
        yield "<h2>Keep in mind</h2>"
        yield _list(answer.notes)
    if answer.is_shown:
        yield "<h2>Estimates</h2>"
        yield table(estimate_rows(answer), ESTIMATE_HEAD)
    cells = list(cell_rows(answer))
    if cells:
        yield "<h2>By cell; all intervals hold together</h2>"
        yield table(iter(cells), CELL_HEAD)
    deeds = list(deed_rows(answer))
    if deeds:
        yield "<h2>What the policies do</h2>"
        yield table(iter(deeds), ("", *answer.deeds))
    yield '<h2>Pictures</h2>\n<div class="pictures">'
    for drawing, caption in pictures(answer):
        yield f"<figure>{drawing}<figcaption>{escape(caption)}</figcaption></figure>"
    yield "</div>\n<h2>What the log is worth for this question</h2>"
    yield table(figure_rows(answer))
    yield "<h2>To run it again</h2>"
    yield f"<p><code>{escape(' '.join(command))}</code></p>"
    yield table(run_rows(answer))


def _list(sentences: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(one)}</li>' for one in sentences)}</ul>" if sentences else ""
