"""Figures as a table and as JSON."""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Figure

_STYLES = {"holds": "green", "missed": "bold red"}


def show(figures: Sequence[Figure], console: Console) -> None:
    """Prints each figure with its two sides and its bar."""
    table = Table("figure", "what", "measured", "bar", "verdict", title="Benchmarks", title_justify="left")
    for figure in figures:
        style = _STYLES.get(figure.verdict, "")
        table.add_row(
            figure.name, _described(figure), _measured(figure), str(figure.bar or ""), figure.verdict, style=style
        )
        table.add_section()
    console.print(table)


def _described(figure: Figure) -> str:
    facts = "; ".join(f"{name}: {_shown(value)}" for name, value in figure.facts.items())
    return f"{figure.what}\n[dim]{facts}[/dim]"


def _measured(figure: Figure) -> str:
    unit = "x" if figure.bar is None else figure.bar.unit
    spread = f"\n[dim]{min(figure.pairs):.2f} to {max(figure.pairs):.2f}[/dim]" if figure.pairs else ""
    return f"{figure.value:.2f} {unit}{spread}"


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,.4g}" if value < 1_000 else f"{value:,.0f}"


def write(path: Path, figures: Sequence[Figure], *, machine: Mapping[str, str | int], day: date) -> None:
    """The same as JSON, with all pairs."""
    document = {"date": day.isoformat(), "machine": machine, "figures": [_document(figure) for figure in figures]}
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _document(figure: Figure) -> dict[str, object]:
    return {
        "name": figure.name,
        "what": figure.what,
        "value": round(figure.value, 4),
        "bar": None if figure.bar is None else str(figure.bar),
        "verdict": figure.verdict or None,
        "pairs": [round(pair, 4) for pair in figure.pairs],
        "facts": {name: value if isinstance(value, str) else round(value, 4) for name, value in figure.facts.items()},
    }
