"""One picture of a replay: its rewards and those of each arm in the log, and its choices over time."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sim.common.files import check_can_be_written
from sim.common.means import Mean, clustered_mean
from sim.common.page import FAINT, INK, PAPER, SENDS, SILENCE, Colour, drawing, label, page, plain, spread, table
from sim.replay.result import SHARE_BINS, ArmInLog, ReplayResult, summary

# The drawing library is imported only where it draws: its first import on a machine searches for fonts.
if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".html")
CHECKPOINTS = 200
WARM_UP = 0.02  # share of the used rows; before that, the mean says nothing and its interval fills the picture
SIZE_INCHES = (10.0, 6.6)
PIXELS_PER_INCH = 150


def check_picture_path(path: Path) -> None:
    """Raises InvalidInput unless a picture can be written there: a known suffix, in a folder that exists."""
    check_can_be_written(path, "plot", SUFFIXES)


def write_picture(result: ReplayResult, path: Path) -> None:
    """Writes the picture: an image for `.png`, a self-contained page for `.html`.

    Raises:
        InvalidInput: another suffix, or no such folder.
    """
    check_picture_path(path)
    if path.suffix.lower() == ".png":
        content = BytesIO()
        _figure(result).savefig(content, format="png", dpi=PIXELS_PER_INCH)
        path.write_bytes(content.getvalue())
    else:
        path.write_text(_page(result), encoding="utf-8")


def _figure(result: ReplayResult) -> "Figure":
    from matplotlib.figure import Figure
    from matplotlib.ticker import StrMethodFormatter

    figure = Figure(figsize=SIZE_INCHES, facecolor=PAPER.light)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    figure.subplots_adjust(left=0.075, right=0.755, top=0.9, bottom=0.085, hspace=0.13)
    colours = _arm_colours(result.arms)
    figure.text(0.075, 0.955, f"{result.title}: replay, seed {result.seed}", color=INK.light, size=13, weight="bold")
    used = f"{len(result.used):,} of {result.rows_in_log:,} rows used"
    figure.text(0.075, 0.922, f"mean reward ({result.reward_name}); {used}", color=FAINT.light, size=9.5)
    for axes in (top, bottom):
        plain(axes)
    _draw_rewards(top, result, colours)
    _draw_shares(bottom, result, colours)
    bottom.set_xlabel("rows used so far (the service chose what the trial had done)", color=INK.light)
    bottom.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    bottom.set_xlim(0, max(1, len(result.used)))
    return figure


def _arm_colours(arms: Sequence[ArmInLog]) -> list[Colour]:
    sends = iter(SENDS * len(arms))
    return [next(sends) if arm.sends else SILENCE for arm in arms]


def _draw_rewards(axes: "Axes", result: ReplayResult, colours: Sequence[Colour]) -> None:
    ends, means = _cumulative(result)
    axes.fill_between(
        ends, [one.lower for one in means], [one.upper for one in means], color=INK.light, alpha=0.14, linewidth=0
    )
    window, places, rolling = _rolling(result)
    axes.plot(places, rolling, color=FAINT.light, linewidth=0.9)
    axes.plot(ends, [one.value for one in means], color=INK.light, linewidth=2.2)
    for arm, colour in zip(result.arms, colours, strict=True):
        axes.axhline(arm.net.value, color=colour.light, linewidth=1.5, linestyle=(0, (5, 3)))
    axes.set_ylabel("mean reward", color=INK.light)
    axes.set_ylim(*_reward_limits(result, means, rolling))
    _label_rewards(axes, result, colours, float(rolling[-1]), window)


def _cumulative(result: ReplayResult) -> tuple[list[int], list[Mean]]:
    """Numbers of used rows, and the mean over each number of first rows."""
    rewards = np.array([row.reward for row in result.used])
    clusters = np.array([row.cluster for row in result.used], dtype=np.intp)
    first = max(2, int(rewards.size * WARM_UP))
    ends = sorted({int(end) for end in np.linspace(first, rewards.size, CHECKPOINTS)})
    return ends, [clustered_mean(rewards[:end], clusters[:end]) for end in ends]


def _rolling(result: ReplayResult) -> tuple[int, NDArray[np.intp], NDArray[np.float64]]:
    """Number of rows in the window, and each window's last row with its mean."""
    rewards = np.array([row.reward for row in result.used])
    window = max(1, rewards.size // SHARE_BINS)
    sums = np.concatenate([[0.0], rewards.cumsum()])
    return window, np.arange(window, rewards.size + 1), (sums[window:] - sums[:-window]) / window


def _reward_limits(result: ReplayResult, means: Sequence[Mean], rolling: NDArray[np.float64]) -> tuple[float, float]:
    settled = means[len(means) // 10 :]  # the interval of a few rows may be cut off
    shown = [*(arm.net.value for arm in result.arms), *(one.lower for one in settled), *(one.upper for one in settled)]
    low, high = min(*shown, float(rolling.min())), max(*shown, float(rolling.max()))
    margin = 0.06 * (high - low)
    return low - margin, high + margin


def _label_rewards(
    axes: "Axes", result: ReplayResult, colours: Sequence[Colour], last_rolling: float, window: int
) -> None:
    mean = result.mean
    labels = [
        (mean.value, f"the service {mean.value:.4f}\n95 % interval {mean.lower:.4f} to {mean.upper:.4f}", INK),
        (last_rolling, f"its last {window:,} rows {last_rolling:.4f} (thin line)", FAINT),
        *(
            (arm.net.value, f"always {arm.name} {arm.net.value:.4f}", colour)
            for arm, colour in zip(result.arms, colours, strict=True)
        ),
    ]
    low, high = axes.get_ylim()
    heights = [0.105 if "\n" in text else 0.06 for _, text, _ in labels]
    places = spread([(value - low) / (high - low) for value, _, _ in labels], heights)
    for (value, text, colour), place in zip(labels, places, strict=True):
        label(axes, (value - low) / (high - low), place, text, colour)


def _draw_shares(axes: "Axes", result: ReplayResult, colours: Sequence[Colour]) -> None:
    from matplotlib.ticker import PercentFormatter

    shares = np.array(result.shares())
    edges = np.linspace(0, len(result.used), len(shares) + 1)
    tops = shares.cumsum(axis=1)
    for arm, colour in enumerate(colours):
        bottoms = tops[:, arm] - shares[:, arm]
        axes.bar(
            edges[:-1],
            shares[:, arm],
            bottom=bottoms,
            width=np.diff(edges),
            align="edge",
            color=colour.light,
            edgecolor=PAPER.light,
            linewidth=0.6,
        )
    axes.set_ylim(0, 1)
    axes.set_ylabel("share of the choices", color=INK.light)
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    middles = tops[-1] - shares[-1] / 2
    places = spread([float(middle) for middle in middles], [0.09] * len(colours))
    for arm, colour in enumerate(colours):
        text = f"{result.arms[arm].name} {shares[-1, arm]:.0%} at the end"
        label(axes, float(middles[arm]), places[arm], text, colour)


def _page(result: ReplayResult) -> str:
    title = f"{result.title}: replay, seed {result.seed}"
    return page(title, f"{drawing(_figure(result), label=title)}\n{table(summary(result))}")
