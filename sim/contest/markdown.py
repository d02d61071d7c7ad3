"""A contest as tables in a Markdown page, below what people wrote about it."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from bandit.errors import Conflict
from sim.contest.result import Entry, shown
from sim.contest.runs import SERVICE
from sim.world.presets import preset_named

HEADING = "## Tables"  # everything from here on is replaced
FIGURES = ("reward", "share", "last quarter", "sends /100", "visits /100", "opt-outs /1,000")
OF_A_CHANGE = ("back after", "back in 5,000")  # of worlds that change abruptly


def write_tables(entries: Sequence[Entry], seeds: Sequence[int], path: Path) -> None:
    """Writes the tables below the line "## Tables" of the page; a new page has nothing above it."""
    above = _above(path) if path.exists() else "# What a contest found\n\n"
    sections = [_section(list(own), seeds) for _, own in groupby(entries, key=lambda entry: entry.preset)]
    note = (
        "The tables are ordered by reward. The last column is the mean, over seeds, of the service's share minus the "
        "policy's."
    )
    path.write_text(f"{above}{HEADING}\n{note}\n\n" + "\n".join(sections), encoding="utf-8")


def check_has_heading(path: Path) -> None:
    """Raises Conflict if the page exists and does not say where its tables begin."""
    if path.exists():
        _above(path)


def _above(path: Path) -> str:
    above, heading, _ = path.read_text(encoding="utf-8").partition(f"{HEADING}\n")
    if not heading:
        raise Conflict(f"{path}: has no line {HEADING!r}, below which the tables would go; name another file")
    return above


def _section(entries: Sequence[Entry], seeds: Sequence[int]) -> str:
    preset = preset_named(entries[0].preset)
    decisions = entries[0].runs[0].decisions.iloc[-1]
    figures = [*FIGURES, *(OF_A_CHANGE if preset.change.abrupt_days else ())]
    heads = ["policy", *figures, "service's share less its"]
    rows = [_row(entry, figures, entries) for entry in sorted(entries, key=lambda one: -one.figures["reward"].value)]
    lines = [heads, ["---"] * len(heads), *rows]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    facts = f"{preset.about}. Seeds {_ranges(seeds)}, {decisions:,.0f} decisions each."
    return f"### {preset.name}\n{facts}\n\n{table}\n"


def _row(entry: Entry, figures: Sequence[str], entries: Sequence[Entry]) -> list[str]:
    name = f"**`{SERVICE}`**" if entry.policy == SERVICE else f"`{entry.policy}`"
    services = [one for one in entries if one.policy == SERVICE and entry.policy != SERVICE]
    ahead = [shown(one.against(entry)[f"less {entry.policy}"]) for one in services]
    return [name, *(shown(entry.figures[one]) for one in figures), *(ahead or [""])]


def _ranges(seeds: Sequence[int]) -> str:
    """The seeds as on the command line, in ascending order: 1-3,7."""
    parts: list[list[int]] = []
    for seed in sorted(seeds):
        if parts and seed == parts[-1][-1] + 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    return ",".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)
