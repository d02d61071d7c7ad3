"""Plain SVG that reads well in light and dark."""

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

FONT_PIXELS = 14
SMALL_PIXELS = 12
# Mean width of a letter of a sans-serif font, as a part of its height; generous, so that no text leaves its box.
LETTER = 0.56
_STYLE = """
  .paper { fill: #fefefd; } .box { fill: #f2f4f6; stroke: #5b6670; } .head { fill: #e3eef7; stroke: #0072b2; }
  .name { fill: #1a1a1b; font-weight: 600; } .small { fill: #4c4c52; font-size: 12px; }
  .key { fill: #1a1a1b; font-size: 12px; font-weight: 600; } .arrow { stroke: #7b8791; fill: none; stroke-width: 1.4; }
  .tip { fill: #7b8791; }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #17181b; } .box { fill: #25282d; stroke: #8f99a3; } .head { fill: #1d2b38; stroke: #56b4e9; }
    .name, .key { fill: #e9e9ec; } .small { fill: #b4b4bc; } .arrow { stroke: #8f99a3; } .tip { fill: #8f99a3; }
  }
"""
_TIP = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path class="tip" d="M0 0 8 4 0 8z"/></marker></defs>'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle, in pixels."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        """Its horizontal middle."""
        return self.x + self.width / 2


def rectangle(box: Box, kind: str) -> str:
    """The box, drawn in the style of its kind."""
    return f'<rect class="{kind}" x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" rx="6"/>'


def text(x: float, y: float, words: str, kind: str, *, anchor: str = "start") -> str:
    """One line of text whose base line starts, ends or is centred at the point."""
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(words)}</text>'


def arrow(path: str) -> str:
    """A line with a tip at the end of the path."""
    return f'<path class="arrow" d="{path}" marker-end="url(#tip)"/>'


def drawing(width: float, height: float, *, title: str, parts: Iterable[str]) -> str:
    """The whole picture as the text of a file."""
    first = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'font-family="system-ui, sans-serif" font-size="{FONT_PIXELS}" role="img" aria-label="{escape(title)}">'
    )
    paper = f'<rect class="paper" width="{width:g}" height="{height:g}" rx="8"/>'
    return "\n".join([first, f"<style>{_STYLE}</style>", _TIP, paper, *parts, "</svg>", ""])


def wrapped(words: str, width: float) -> list[str]:
    """The text in lines of small letters that fit into the width."""
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if len(longer) * SMALL_PIXELS * LETTER <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
