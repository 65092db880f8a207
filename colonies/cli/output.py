"""What people and programs see: this module prints, and `drawing.py` where it moves.

The answer goes to standard output and nothing else does; all that is said about it goes to
standard error. What came from a hub is shown without the characters that steer a terminal.

Programs get JSON or plain lines. People at a terminal get tables that fit it, in colours unless
NO_COLOR is set; both need rich, which is in `colonies[cli]`, and without it they get the lines.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import IntEnum
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import click
import msgspec

from colonies.cli.status import Status
from colonies.core import wire
from colonies.core.attribute import Attribute
from colonies.core.errors import Misconfigured
from colonies.core.function import Argument
from colonies.core.process import Process
from colonies.core.wire import ZERO_TIME, wire_name

if TYPE_CHECKING:
    from types import ModuleType

T = TypeVar("T")

COLOURS = {
    "success": "green",
    "approved": "green",
    "ok": "green",
    "running": "cyan",
    "waiting": "yellow",
    "pending": "yellow",
    "warning": "yellow",
    "cancelling": "magenta",
    "cancelled": "magenta",
    "failed": "red",
    "rejected": "red",
    "problem": "red",
}
"""The colours of states and verdicts."""

SHORT_ID = 12
"""Characters of an id that are shown at a terminal: 48 bits, enough for a colony."""

GAP = "  "
"""What is between two cells."""

NARROWEST = 12
"""Characters that the cell which makes room for others keeps."""

WIDEST_CELL = 64
"""Characters of a cell of a table; an id just fits."""

WIDEST_LAST_CELL = 200
"""The same of the last column, which pushes nothing aside."""


class Table(msgspec.Struct, frozen=True):
    """Rows to be laid out: under these (dotted) fields, or labelled by their own first cell."""

    rows: Sequence[Sequence[Any]]
    columns: Sequence[str] = ()


class Answer(msgspec.Struct, Generic[T], frozen=True):
    """What a command has to say: a value for ``--json``, lines for people, complaints for both.

    Where there is a table, it is what people at a terminal see instead of the lines.
    """

    value: T
    lines: Sequence[str] = ()
    complaints: Sequence[str] = ()
    status: Status = Status.DONE
    table: Table | None = None


def table(items: Sequence[T], *columns: str) -> Answer[Sequence[T]]:
    """Answer with a list: a line an item, a column for each (dotted) field."""
    found = Table([[_value(item, column) for column in columns] for item in items], columns)
    return Answer(items, _plain(found), table=found)


def view(
    item: T,
    instead: Mapping[str, Sequence[str]] | None = None,
    more: Mapping[str, str] | None = None,
) -> Answer[T]:
    """Answer with one thing: a line a field, by its path in the JSON; empty ones are left out.

    Fields that are of little use to people as they are may be said in other words (``instead``).
    What ``more`` there is to be seen comes after them.
    """
    found = Table([*_fields(item, instead=instead or {}), *(more or {}).items()])
    return Answer(item, _plain(found), table=found)


def sentences(item: T, texts: Iterable[str]) -> Answer[T]:
    """Answer with what is said about something, a line each."""
    return Answer(item, [printable(text) for text in texts])


def identity(item: T, id_: str) -> Answer[T]:
    """Answer with what was made: people see its id and nothing else, ready to be pasted."""
    return Answer(item, [id_])


def show(answer: Answer[Any] | None, *, as_json: bool = False, full: bool = False) -> Status:
    """Print an answer, if there is one, and give how the command ended."""
    if answer is None:
        return Status.DONE
    if text := _json(answer.value) if as_json else _for_people(answer, full=full):
        say(text)
    for complaint in answer.complaints:
        note(complaint)
    return answer.status


@contextmanager
def showing(*, as_json: bool, full: bool) -> Iterator[Callable[[Answer[Any]], None]]:
    """Give what shows an answer again and again: in one place on a terminal, else when it changed.

    In JSON it is a document a line.
    """
    if not (as_json or full) and (drawing := _drawing()):
        with drawing.live_table() as redraw:
            yield lambda answer: redraw(answer.table)
        return
    last = ""

    def print_changed(answer: Answer[Any]) -> None:
        nonlocal last
        text = wire.encode(answer.value).decode() if as_json else _for_people(answer, full=full)
        if text != last:
            say(text)
        last = text

    yield print_changed


class Progress:
    """How far something is, shown or not; call it with what is done, and what is to be said."""

    is_shown = False
    is_measured = False
    """Whether it was said of how much it is, and so whatever else there is to say."""

    def __call__(self, done: float = 0, text: str = "", total: float | None = None) -> None:
        """Tell how far it is, of a total that was not known before."""


@contextmanager
def progress(text: str, total: int | None = None) -> Iterator[Progress]:
    """Show people how far something is, while it lasts; without a total, that it goes on."""
    drawing = _drawing(sys.stderr)
    if drawing is None:
        yield Progress()
        return
    with drawing.bar(text, total) as shown:
        yield shown


def looks_at_answer() -> bool:
    """Whether people look at the answer."""
    return is_terminal(sys.stdout)


def width_of_answer() -> int | None:
    """Give the characters of a line of the terminal where people look at the answer, if they do."""
    return shutil.get_terminal_size().columns if looks_at_answer() else None


def say(text: str, *, end: str = "\n", is_raw: bool = False) -> None:
    """Print a part of the answer at once; one that ``is_raw`` keeps its colours in a pipe too."""
    try:
        click.echo(f"{text}{end}", nl=False, color=is_raw or None)
    except BrokenPipeError:
        # Whoever read has left. So do we, and the flush at exit shall not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(Status.UNREAD) from None
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Misconfigured(f"cannot write the answer: {error.strerror}") from error


def note(text: str, *, end: str = "\n") -> None:
    """Tell people something that is not the answer."""
    click.echo(f"{text}{end}", nl=False, err=True)


def complain(error: Exception) -> None:
    """Say in one line what went wrong."""
    _complain("; ".join([str(error), *getattr(error, "__notes__", ())]))


def complain_of_usage(error: click.ClickException) -> None:
    """Say what is wrong with the words of a command, and where to read about it."""
    text = error.format_message().removesuffix(".")
    context = getattr(error, "ctx", None)
    takes_more = context and any(one.nargs == -1 for one in context.command.params)
    if isinstance(error, click.NoSuchOption) and takes_more:
        text += f"; an argument that begins with a dash goes after a --: -- {error.option_name}"
    _complain(text[:1].lower() + text[1:])
    if context:
        note(f"help: {context.command_path} --help")


def _complain(text: str) -> None:
    label = click.style("error:", fg="red", bold=True) if has_colours(sys.stderr) else "error:"
    note(f"{label} {printable(text)}")


def painted(text: str) -> str:
    """Give a word of an answer in its colour, where colours may be."""
    colour = COLOURS.get(text.strip()) if has_colours(sys.stdout) else None
    return click.style(text, fg=colour) if colour else text


def is_terminal(stream: Any) -> bool:
    """Whether people look at what is written there."""
    is_tty: bool = stream is not None and stream.isatty()  # None is one that was closed
    return is_tty and os.environ.get("TERM") != "dumb"


def has_colours(stream: Any) -> bool:
    """Whether colours may be written there; NO_COLOR (no-color.org) says they may not."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def printable(text: str) -> str:
    """Give what came from elsewhere in one line, without what steers a terminal."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def steady(text: str) -> str:
    """Give text as it is, but where people look without what steers the terminal.

    Ends of lines, tabs and returns to the beginning of a line are left to it.
    """
    if not is_terminal(sys.stdout):
        return text
    return "".join(one if one.isprintable() or one in "\n\t\r" else repr(one)[1:-1] for one in text)


async def confirm_deletion(question: str) -> None:
    """Ask; only a yes is a yes, and where nobody answers it is a no."""
    note(f"{printable(question)} [y/N] ", end="")
    await _readable(sys.stdin.fileno())
    if sys.stdin.buffer.readline().strip().lower() not in (b"y", b"yes"):
        raise click.UsageError("nothing was deleted; say yes, or give --yes")


def read_secret(what: str) -> str:
    """Read a secret from standard input, unseen where that is a terminal."""
    if sys.stdin.isatty():
        from getpass import getpass  # noqa: PLC0415 - seldom wanted

        return getpass(f"{what}: ").strip()
    return sys.stdin.buffer.read().decode(errors="replace").strip()


async def _readable(file: int) -> None:
    """Wait while the loop goes on: the hub is answered, and Ctrl-C ends the question."""
    came = asyncio.Event()
    try:
        asyncio.get_running_loop().add_reader(file, came.set)
    except OSError:
        return  # a regular file or /dev/null, which is never waited for
    try:
        await came.wait()
    finally:
        asyncio.get_running_loop().remove_reader(file)


def _json(value: Any) -> str:
    return msgspec.json.format(wire.encode(value), indent=2).decode()


def _for_people(answer: Answer[Any], *, full: bool) -> str:
    if answer.table is None:
        return "\n".join(answer.lines)
    if full:
        return "\n".join(_plain(answer.table, full=True))
    drawing = _drawing()
    return drawing.draw_table(answer.table) if drawing else "\n".join(answer.lines)


def _drawing(stream: Any = None) -> ModuleType | None:
    """Give what draws, where people look and rich is installed."""
    if not is_terminal(stream or sys.stdout):
        return None
    try:
        from colonies.cli import drawing  # noqa: PLC0415 - who pipes does not wait for it
    except ModuleNotFoundError:
        return None
    return drawing


def _plain(table: Table, *, full: bool = False) -> list[str]:
    rows = [[text_of(value) for value in row] for row in table.rows]
    if table.columns and not full:
        widths = [WIDEST_CELL] * (len(table.columns) - 1) + [WIDEST_LAST_CELL]
        rows = [[_cut(*cell) for cell in zip(row, widths, strict=True)] for row in rows]
    headings = [wire_name(column.rpartition(".")[2]).upper() for column in table.columns]
    return aligned([headings, *rows] if headings else rows)


def aligned(rows: Sequence[Sequence[str]], *, width: int | None = None) -> list[str]:
    """Give a line a row, its cells below each other; the first makes room, where there is little.

    ``width`` is what a line may have in characters.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if width is not None and widths:
        room = width - sum(widths[1:]) - len(GAP) * (len(widths) - 1)
        widths[0] = min(widths[0], max(room, NARROWEST))
        rows = [[_cut(row[0], widths[0]), *row[1:]] for row in rows]
    return [
        GAP.join(f"{cell:<{most}}" for cell, most in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _fields(
    item: Any, prefix: str = "", instead: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> Iterator[tuple[str, Any]]:
    for field in msgspec.structs.fields(item):
        value = instead[field.name] if field.name in instead else _value(item, field.name)
        yield from _field(f"{prefix}{field.encode_name}", value)


def _field(label: str, value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, msgspec.Struct) and not isinstance(value, Attribute):
        return _fields(value, f"{label}.")
    if isinstance(value, list):
        return [(label, one) for one in value]
    if isinstance(value, dict):
        return [(f"{label}.{printable(key)}", one) for key, one in value.items()]
    return [(label, value)] if value not in ("", ZERO_TIME) else []


def _value(item: Any, field: str) -> Any:
    """Give a (dotted) field; a process that is being cancelled is shown as that, not as running."""
    if field == "state" and isinstance(item, Process) and item.is_cancelling:
        return "cancelling"
    return attrgetter(field)(item)


def _in_short(value: Attribute | Argument) -> str:
    if isinstance(value, Attribute):
        return f"{value.key}={value.value}"
    return f"{value.signature}  # {value.description}" if value.description else value.signature


def text_of(value: Any) -> str:
    """Give a value in one line, the same on any screen."""
    match value:
        case bool():
            return "yes" if value else "no"
        case IntEnum():
            return value.name.lower()
        case datetime():
            return "-" if value == ZERO_TIME else f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
        case Attribute() | Argument():
            return printable(_in_short(value))
        case list():
            return " ".join(map(text_of, value))
        case _:
            return printable(str(value))


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
