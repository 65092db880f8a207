"""Saying over HTTP how a runtime is, for what starts and restarts it.

``/health`` is answered with 200 as long as the loop turns, hub or no hub: no restart would bring
that back. ``/ready`` is, while the hub has let us in and answers; else it is 503.
"""

from __future__ import annotations

import asyncio
import socket
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from http import HTTPStatus

import structlog

from colonies.core.errors import ColoniesError, Misconfigured

logger = structlog.get_logger()

PATIENCE = 5.0
"""Seconds that a request may take to come, its answer to go, and the hub to give a sign of life."""

LONGEST_HEAD = 8192


class Pulse:
    """Whether the hub has let us in, and answers when it is asked."""

    def __init__(self) -> None:
        self.is_heard = False

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Ask during the block; one who has not answered in a while is not heard."""
        late = asyncio.get_running_loop().call_later(PATIENCE, self._miss)
        try:
            yield
        except ColoniesError:
            self._miss()
            raise
        else:
            self.is_heard = True
        finally:
            late.cancel()

    def _miss(self) -> None:
        self.is_heard = False


@asynccontextmanager
async def health(port: int | None, is_ready: Callable[[], bool]) -> AsyncIterator[None]:
    """Answer on all addresses while the block lasts, if there is a port; 0 is one that is free.

    Raises Misconfigured when the port cannot be had.
    """
    if port is None:
        yield
        return

    async def answer(reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            async with asyncio.timeout(PATIENCE):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_answer(head, is_ready=is_ready()))
                await writer.drain()
        writer.close()

    try:
        server = await asyncio.start_server(answer, sock=_listen(port), limit=LONGEST_HEAD)
    except OSError as error:
        raise Misconfigured(f"--health-port: {error.strerror}") from error
    async with server:
        logger.info("health served", port=server.sockets[0].getsockname()[1])
        yield


def _listen(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def _answer(head: bytes, *, is_ready: bool) -> bytes:
    method, _, rest = head.partition(b" ")
    path = rest.partition(b" ")[0]
    status = HTTPStatus.NOT_FOUND
    if method not in (b"GET", b"HEAD"):
        status = HTTPStatus.METHOD_NOT_ALLOWED
    elif path == b"/health" or (path == b"/ready" and is_ready):
        status = HTTPStatus.OK
    elif path == b"/ready":
        status = HTTPStatus.SERVICE_UNAVAILABLE
    line = f"HTTP/1.1 {status.value} {status.phrase}"
    return f"{line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
