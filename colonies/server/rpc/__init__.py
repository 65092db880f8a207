"""What may be asked: one file a noun, one decorated function an RPC.

``@rpc`` only tags a function. `collect` builds the table from an explicit list of modules when the
hub starts, and refuses doubles and missing annotations there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import getmembers, isfunction, signature
from types import ModuleType
from typing import Annotated, Any, get_type_hints

import msgspec

from colonies.core.wire import Wire
from colonies.server.call import Call, Door
from colonies.server.intent import Seen
from colonies.server.rules import Rule

Handler = Callable[[Call, Any, Any], Awaitable[Any]]
Again = Callable[[Call, Any, Seen], Awaitable[Any]]

MAX_REASON_LENGTH = 1000

Reason = Annotated[str, msgspec.Meta(max_length=MAX_REASON_LENGTH)]
"""Why something is done, in words for people."""

ANSWERED = frozenset({Door.API, Door.WS})
"""The doors through which a message gets one answer."""


class Request(Wire):
    """The base of what is inside a signed payload, beside its ``msgtype``."""


class Rpc(msgspec.Struct, frozen=True):
    """One thing that may be asked."""

    payload_type: str
    request: type[Request]
    reply: Any
    rule: Rule
    doors: frozenset[Door]
    handler: Handler
    again: Again

    @property
    def doc(self) -> str:
        """What it does, as its docstring says."""
        return self.handler.__doc__ or ""


async def _empty(_call: Call, _msg: Any, _seen: Seen) -> None:
    """Give the first answer of everything that answers nothing."""


def rpc(
    payload_type: str,
    *,
    rule: Rule,
    doors: frozenset[Door] = ANSWERED,
    again: Again = _empty,
) -> Callable[[Handler], Handler]:
    """Make ``async def handler(call, msg, subject) -> reply`` the answer to a payload type.

    ``rule`` decides who may call and gives the subject. The request is the annotation of ``msg``,
    the reply that of the return value, and the docstring is published. ``again(call, msg, seen)``
    gives the answer to a request that was done before.
    """

    def tag(handler: Handler) -> Handler:
        handler.__rpc__ = (payload_type, rule, doors, again)  # type: ignore[attr-defined]  # the tag itself
        return handler

    return tag


def collect(*modules: ModuleType) -> dict[str, Rpc]:
    """Build the table of all tagged functions of these modules."""
    table: dict[str, Rpc] = {}
    for module in modules:
        for _, handler in getmembers(module, isfunction):
            if hasattr(handler, "__rpc__") and handler.__module__ == module.__name__:
                entry = _entry(handler)
                if entry.payload_type in table:
                    raise TypeError(f"{_place(handler)}: {entry.payload_type} is answered twice")
                table[entry.payload_type] = entry
    return table


def _entry(handler: Any) -> Rpc:
    payload_type, rule, doors, again = handler.__rpc__
    hints = get_type_hints(handler)
    _, message, _ = signature(handler).parameters
    if message not in hints or "return" not in hints or not handler.__doc__:
        raise TypeError(f"{_place(handler)}: annotate message and reply, and say what it does")
    return Rpc(payload_type, hints[message], hints["return"], rule, doors, handler, again)


def _place(handler: Any) -> str:
    return f"{handler.__code__.co_filename}:{handler.__code__.co_firstlineno}"
