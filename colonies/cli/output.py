"""What people see: the only module that prints.

The answer goes to standard output and nothing else does; all that is said about it goes to
standard error. What came from a hub is shown without the characters that steer a terminal.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from enum import IntEnum
from getpass import getpass
from operator import attrgetter
from typing import Any

import click
import msgspec

from colonies.cli.status import Status
from colonies.core import wire
from colonies.core.attribute import Attribute
from colonies.core.errors import Misconfigured
from colonies.core.process import Process
from colonies.core.wire import ZERO_TIME, wire_name

WIDEST_CELL = 64
"""Characters of a cell of a table; an id just fits."""

WIDEST_LAST_CELL = 200
"""The same of the last column, which pushes nothing aside."""


class Answer(msgspec.Struct, frozen=True):
    """What a command has to say: a value for ``--json``, lines for people, complaints for both."""

    value: Any
    lines: Sequence[str] = ()
    complaints: Sequence[str] = ()
    status: Status = Status.DONE


def table(items: Sequence[Any], *columns: str) -> Answer:
    """Answer with a list: a line an item, a column for each (dotted) field."""
    headings = [wire_name(column.rpartition(".")[2]).upper() for column in columns]
    widths = [WIDEST_CELL] * (len(columns) - 1) + [WIDEST_LAST_CELL]
    rows = [
        [
            _cut(_text(_value(item, column)), width)
            for column, width in zip(columns, widths, strict=True)
        ]
        for item in items
    ]
    return Answer(items, _aligned([headings, *rows]))


def view(item: msgspec.Struct) -> Answer:
    """Answer with one thing: a line a field, by its path in the JSON; empty ones are left out."""
    return Answer(item, _aligned(list(_fields(item))))


def sentences(item: Any, texts: Iterable[str]) -> Answer:
    """Answer with what is said about something, a line each."""
    return Answer(item, [printable(text) for text in texts])


def identity(item: Any, id_: str) -> Answer:
    """Answer with what was made: people see its id and nothing else, ready to be pasted."""
    return Answer(item, [id_])


def show(answer: Answer | None, *, as_json: bool = False) -> Status:
    """Print an answer, if there is one, and give how the command ended."""
    if answer is None:
        return Status.DONE
    lines = [_json(answer.value)] if as_json else answer.lines
    if lines:
        say("\n".join(lines))
    for complaint in answer.complaints:
        note(complaint)
    return answer.status


def say(text: str) -> None:
    """Print a part of the answer at once."""
    try:
        click.echo(text)
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
    remarks = [str(error), *getattr(error, "__notes__", ())]
    note(f"error: {printable('; '.join(remarks))}")


def printable(text: str) -> str:
    """Give what came from elsewhere in one line, without what steers a terminal."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


async def confirm_deletion(question: str) -> None:
    """Ask; only a yes is a yes, and where nobody answers it is a no."""
    note(f"{printable(question)} [y/N] ", end="")
    await _readable(sys.stdin.fileno())
    if sys.stdin.buffer.readline().strip().lower() not in (b"y", b"yes"):
        raise click.UsageError("nothing was deleted; say yes, or give --yes")


def read_secret(what: str) -> str:
    """Read a secret from standard input, unseen where that is a terminal."""
    if sys.stdin.isatty():
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


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _fields(item: msgspec.Struct, prefix: str = "") -> Iterator[tuple[str, str]]:
    for field in msgspec.structs.fields(item):
        yield from _field(f"{prefix}{field.encode_name}", _value(item, field.name))


def _field(label: str, value: Any) -> Iterable[tuple[str, str]]:
    if isinstance(value, msgspec.Struct):
        return _fields(value, f"{label}.")
    if isinstance(value, list):
        return [(label, _text(one)) for one in value]
    if isinstance(value, dict):
        return [(f"{label}.{printable(key)}", _text(one)) for key, one in value.items()]
    return [(label, _text(value))] if value not in ("", ZERO_TIME) else []


def _value(item: Any, field: str) -> Any:
    """Give a (dotted) field; a process that is being cancelled is shown as that, not as running."""
    if field == "state" and isinstance(item, Process) and item.is_cancelling:
        return "cancelling"
    return attrgetter(field)(item)


def _text(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case IntEnum():
            return value.name.lower()
        case datetime():
            return "-" if value == ZERO_TIME else f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
        case Attribute():
            return printable(f"{value.key}={value.value}")
        case list():
            return " ".join(map(_text, value))
        case _:
            return printable(str(value))


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
