"""The pictures of an evaluation: estimates, weights, calibration, effective sample size and reward over the log."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from sim.common.page import FAINT, INK, PAPER, SENDS, drawing, plain
from sim.evaluate.question import Answer
from sim.ope.intervals import Estimate

# The drawing library is imported only where it draws: its first import on a machine searches for fonts.
if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, _ = SENDS
SIZE_INCHES = (5.6, 3.4)
Draw = Callable[["Axes", Answer], None]


def pictures(answer: Answer) -> Iterator[tuple[str, str]]:
    """Drawing and caption of each picture that the answer has data for."""
    drawn: list[tuple[Draw, str]] = []
    if answer.is_shown:
        drawn.append((_estimates, f"{_what(answer)} by estimator, with {answer.question.confidence:.0%} intervals."))
    drawn += [
        (_weights, "Importance weights: number of rows by size. Right of 1, the target takes the action more often."),
        (_ess, "Effective sample size so far. A step down is a row with a very large weight."),
        (_rewards, _rewards_caption(answer)),
    ]
    if answer.evaluation.diagnostics.calibration:
        drawn.append((_calibration, "Logged probabilities, and how often they were drawn. True ones lie on the line."))
    for number, (draw, caption) in enumerate(drawn):
        yield _svg(draw, answer, caption, number), caption


def _what(answer: Answer) -> str:
    against = answer.question.against
    return "Value of the target" if against is None else f"Value of the target less that of {against.name}"


def _rewards_caption(answer: Answer) -> str:
    logged = "Mean reward of the log in parts of equal length"
    return f"{logged}, and what the target would have earned (SNIPS)." if answer.is_shown else f"{logged}."


def _svg(draw: Draw, answer: Answer, caption: str, number: int) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, facecolor=PAPER.light, layout="constrained")
    axes = figure.subplots()
    plain(axes)
    draw(axes, answer)
    return drawing(figure, label=caption, number=number)


def shown_estimates(answer: Answer) -> Mapping[str, Estimate]:
    """The estimates to show: differences when two targets are compared; raises EstimatesWithheld."""
    return answer.evaluation.estimates if answer.comparison is None else answer.comparison.estimates


def _estimates(axes: "Axes", answer: Answer) -> None:
    found = {name: one for name, one in shown_estimates(answer).items() if np.isfinite([one.lower, one.upper]).all()}
    places = np.arange(len(found))[::-1]
    values = np.array([one.value for one in found.values()])
    reaches = np.array([[one.value - one.lower, one.upper - one.value] for one in found.values()]).T.clip(0.0)
    axes.errorbar(values, places, xerr=reaches, fmt="o", color=BLUE.light, capsize=3, linewidth=1.6, markersize=5)
    axes.set_yticks(places, list(found), color=INK.light)
    logged = answer.evaluation.diagnostics.logged_mean
    line, text = (logged, "log") if answer.comparison is None else (0.0, "no difference")
    axes.axvline(line, color=FAINT.light, linewidth=1, linestyle=(0, (5, 3)))
    axes.text(line, len(found) - 0.45, f" {text}", color=FAINT.light, size=9, va="bottom")
    axes.set_ylim(-0.6, len(found) - 0.1)
    axes.set_xlabel("reward per decision", color=INK.light)


def _weights(axes: "Axes", answer: Answer) -> None:
    bins = answer.weights.bins()
    axes.bar(
        [low for low, _, _ in bins],
        [number for _, _, number in bins],
        width=[high - low for low, high, _ in bins],
        align="edge",
        color=BLUE.light,
        edgecolor=PAPER.light,
        linewidth=0.4,
    )
    axes.set_xscale("log")
    axes.axvline(1.0, color=FAINT.light, linewidth=1, linestyle=(0, (5, 3)))
    used = [(low, high) for low, high, number in bins if number]
    if used:
        axes.set_xlim(min(used[0][0], 0.5) / 1.3, max(used[-1][1], 2.0) * 1.3)
    axes.set_ylabel("rows", color=INK.light)
    axes.set_xlabel(f"weight ({answer.weights.zeros:,} rows have weight 0)", color=INK.light)


def _ends(answer: Answer) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Rows from the start of the log to the end of each span."""
    return np.cumsum([span.rows for span in answer.timeline.spans])


def _ess(axes: "Axes", answer: Answer) -> None:
    ends = _ends(answer)
    sizes = [span.ess for span in answer.timeline.cumulative()]
    top = 1.25 * max(sizes, default=1.0) or 1.0
    axes.plot(ends, ends, color=FAINT.light, linewidth=1, linestyle=(0, (5, 3)))
    axes.plot(ends, sizes, color=BLUE.light, linewidth=2)
    where = min(0.8 * top, 0.6 * ends[-1])
    axes.text(where, where, "  all rows", color=FAINT.light, size=9, va="top")
    axes.set_ylim(0.0, top)
    axes.set_xlabel("rows so far", color=INK.light)
    axes.set_ylabel("effective rows", color=INK.light)


REWARD_PARTS = 20


def _rewards(axes: "Axes", answer: Answer) -> None:
    spans = answer.timeline.merged(REWARD_PARTS)
    ends = np.cumsum([span.rows for span in spans])
    axes.plot(ends, [span.reward / span.rows for span in spans], color=FAINT.light, linewidth=1.6, label="log")
    if answer.is_shown:
        target = [span.weighted_reward / span.weight if span.weight else np.nan for span in spans]
        axes.plot(ends, target, color=BLUE.light, linewidth=2, label=answer.question.target.name)
    axes.legend(frameon=False, labelcolor="linecolor", fontsize=9)
    axes.set_xlabel(_span_words(answer), color=INK.light)
    axes.set_ylabel("mean reward", color=INK.light)


def _span_words(answer: Answer) -> str:
    first, last = answer.first_decided_at, answer.last_decided_at
    return "rows" if first is None or last is None else f"rows, {first:%Y-%m-%d} to {last:%Y-%m-%d}"


def _calibration(axes: "Axes", answer: Answer) -> None:
    bins = answer.evaluation.diagnostics.calibration
    logged = np.array([one.mean_propensity for one in bins])
    drawn = np.array([one.drawn_share for one in bins])
    counts = np.array([one.count for one in bins])
    error = 2.0 * np.sqrt(logged * (1.0 - logged) / counts)
    top = max(float(logged.max()), float(drawn.max())) * 1.08
    axes.plot([0.0, top], [0.0, top], color=FAINT.light, linewidth=1, linestyle=(0, (5, 3)))
    axes.errorbar(logged, drawn, yerr=error, fmt="o", color=ORANGE.light, capsize=3, linewidth=1.4, markersize=5)
    axes.set_xlim(0.0, top)
    axes.set_ylim(0.0, top)
    axes.set_xlabel("logged probability", color=INK.light)
    axes.set_ylabel("share drawn", color=INK.light)
