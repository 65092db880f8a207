"""The client without ``await``, for scripts and notebooks."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Coroutine, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from colonies.client.api import Colonies, connect
from colonies.client.log import FollowedLog
from colonies.client.work import Changes, SubmittedProcess
from colonies.core.identity import PrivateKey
from colonies.settings import Settings

T = TypeVar("T")


class _Loop:
    """An event loop on a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="colonies", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class BlockingColonies:
    """Every method of `Colonies`, waiting for its result; subscriptions are plain iterators."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        key: PrivateKey | None = None,
        http: bool = False,
    ) -> None:
        self._client = connect(settings, key=key, http=http)
        self._loop: _Loop | None = _Loop()

    def acting_as(self, key: PrivateKey) -> BlockingColonies:
        """Give the same connection as seen by another identity; close either of them."""
        return self._sharing(self._client.acting_as(key), self._loop)

    @classmethod
    def _sharing(cls, client: Colonies, loop: _Loop | None) -> BlockingColonies:
        self = cls.__new__(cls)
        self._client = client
        self._loop = loop
        return self

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if not inspect.iscoroutinefunction(method):
            return method

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._wrap(self._run(method(*args, **kwargs)))

        call.__doc__ = method.__doc__
        return call

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(self._client)})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; may be called twice."""
        if self._loop is not None:
            self._run(self._client.close())
            self._loop.close()
            self._loop = None

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            work.close()
            raise RuntimeError("this client is closed")
        return self._loop.run(work)

    def _wrap(self, result: Any) -> Any:
        if isinstance(result, SubmittedProcess):
            return BlockingProcess(result, self)
        if isinstance(result, Changes | FollowedLog):
            return self._iterate(result)
        return result

    def _iterate(self, changes: Changes | FollowedLog) -> Iterator[Any]:
        try:
            while True:
                yield self._run(anext(changes))
        except StopAsyncIteration:
            return  # a log has an end
        finally:
            if self._loop is not None:  # else it went with the client
                self._run(changes.close())


class BlockingProcess:
    """A process that was submitted, and the way to its end."""

    def __init__(self, submitted: SubmittedProcess, client: BlockingColonies) -> None:
        self.process = submitted.process
        self.id = submitted.id
        self._client = client

    def wait(self, timeout: float | None = None) -> Any:
        """Wait for any final state; raise TimeoutError after ``timeout`` seconds."""
        return self._client.wait_for(self.id, timeout)
