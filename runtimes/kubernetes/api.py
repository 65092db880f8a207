"""What is asked of a Kubernetes API, and what its answers mean.

lightkube brings credentials, objects and calls. Watches and logs are read here from the same
connection pool as it makes: a log is bytes, and a watch must be seen to be open.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import httpx2
import msgspec
from lightkube import ApiError, AsyncClient, KubeConfig
from lightkube.config import client_adapter
from lightkube.core.exceptions import ConfigError
from lightkube.core.resource import NamespacedResource, api_info
from lightkube.resources.batch_v1 import Job
from lightkube.types import CascadeType

from runtimes.job_state import Busy, Refused, Unsure

Kind = TypeVar("Kind", bound=NamespacedResource)

WATCHED = 60
"""Seconds that a watch is asked to last."""

GONE = 410

_NOT_FOUND = 404
_CONFLICT = 409
_FORBIDDEN = 403
_NOW_NOT = {401, 429}  # 401: the token is being changed
_SERVERS_OWN = 500

NO_ANSWER = (
    httpx2.HTTPError,
    httpx2.StreamError,
    httpx2.InvalidURL,
    ConfigError,
    OSError,
    ValueError,  # no JSON, or not of this shape
    LookupError,
    AttributeError,  # an object without what every object has
    TypeError,
)
"""What may come of an answer that is none, or cannot be understood."""


class Expired(Exception):
    """What had been seen is too old to go on from: all is to be looked at anew."""


class Event(msgspec.Struct):
    """One change, of an object that is decoded later, for it may be an error."""

    type: str
    object: msgspec.Raw


class Api:
    """One namespace of a cluster, with the credentials of a pod or of a kubeconfig."""

    def __init__(self, *, namespace: str, context: str, patience: float) -> None:
        """Find the credentials; raise ConfigError or OSError when there are none."""
        config = KubeConfig.from_env().get(context or None)
        if config is None:
            raise ConfigError("no context: give --context or set one in the kubeconfig")
        if config.user is None:
            raise ConfigError(f"context {config.context_name!r} has no user")
        timeout = httpx2.Timeout(patience)
        self._client = AsyncClient(config, namespace=namespace or None, timeout=timeout)
        self._streams = client_adapter.AsyncClient(
            config, client_adapter.ConnectionParams(timeout=timeout)
        )
        self.namespace = str(self._client.namespace)
        self.server = config.cluster.server
        self._patience = patience

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()
        await self._streams.aclose()

    async def create(self, thing: Any) -> Any | None:
        """Create an object; nothing if one of its name is there; else Refused, Busy or Unsure."""
        try:
            with _answers():
                return await self._client.create(thing)
        except _Answered as error:
            if error.code == _CONFLICT:
                return None
            raise _refusal(error) from error

    async def find(self, kind: type[Kind], name: str) -> Kind | None:
        """Give an object, if it is there; raise Unsure."""
        with _answers_or_unsure():
            try:
                return await self._client.get(kind, name)
            except ApiError as error:
                if _code(error) == _NOT_FOUND:
                    return None
                raise

    async def delete(self, name: str) -> None:
        """Delete a Job and, in the background, all that is its; no error if there is none."""
        with _answers_or_unsure():
            try:
                await self._client.delete(Job, name, cascade=CascadeType.BACKGROUND)
            except ApiError as error:
                if _code(error) != _NOT_FOUND:
                    raise

    async def all_of(self, kind: type[Kind], label: tuple[str, str]) -> tuple[str, list[Kind]]:
        """Give all objects with a label, and the version of the list; raise Unsure."""
        with _answers_or_unsure():
            listed = self._client.list(kind, labels=dict([label]))
            found = [one async for one in listed]
            return listed.resourceVersion, found

    @asynccontextmanager
    async def changes(
        self, kind: type[Kind], label: tuple[str, str], version: str
    ) -> AsyncIterator[AsyncIterator[tuple[str, Kind]]]:
        """Give what happens to such objects after a version; raise Expired or Unsure."""
        info = api_info(kind).resource
        base = f"/apis/{info.group}" if info.group else "/api"
        url = f"{base}/{info.version}/namespaces/{self.namespace}/{api_info(kind).plural}"
        params = {
            "watch": "true",
            "labelSelector": "=".join(label),
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCHED),
        }
        # One that says nothing for longer than it was to last is no watch any more.
        timeout = httpx2.Timeout(self._patience, read=WATCHED + self._patience)
        with _answers_or_unsure():
            async with self._streams.stream("GET", url, params=params, timeout=timeout) as reply:
                if reply.status_code == GONE:
                    raise Expired
                reply.raise_for_status()
                yield _events(reply, kind)

    @asynccontextmanager
    async def log(self, pod: str, container: str, *, follow: bool) -> AsyncIterator[Log]:
        """Give the log of a container from its beginning, as it comes; raise Unsure."""
        url = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/log"
        params = {"container": container, **({"follow": "true"} if follow else {})}
        timeout = httpx2.Timeout(self._patience, read=None if follow else self._patience)
        with _answers_or_unsure():
            async with self._streams.stream("GET", url, params=params, timeout=timeout) as reply:
                if reply.status_code != _NOT_FOUND:
                    reply.raise_for_status()
                yield Log(reply)


class Log:
    """A log that is being read."""

    def __init__(self, reply: httpx2.Response) -> None:
        self.is_there = reply.status_code != _NOT_FOUND
        self._reply = reply

    def pieces(self) -> AsyncIterator[bytes]:
        """Give its bytes."""
        return self._reply.aiter_bytes()


class _Answered(Exception):
    """The API has said no, in its own words."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@contextmanager
def _answers() -> Iterator[None]:
    """Tell a no of the API from no answer."""
    try:
        yield
    except ApiError as error:
        code, message = _code(error), str(error)[:1000]
        if code >= _SERVERS_OWN or not code:
            raise Unsure(message) from error
        raise _Answered(code, message) from error
    except NO_ANSWER as error:
        raise Unsure(_text(error)) from error


@contextmanager
def _answers_or_unsure() -> Iterator[None]:
    try:
        yield
    except NO_ANSWER as error:
        raise Unsure(_text(error)) from error


def _refusal(error: _Answered) -> Busy | Refused:
    is_quota = error.code == _FORBIDDEN and "exceeded quota" in str(error)
    return Busy(str(error)) if error.code in _NOW_NOT or is_quota else Refused(str(error))


async def _events(reply: httpx2.Response, kind: type[Kind]) -> AsyncIterator[tuple[str, Kind]]:
    async for line in reply.aiter_lines():
        event = msgspec.json.decode(line, type=Event)
        if event.type == "ERROR":
            status = msgspec.json.decode(event.object)
            if status.get("code") == GONE:
                raise Expired
            raise Unsure(str(status.get("message", "a watch broke"))[:1000])
        yield event.type, msgspec.json.decode(event.object, type=kind)


def _code(error: ApiError) -> int:
    return (error.status.code if error.status else None) or error.response.status_code


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:1000]
