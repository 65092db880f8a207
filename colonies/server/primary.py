"""The PostgreSQL server that takes writes: found among those that a URL names, and connected to.

What is asked of it is in `db.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any
from urllib.parse import urlsplit

import asyncpg

# Measured on a batch claim over a million rows: jit costs 12 ms, custom plans a tenth of the time.
# A plan that was made while a table was small is kept when it has grown: only those that find each
# row by an index may be chosen, whatever the statistics say. Nor one that reads an index from end
# to end, as a close did that was planned with a hundred rows: so each entry that is read costs
# much. It would make small statements look worth a second process, so there is none.
PLANNER = {
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "cpu_index_tuple_cost": "100",
    "max_parallel_workers_per_gather": "0",
}

POOLED = {"application_name": "colonies"}
"""Settings of a connection to a pooler, which takes no others."""

# The server looks by itself whether a client that has given up a long statement has gone.
USUAL = {**POOLED, **PLANNER, "client_connection_check_interval": "2s"}
"""Settings of every other connection."""

# A session writes nothing that must survive a crash, and its locks must not survive a dead host.
SESSION = {
    **USUAL,
    "synchronous_commit": "off",
    "tcp_keepalives_idle": "2",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "3",
}
"""Settings of the connection by which a hub listens."""


REFUSALS = (
    OSError,
    ValueError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""What a server, or the way to it, may answer instead of taking a connection."""


class Connection(asyncpg.Connection):
    """A connection that is dropped with a statement that is given up.

    The driver would ask the server to cancel it. A commit that waits for a standby is then made
    visible without: whoever asks again is told that it was done, and the standby, once promoted,
    knows nothing of it. Nor would a server that is frozen answer.
    """

    def get_reset_query(self) -> str:
        """Give nothing: we leave no state, and resetting costs 230 µs."""
        return ""

    async def fetch(self, *arguments: Any, **options: Any) -> Any:
        """Run a statement for its rows."""
        return await self._to_the_end(super().fetch(*arguments, **options))

    async def execute(self, *arguments: Any, **options: Any) -> Any:
        """Run a statement, or several, for their effect."""
        return await self._to_the_end(super().execute(*arguments, **options))

    async def _to_the_end(self, work: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await work
        except (TimeoutError, asyncio.CancelledError):
            self.terminate()
            raise
        except AttributeError as error:
            # Dropped between two steps of a statement, the driver looks for what it has no more.
            if not self.is_closed():
                raise
            raise asyncpg.InterfaceError("the connection was dropped") from error

    def _cancel_current_command(self, *_: object) -> None:
        """Ask for nothing, instead of what the driver would."""


async def connect(url: str, **options: Any) -> Connection:
    """Connect to the server that takes writes; the options are the driver's.

    All that the URL names are asked at once, so that one that is silent does not keep us from the
    others. Raises what the first of them says if there is none.
    """
    options |= {"connection_class": Connection, "target_session_attrs": "read-write"}
    servers = servers_of(url)
    found: Connection | None = None

    async def attempt(server: str) -> Exception | None:
        nonlocal found
        try:
            connection: Connection = await asyncpg.connect(server, **options)
        except asyncpg.TargetServerAttributeNotMatched:
            return asyncpg.TargetServerAttributeNotMatched("no server takes writes")
        except REFUSALS as error:
            return error
        if found is not None:
            connection.terminate()
            return None
        found = connection
        for other in attempts:
            if other is not asyncio.current_task():
                other.cancel()
        return None

    try:
        async with asyncio.TaskGroup() as tasks:
            attempts = [tasks.create_task(attempt(server)) for server in servers]
    except BaseException:
        if found is not None:
            found.terminate()
        raise
    if found is not None:
        return found
    raise next(filter(None, (one.result() for one in attempts)))


def servers_of(url: str) -> list[str]:
    """Give a URL for each of the servers that one names: ``//user:password@one:5432,two/name``."""
    parts = urlsplit(url)
    account, at, hosts = parts.netloc.rpartition("@")
    if "," not in hosts:
        return [url]
    return [parts._replace(netloc=f"{account}{at}{host}").geturl() for host in hosts.split(",")]
