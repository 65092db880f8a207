"""What goes wrong with the database: which words callers and the log get, and until when."""

import errno

import asyncpg
import pytest

from colonies.core.errors import AlreadyExists, Conflict, Malformed, Unavailable
from colonies.core.process import Process
from colonies.core.wire import ZERO_TIME
from colonies.server.app import Server
from colonies.server.db import Database
from colonies.server.outages import PROBE_PERIOD, Health, outage_of, translated
from colonies.server.seldom import USUAL_PERIOD, Seldom
from tests.server.hubs import reaching

WORDS = {
    asyncpg.DiskFullError: "no space left",
    asyncpg.OutOfMemoryError: "no memory left",
    asyncpg.TooManyConnectionsError: "too many connections",
    asyncpg.ConfigurationLimitExceededError: "at a limit of its own",
    asyncpg.ReadOnlySQLTransactionError: "read-only",
    asyncpg.TargetServerAttributeNotMatched: "read-only",
    asyncpg.InsufficientPrivilegeError: "lacks a permission",
    asyncpg.PostgresIOError: "cannot use its disk",
    asyncpg.InternalServerError: "failed",
    asyncpg.DataCorruptedError: "failed",
    asyncpg.InvalidPasswordError: "refuses the hub",
    asyncpg.InvalidCatalogNameError: "is not there",
    asyncpg.AdminShutdownError: "starting or stopping",
    asyncpg.CannotConnectNowError: "starting or stopping",
    asyncpg.QueryCanceledError: "gave up a statement",
    asyncpg.DeadlockDetectedError: "in each other's way",
    asyncpg.ConnectionDoesNotExistError: "cannot be reached",
    asyncpg.InterfaceError: "cannot be reached",
    TimeoutError: "does not answer in time",
    ConnectionRefusedError: "cannot be reached",
}
PASSING = {asyncpg.QueryCanceledError, asyncpg.DeadlockDetectedError}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def fail(health: Health, error: Exception) -> str:
    """Have a statement fail, and give what its caller is told."""
    with pytest.raises(Unavailable) as refusal, translated(health):
        raise error
    return str(refusal.value)


@pytest.mark.parametrize("kind", WORDS)
def test_each_outage_has_its_words(kind, log):
    health = Health()
    text = fail(health, kind("the server's own words"))
    assert WORDS[kind] in text
    (event,) = log
    assert event["event"] == "database unavailable"
    assert event["why"] == text
    assert event["error"] == "the server's own words"
    assert event["sqlstate"] == getattr(kind, "sqlstate", None)
    assert (health.outage is None) == (kind in PASSING)


def test_a_hub_without_descriptors_does_not_accuse_the_database(log):
    assert fail(Health(), OSError(errno.EMFILE, "x")) == "the hub has no file descriptors left"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (asyncpg.UniqueViolationError("x"), AlreadyExists),
        (asyncpg.CheckViolationError("x"), Malformed),
        (asyncpg.NumericValueOutOfRangeError("x"), Malformed),
        (asyncpg.UndefinedTableError("x"), asyncpg.UndefinedTableError),  # a bug of ours
        (Conflict("x"), Conflict),
    ],
)
def test_what_is_about_the_request_is_no_outage(error, kind, log):
    health = Health()
    with pytest.raises(kind), translated(health):
        raise error
    assert (outage_of(error), health.outage, log) == (None, None, [])


def test_details_are_not_logged(log):
    """They may quote what was to be written."""
    error = asyncpg.DiskFullError("could not extend file")
    error.detail = "secret"
    fail(Health(), error)
    assert log[0]["error"] == "could not extend file"


def test_the_same_is_said_seldom_and_counted(log):
    clock = Clock()
    health = Health(clock=clock)
    for _ in range(100):
        fail(health, asyncpg.DiskFullError("full"))
    fail(health, asyncpg.TooManyConnectionsError("many"))
    clock.now = USUAL_PERIOD
    fail(health, asyncpg.DiskFullError("full"))
    assert [(one["why"], one["count"]) for one in log] == [
        ("the database has no space left", 1),
        ("the database has too many connections", 1),
        ("the database has no space left", 100),
    ]


def test_seldom_counts_each_kind_by_itself():
    clock = Clock()
    seldom = Seldom(5.0, clock=clock)
    assert [seldom.count("a"), seldom.count("a"), seldom.count("b")] == [1, 0, 1]
    clock.now = 5.0
    assert [seldom.count("a"), seldom.count("a"), seldom.count("b")] == [2, 0, 1]


def test_an_outage_lasts_until_a_probe_has_found_it_over(log):
    clock = Clock()
    health = Health(clock=clock)
    assert not health.is_to_be_probed()
    health.check()
    fail(health, asyncpg.DiskFullError("full"))
    fail(health, asyncpg.DeadlockDetectedError("crossed"))  # no news of the disk
    with pytest.raises(Unavailable, match="no space left"):
        health.check()
    assert [health.is_to_be_probed(), health.is_to_be_probed()] == [True, False]
    clock.now = PROBE_PERIOD
    assert health.is_to_be_probed()
    health.recover()
    health.check()
    assert log[-1] == {
        "event": "database available again",
        "log_level": "info",
        "seconds": PROBE_PERIOD,
        "refused": 1,
    }


def test_connections_that_we_close_are_no_outage(log):
    health = Health()
    health.is_closed = True
    fail(health, asyncpg.InterfaceError("closed"))
    assert (health.outage, log) == (None, [])


async def test_a_database_that_is_read_only_for_a_while(server: Server, people, sql, log):
    """The hub is not ready, says why, and is ready again by itself."""
    async with reaching(server, people.server_owner) as owner:
        await owner.get_caller()
        await sql.execute("ALTER DATABASE colonies SET default_transaction_read_only = on")
        try:
            server.db.reconnect()
            with pytest.raises(Unavailable, match="read-only"):
                await server.db.execute("ping_storage")
            with pytest.raises(Unavailable, match="read-only"):
                await server.check_ready()
        finally:
            await sql.execute("ALTER DATABASE colonies RESET default_transaction_read_only")
        server.db._health._probed = -PROBE_PERIOD
        await server.db.probe()
        await server.check_ready()
        await owner.add_colony(people.colony_owner.id, "ours")
    assert [one["event"] for one in log if one["event"].startswith("database ")] == [
        "database unavailable",
        "database available again",
    ]


async def test_a_list_that_is_given_up_leaves_no_connection_behind(database_url, sql):
    hasty = Database(database_url, connections=1, timeout=0.5)
    await hasty.open()
    wanted = {"colony_id": "x", "count": 1, "from_time": ZERO_TIME, "skip": 0}
    try:
        async with sql.transaction():
            await sql.execute("LOCK TABLE processes")
            with pytest.raises(Unavailable, match="does not answer in time"):
                await hasty.fetch_within(Process, "list_waiting_processes", **wanted)
        assert await hasty.fetch_within(Process, "list_waiting_processes", **wanted) == []
    finally:
        await hasty.close()
