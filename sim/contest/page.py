"""A contest as one self-contained page: for each preset a table, learning curves and regret."""

from collections.abc import Sequence
from html import escape
from itertools import cycle, groupby
from pathlib import Path

import numpy as np

from bandit.errors import extras_named
from sim.common.files import check_can_be_written
from sim.common.page import FAINT, INK, PAPER, Colour, drawing, label, page, plain, spread
from sim.contest.result import Curve, Entry, shown
from sim.contest.runs import SERVICE
from sim.world.presets import preset_named

with extras_named():
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter, StrMethodFormatter

# Okabe and Ito (2008), without the yellow that nobody sees on white; further policies get other dashes.
LINES = (
    Colour("line-1", "#0072b2", "#56b4e9"),
    Colour("line-2", "#e08e00", "#f0ac33"),
    Colour("line-3", "#008f68", "#2fc59b"),
    Colour("line-4", "#d55e01", "#ff8a4d"),
    Colour("line-5", "#b55f92", "#e08fbe"),
    Colour("line-6", "#3f8fc4", "#8cc8f2"),
)
DASHES = ("solid", (0, (5, 2)), (0, (1.5, 1.5)))
SIZE_INCHES = (10.0, 7.4)
LABEL_HEIGHT = 0.055
_STYLE = """table { font-size: 0.9rem; margin: 1rem 0 2rem; }
td { padding-right: 1.2rem; white-space: nowrap; }
h2 { font-size: 1.15rem; margin-top: 2.5rem; }
p { color: var(--faint); }"""


def write_page(entries: Sequence[Entry], path: Path) -> None:
    """Writes the self-contained page, which needs no network."""
    sections = [
        _section(preset, list(own), number)
        for number, (preset, own) in enumerate(groupby(entries, key=lambda entry: entry.preset))
    ]
    text = page("Simulated policies", "\n".join(sections), colours=(INK, FAINT, PAPER, *LINES), style=_STYLE)
    path.write_text(text, encoding="utf-8")


def check_page_path(path: Path) -> None:
    """Raises InvalidInput unless a page, or the tables of one, can be written there."""
    check_can_be_written(path, "page", [".html", ".md"])


def _section(preset: str, entries: Sequence[Entry], number: int) -> str:
    first = entries[0].runs[0]
    facts = f"{len(entries[0].runs)} seeds, {first.decisions.iloc[-1]:,.0f} decisions each; means with 95 % intervals."
    words, colours = f"Learning curves and regret: {preset}", (INK, FAINT, PAPER, *LINES)
    picture = drawing(figure_of(entries), label=words, number=number, colours=colours)
    return "\n".join(
        [
            f"<h2>{escape(preset)}</h2>",
            f"<p>{escape(preset_named(preset).about)}. {facts}</p>",
            picture,
            _table(entries),
        ]
    )


def _table(entries: Sequence[Entry]) -> str:
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in ("policy", *entries[0].figures))
    rows = [
        f'<tr><th scope="row">{escape(entry.policy)}</th>'
        + "".join(f"<td>{escape(shown(mean))}</td>" for mean in entry.figures.values())
        + "</tr>"
        for entry in entries
    ]
    return "\n".join(["<table>", f"<tr>{heads}</tr>", *rows, "</table>"])


def figure_of(entries: Sequence[Entry]) -> Figure:
    """Learning curves above, regret below, of all policies in one preset."""
    figure = Figure(figsize=SIZE_INCHES, facecolor=PAPER.light)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    figure.subplots_adjust(left=0.085, right=0.78, top=0.97, bottom=0.08, hspace=0.1)
    for axes in (top, bottom):
        plain(axes)
    _draw(top, entries, [entry.curve() for entry in entries])
    _draw(bottom, entries, [entry.regret() for entry in entries])
    top.set_ylabel("share of the way, uniform to oracle", color=INK.light)
    top.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    bottom.set_ylabel("regret so far", color=INK.light)
    bottom.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    bottom.set_xlabel("decisions", color=INK.light)
    bottom.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    return figure


def _draw(axes: Axes, entries: Sequence[Entry], curves: Sequence[Curve]) -> None:
    """Draws a line with its interval for each policy, with its name at the end of the line."""
    colours = cycle(LINES)
    labels = []
    for place, (entry, curve) in enumerate(zip(entries, curves, strict=True)):
        served = entry.policy == SERVICE
        colour = INK if served else next(colours)
        values = np.array([mean.value for mean in curve.means])
        reach = np.array([mean.upper - mean.value for mean in curve.means])
        axes.fill_between(curve.decisions, values - reach, values + reach, color=colour.light, alpha=0.13, linewidth=0)
        dashes = "solid" if served else DASHES[place // len(LINES) % len(DASHES)]
        axes.plot(curve.decisions, values, color=colour.light, linewidth=2.4 if served else 1.4, linestyle=dashes)
        labels.append((float(values[-1]), entry.policy, colour))
    _limit(axes, curves)
    _name(axes, labels)


def _limit(axes: Axes, curves: Sequence[Curve]) -> None:
    """Axis limits that contain every line; wide intervals may be cut off."""
    values = np.array([mean.value for curve in curves for mean in curve.means])
    finite = values[np.isfinite(values)]
    low, high = float(finite.min(initial=0.0)), float(finite.max(initial=1e-9))
    axes.set_ylim(low - 0.04 * (high - low), high + 0.04 * (high - low))
    axes.set_xlim(0, max(float(curve.decisions[-1]) for curve in curves))


def _name(axes: Axes, labels: Sequence[tuple[float, str, Colour]]) -> None:
    low, high = axes.get_ylim()
    wanted = [(value - low) / (high - low) if np.isfinite(value) else 0.0 for value, _, _ in labels]
    heights = [min(LABEL_HEIGHT if len(labels) < 15 else 0.04, 1 / len(labels))] * len(labels)
    for at, place, (_, name, colour) in zip(wanted, spread(wanted, heights), labels, strict=True):
        label(axes, at, place, name, colour)
