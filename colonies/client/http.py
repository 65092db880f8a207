"""The same calls over ``POST /api``, for networks that let no WebSocket through."""

from __future__ import annotations

import asyncio
import http.client
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from colonies.client.connection import endpoint, tls_context
from colonies.core import wire
from colonies.core.envelope import Reply, seal
from colonies.core.errors import ConnectionLost, DeadlineExceeded, Failure, Misconfigured
from colonies.core.identity import PrivateKey
from colonies.settings import Settings

MAX_CALLS = 256
"""Calls under way at once; more wait for one of them to end."""


class HttpConnection:
    """A request and a response for each call; nothing can be pushed this way."""

    def __init__(self, settings: Settings) -> None:
        self._url = endpoint(settings, "http") + "/api"
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=tls_context(settings)),
        )

        # Its own: long polls in the loop's executor would hold up everything else there.
        self._threads = ThreadPoolExecutor(MAX_CALLS, thread_name_prefix="colonies-http")

    async def close(self) -> None:
        """Start no more calls; those under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def call(
        self, payload_type: str, fields: dict[str, Any], key: PrivateKey | None, timeout: float
    ) -> Reply:
        """Send a signed request and give its reply; raises as `Connection.call` does."""
        body = seal(payload_type, fields, key)
        try:
            loop = asyncio.get_running_loop()
            answer = await loop.run_in_executor(self._threads, self._post, body, timeout)
            return wire.decode(answer, Reply)
        except TimeoutError:
            raise DeadlineExceeded(f"{self._url} did not answer within {timeout:g} s") from None
        except Failure as failure:
            raise ConnectionLost(f"{self._url} is no hub: {failure}") from failure

    def _post(self, body: bytes, timeout: float) -> bytes:
        request = urllib.request.Request(self._url, body, {"Content-Type": "text/plain"})  # noqa: S310 - http or https by construction
        try:
            with self._opener.open(request, timeout=timeout) as response:
                answer: bytes = response.read()
        except urllib.error.HTTPError as error:
            return error.read()
        except TimeoutError:
            raise
        except OSError as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            if isinstance(reason, TimeoutError):
                raise reason from error
            raise ConnectionLost(f"no hub at {self._url}: {reason}") from error
        except (ValueError, http.client.InvalidURL) as error:
            raise Misconfigured(f"{self._url} is no address: {error}") from error
        except http.client.HTTPException as error:
            raise ConnectionLost(f"{self._url} is no hub: {error!r}") from error
        return answer
