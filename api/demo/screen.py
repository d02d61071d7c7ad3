"""What the demo shows, as text: how far the policy came from uniform choice towards the best possible."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sim.contest.drive import Tally

COLUMNS = 58
ROWS = 9
RECENT_DECISIONS = 2_000
_EIGHTHS = " ▁▂▃▄▅▆▇█"
_BAR_WIDTH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The state of a run."""

    users: int
    seconds: float  # since the first decision
    simulated_days: float
    model_version: int  # that made the last decision
    events_learned: int
    decisions: int  # about all users; the tallies exclude users in a holdout
    total: Tally
    recent: Tally  # of the last 2,000 decisions
    columns: tuple[Tally, ...]  # at most COLUMNS, each for an equal part of the time

    @property
    def per_second(self) -> float:
        return self.decisions / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What the summary of a finished run says in addition."""

    beginning: Tally  # the first decisions, at most 2,000
    models_published: int
    decision_id: str | None  # of a send whose reward is known; None if nothing was sent


def screen(standing: Standing) -> RenderableType:
    """The live picture."""
    return Panel(
        Group(_headline(standing), Text(), chart(standing), Text(), _rewards(standing), Text(), _way(standing)),
        title="The service learns from simulated users",
        border_style="dim",
        width=80,
        padding=(0, 2),
    )


def plain_line(standing: Standing) -> str:
    """One line with the same figures, for where no picture can be drawn."""
    recent = standing.recent
    return (
        f"{standing.seconds:5.0f} s  day {standing.simulated_days:3.0f}  "
        f"{standing.decisions:7,} decisions  {standing.per_second:4.0f}/s  "
        f"model {standing.model_version:3d}, {standing.events_learned:7,} learned  "
        f"reward {_mean(recent.expected, recent)} (uniform {_mean(recent.uniform, recent)}, "
        f"best {_mean(recent.oracle, recent)})  {percent(recent)} of the way"
    )


def chart(standing: Standing) -> Text:
    """Columns over time; the bottom is uniform choice, the top the best possible, on each column's opportunities."""
    heights = [_eighths(tally.share) for tally in standing.columns]
    labels = {ROWS - 1: "best possible", 0: "uniform"}
    text = Text()
    for row in reversed(range(ROWS)):
        bars = "".join(_EIGHTHS[min(8, max(0, height - 8 * row))] for height in heights)
        text.append(f"{labels.get(row, ''):>13} ")
        text.append("┤" if row in labels else "│", style="dim")
        text.append(f"{bars}\n", style="green")
    text.append(f"{'':14}└{'─' * COLUMNS}\n", style="dim")
    counted = f"{standing.decisions:,} decisions"
    text.append(f"{'':15}{counted:>{max(len(counted), len(heights))}}", style="dim")
    return text


def percent(tally: Tally) -> str:
    """The share of the way as a percentage; a dash before the first decision."""
    return f"{100 * tally.share:.0f} %" if tally.oracle > tally.uniform else "-"


def rewards_table(rows: Sequence[tuple[str, Tally]]) -> Table:
    """Mean true expected reward per decision, one line per tally."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("expected reward")
    for heading in ("uniform", "the service", "best possible", "of the way"):
        table.add_column(heading, justify="right")
    for name, tally in rows:
        means = [_mean(value, tally) for value in (tally.uniform, tally.expected, tally.oracle)]
        table.add_row(name, means[0], Text(means[1], style="bold green"), means[2], percent(tally))
    return table


def summary(standing: Standing, story: Story, *, database_url: str) -> RenderableType:
    """What happened, and how to continue."""
    return Group(
        Text(),
        Text(
            f"{standing.decisions:,} decisions over {standing.simulated_days:.0f} simulated days, "
            f"{standing.per_second:.0f} a second; {story.models_published} models published, "
            f"{standing.events_learned:,} events learned.\n"
            "True expected reward per decision about users outside the holdouts, everything on the very same "
            "opportunities:\n"
        ),
        rewards_table(
            [
                (f"first {story.beginning.decisions:,}", story.beginning),
                (f"last {standing.recent.decisions:,}", standing.recent),
                ("all", standing.total),
            ]
        ),
        Text("\nThe best possible policy also knows what no feature shows; no service can reach it.", style="dim"),
        Text(_how_to_go_on(story, database_url)),
    )


def _how_to_go_on(story: Story, database_url: str) -> str:
    receipt = "" if story.decision_id is None else _RECEIPT.format(decision_id=story.decision_id)
    return _GO_ON.format(database_url=database_url) + receipt + _READ_ON


_GO_ON = """
The service has stopped. All decisions and models are in the database. To run it again:
  SENDOPT_DATABASE_URL={database_url} make serve
Its dashboard then shows this run:
  http://127.0.0.1:8000/
"""
_RECEIPT = """This explains one decision and its feedback:
  curl -s http://127.0.0.1:8000/decisions/{decision_id}
"""
_READ_ON = "README.md says how to request decisions of your own."


def _headline(standing: Standing) -> Text:
    return Text(
        f"{standing.users:,} users · day {standing.simulated_days:.0f} · {standing.decisions:,} decisions · "
        f"{standing.per_second:.0f}/s\n"
        f"model version {standing.model_version} · {standing.events_learned:,} events learned"
    )


def _rewards(standing: Standing) -> Table:
    recent = f"last {min(RECENT_DECISIONS, standing.recent.decisions):,}"
    return rewards_table([(recent, standing.recent), ("all so far", standing.total)])


def _way(standing: Standing) -> Text:
    share = standing.recent.share if standing.recent.oracle > standing.recent.uniform else 0.0
    filled = round(_BAR_WIDTH * min(1.0, max(0.0, share)))
    text = Text("uniform ")
    text.append("█" * filled, style="green")
    text.append("░" * (_BAR_WIDTH - filled), style="dim")
    text.append(f" best possible  {percent(standing.recent):>5} of the way")
    return text


def _eighths(share: float) -> int:
    """Height of a column in eighths of a row, at least one so that it is seen."""
    return max(1, round(8 * ROWS * min(1.0, share))) if share == share else 1


def _mean(total: float, tally: Tally) -> str:
    return f"{total / tally.decisions:.3f}" if tally.decisions else "-"
