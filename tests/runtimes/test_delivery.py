"""Outcomes while the hub is away: kept on disk, and delivered when it is back."""

import asyncio
import contextlib
import os
import signal

import msgspec
import pytest

from colonies.client import connect
from colonies.core.process import State
from colonies.server.app import Server
from runtimes.delivery import KILLED


@pytest.fixture
def folder(tmp_path):
    """The state folder of the runtime."""
    return tmp_path / "state"


@pytest.fixture
def wait(tmp_path):
    """A fifo: who reads it ends when something is written."""
    path = tmp_path / "go"
    os.mkfifo(path)
    return path


@pytest.fixture
async def unheard(launch, member, server, folder, wait):
    """A runtime, and a process that ended there while the hub was away."""
    async with contextlib.AsyncExitStack() as stack:
        start = launch("shell", "--state-dir", folder, "--drain", "5")
        running = await stack.enter_async_context(start)
        await running.line_with("runtime ready")
        process = await member.submit("cat", str(wait), runtime_type="shell", max_retries=1)
        await running.line_with("process started")
        await server.__aexit__(None, None, None)
        await asyncio.to_thread(wait.write_text, "done\n")
        await running.line_with("outcome kept on disk")
        assert 1 == len(files(folder))
        yield running, process


@pytest.fixture
def back(server, people):
    """The same hub again."""

    @contextlib.asynccontextmanager
    async def start():
        again = msgspec.structs.replace(server.settings, server_port=server.port)
        async with Server(again), connect(again, key=people.runtime) as client:
            yield client

    return start


def files(folder):
    return [path for path in (folder / "outcomes").rglob("*") if path.is_file()]


async def test_what_was_kept_is_delivered_when_the_hub_is_back(unheard, back, folder):
    running, process = unheard
    async with back() as client:
        done = await client.wait_for(process.id, 30)
        await running.line_with("process closed")
        running.send(signal.SIGTERM)
        assert 0 == await running.finish()
    assert (State.SUCCESS, ["done"], 1) == (done.state, done.output, done.attempt)
    assert [] == files(folder)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
async def test_what_was_kept_is_delivered_by_the_next_start(unheard, back, folder, launch, end):
    running, process = unheard
    running.send(end)  # SIGTERM waits for the hub as long as --drain, not longer
    assert {signal.SIGKILL: -9, signal.SIGTERM: 0}[end] == await running.finish()
    assert 1 == len(files(folder))
    async with (
        back() as client,
        launch("shell", "--state-dir", folder) as again,
    ):
        done = await client.wait_for(process.id, 20)
        await again.line_with("process closed")
        assert (State.SUCCESS, ["done"], 1) == (done.state, done.output, done.attempt)
        after = await client.submit("echo", "alive", runtime_type="shell")
        assert ["alive"] == (await after.wait(60)).output
        again.send(signal.SIGTERM)
        assert 0 == await again.finish()
    assert [] == files(folder)


async def test_what_the_hub_refuses_is_dropped(unheard, back, folder, launch):
    running, process = unheard
    running.send(signal.SIGKILL)
    await running.finish()
    async with back() as client:
        await client.delete_process(process.id)
        async with launch("shell", "--state-dir", folder) as again:
            await again.line_with("outcome refused")
            again.send(signal.SIGTERM)
            assert 0 == await again.finish()
    assert [] == files(folder)


async def test_nothing_to_deliver_does_not_hold_up_a_start(launch, folder):
    async with launch("shell", COLONIES_STATE_DIR=str(folder)) as running:
        await running.line_with("runtime ready")
    assert not (folder / "outcomes").exists()


async def test_a_folder_that_cannot_be_written_costs_no_outcome_while_the_runtime_lives(
    launch, member, server, back, wait
):
    async with launch("shell") as running:
        await running.line_with("runtime ready")
        (wait.parent / "state" / "outcomes").write_text("no folder any more\n")
        process = await member.submit("cat", str(wait), runtime_type="shell")
        await running.line_with("process started")
        await server.__aexit__(None, None, None)
        await asyncio.to_thread(wait.write_text, "done\n")
        await running.line_with("outcome not kept on disk")
        async with back() as client:
            assert ["done"] == (await client.wait_for(process.id, 30)).output


async def test_a_runtime_without_a_hub_leaves_in_time(launch, member, server, tmp_path):
    """What still runs is given back, if anybody hears it, and that is not waited for."""
    async with launch("shell", "--drain", "0", "--state-dir", tmp_path / "state") as running:
        await running.line_with("runtime ready")
        await member.submit("sleep", 1000, runtime_type="shell")
        await running.line_with("process started")
        await server.__aexit__(None, None, None)
        running.send(signal.SIGTERM)
        async with asyncio.timeout(10):
            assert 0 == await running.finish()
        assert any("process not released" in line for line in running.lines)


@pytest.mark.parametrize("retries", [0, 1])
async def test_what_a_killed_runtime_was_executing_ends_with_its_next_start(
    launch, member, folder, retries
):
    """Long before its lease is over, if nobody tries it again; else the hub counts that."""
    async with launch("shell", "--state-dir", folder, "--name", "one") as running:
        await running.line_with("runtime ready")
        process = await member.submit(
            "sleep", 1000, runtime_type="shell", lease=3600, max_retries=retries
        )
        await running.line_with("process started")
        quick = await member.submit("true", runtime_type="shell")
        running.send(signal.SIGKILL)
        await running.finish()
    assert 1 - retries == len(files(folder))
    async with launch("shell", "--state-dir", folder, "--name", "one") as again:
        await again.line_with("runtime ready")
        if retries:
            assert State.SUCCESS is (await quick.wait(60)).state
            assert State.RUNNING is (await member.get_process(process.id)).state
        else:
            done = await process.wait(60)
            assert (State.FAILED, [KILLED]) == (done.state, done.errors)
        again.send(signal.SIGTERM)
        assert 0 == await again.finish()
    assert [] == files(folder)
