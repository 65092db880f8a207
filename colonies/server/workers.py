"""Several hubs on one port: this process opens it, others serve, and a dead one is started again.

What each of them does is in `worker.py`. They know of each other through the database, as hubs on
different machines do.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Self

import msgspec
import structlog

from colonies.core import errors
from colonies.core.errors import ColoniesError, Unavailable
from colonies.server.app import bind, listen, open_embedded
from colonies.server.embedded import pauses
from colonies.server.worker import READY, Report
from colonies.settings import Settings

logger = structlog.get_logger()

GOOD_RUN = 10.0
"""Seconds after which a worker that dies is started again at once."""

STOP_TIMEOUT = 15.0
"""Seconds that a worker has to stop before it is killed."""


class Workers:
    """Hubs in processes of their own, for as long as the ``async with`` block lasts."""

    def __init__(self, settings: Settings) -> None:
        self._count = settings.workers
        self._settings = settings
        self.port = settings.server_port
        self._listener: socket.socket
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Start them all; raise what one that cannot serve says, with nothing left running."""
        async with AsyncExitStack() as stack:
            self._listener = stack.enter_context(bind(self._settings))
            url = self._settings.database_url or await open_embedded(self._settings, stack)
            listen(self._listener)
            self.port = self._listener.getsockname()[1]
            self._settings = msgspec.structs.replace(self._settings, database_url=url, workers=1)
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            serving: list[asyncio.Future[ColoniesError | None]] = []
            for number in range(1, self._count + 1):
                serving.append(asyncio.get_running_loop().create_future())
                stack.callback(tasks.create_task(self._keep(number, serving[-1])).cancel)
            failure = next(filter(None, await asyncio.gather(*serving)), None)
            if failure is None:
                self._stack = stack.pop_all()
                return self
        raise failure

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def wait_closed(self) -> None:
        """Wait for ever: whichever of them dies is started again."""
        await asyncio.Event().wait()

    async def _keep(self, number: int, serves: asyncio.Future[ColoniesError | None]) -> None:
        """Have a worker of this number, always."""
        clock = asyncio.get_running_loop().time
        waits = pauses()
        while True:
            since = clock()
            report = await self._run(number, serves)
            if not serves.done():
                serves.set_result(report)
                return
            logger.error("worker died", worker=number, error=str(report))
            if clock() - since > GOOD_RUN:
                waits = pauses()
            await asyncio.sleep(next(waits))

    async def _run(
        self, number: int, serves: asyncio.Future[ColoniesError | None]
    ) -> ColoniesError:
        """Start a worker and give what it died of."""
        worker = await self._start(number)
        try:
            report = await _first_word(worker)
            if report and report.outcome == READY and not serves.done():
                serves.set_result(None)
            status = await worker.wait()
        finally:
            await _end(worker)
        if report is None or report.outcome == READY:
            return Unavailable(f"worker {number} ended with status {status}")
        kind: type[ColoniesError] = getattr(errors, report.outcome, Unavailable)
        return kind(report.message)

    async def _start(self, number: int) -> Process:
        file = self._listener.fileno()
        worker = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "colonies.server.worker", str(number), str(file)),
            stdin=PIPE,
            stdout=PIPE,
            pass_fds=[file],
            start_new_session=True,  # Ctrl-C is for this process, which passes it on
        )
        logger.info("worker started", worker=number, pid=worker.pid)
        if worker.stdin is not None:
            worker.stdin.write(msgspec.json.encode(self._settings) + b"\n")
        return worker


async def _first_word(worker: Process) -> Report | None:
    """Wait until a worker says whether it serves, or dies without a word."""
    line = await worker.stdout.readline() if worker.stdout is not None else b""
    return msgspec.json.decode(line, type=Report) if line else None


async def _end(worker: Process) -> None:
    """Stop a worker if it has not, with patience at first."""
    if worker.returncode is not None:
        return
    with suppress(ProcessLookupError):
        worker.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_TIMEOUT):
            await worker.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            worker.kill()
        await worker.wait()
