"""A self-contained page that needs no network: text, tables and drawings, for light and dark mode."""

import re
from collections.abc import Iterable, Sequence
from html import escape
from io import BytesIO
from itertools import pairwise
from string import Template
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Colour(NamedTuple):
    """A colour for light pages, and its counterpart for dark ones."""

    name: str
    light: str
    dark: str


# Blue, orange and green of Okabe and Ito (2008), which colour-blind readers tell apart; silence is grey.
INK = Colour("ink", "#1a1a1b", "#e9e9ec")
FAINT = Colour("faint", "#6b6b70", "#a5a5ad")
PAPER = Colour("paper", "#fefefd", "#17181b")
SILENCE = Colour("silence", "#8d8d93", "#8d8d94")
SENDS = (
    Colour("send-1", "#0072b2", "#56b4e9"),
    Colour("send-2", "#e08e00", "#f0ac33"),
    Colour("send-3", "#008f68", "#2fc59b"),
)


COLOURS = (INK, FAINT, PAPER, SILENCE, *SENDS)


def plain(axes: "Axes") -> None:
    """Leaves only two spines of the axes, in a colour that the page can replace."""
    axes.set_facecolor("none")
    axes.tick_params(colors=FAINT.light, labelsize=9, length=3)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(FAINT.light)


def label(axes: "Axes", value: float, place: float, text: str, colour: Colour) -> None:
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
    """Places in [0, 1] for labels, in their order and near the wanted places, so that they do not overlap.

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
       margin: 2rem auto; max-width: 62rem; overflow-wrap: anywhere; padding: 0 1rem; }
h1 { font-size: 1.4rem; }
h2 { font-size: 1.1rem; margin-top: 2rem; }
.pictures { display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); }
figure { margin: 0; }
figcaption { color: var(--faint); font-size: 0.9rem; }
.wide { overflow-wrap: normal; overflow-x: auto; }
svg { height: auto; max-width: 100%; }
table { border-collapse: collapse; }
th, td { border-bottom: 1px solid var(--faint); padding: 0.25rem 1.5rem 0.25rem 0; text-align: left; }
th { font-weight: normal; }
td { font-variant-numeric: tabular-nums; }
$style
</style>
</head>
<body>
<main>
<h1>$title</h1>
$body
</main>
</body>
</html>
""")


def page(title: str, body: str, *, colours: Sequence[Colour] = COLOURS, style: str = "") -> str:
    """The whole document; `body` is HTML, `title` is not.

    Args:
        colours: the colours that the body uses, each as a CSS variable with its name.
        style: CSS rules of this page alone.
    """
    return _PAGE.substitute(
        title=escape(title),
        light=" ".join(f"--{colour.name}: {colour.light};" for colour in colours),
        dark=" ".join(f"--{colour.name}: {colour.dark};" for colour in colours),
        body=body,
        style=style,
    )


def table(rows: Iterable[Sequence[str]], head: Sequence[str] = ()) -> str:
    """A table of texts, the first cell of each row its name; where it is wider than the page, it scrolls by itself."""
    titles = "".join(f'<th scope="col">{escape(cell)}</th>' if cell else "<td></td>" for cell in head)
    lines = [f"<tr>{titles}</tr>"] if head else []
    for name, *values in rows:
        cells = "".join(f"<td>{escape(value)}</td>" for value in values)
        lines.append(f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>')
    return '<div class="wide" tabindex="0"><table>\n' + "\n".join(lines) + "\n</table></div>"


def drawing(figure: "Figure", *, label: str, number: int = 0, colours: Sequence[Colour] = COLOURS) -> str:
    """The figure as an SVG element of a page whose style sheet defines its colours.

    Args:
        label: description of what the drawing shows.
        number: of the drawing on its page.
        colours: the colours in which it is drawn, as on a light page.
    """
    content = BytesIO()
    figure.savefig(content, format="svg", metadata={"Date": None}, transparent=True)
    svg = content.getvalue().decode()
    start, end = svg.index("<metadata>"), svg.index("</metadata>") + len("</metadata>")
    element = svg[svg.index("<svg") : start] + svg[end:]
    for colour in colours:
        element = element.replace(colour.light, f"var(--{colour.name})")
    # Drawings of one page must not share names.
    element = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>d{number}-", element)
    return element.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)
