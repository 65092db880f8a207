"""The disk of the hub's own database is full: it says so, loses nothing, and goes on by itself."""

import asyncio
import os
import random
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import pytest
from msgspec.structs import replace

from colonies.client.http import Readiness, ask_whether_ready
from colonies.core.errors import Misconfigured, Unavailable
from colonies.server.app import Server
from colonies.server.embedded import EmbeddedPostgres
from colonies.settings import Settings
from tests.conftest import add_runtime
from tests.programs import PATIENCE, data_folder
from tests.server.doors import talk, until
from tests.server.embedding import Journal, run
from tests.server.hubs import reaching

PAYLOAD = random.randbytes(50_000).hex()
NO_SPACE = "the database has no space left"


class Disk:
    """A small disk of our own, with something on it that takes all the space that is left."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._ballast = place / "ballast"

    def fill(self) -> None:
        with self._ballast.open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))

    def make_room(self) -> None:
        self._ballast.unlink()


@pytest.fixture
def disk(tmp_path, request) -> Iterator[Disk]:
    place = tmp_path / "disk"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={request.param},mode=0755", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(words, check=False, capture_output=True).returncode:
        pytest.skip("a disk of its own takes root, and a container that lets it mount")
    try:
        with data_folder(place):
            yield Disk(place)
    finally:
        subprocess.run(["umount", str(place)], check=True)


of_size = pytest.mark.parametrize("disk", ["192m"], indirect=True)


@pytest.fixture
async def hub(settings, people, disk) -> AsyncIterator[Server]:
    """A hub on that disk, with a colony and a runtime."""
    async with a_hub(settings, people, disk.place / "data") as hub:
        yield hub


@asynccontextmanager
async def a_hub(settings: Settings, people, folder: Path) -> AsyncIterator[Server]:
    alone = replace(settings, database_url="", data_dir=str(folder), tick=0.2, timeout=PATIENCE)
    async with Server(alone) as server:
        async with reaching(server, people.server_owner) as owner:
            await owner.add_colony(people.colony_owner.id, "ours")
            await add_runtime(owner, people.colony_owner, people.runtime)
        yield server


async def submit_until_refused(hub: Server, people, acknowledged: set[str]) -> Unavailable:
    """Submit what takes space, noting what was taken, until something is not."""
    spec = {
        "func": "job",
        "args": [PAYLOAD],
        "conditions": {"colonyid": people.colony_owner.id, "runtimetype": "cli"},
    }
    async with asyncio.timeout(PATIENCE), talk(hub) as talking:
        while True:
            try:
                one = await talking.ask("submitprocessespecmsg", {"spec": spec}, people.runtime)
            except Unavailable as error:
                return error
            acknowledged.add(one["processid"])


async def ready(hub: Server) -> Readiness:
    return await ask_whether_ready(replace(hub.settings, server_port=hub.port))


async def is_ready(hub: Server) -> None:
    """Wait until a hub says that it is ready."""
    async with asyncio.timeout(PATIENCE):
        while (await ready(hub)).status != 200:
            pass


def refusals(hub: Server) -> float:
    labels = {"rpc": "submitprocessespecmsg", "status": "503"}
    return hub.metrics.registry.get_sample_value("colonies_rpc_seconds_count", labels)


async def kept(hub: Server) -> list[str]:
    return [str(one) for (one,) in await run_all(hub, "SELECT process_id FROM processes")]


async def run_all(hub: Server, statement: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(hub.db._url)
    try:
        return await connection.fetch(statement)
    finally:
        await connection.close()


async def use_up_the_journal(hub: Server) -> None:
    """Write until PostgreSQL's own log needs another file."""
    with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        for _ in range(100):
            await run_all(hub, "SELECT pg_logical_emit_message(true, '', repeat('x', 1000000))")


@of_size
async def test_a_full_disk_is_said_and_got_over(hub, disk, people, journal: Journal):
    acknowledged: set[str] = set()
    disk.fill()
    refusal = await submit_until_refused(hub, people, acknowledged)
    assert str(refusal) == NO_SPACE
    event = await journal.next("database unavailable")
    assert (event["why"], event["sqlstate"]) == (NO_SPACE, "53100")
    assert "No space left on device" in event["error"]
    assert event["level"] == "error"
    assert (await ready(hub))[:2] == (503, NO_SPACE)

    async with reaching(hub, people.runtime) as client:
        await client.get_caller()
        waiting = [
            asyncio.ensure_future(client.submit("late", PAYLOAD, runtime_type="cli"))
            for _ in range(3)
        ]
        before = refusals(hub)
        await until(lambda: refusals(hub) >= before + len(waiting))
        disk.make_room()
        acknowledged |= {one.id for one in await asyncio.gather(*waiting)}
        assert (await journal.next("database available again"))["refused"] > 1
        await is_ready(hub)
        assert sorted(await kept(hub)) == sorted(acknowledged)


@of_size
async def test_a_journal_that_cannot_go_on_stops_the_database_until_it_can(
    hub, disk, people, journal: Journal
):
    """PostgreSQL panics when its log of what is to be done has no room, and recovers."""
    acknowledged: set[str] = set()
    async with reaching(hub, people.runtime) as client:
        for _ in range(3):
            one = await client.submit("early", runtime_type="cli")
            acknowledged.add(one.id)
    disk.fill()
    await use_up_the_journal(hub)
    refusal = await submit_until_refused(hub, people, acknowledged)
    assert (await ready(hub)).status == 503
    await journal.next("database unavailable")
    failure = await journal.next("database start failed")
    assert "no space left" in failure["error"], refusal
    disk.make_room()
    await is_ready(hub)
    assert sorted(await kept(hub)) == sorted(acknowledged)


@pytest.mark.parametrize("disk", ["20m"], indirect=True)
async def test_a_disk_that_is_too_small_for_a_database_is_one_clear_line(disk):
    folder = disk.place / "data"
    with pytest.raises(Misconfigured, match=r"no space left, \d+ MB are free$"):
        await EmbeddedPostgres(folder).__aenter__()
    assert not list(folder.glob("postgres.new*"))


@pytest.mark.parametrize("disk", ["80m"], indirect=True)
async def test_a_database_that_does_not_start_for_lack_of_space_is_one_clear_line(disk):
    folder = disk.place / "data"
    async with EmbeddedPostgres(folder, fsync=False) as postgres:
        await run(postgres, "SELECT 1")
    disk.fill()
    with pytest.raises(Misconfigured, match=r"(?i)no space left"):
        await EmbeddedPostgres(folder).__aenter__()


async def test_a_data_folder_that_may_not_be_written_any_more(
    settings, people, folder: Path, journal: Journal
):
    """As a disk that the system has made read-only: what is there is kept, and it is said why."""
    acknowledged: set[str] = set()
    async with a_hub(settings, people, folder) as hub:
        data = folder / "postgres"
        places = [data, data / "pg_wal", *data.glob("base/*")]
        modes = {place: place.stat().st_mode for place in places}
        async with reaching(hub, people.runtime) as client:
            acknowledged.add((await client.submit("early", runtime_type="cli")).id)
        for place in places:
            place.chmod(0o500)
        await use_up_the_journal(hub)
        await submit_until_refused(hub, people, acknowledged)
        assert (await ready(hub)).status == 503
        await journal.next("database unavailable")
        failure = await journal.next("database start failed")
        assert "Permission denied" in failure["error"]
        for place, mode in modes.items():
            place.chmod(mode)
        await is_ready(hub)
        assert sorted(await kept(hub)) == sorted(acknowledged)
