"""The inside of the `python` runtime's child: calls functions, one JSON line each.

A request is ``{"func", "args", "kwargs", "in", "in_by_parent", "env"}``, the answer ``{"output",
"errors"}``, perhaps after some ``{"done", "total", "text"}`` of its progress; or it is
``{"modules", "env"}``, and the answer the ``functions`` that they offer and the ``errors``. Both
pipes are taken away from the functions first: they read nothing, and what they print goes, call by
call, into pipes that come with the request over a socket, whose number is the first argument.
An interrupt (SIGINT) is for the function; if it does not say otherwise, the child ends with it.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import io
import json
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import msgspec

from colonies.core.process import encode_argument
from runtimes.context import LISTENER
from runtimes.inputs import Inputs
from runtimes.python.signatures import functions_of, values_for

INTERRUPTED = 130
"""The exit code of a call that was interrupted, as shells have it."""

OURS = str(Path(__file__).parent) + os.sep
"""Where the code lies that is no function's."""

MOST_OF_AN_ERROR = 100_000
"""Characters of the text of an exception; its beginning is what says most."""


def main() -> None:
    """Answer requests until there are no more, or one is interrupted."""
    # Whoever starts us may ignore interrupts, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        parcels = socket.socket(fileno=int(sys.argv[1]))
        parcels.set_inheritable(False)
        sys.path[:0] = sys.argv[2:]
        requests, answers = _take_pipes()
        telling = threading.Lock()

        def tell(answer: dict[str, Any]) -> None:
            with telling:
                answers.write(json.dumps(answer) + "\n")
                answers.flush()

        LISTENER.set(lambda progress: tell(msgspec.to_builtins(progress)))
        for line in requests:
            request = json.loads(line)
            os.environ.clear()
            os.environ.update(request["env"])
            if "modules" in request:
                answer = _describe(request)
            else:
                with _output_of_its_own(parcels):
                    answer = _answer(request)
            # An answer is whole or not there.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            tell(answer)
            signal.signal(signal.SIGINT, signal.default_int_handler)
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(INTERRUPTED)


def _take_pipes() -> tuple[TextIO, TextIO]:
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # who follows the log waits for each line
    return requests, answers


@contextmanager
def _output_of_its_own(parcels: socket.socket) -> Iterator[None]:
    """Have what is printed meanwhile, by this process or another, go to whoever has called."""
    _, (out, err), *_ = socket.recv_fds(parcels, 1, 2)
    usual = os.dup(2)
    try:
        for pipe, descriptor in ((out, 1), (err, 2)):
            os.dup2(pipe, descriptor)
            os.close(pipe)
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # a function may leave anything in their place
                stream.flush()
        os.dup2(usual, 1)
        os.dup2(usual, 2)
        os.close(usual)


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
        with suppress(Exception):  # an exception is somebody else's code, when it is shown as well
            _tell_where(error)
        return {"output": [], "errors": [_said(error)]}
    return {"output": output, "errors": []}


def _said(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}"
    left_out = len(text) - MOST_OF_AN_ERROR
    return f"{text[:MOST_OF_AN_ERROR]} [{left_out} characters left out]" if left_out > 0 else text


def _tell_where(error: Exception) -> None:
    """Write to the log of the call through what of the function it came; our part is left out."""
    place = where = error.__traceback__
    while place:
        is_ours = place.tb_frame.f_code.co_filename.startswith(OURS)
        place = place.tb_next
        where = place if is_ours else where
    if where is None:  # it was never called
        return
    text = "".join(traceback.format_exception(type(error), error, where))
    with suppress(Exception):
        sys.stderr.flush()
    # Not by sys.stderr: a function may leave anything in its place.
    with open(2, "ab", buffering=0, closefd=False) as log:
        log.write(text[-MOST_OF_AN_ERROR:].encode(errors="backslashreplace"))


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
