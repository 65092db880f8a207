"""The server that takes writes is found among several, and left when it is that no more."""

import asyncio
from contextlib import suppress

import pytest

from colonies.core.errors import Misconfigured, Unavailable
from colonies.server.db import Database
from colonies.server.primary import servers_of
from colonies.server.schema import bring_up_to_date
from tests.pair import Pair
from tests.server.doors import LONG

COLONY = "c" * 64


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """A primary with a synchronous standby, which the URL names first."""
    servers = Pair(tmp_path_factory.mktemp("pair"))
    asyncio.run(servers.__aenter__())
    yield servers
    asyncio.run(servers.__aexit__(None, None, None))


@pytest.fixture
async def db(servers):
    """The database on both, open, with our tables and nothing in them."""
    db = Database(servers.url, connections=2)
    await db.open()
    await bring_up_to_date(db)
    yield db
    await at_rest(servers.primary)
    async with db.transaction() as tx:
        await tx.run_script("DELETE FROM colonies")
    await db.close()


async def at_rest(server):
    """Wait until a server does nothing any more for those who have given up on it."""
    watching = await server.connect()
    async with asyncio.timeout(LONG):
        while await watching.fetchval(BUSY):
            pass
    await watching.close()


BUSY = """
    SELECT count(*) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND state <> 'idle' AND pid <> pg_backend_pid()
"""


async def add_colony(db):
    facts = {"request": None, "digest": None}
    await db.execute("add_colony", colony_id=COLONY, name="ours", **facts)


async def colonies(db):
    return len(await db.fetch_rows("list_colonies"))


async def refused(db):
    """Ask for something that changes nothing until the database is away."""
    with suppress(Unavailable):
        async with asyncio.timeout(LONG):
            while True:
                async with db.transaction() as tx:
                    await tx.run_script("DELETE FROM colonies")


async def done(db):
    """Ask for something until the database is there."""
    async with asyncio.timeout(LONG):
        while True:
            with suppress(Unavailable):
                return await add_colony(db)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://me@one/name", ["postgresql://me@one/name"]),
        ("postgresql:///name?host=/run", ["postgresql:///name?host=/run"]),
        (
            "postgresql://me:p%40@one:5,[::1]:6,two/name?sslmode=require",
            [
                "postgresql://me:p%40@one:5/name?sslmode=require",
                "postgresql://me:p%40@[::1]:6/name?sslmode=require",
                "postgresql://me:p%40@two/name?sslmode=require",
            ],
        ),
    ],
)
def test_a_url_names_one_server_or_several(url, expected):
    assert servers_of(url) == expected


@pytest.mark.parametrize("url", ["nonsense", "postgresql://[::1/x", "postgresql://one:port,two/x"])
async def test_a_url_that_is_none_is_a_mistake_of_whoever_wrote_it(url):
    with pytest.raises(Misconfigured, match="database URL: "):
        await Database(url, connections=1).open()


async def test_the_primary_is_found_behind_a_standby(db, servers):
    await add_colony(db)
    async with db.session() as session:
        assert await colonies(session) == 1


async def test_a_standby_alone_is_none(servers):
    db = Database(servers_of(servers.url)[0], connections=1)
    with pytest.raises(Unavailable, match="no server takes writes"):
        await db.open()
    with pytest.raises(Unavailable, match="no server takes writes"):
        async with db.session():
            pass


async def test_a_silent_server_keeps_nobody_from_the_other(servers):
    servers.standby.freeze()
    try:
        db = Database(servers.url, connections=1)
        await db.open()
        await db.close()
    finally:
        servers.standby.thaw()


async def test_what_is_given_up_is_not_done_before_the_standby_has_it(servers, db):
    """Else whoever asks again is told that it was done, and the standby would not know of it."""
    hasty = Database(servers.url, connections=1)
    await hasty.open()
    hasty._timeout = 0.5
    servers.standby.freeze()
    try:
        with pytest.raises(Unavailable):
            await add_colony(hasty)
        assert await colonies(db) == 0
        with pytest.raises(Unavailable):
            await add_colony(hasty)
        assert await colonies(db) == 0
    finally:
        servers.standby.thaw()
    async with asyncio.timeout(LONG):
        while not await colonies(db):
            pass
    await hasty.close()


async def test_so_it_is_when_whoever_asked_has_gone(servers, db):
    servers.standby.freeze()
    try:
        asking = asyncio.ensure_future(add_colony(db))
        watching = await servers.primary.connect()
        async with asyncio.timeout(LONG):
            while not await watching.fetchval(WAITING):
                pass
        await watching.close()
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        assert await colonies(db) == 0
    finally:
        servers.standby.thaw()


WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


async def test_a_server_that_takes_no_more_writes_is_left(servers, db):
    await servers.primary.set("default_transaction_read_only", "on")
    try:
        await refused(db)
        with pytest.raises(Unavailable):
            await add_colony(db)
    finally:
        plain = await servers.primary.connect()
        await plain.execute("SET default_transaction_read_only = off")
        await plain.execute("ALTER SYSTEM RESET default_transaction_read_only")
        await plain.execute("SELECT pg_reload_conf()")
        await plain.close()
    await done(db)


@pytest.fixture
async def waiting(db, servers):
    """A transaction of ours that waits for a lock which another holds."""
    other = await servers.primary.connect("colonies")
    holding = other.transaction()
    await holding.start()
    await other.execute(db._queries["lock_schema"].text)

    async def wait() -> None:
        async with db.transaction() as tx:
            await tx.execute("lock_schema")

    task = asyncio.ensure_future(wait())
    async with asyncio.timeout(LONG):
        while not await other.fetchval(QUEUEING):
            pass
    yield task
    await holding.rollback()
    await other.close()


QUEUEING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'"


async def test_who_reconnects_waits_for_nothing_that_is_under_way(db, waiting):
    db.reconnect()
    with pytest.raises(Unavailable):
        await waiting
    await add_colony(db)


async def test_a_transaction_that_is_cancelled_is_cancelled_and_no_more(db, waiting):
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await add_colony(db)
