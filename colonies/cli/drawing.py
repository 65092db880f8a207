"""What people see at a terminal: tables that fit it, tables that change, bars. Needs rich.

Ids are cut to what tells them apart, and any command takes them so; times are said as ages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from itertools import takewhile
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.table import Table as Grid
from rich.text import Text

from colonies.cli.answers import COLOURS, GAP, SHORT_ID, Table, text_of
from colonies.complaints import printable
from colonies.core.wire import ZERO_TIME

LONG_AGO = 90 * 86_400
"""Seconds after which a time is shown as a date, not as an age."""

UNBOUNDED = 100_000

LEAST_TEXT = 6
"""Characters that are left of a text where there is little room."""

_ID = re.compile(r"\b[0-9a-f]{64}\b")

_UNITS = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def draw_table(table: Table) -> str:
    """Give a table as wide as the terminal at most; the fields of one thing are left to wrap."""
    console = _console()
    if not table.columns:
        console.width = UNBOUNDED  # so that an id that wraps is copied in one piece
    with console.capture() as capture:
        console.print(_grid(table, console.width))
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


@contextmanager
def live_table() -> Iterator[Callable[[Table | None], None]]:
    """Give what draws a table again in the place of the last one."""
    console = _console()
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:

        def redraw(table: Table | None) -> None:
            if table is not None:
                seen = Text(f"{datetime.now().astimezone():%H:%M:%S}, Ctrl-C ends", style="dim")
                live.update(Group(_grid(table, console.width), seen), refresh=True)

        yield redraw


class Bar:
    """How far something is, drawn."""

    is_shown = True
    is_measured = False

    def __init__(self, drawn: Bars, task: TaskID) -> None:
        self._drawn = drawn
        self._task = task

    def __call__(self, done: float = 0, text: str = "", total: float | None = None) -> None:
        """Draw how far it is."""
        self.is_measured = self.is_measured or total is not None
        self._drawn.update(
            self._task,
            completed=done if done or total else None,
            total=total,
            description=printable(text) if text else None,
        )


class OnceKnown(ProgressColumn):
    """A column that is empty as long as nobody knows of how much it is."""

    def __init__(self, column: ProgressColumn) -> None:
        super().__init__()
        self._column = column

    def render(self, task: Task) -> RenderableType:
        """Draw it, or nothing."""
        return Text("") if task.total is None else self._column(task)


@contextmanager
def bar(text: str, total: int | None) -> Iterator[Bar]:
    """Draw on standard error how far something is, and nothing of it afterwards."""
    columns: list[ProgressColumn] = [
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
    ]
    if total is None:
        columns += [OnceKnown(BarColumn()), OnceKnown(TaskProgressColumn())]
    else:
        columns += [BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    with Bars(*columns, TimeElapsedColumn(), console=_console(stderr=True), transient=True) as bars:
        yield Bar(bars, bars.add_task(text, total=total))


def _console(*, stderr: bool = False) -> Console:
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def _grid(table: Table, width: int) -> Grid:
    now = datetime.now(UTC)
    if not table.columns:
        return _labelled(table, now)
    drawn, columns = _laid_out(table, now, " ago")
    if _excess(columns, width) > 0:
        drawn, columns = _laid_out(table, now, "")
        columns = _kept(columns, width)
        _narrow(columns, width)
    grid = Grid(box=None, padding=(0, len(GAP), 0, 0), pad_edge=False, header_style="bold")
    for column in columns:
        grid.add_column(column.heading, width=column.width)
    for row in drawn:
        grid.add_row(*(row[column.number] for column in columns))
    return grid


def _laid_out(table: Table, now: datetime, ago: str) -> tuple[list[list[Text]], list[_Column]]:
    """Give the cells of a table, row by row, and its columns as wide as they would be."""
    drawn = [
        [_cell(column, value, now, ago) for column, value in zip(table.columns, row, strict=True)]
        for row in table.rows
    ]
    columns = [
        _Column.of(
            number, name, [row[number] for row in table.rows], [row[number] for row in drawn]
        )
        for number, name in enumerate(table.columns)
    ]
    return drawn, columns


def _excess(columns: Sequence[_Column], width: int) -> int:
    """Give how much wider columns are than there is room for."""
    return sum(one.width + len(GAP) for one in columns) - len(GAP) - width


@dataclass
class _Column:
    """A column, how wide it is, and how narrow it may be: headings wrap, and only text is cut."""

    number: int
    heading: str
    width: int
    least: int
    is_text: bool
    is_needed: bool

    @classmethod
    def of(cls, number: int, name: str, values: Sequence[Any], cells: Sequence[Text]) -> _Column:
        heading, is_text = _heading(name), not _is_firm(name, values)
        widest = max((cell.cell_len for cell in cells), default=0)
        least = max(map(len, heading.split()))
        return cls(
            number,
            heading,
            width=max(widest, len(heading)),
            least=max(least, min(widest, LEAST_TEXT) if is_text else widest),
            is_text=is_text,
            is_needed=number == 0 or name.endswith(("state", "name")),
        )


def _kept(columns: list[_Column], width: int) -> list[_Column]:
    """Leave out, of what there is no room for, first what is no text, and the last of it."""
    kept = list(columns)
    while sum(one.least + len(GAP) for one in kept) - len(GAP) > width:
        able = [one for one in kept if not one.is_needed]
        if not able:
            break
        kept.remove(max(able, key=lambda one: (not one.is_text, one.number)))
    return kept


def _narrow(columns: list[_Column], width: int) -> None:
    """Make columns as narrow as they have to be: first headings wrap, then the widest is cut."""
    excess = _excess(columns, width)
    while excess > 0:
        able = [one for one in columns if one.width > one.least]
        if not able:
            break
        widest = max(able, key=lambda one: (not one.is_text, one.width))
        step = min(excess, max(1, widest.width - width))
        widest.width -= step
        excess -= step


def _labelled(table: Table, now: datetime) -> Grid:
    """Give fields under one another, what is inside of one indented.

    0 and no are left out, unless they say something.
    """
    grid = Grid.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    last: list[str] = []
    for label, value in table.rows:
        says_something = value or value == "" or isinstance(value, IntEnum) or table.has_zeros
        if not says_something:
            continue
        path = label.split(".")
        shared = len(
            list(takewhile(lambda pair: pair[0] == pair[1], zip(path, last, strict=False)))
        )
        for depth in range(shared, len(path) - 1):
            grid.add_row("  " * depth + path[depth])
        name = "" if path == last else "  " * (len(path) - 1) + path[-1]
        grid.add_row(name, _labelled_value(value, now))
        last = path
    return grid


def _labelled_value(value: Any, now: datetime) -> Text:
    said = text_of(value)
    text = Text(said, style=COLOURS.get(said, "") if isinstance(value, IntEnum) else "")
    if isinstance(value, datetime):
        text.append(f"  {age(value, now, ' ago')}", style="dim")
    return text


def _heading(column: str) -> str:
    name = column.rpartition(".")[2]
    return name.removesuffix("_time").removesuffix("_id").replace("_", " ").upper()


def _is_firm(column: str, values: Sequence[Any]) -> bool:
    firm = (int, datetime)  # and with them bool and every enumeration
    return column.endswith(("_id", "state")) or any(isinstance(one, firm) for one in values)


def _is_state(column: str) -> bool:
    return column.endswith("state")


def _cell(column: str, value: Any, now: datetime, ago: str) -> Text:
    if isinstance(value, datetime):
        return Text(age(value, now, ago), style="dim")
    said = text_of(value)
    if column.endswith("_id"):
        said = said[:SHORT_ID]
    elif column == "text":
        said = _ID.sub(lambda found: found[0][:SHORT_ID], said)
    is_state = isinstance(value, IntEnum) or _is_state(column)
    style = COLOURS.get(said, "") if is_state else ""
    return Text(said, style=style, no_wrap=True, overflow="ellipsis")


def age(time: datetime, now: datetime, ago: str = "") -> str:
    """Say how long ago a time is, or in how long, in one unit."""
    if time == ZERO_TIME:
        return "-"
    seconds = (now - time).total_seconds()
    if abs(seconds) > LONG_AGO:
        return f"{time:%Y-%m-%d}"
    size, unit = next((one for one in _UNITS if abs(seconds) >= one[0]), _UNITS[-1])
    count = f"{abs(seconds) // size:.0f}{unit}"
    return f"{count}{ago}" if seconds > -1 else f"in {count}"
