"""The embedded database dies: it comes back by itself, and the hub outlives it."""

import asyncio
import os
import signal
import subprocess
from contextlib import suppress
from functools import partial
from itertools import count, islice
from pathlib import Path

import asyncpg
import pytest
from msgspec.structs import replace

from colonies.client import connect
from colonies.core.errors import Unavailable
from colonies.server import embedded
from colonies.server.app import Server
from colonies.server.embedded import EmbeddedPostgres
from tests.programs import PATIENCE, processes_in
from tests.server.doors import talk
from tests.server.embedding import Journal, postmaster, run


def kill(folder: Path, *, children: bool = False) -> None:
    """Kill the postmaster, first of all: it shall not tell its children, nor start new ones."""
    first = postmaster(folder)
    for number in [first, *(processes_in(folder / "postgres") if children else [])]:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


@pytest.mark.parametrize("children", [False, True], ids=["alone", "with its children"])
async def test_a_server_that_dies_comes_back_by_itself(
    folder: Path, journal: Journal, children: bool
):
    """At the same address, with every row that its writers were told is there."""
    written: list[int] = []
    async with EmbeddedPostgres(folder) as postgres:
        await run(postgres, "CREATE TABLE rows (row integer)")
        url, old = postgres.url, postmaster(folder)
        enough = asyncio.Event()
        async with asyncio.TaskGroup() as writers:
            for first in range(WRITERS):
                writers.create_task(write(postgres, written, first, enough))
            await more_of(written)
            kill(folder, children=children)
            assert (await journal.next("database died"))["status"] == -signal.SIGKILL
            await journal.next("database started")
            await more_of(written)
            enough.set()
        assert postgres.url == url
        assert postmaster(folder) != old
        kept = await run(postgres, "SELECT array_agg(row) FROM rows")
        assert set(written) <= set(kept)


WRITERS = 8
OUTAGES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


async def write(
    postgres: EmbeddedPostgres, written: list[int], first: int, enough: asyncio.Event
) -> None:
    """Commit one number after another, whatever happens, and note those that were."""
    numbers = count(first, WRITERS)
    while not enough.is_set():
        number = next(numbers)
        with suppress(OSError, *OUTAGES):
            await run(postgres, f"INSERT INTO rows VALUES ({number})")
            written.append(number)
        await asyncio.sleep(0)


async def more_of(written: list[int]) -> None:
    enough = len(written) + 2 * WRITERS
    async with asyncio.timeout(PATIENCE):
        while len(written) < enough:
            await asyncio.sleep(0)


async def test_a_server_that_dies_again_comes_back_again(folder: Path, journal: Journal):
    async with EmbeddedPostgres(folder) as postgres:
        await run(postgres, "CREATE TABLE rows AS SELECT 7 AS row")
        for _ in range(3):
            await journal.next("database started")
            kill(folder)
        await journal.next("database started")
        assert await run(postgres, "SELECT row FROM rows") == 7


async def test_a_server_that_dies_while_it_recovers_comes_back(folder: Path, journal: Journal):
    async with EmbeddedPostgres(folder) as postgres:
        await run(postgres, "CREATE TABLE rows AS SELECT 7 AS row")
        await journal.next("database started")
        old = postgres._server
        kill(folder)
        await launch_after(postgres, old)
        postgres._server.kill()
        await journal.next("database started")
        assert await run(postgres, "SELECT row FROM rows") == 7


async def launch_after(postgres: EmbeddedPostgres, old: subprocess.Popen) -> None:
    async with asyncio.timeout(PATIENCE):
        while postgres._server is old:
            await asyncio.sleep(0)


@pytest.mark.parametrize("moment", ["killed", "died", "launched"])
async def test_a_server_that_died_is_left_alone_at_the_end(
    folder: Path, journal: Journal, moment: str
):
    async with EmbeddedPostgres(folder) as postgres:
        await run(postgres, "CREATE TABLE rows AS SELECT 7 AS row")
        old = postgres._server
        kill(folder)
        if moment != "killed":
            await journal.next("database died")
        if moment == "launched":
            await launch_after(postgres, old)
    assert postgres._server.poll() is not None
    assert list(folder.rglob("postgres.socket")) == []
    async with EmbeddedPostgres(folder) as postgres:
        assert await run(postgres, "SELECT row FROM rows") == 7


async def test_a_folder_that_went_is_waited_for(folder: Path, journal: Journal):
    """It says why, once an attempt, with pauses that grow."""
    async with EmbeddedPostgres(folder) as postgres:
        await run(postgres, "CREATE TABLE rows AS SELECT 7 AS row")
        number = postmaster(folder)
        (folder / "postgres").rename(folder / "away")
        os.kill(number, signal.SIGKILL)
        await journal.next("database died")
        failures = [await journal.next("database start failed") for _ in range(3)]
        assert all(f"{folder / 'postgres'}" in failure["error"] for failure in failures)
        first, second, third = (failure["at"] for failure in failures)
        assert second - first >= embedded.FIRST_PAUSE
        assert third - second >= 2 * embedded.FIRST_PAUSE
        (folder / "away").rename(folder / "postgres")
        await journal.next("database started")
        assert await run(postgres, "SELECT row FROM rows") == 7


async def test_a_server_that_does_not_start_again_tells_why(folder: Path, journal: Journal):
    async with EmbeddedPostgres(folder, fsync=False) as postgres:
        conf = folder / "postgres" / "postgresql.conf"
        before = conf.read_text()
        conf.write_text(before + "nonsense = 1\n")
        kill(folder)
        failure = await journal.next("database start failed")
        assert 'unrecognized configuration parameter "nonsense"' in failure["error"]
        conf.write_text(before)
        await journal.next("database started")
        assert await run(postgres, "SELECT 1") == 1


def test_pauses_grow_to_a_bound():
    assert list(islice(embedded.pauses(), 9)) == [0, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10]


async def test_after_a_good_run_there_is_no_pause(
    folder: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(embedded, "FIRST_PAUSE", 3600.0)
    monkeypatch.setattr(embedded, "GOOD_RUN", 0.0)
    async with EmbeddedPostgres(folder, fsync=False):
        for _ in range(2):
            await journal.next("database started")
            kill(folder)
        await journal.next("database started")


@pytest.mark.parametrize("children", [False, True], ids=["alone", "with its children"])
async def test_a_hub_outlives_its_database(
    settings, people, folder: Path, journal: Journal, children: bool
):
    """It refuses at once while there is none, and serves again as soon as there is."""
    alone = replace(settings, database_url="", data_dir=str(folder))
    async with Server(alone) as server, talk(server) as talking:
        there = replace(alone, server_port=server.port)
        async with connect(there, key=people.server_owner) as client:
            await client.add_colony(people.colony_owner.id, "ours")
        ask = partial(talking.ask, "getstatisticsmsg", {}, people.server_owner)
        await journal.next("database started")
        kill(folder, children=children)
        await first_refusal(ask)
        await journal.next("database started")
        async with asyncio.timeout(PATIENCE):
            assert (await first_answer(ask))["colonies"] == 1


async def first_refusal(ask):
    """Ask until the answer is that there is no database; none is waited for as statements are."""
    async with asyncio.timeout(PATIENCE):
        with suppress(Unavailable):
            while True:
                async with asyncio.timeout(AT_ONCE):
                    await ask()


AT_ONCE = 8.0
"""Seconds: less than a statement has, and more than a machine may stand still."""


async def first_answer(ask):
    while True:
        with suppress(Unavailable):
            return await ask()
