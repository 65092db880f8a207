"""``colonies server start --workers``: several hubs on one port, all of them real processes."""

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from colonies.client import connect
from colonies.core.errors import ConnectionLost
from colonies.core.identity import PrivateKey
from colonies.settings import Settings
from tests.cli.conftest import PATIENCE, stop
from tests.programs import data_folder

TRIES = 500
"""Connections after which two workers have taken some each, for sure."""


@pytest.fixture
def owner() -> PrivateKey:
    return PrivateKey.generate()


@pytest.fixture
def words(owner) -> tuple[str, ...]:
    port = ("--port", "0", "--bind", "127.0.0.1")
    return ("server", "start", *port, "--serverid", owner.id, "--workers", "2")


class Running:
    """A hub of several processes: where it is, and who it is made of."""

    def __init__(self, process, owner: PrivateKey, log: asyncio.StreamReader) -> None:
        self.process = process
        self.owner = owner
        self.lines: list[str] = []
        self._log = log

    async def serves(self) -> "Running":
        async with asyncio.timeout(PATIENCE):
            line = (await self.process.stdout.readline()).decode()
        assert line.startswith("listening on 127.0.0.1:"), line
        self.settings = Settings(server_host="127.0.0.1", server_port=int(line.rpartition(":")[2]))
        return self

    async def cluster(self):
        """Ask over a new connection."""
        async with connect(self.settings, key=self.owner) as hub:
            return await hub.get_cluster()

    async def whole(self, without: str = ""):
        """Wait until there are two hubs, none of them that one."""
        async with asyncio.timeout(PATIENCE):
            while True:
                cluster = await self.cluster()
                ids = {one.hub_id for one in cluster.nodes} - {without}
                if len(ids) == 2:
                    return cluster

    async def logged(self, text: str) -> str:
        """Read the log until a line holds this text."""
        async with asyncio.timeout(PATIENCE):
            while line := (await self._log.readline()).decode():
                self.lines.append(line)
                if text in line:
                    return line
        raise AssertionError(f"no {text!r} in {self.lines}")


@pytest.fixture
def running(bare, words, owner, database_url, db):
    @asynccontextmanager
    async def running(*more):
        where = () if "--data-dir" in more else ("--database-url", database_url)
        async with bare.started(*words, *where, *more) as process:
            yield await Running(process, owner, process.stderr).serves()

    return running


def pid_of(node) -> int:
    return int(node.name.rpartition("-")[2])


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not waited for does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


async def gone(pids) -> None:
    async with asyncio.timeout(PATIENCE):
        while any(is_alive(pid) for pid in pids):
            await asyncio.sleep(0)


async def test_calls_through_one_port_reach_every_worker(running):
    async with running() as hub:
        cluster = await hub.whole()
        assert {one.api_port for one in cluster.nodes} == {hub.settings.server_port}
        reached = set()
        for _ in range(TRIES):
            reached.add((await hub.cluster()).answered_by)
            if len(reached) == 2:
                break
        assert reached == {one.hub_id for one in cluster.nodes}
        ran = await stop(hub.process)
        assert ran.status == 0
        assert '"worker": 1' in ran.err
        assert '"worker": 2' in ran.err
        assert "Traceback" not in ran.err
        assert not any(is_alive(pid_of(one)) for one in cluster.nodes)


async def test_a_killed_worker_is_back_and_the_other_leads(running):
    async with running() as hub:
        cluster = await hub.whole()
        os.kill(pid_of(cluster.leader), signal.SIGKILL)
        killed = cluster.leader.hub_id
        await hub.logged("worker died")
        await hub.logged("leader gained")
        again = await answered(lambda: hub.whole(without=killed))
        (left,) = {one.hub_id for one in cluster.nodes} - {killed}
        assert left in {one.hub_id for one in again.nodes}
        assert again.leader.hub_id != killed
        assert (await stop(hub.process, signal.SIGINT)).status == 0
        await gone([pid_of(one) for one in again.nodes if one.hub_id != killed])


async def answered(ask):
    """Ask again when the worker asked is just being killed."""
    while True:
        try:
            return await ask()
        except ConnectionLost:
            await asyncio.sleep(0)


async def test_workers_stop_when_whoever_started_them_is_killed(running):
    async with running() as hub:
        pids = [pid_of(one) for one in (await hub.whole()).nodes]
        hub.process.kill()
        await gone(pids)


async def test_they_share_a_database_of_their_own(running, tmp_path):
    with data_folder(tmp_path) as folder:
        async with running("--data-dir", str(folder)) as hub:
            cluster = await hub.whole()
            assert cluster.leader.hub_id
            assert (await stop(hub.process)).status == 0
            await gone([pid_of(one) for one in cluster.nodes])


async def test_what_keeps_them_from_serving_is_one_line(bare, words, tmp_path):
    url = f"postgresql://colonies@/colonies?host={tmp_path}&port=5432"
    ran = await bare(*words, "--database-url", url, status=5)
    assert ran.out == ""
    assert ran.err.splitlines()[-1].startswith("error: the database cannot be reached")


async def test_a_port_in_use_is_one_line(bare, words, server, database_url):
    line = await bare.refuses(
        *words, "--port", str(server.port), "--database-url", database_url, status=2
    )
    assert line.startswith(f"cannot listen on 127.0.0.1 port {server.port}")
