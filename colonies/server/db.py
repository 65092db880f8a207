"""The database: named statements in, Structs out, errors in our own words.

Each statement stands in ``sql/<noun>.sql`` under a name; each is atomic by itself, and a move of a
process is exactly one of them. How the server is found is in `primary.py`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Hashable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, TypeVar, cast

import asyncpg
from asyncpg.pgproto.pgproto import UUID  # made in a twentieth of the standard one's time

from colonies.batch import Batch
from colonies.core.errors import (
    AlreadyExists,
    ColoniesError,
    Conflict,
    Failure,
    Malformed,
    Misconfigured,
    Unavailable,
)
from colonies.server.pace import Lane, Pace
from colonies.server.pool import Pool
from colonies.server.primary import POOLED, REFUSALS, SESSION, USUAL, Connection, connect
from colonies.server.query import Query, load_queries
from colonies.server.rows import PLACE, builder

__all__ = ["UUID", "Database", "Session", "Statements", "Transaction", "seen_before"]

T = TypeVar("T")
A = TypeVar("A")
R = TypeVar("R")

USUAL_BATCH = 200
"""Rows of a statement that is shared. Measured: above a hundred a row costs the same."""

_OUTAGES = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.DeadlockDetectedError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
)

# What a unique constraint means to whoever broke it: the text and the field.
_TAKEN = {
    "colonies_pkey": ("there already is a colony with this id", "colony.colonyid"),
    "runtimes_pkey": ("there already is a runtime with this id", "runtime.runtimeid"),
    "runtimes_name_key": ("there already is a runtime with this name", "runtime.name"),
    "crons_name_key": ("there already is a cron with this name", "cron.name"),
    "generators_name_key": ("there already is a generator with this name", "generator.name"),
    "attributes_pkey": ("the process has an attribute with this key and type", "attribute.key"),
}

_REQUESTS = "requests_pkey"


def seen_before() -> Conflict:
    """Give what says that a request has had no effect, as it was done before."""
    return Conflict("the request was seen before", field="sec.req")


class Statements:
    """What can be asked of the database, whether or not within a transaction."""

    def __init__(self, queries: Mapping[str, Query], timeout: float) -> None:
        self._queries = queries
        self._timeout = timeout

    async def fetch_all(self, kind: type[T], name: str, /, **arguments: Any) -> list[T]:
        """Run a statement and give its rows as Structs."""
        build: Callable[[asyncpg.Record], T] = builder(cast(Any, kind))
        return [build(row) for row in await self._fetch(name, arguments)]

    async def fetch_one(
        self, kind: type[T], name: str, /, *, missing: Failure, **arguments: Any
    ) -> T:
        """Run a statement that gives one row; raise ``missing`` when it gives none."""
        row = await self.fetch_maybe(kind, name, **arguments)
        if row is None:
            raise missing
        return row

    async def fetch_maybe(self, kind: type[T], name: str, /, **arguments: Any) -> T | None:
        """Run a statement that gives one row or none."""
        rows = await self.fetch_all(kind, name, **arguments)
        return rows[0] if rows else None

    async def fetch_placed(
        self, kind: type[T], name: str, /, **arguments: Any
    ) -> list[tuple[int, T]]:
        """Run a statement and give its rows as Structs, each with the ``place`` that it names."""
        build: Callable[[asyncpg.Record], T] = builder(cast(Any, kind))
        return [(row[PLACE], build(row)) for row in await self._fetch(name, arguments)]

    async def fetch_rows(self, name: str, /, **arguments: Any) -> list[tuple[Any, ...]]:
        """Run a statement and give its rows as plain tuples."""
        return [tuple(row.values()) for row in await self._fetch(name, arguments)]

    async def fetch_value(self, name: str, /, **arguments: Any) -> Any:
        """Run a statement and give the first column of its first row."""
        return (await self._fetch(name, arguments))[0][0]

    async def execute(self, name: str, /, **arguments: Any) -> None:
        """Run a statement for its effect."""
        await self._fetch(name, arguments)

    async def batched(
        self,
        run: Callable[..., Awaitable[Sequence[R]]],
        item: A,
        *more: Hashable,
        rows: int = 1,  # noqa: ARG002 - there is nobody to share the statement with
    ) -> R:
        """Give what ``run(statements, items, *more)`` gives for one of its items.

        A database lets it be run for what else is asked of the same meanwhile; ``rows`` is how many
        rows this may change.
        """
        (result,) = await run(self, [item], *more)
        return result

    async def _fetch(self, name: str, arguments: Mapping[str, Any]) -> Sequence[asyncpg.Record]:
        query = self._queries[name]
        with _translated():
            connection = await self._take()
            try:
                rows: Sequence[asyncpg.Record] = await connection.fetch(
                    query.text, *query.arguments(arguments), timeout=self._timeout
                )
            except asyncpg.ReadOnlySQLTransactionError:
                self._drop(connection)
                raise
            finally:
                self._give_back(connection)
            return rows

    async def _take(self) -> Connection:
        """Give a connection to be given back."""
        raise NotImplementedError

    def _give_back(self, connection: Connection) -> None:
        raise NotImplementedError

    def _drop(self, connection: Connection) -> None:
        """Have no more to do with a server that is not the primary any more."""


class _OnOneConnection(Statements):
    """Statements on a connection that is held for all of them."""

    def __init__(
        self, queries: Mapping[str, Query], connection: Connection, timeout: float
    ) -> None:
        super().__init__(queries, timeout)
        self._connection = connection

    async def _take(self) -> Connection:
        return self._connection

    def _give_back(self, connection: Connection) -> None:
        """Keep it."""


class Transaction(_OnOneConnection):
    """Statements that happen together or not at all."""

    async def run_script(self, script: str) -> None:
        """Run the statements of a file."""
        with _translated():
            await self._connection.execute(script, timeout=self._timeout)


class Database(Statements):
    """A pool of connections; each statement run on it is a transaction of its own."""

    def __init__(
        self,
        url: str,
        *,
        connections: int,
        direct_url: str = "",
        timeout: float = 10.0,
        batch: int = USUAL_BATCH,
    ) -> None:
        """Take a PostgreSQL URL; ``timeout`` bounds connecting and each statement, in seconds.

        With a ``direct_url``, which sessions use, the other is that of a pooler. ``batch`` bounds
        the rows of a statement that is shared; with 1 none is.
        """
        super().__init__(load_queries(), timeout)
        self._url = url
        self._direct_url = direct_url
        self._most = batch
        self._batches: dict[Hashable, Batch[Any, Any]] = {}
        self.lane = Lane()
        """What statements that calls share go through."""
        self._paces: dict[Callable[..., Any], Pace] = defaultdict(lambda: Pace(lane=self.lane))
        self._pool = Pool(self._connect, most=connections, timeout=timeout)

    async def open(self) -> None:
        """Connect; raise Unavailable when there is no database, Misconfigured when it says no."""
        try:
            if self._direct_url:
                with _explained("direct database URL"):
                    (await self._connect_directly()).terminate()
            with _explained("database URL"):
                self._pool.give_back(await self._pool.take())
        except ColoniesError:
            await self.close()
            raise

    async def close(self) -> None:
        """Close every connection; may be called twice."""
        for batch in list(self._batches.values()):
            await batch.close()
        self._pool.close()

    def reconnect(self) -> None:
        """Drop every pooled connection, and what is under way on it.

        For when the server may be another by now: nobody need find out by waiting for the old one.
        """
        self._pool.drop_all()

    async def batched(
        self,
        run: Callable[..., Awaitable[Sequence[R]]],
        item: A,
        *more: Hashable,
        rows: int = 1,
    ) -> R:
        """Give what came of one item, run with what else is asked of the same meanwhile."""
        if self._most <= 1:
            return await super().batched(run, item, *more)
        batch = self._batch((run, *more))
        try:
            result: R = await batch.add(item, rows=rows)
        finally:
            self._forget_idle((run, *more), batch)
        return result

    async def batched_all(
        self, run: Callable[..., Awaitable[Sequence[R]]], items: Iterable[A], *more: Hashable
    ) -> list[R | BaseException]:
        """Give what came of each item, or what went wrong with it; they share statements."""
        if self._most <= 1:
            alone = (self.batched(run, item, *more) for item in items)
            return await asyncio.gather(*alone, return_exceptions=True)
        batch = self._batch((run, *more))
        try:
            results: list[R | BaseException] = await batch.add_all(items)
        finally:
            self._forget_idle((run, *more), batch)
        return results

    def _batch(
        self, key: tuple[Callable[..., Awaitable[Sequence[Any]]], *tuple[Hashable, ...]]
    ) -> Batch[Any, Any]:
        """Give the line for something, which is there as long as somebody is in it."""
        batch = self._batches.get(key)
        if batch is None:
            run, *more = key
            most, pace, lane = self._most, self._paces[run], self.lane
            batch = Batch(lambda items: run(self, items, *more), most=most, pace=pace, lane=lane)
            self._batches[key] = batch
        return batch

    def _forget_idle(self, key: Hashable, batch: Batch[Any, Any]) -> None:
        if batch.is_idle and self._batches.get(key) is batch:
            del self._batches[key]

    @asynccontextmanager
    async def transaction(self, *, timeout: float | None = None) -> AsyncIterator[Transaction]:
        """Begin; commit at the end of the block, roll back if it raises.

        ``timeout`` bounds each statement where the usual seconds are too few.
        """
        async with self._acquire() as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                yield Transaction(self._queries, connection, timeout or self._timeout)
            except BaseException:
                with suppress(asyncpg.InterfaceError):  # the connection has gone, and it with it
                    await transaction.rollback()
                raise
            await transaction.commit()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """Open a connection beside the pool, for as long as the block lasts."""
        try:
            connection = await self._connect_directly()
        except REFUSALS as error:
            raise Unavailable(f"the database cannot be reached: {error}") from error
        try:
            yield Session(self._queries, connection, self._timeout)
        finally:
            connection.terminate()

    async def _take(self) -> Connection:
        return await self._pool.take()

    def _give_back(self, connection: Connection) -> None:
        self._pool.give_back(connection)

    def _drop(self, connection: Connection) -> None:
        connection.terminate()

    @asynccontextmanager
    async def _acquire(self) -> AsyncIterator[Connection]:
        """Have a connection for several statements."""
        with _translated():
            connection = await self._take()
            try:
                yield connection
            except asyncpg.ReadOnlySQLTransactionError:
                self._drop(connection)
                raise
            finally:
                self._give_back(connection)

    async def _connect_directly(self) -> Connection:
        url = self._direct_url or self._url
        return await connect(url, timeout=self._timeout, server_settings=SESSION)

    async def _connect(self) -> Connection:
        if not self._direct_url:
            return await connect(self._url, timeout=self._timeout, server_settings=USUAL)
        # Each transaction may get another connection of the pooler.
        return await connect(
            self._url, timeout=self._timeout, server_settings=POOLED, statement_cache_size=0
        )


class Session(_OnOneConnection):
    """A connection of its own, for one task: what it hears and locks lasts as long as it does."""

    def __init__(self, queries: Mapping[str, Query], connection: Any, timeout: float) -> None:
        super().__init__(queries, connection, timeout)
        self.lost = asyncio.Event()
        connection.add_termination_listener(lambda _: self.lost.set())

    async def listen(self, channel: str, hear: Callable[[str], None]) -> None:
        """Call ``hear`` with every notification from now on; it must not wait."""
        with _translated():
            await self._connection.add_listener(channel, lambda *heard: hear(heard[-1]))


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Say in our words why there is no connection."""
    try:
        yield
    except (OSError, asyncpg.InternalClientError, asyncpg.CannotConnectNowError) as error:
        raise Unavailable(f"the database cannot be reached: {error}") from error
    except asyncpg.ProtocolViolationError as error:  # how PgBouncer says that it is none of ours
        hint = "if it is that of a pooler, give the one behind it as --database-direct-url"
        raise Misconfigured(f"{url}: {error}; {hint}") from error
    except (ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Misconfigured(f"{url}: {error}") from error


class _translated:  # noqa: N801 - reads as a phrase: with _translated()
    """Turn the driver's errors into ours, told apart by class and constraint, never by text."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, asyncpg.UniqueViolationError):
            if error.constraint_name == _REQUESTS:
                raise seen_before() from error
            text, field = _TAKEN.get(error.constraint_name or "", ("already there", ""))
            raise AlreadyExists(text, field=field) from error
        if isinstance(error, asyncpg.CheckViolationError | asyncpg.DataError):
            raise Malformed(f"out of range: {error.constraint_name or 'a value'}") from error
        if isinstance(error, _OUTAGES):
            raise Unavailable("the database cannot be reached") from error
