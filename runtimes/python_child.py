"""The inside of the `python` runtime's child: calls functions, one JSON line each.

A request is ``{"func", "args", "kwargs", "in", "in_by_parent", "env"}``, the answer ``{"output",
"errors"}``; or it is ``{"modules", "env"}``, and the answer the ``functions`` that they offer and
the ``errors``. Both pipes are taken away from the functions first: they read nothing, and print to
standard error.
An interrupt (SIGINT) is for the function; if it does not say otherwise, the child ends with it.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, TextIO

import msgspec

from colonies.core.process import encode_argument
from runtimes.inputs import Inputs
from runtimes.signatures import functions_of, values_for

INTERRUPTED = 130
"""The exit code of a call that was interrupted, as shells have it."""


def main() -> None:
    """Answer requests until there are no more, or one is interrupted."""
    # Whoever starts us may ignore interrupts, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sys.path[:0] = sys.argv[1:]
        requests, answers = _take_pipes()
        for line in requests:
            request = json.loads(line)
            os.environ.clear()
            os.environ.update(request["env"])
            answer = json.dumps(_describe(request) if "modules" in request else _answer(request))
            # An answer is whole or not there.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            answers.write(answer + "\n")
            answers.flush()
            signal.signal(signal.SIGINT, signal.default_int_handler)
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(INTERRUPTED)


def _take_pipes() -> tuple[TextIO, TextIO]:
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def _answer(request: dict[str, Any]) -> dict[str, list[str]]:
    try:
        function = _find(request["func"])
        inputs = Inputs.read(request["in"], request["in_by_parent"])
        args, kwargs = values_for(function, request["args"], request["kwargs"], inputs)
        result = function(*args, **kwargs)
        if inspect.isawaitable(result):
            result = asyncio.run(_wait(result))
        output = [] if result is None else [encode_argument(result)]
    except Exception as error:  # noqa: BLE001 - whatever a function raises is its answer
        return {"output": [], "errors": [f"{type(error).__name__}: {error}"]}
    return {"output": output, "errors": []}


def _describe(request: dict[str, Any]) -> dict[str, Any]:
    functions, errors = [], []
    for name in request["modules"]:
        try:
            functions += functions_of(importlib.import_module(name))
        except Exception as error:  # noqa: BLE001 - whatever a module does when it is imported
            errors.append(f"{name}: {type(error).__name__}: {error}")
    return {"functions": msgspec.to_builtins(functions), "errors": errors}


async def _wait(awaitable: Any) -> Any:
    return await awaitable


def _find(func: str) -> Callable[..., Any]:
    module, _, name = func.partition(":")
    if not module or not name:
        raise ValueError(f"func: expected module:function, not {func!r}")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"{func} cannot be called")
    return found  # type: ignore[no-any-return]  # that it is callable is all that can be known


if __name__ == "__main__":
    main()
