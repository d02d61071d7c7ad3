"""What all pages and pictures share: colours on light and dark paper, plain axes, labels at the right, the page."""

from collections.abc import Sequence
from html import escape
from io import BytesIO
from itertools import pairwise
from string import Template
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure


class Colour(NamedTuple):
    """A colour as it is on a light page, and on a dark one."""

    name: str
    light: str
    dark: str


INK = Colour("ink", "#1a1a1b", "#e9e9ec")
FAINT = Colour("faint", "#6b6b70", "#a5a5ad")
PAPER = Colour("paper", "#fefefd", "#17181b")


def plain(axes: Axes) -> None:
    """Two axis lines and small ticks, on the page's own paper."""
    axes.set_facecolor("none")
    axes.tick_params(colors=FAINT.light, labelsize=9, length=3)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(FAINT.light)


def label(axes: Axes, value: float, place: float, text: str, colour: Colour) -> None:
    """Text right of the axes at a height in [0, 1], with a thin line from its value."""
    axes.annotate(
        text,
        xy=(1.0, value),
        xytext=(1.025, place),
        xycoords="axes fraction",
        textcoords="axes fraction",
        va="center",
        size=9,
        color=colour.light,
        linespacing=1.15,
        arrowprops={
            "arrowstyle": "-",
            "color": colour.light,
            "linewidth": 0.7,
            "shrinkA": 2,
            "shrinkB": 0,
            "relpos": (0, 0.5),
        },
        annotation_clip=False,
    )


def spread(wanted: Sequence[float], heights: Sequence[float]) -> list[float]:
    """Places for labels in [0, 1], near where they are wanted, in their order, that do not overlap.

    Args:
        wanted: centre of each label.
        heights: of each label; together at most 1.
    """
    order = sorted(range(len(wanted)), key=lambda label: wanted[label])
    places = {label: min(max(wanted[label], heights[label] / 2), 1 - heights[label] / 2) for label in order}
    for below, above in pairwise(order):
        places[above] = max(places[above], places[below] + (heights[below] + heights[above]) / 2)
    ceiling = 1.0
    for label in reversed(order):
        places[label] = min(places[label], ceiling - heights[label] / 2)
        ceiling = places[label] - heights[label] / 2
    return [places[label] for label in range(len(wanted))]


_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>
:root { $light }
@media (prefers-color-scheme: dark) { :root { $dark } }
body { background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif;
       margin: 2rem auto; max-width: 62rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; }
svg { height: auto; max-width: 100%; }
table { border-collapse: collapse; }
th, td { border-bottom: 1px solid var(--faint); padding: 0.25rem 1.5rem 0.25rem 0; text-align: left; }
th { font-weight: normal; }
td { font-variant-numeric: tabular-nums; }
$style
</style>
</head>
<body>
<h1>$title</h1>
$body
</body>
</html>
""")


def page(title: str, body: str, colours: Sequence[Colour], style: str = "") -> str:
    """A page that needs nothing else and no network, on light and dark paper.

    Args:
        title: plain text.
        body: HTML under the heading.
        colours: that the body uses, each as the variable of its name.
    """
    return _PAGE.substitute(
        title=escape(title),
        light=" ".join(f"--{colour.name}: {colour.light};" for colour in colours),
        dark=" ".join(f"--{colour.name}: {colour.dark};" for colour in colours),
        body=body,
        style=style,
    )


def drawing(figure: Figure, colours: Sequence[Colour], *, label: str) -> str:
    """The figure as an element of a page whose style sheet says what its colours are."""
    content = BytesIO()
    figure.savefig(content, format="svg", metadata={"Date": None}, transparent=True)
    svg = content.getvalue().decode()
    start, end = svg.index("<metadata>"), svg.index("</metadata>") + len("</metadata>")
    element = svg[svg.index("<svg") : start] + svg[end:]
    for colour in colours:
        element = element.replace(colour.light, f"var(--{colour.name})")
    return element.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)
