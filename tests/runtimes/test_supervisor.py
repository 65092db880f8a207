"""``colonies-run --config``: several runtimes from one file, and what systemd is told of them."""

import asyncio
import os
import re
import signal
import socket

import pytest

from colonies.client import Keychain
from colonies.core.process import State
from tests.programs import Program, environment
from tests.runtimes.conftest import COMMAND


@pytest.fixture
def roster(tmp_path):
    """A file of runtimes that can be written again."""

    def write(text):
        path = tmp_path / "runtimes.toml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def supervise(server, colony, people, tmp_path):
    """Start what a file says, with the colony owner's key."""

    def make(path, *options, **env):
        settings = {
            **environment(server, colony),
            "COLONIES_KEYCHAIN": str(tmp_path / "keychain"),
            "COLONIES_STATE_DIR": str(tmp_path / "state"),
            "COLONIES_COLONYPRVKEY": people.colony_owner.hex,
            **env,
        }
        return Program(COMMAND, "--config", path, *options, env=settings)

    return make


def started(line):
    return re.search(r'"name": "([^"]+)"', line)[1]


async def ready(running, *names):
    """Wait until runtimes of these names are ready, in any order."""
    found = sorted([started(await running.line_with("runtime ready")) for _ in names])
    assert sorted(names) == found


ONE = '[runtimes.one]\nplugin = "shell"\ntype = "first"\n'
TWO = '[runtimes.two]\nplugin = "shell"\ntype = "second"\n'
OTHER = '[runtimes.two]\nplugin = "shell"\ntype = "third"\n'


async def test_it_runs_all_of_a_file_and_drains_them(supervise, roster, member, tmp_path):
    async with supervise(roster(ONE + TWO)) as running:
        await ready(running, "one", "two")
        for kind in ("first", "second"):
            done = await (await member.submit("echo", kind, runtime_type=kind)).wait(60)
            assert [kind] == done.output
        last = await member.submit("sleep", 1, runtime_type="first")
        await running.line_with("process started")
        running.send(signal.SIGTERM)
        assert 0 == await running.finish()
    assert State.SUCCESS is (await last.wait(60)).state
    assert 2 == len(Keychain(tmp_path / "keychain").list())


async def test_a_file_read_again_starts_drains_and_replaces(supervise, roster, member):
    async with supervise(roster(ONE + TWO)) as running:
        await ready(running, "one", "two")
        kept = await member.submit("sleep", 2, runtime_type="first")
        replaced = await member.submit("sleep", 1, runtime_type="second")
        for _ in range(2):
            await running.line_with("process started")
        roster(ONE + OTHER + '[runtimes.three]\nplugin = "shell"\ntype = "more"\n')
        running.send(signal.SIGHUP)
        await running.line_with("file read")
        await ready(running, "three", "two")
        assert State.SUCCESS is (await replaced.wait(60)).state
        roster(ONE)
        running.send(signal.SIGHUP)
        for _ in range(2):
            await running.line_with("runtime stopped")
        assert State.SUCCESS is (await kept.wait(60)).state
        assert not any('"name": "one"' in line and "drain" in line for line in running.lines)


async def test_what_the_file_says_that_a_runtime_has_counts_after_it_was_read_again(
    supervise, roster, member
):
    async with supervise(roster(ONE + "cores = 3\n")) as running:
        await ready(running, "one")
        roster(ONE + "cores = 64\n")
        running.send(signal.SIGHUP)
        await ready(running, "one")
        large = await member.submit("echo", "done", runtime_type="first", cores=64)
        assert State.SUCCESS is (await large.wait(60)).state


async def test_a_wrong_file_changes_nothing(supervise, roster, member):
    async with supervise(roster(ONE)) as running:
        await ready(running, "one")
        roster(ONE + TWO.replace("type", "typ"))
        running.send(signal.SIGHUP)
        line = await running.line_with("file refused")
        assert "runtimes.two.typ: there is no such key; did you mean type?" in line
        done = await (await member.submit("echo", "on", runtime_type="first")).wait(60)
        assert ["on"] == done.output


async def test_one_that_ends_is_started_again_and_the_others_go_on(supervise, roster, member):
    async with supervise(roster(ONE + TWO)) as running:
        await ready(running, "one", "two")
        shell = await member.submit("sh", "-c", "echo $PPID", runtime_type="first")
        os.kill(int((await shell.wait(60)).output[0]), signal.SIGKILL)
        line = await running.line_with("runtime ended, starting it again")
        assert ("one", True) == (started(line), "exit code -9" in line)
        await ready(running, "one")
        done = await (await member.submit("echo", "on", runtime_type="second")).wait(60)
        assert ["on"] == done.output


async def test_none_outlives_a_supervisor_that_was_killed(supervise, roster, member):
    async with supervise(roster(ONE)) as running:
        await ready(running, "one")
        running.send(signal.SIGKILL)
        await running.line_with("runtime stopped")
        assert -signal.SIGKILL == await running.finish()


@pytest.fixture
def manager(tmp_path):
    """The socket that systemd would listen at; `next` waits for what it is told."""

    class Manager:
        address = str(tmp_path / "notify")

        async def next(self, *texts):
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(60):
                while True:
                    lines = (await loop.sock_recv(listening, 4096)).decode().split("\n")
                    if all(text in lines for text in texts):
                        return lines

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.setblocking(False)
        listening.bind(Manager.address)
        yield Manager()


async def test_systemd_hears_of_start_reload_and_stop(supervise, roster, manager):
    env = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "100000"}
    async with supervise(roster(ONE), **env) as running:
        await manager.next("READY=1", "STATUS=runs one")
        await manager.next("WATCHDOG=1")
        roster(ONE + TWO)
        running.send(signal.SIGHUP)
        assert any(line.startswith("MONOTONIC_USEC=") for line in await manager.next("RELOADING=1"))
        await manager.next("READY=1", "STATUS=runs one, two")
        await manager.next("WATCHDOG=1")
        running.send(signal.SIGTERM)
        await manager.next("STOPPING=1")
        assert 0 == await running.finish()


async def test_systemd_hears_of_a_single_runtime_too(launch, manager):
    env = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}
    async with launch("shell", "--name", "one", **env) as running:
        assert ["READY=1", "STATUS=works as one"] == await manager.next()
        await running.line_with("runtime ready")
        running.send(signal.SIGTERM)
        assert ["STOPPING=1"] == await manager.next()
        assert 0 == await running.finish()
