"""What a part gives, and how all of it becomes one page: tables, plots, goals.

A figure has a name, such as ``cycles/50``, by which goals and `compare` find it; what a reader sees
is tables. Everything here is text; what is drawn is in `plot.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import quantiles

import msgspec

LONGEST_FIGURE = 30
"""Characters; what is longer is read, not compared."""

Figures = dict[str, float]
Points = list[tuple[float, float]]


class Table(msgspec.Struct, frozen=True):
    """Cells as they are read; the first column says what, the others are figures."""

    head: tuple[str, ...]
    rows: list[tuple[str, ...]]

    def __str__(self) -> str:
        columns = list(zip(self.head, *self.rows, strict=True))[1:]
        align = "|---|" + "".join("---|" if _is_prose(one) else "---:|" for one in columns)
        rows = ["| " + " | ".join(row) + " |" for row in (self.head, *self.rows)]
        return "\n".join([rows[0], align, *rows[1:]])


class Plot(msgspec.Struct, frozen=True):
    """Lines over one another; ``name`` is that of its file."""

    name: str
    title: str
    x: str
    y: str
    lines: dict[str, Points]
    is_log_x: bool = False


class Chapter(msgspec.Struct, frozen=True):
    """What one part has measured. Tables show rounded what figures keep."""

    title: str
    conditions: str
    tables: list[Table]
    plots: list[Plot] = []
    figures: Figures = {}
    is_whole: bool = True
    """Whether all went well."""


class Goal(msgspec.Struct, frozen=True):
    """Something to reach, as a function of the figures of one run."""

    what: str
    measure: Callable[[Figures], float]
    bound: float
    unit: str = ""
    is_least: bool = False
    """Whether the bound is to be reached from above; else it is not to be exceeded."""

    def judge(self, figures: Figures) -> tuple[str, ...] | None:
        """Give a row of the table of goals; None if what it is about was not measured."""
        try:
            found = self.measure(figures)
        except KeyError:
            return None
        reached = found >= self.bound if self.is_least else found <= self.bound
        sign = "≥" if self.is_least else "≤"
        unit = f" {self.unit}" if self.unit else ""
        return (
            self.what,
            f"{sign} {number(self.bound)}{unit}",
            f"{number(found)}{unit}",
            "yes" if reached else "**no**",
        )


def judged(goals: Iterable[Goal], figures: Figures) -> Table:
    """Give the goals that were measured, each with what was found."""
    rows = [row for goal in goals if (row := goal.judge(figures))]
    return Table(("goal", "bound", "found", "reached"), rows)


def page(machine: str, goals: Table, chapters: Sequence[Chapter]) -> str:
    """Give the report as Markdown; plots stand beside it."""
    parts = ["# What was measured", machine]
    if goals.rows:
        parts += ["## Goals", str(goals)]
    for chapter in chapters:
        parts += [f"## {chapter.title}", chapter.conditions, *map(str, chapter.tables)]
        parts += [f"![{plot.title}]({plot.name}.svg)" for plot in chapter.plots]
    return "\n\n".join(parts) + "\n"


def _is_prose(column: tuple[str, ...]) -> bool:
    return max(map(len, column)) > LONGEST_FIGURE


def number(value: float) -> str:
    """Give a number with about three digits."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def rate(value: float) -> str:
    """Give so many a second."""
    return f"{value:,.0f} /s"


def ms(value: float) -> str:
    """Give milliseconds."""
    return f"{value:.2f} ms"


def percentiles(took: Sequence[float]) -> tuple[float, float]:
    """Give the 50th and the 99th."""
    cuts = quantiles(took, n=100, method="inclusive")
    return cuts[49], cuts[98]
