"""An event loop in a thread of its own, where a plugin may block without holding up the hub's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Generic, Self, TypeVar

import structlog

from colonies.client.closing import Closing

logger = structlog.get_logger()

T = TypeVar("T")


class Abandoned(Exception):
    """What was waited for goes on, but nobody waits for it any more."""


class LoopThread(Closing):
    """A loop beside the one that it is entered on; `run` is the way across and back."""

    def __init__(self, name: str, *, patience: float) -> None:
        """Name the thread, and say how many seconds its end may take."""
        self._patience = patience
        self._errands: set[_Errand[Any]] = set()
        self._thread = threading.Thread(target=self._live, name=name, daemon=True)
        self._is_closing = False
        self._is_abandoned = False
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._here = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._started: asyncio.Future[asyncio.AbstractEventLoop] = self._here.create_future()
        self._thread.start()
        self._there = await self._started
        return self

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs, which after `close` means that it could not be ended."""
        return self._thread.is_alive()

    async def run(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Await a function there and give its result here.

        Cancelling cancels it there, once, and waits until it has ended; what it gives nevertheless
        is the result. Raises Abandoned when the whole thread was given up.
        """
        if self._is_abandoned:
            raise Abandoned
        errand = _Errand(self._here, function, args)
        self._errands.add(errand)
        try:
            self._there.call_soon_threadsafe(errand.begin)
            return await self._wait_for(errand)
        finally:
            self._errands.discard(errand)

    async def run_back(self, work: Coroutine[Any, Any, T]) -> T:
        """Await something here that is called for there; cancelling cancels it."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._here))

    async def _wait_for(self, errand: _Errand[T]) -> T:
        is_cancelled = False
        while not errand.ended.done():
            try:
                await asyncio.shield(errand.ended)
            except asyncio.CancelledError:
                if not is_cancelled:
                    self._there.call_soon_threadsafe(errand.cancel)
                is_cancelled = True
        return errand.ended.result().result()

    def abandon_after(self, seconds: float) -> None:
        """Give the thread so long for everything; the first call counts."""
        self._timer = self._timer or self._here.call_later(seconds, self._abandon)

    def _abandon(self) -> None:
        self._is_abandoned = True
        for errand in self._errands:
            if not errand.ended.done():
                errand.ended.set_exception(Abandoned())
        self._ended.set()

    async def close(self) -> None:
        """End the loop and wait for the thread, unless it is abandoned; may be called twice."""
        self._is_closing = True
        self.abandon_after(self._patience)
        with suppress(RuntimeError):  # it has ended already
            self._there.call_soon_threadsafe(self._there.stop)
        await self._ended.wait()
        if self._timer:
            self._timer.cancel()
        if not self._is_abandoned:
            self._thread.join()

    def _live(self) -> None:
        with asyncio.Runner() as runner:
            loop = runner.get_loop()
            self._here.call_soon_threadsafe(self._started.set_result, loop)
            while not self._is_closing:
                try:
                    loop.run_forever()
                except (SystemExit, KeyboardInterrupt):
                    logger.exception("plugin tried to exit")
        with suppress(RuntimeError):  # nobody waits any more
            self._here.call_soon_threadsafe(self._ended.set)


class _Errand(Generic[T]):
    """One call that crosses: begun and cancelled there, and its end reported here."""

    def __init__(
        self,
        here: asyncio.AbstractEventLoop,
        function: Callable[..., Awaitable[T]],
        args: tuple[Any, ...],
    ) -> None:
        self.ended: asyncio.Future[asyncio.Task[T]] = here.create_future()
        self._here = here
        self._function = function
        self._args = args
        self._task: asyncio.Task[T]

    def begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._call())
        self._task.add_done_callback(self._report)

    def cancel(self) -> None:
        self._task.cancel()

    async def _call(self) -> T:
        try:
            return await self._function(*self._args)
        except (SystemExit, KeyboardInterrupt) as error:
            # Either would end the loop that everything else runs on.
            raise RuntimeError(f"{type(error).__name__}: {error}") from error

    def _report(self, task: asyncio.Task[T]) -> None:
        with suppress(RuntimeError):  # nobody waits any more
            self._here.call_soon_threadsafe(self._settle, task)

    def _settle(self, task: asyncio.Task[T]) -> None:
        if not self.ended.done():
            self.ended.set_result(task)
