"""One of several hubs on one port: ``python -m colonies.server.worker NUMBER SOCKET``.

Started by `workers.py`, which leaves it the open socket, writes the settings as one line to its
standard input, and reads one from its standard output: that it serves, or why it does not. When
standard input ends, so has whoever started it, and it stops.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys

import msgspec
import structlog

from colonies import logs
from colonies.core.errors import ColoniesError
from colonies.server.app import Server, loop_factory, spare_collector
from colonies.settings import Settings

READY = "ready"


class Report(msgspec.Struct, frozen=True):
    """How it went: ``READY``, or the class of what went wrong."""

    outcome: str
    message: str = ""


def main() -> None:
    """Serve until a signal comes or standard input ends."""
    number, file = sys.argv[1:]
    settings = msgspec.json.decode(sys.stdin.buffer.readline(), type=Settings)
    logs.configure(verbose=settings.verbose)
    structlog.contextvars.bind_contextvars(worker=int(number))
    listener = socket.socket(fileno=int(file))
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_serve(settings, listener))
    except ColoniesError as error:
        _report(Report(type(error).__name__, str(error)))
        sys.exit(1)


async def _serve(settings: Settings, listener: socket.socket) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    loop.add_reader(sys.stdin.fileno(), stop.set)
    async with Server(settings, listener) as hub:
        spare_collector()
        _report(Report(READY))
        ends = [asyncio.ensure_future(one) for one in (stop.wait(), hub.wait_closed())]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        loop.remove_reader(sys.stdin.fileno())
        for end in ends:
            end.cancel()


def _report(report: Report) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
