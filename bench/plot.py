"""Plots as SVG. Needs matplotlib, which is in the group ``bench``; without it there are none."""

from __future__ import annotations

from pathlib import Path

from bench.report import Plot

SIZE = (7.0, 3.6)
"""Inches."""


def draw(plots: list[Plot], folder: Path) -> None:
    """Write a file for each plot; raise ModuleNotFoundError without matplotlib."""
    import matplotlib as mpl  # noqa: PLC0415 - optional, and slow to import

    mpl.use("svg")
    # The same figures give the same file, and text stays text.
    mpl.rcParams.update({"svg.hashsalt": "colonies", "svg.fonttype": "none"})
    from matplotlib import pyplot as plt  # noqa: PLC0415

    for plot in plots:
        figure, axes = plt.subplots(figsize=SIZE, layout="constrained")
        for label, points in plot.lines.items():
            axes.plot(*zip(*points, strict=True), marker="o", markersize=4, label=label)
        axes.set(title=plot.title, xlabel=plot.x, ylabel=plot.y, ylim=(0, None))
        if plot.is_log_x:
            axes.set_xscale("log")
        axes.grid(alpha=0.3)
        if len(plot.lines) > 1:
            axes.legend()
        figure.savefig(folder / f"{plot.name}.svg", metadata={"Date": None})
        plt.close(figure)
