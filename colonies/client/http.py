"""The same calls over ``POST /api``, for networks that let no WebSocket through."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection, InvalidURL
from typing import Any, NamedTuple

from colonies.client.connection import endpoint, tls_context
from colonies.core import wire
from colonies.core.envelope import Reply, seal
from colonies.core.errors import ConnectionLost, DeadlineExceeded, Failure, Misconfigured
from colonies.core.identity import PrivateKey
from colonies.settings import Settings


class Readiness(NamedTuple):
    """Whether a hub is well, in its own words if it is not, and what its clock says."""

    status: int
    text: str
    time: datetime | None


async def ask_whether_ready(settings: Settings) -> Readiness:
    """Ask a hub, as anybody may, whether it can serve; raises as `Connection.call` does."""
    connection = HttpConnection(settings)
    try:
        return await asyncio.to_thread(connection.ready)
    except OSError as error:
        raise ConnectionLost(f"no answer to GET /ready: {error}") from error
    except HTTPException as error:
        raise ConnectionLost(f"no HTTP: {error!r}") from error
    finally:
        await connection.close()


MAX_CALLS = 256
"""Calls under way at once; more wait for one of them to end."""


class HttpConnection:
    """A request and a response for each call; nothing can be pushed this way."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._url = endpoint(settings, "http") + "/api"
        self._tls = tls_context(settings)
        # Its own: long polls in the loop's executor would hold up everything else there.
        self._threads = ThreadPoolExecutor(MAX_CALLS, thread_name_prefix="colonies-http")
        self._open: set[HTTPConnection] = set()
        self.is_closed = False
        self.has_served = False

    async def close(self) -> None:
        """Hang up on every call under way; may be called twice."""
        self.is_closed = True
        for connection in list(self._open):
            _hang_up(connection)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def call(
        self,
        payload_type: str,
        fields: Mapping[str, Any],
        key: PrivateKey | None,
        timeout: float,
        *,
        req: str = "",
    ) -> Reply:
        """Send a signed request once and give its reply; raises as `Connection.call` does."""
        body = seal(payload_type, fields, key, req=req)
        connection = self._connect(timeout)
        self._open.add(connection)
        try:
            loop = asyncio.get_running_loop()
            answer = await loop.run_in_executor(self._threads, _post, connection, body)
            reply = wire.decode(answer, Reply)
        except TimeoutError:
            raise DeadlineExceeded(f"{self._url} did not answer within {timeout:g} s") from None
        except OSError as error:
            raise ConnectionLost(f"no hub at {self._url}: {error.strerror or error}") from error
        except (InvalidURL, ValueError) as error:
            raise Misconfigured(f"{self._url} is no address: {error}") from error
        except (Failure, HTTPException) as error:
            raise ConnectionLost(f"{self._url} is no hub: {error!r}") from error
        finally:
            # Also when cancelled: the hub must see that nobody waits for the answer.
            _hang_up(connection)
            self._open.discard(connection)
        self.has_served = self.has_served or not reply.error
        return reply

    def ready(self) -> Readiness:
        """Ask whether the hub is ready; blocks for ``try_timeout`` at most."""
        connection = self._connect(self._settings.try_timeout)
        try:
            connection.request("GET", "/ready")
            response = connection.getresponse()
            date = response.getheader("Date")
            time = parsedate_to_datetime(date) if date else None
            return Readiness(response.status, response.read().decode(errors="replace"), time)
        finally:
            connection.close()

    def _connect(self, timeout: float) -> HTTPConnection:
        host, port = self._settings.server_host, self._settings.server_port
        try:
            if self._tls is None:
                return HTTPConnection(host, port, timeout=timeout)
            return HTTPSConnection(host, port, timeout=timeout, context=self._tls)
        except InvalidURL as error:
            raise Misconfigured(f"{self._url} is no address: {error}") from error


def _post(connection: HTTPConnection, body: bytes) -> bytes:
    try:
        connection.request("POST", "/api", body, {"Content-Type": "text/plain"})
        return connection.getresponse().read()
    finally:
        connection.close()


def _hang_up(connection: HTTPConnection) -> None:
    """Shut the socket, which ends a call that waits in its thread."""
    if connection.sock is not None:
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)
