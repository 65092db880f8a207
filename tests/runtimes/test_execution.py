"""Executions that must end, and ones that must not: at a real hub, by ``colonies-run``."""

import asyncio
import os
import signal
import sys

import pytest

from colonies.core.process import State
from tests.programs import ROOT
from tests.runtimes.conftest import passes_until
from tests.runtimes.test_shell import gone
from tests.server.doors import LONG, until

FUNCTIONS = "tests.runtimes.functions"
LEASE = 60
"""Seconds: longer than a machine stands still. That it is renewed is seen long before its end."""

BUSY = """
import os, time
class Plugin(Runtime):
    'Blocks its loop.'
    runtime_type = 'busy'
    async def execute(self, process, job):
        flag = process.spec.args[0]
        if process.spec.func == 'block':
            open(flag).read()
        while not os.path.exists(flag):
            pass
        await job.attribute('was', 'busy')
        return success('done')
"""
DEAF = """
import asyncio
class Plugin(Runtime):
    'Ends neither when it is asked nor when it is cancelled, and cannot be asked twice.'
    runtime_type = 'deaf'
    asked = 0
    async def cancel(self, process):
        self.asked += 1
        if process.spec.func == 'raise':
            raise LookupError('no such execution')
        return True
    async def execute(self, process, job):
        try:
            await asyncio.Event().wait()
        finally:
            if process.spec.func == 'untidy':
                raise RuntimeError('clean-up failed')
            if process.spec.func == 'stuck':
                import time
                time.sleep(1000)
            if process.spec.func == 'insist':
                return success(self.asked)
"""


@pytest.fixture
def fifo(tmp_path):
    path = tmp_path / "ready"
    os.mkfifo(path)
    return path


async def read(fifo):
    return (await asyncio.to_thread(fifo.read_text)).split()


@pytest.mark.settings(tick=0.1)
@pytest.mark.parametrize("how", ["block", "compute"])
async def test_a_plugin_that_blocks_its_loop_keeps_its_lease(launch, member, site, tmp_path, how):
    flag = tmp_path / "flag"
    if how == "block":
        os.mkfifo(flag)
    async with launch("busy", "--heartbeat", "0.5", **site(busy=BUSY)) as running:
        await running.line_with("runtime ready")
        process = await member.submit(how, str(flag), runtime_type="busy", lease=LEASE)
        await running.line_with("process started")
        async with asyncio.timeout(LONG):
            while (now := await member.get_process(process.id)).state is State.RUNNING:
                if (now.leased_until - now.start_time).total_seconds() > LEASE + 3:
                    break
        assert State.RUNNING is now.state
        flag.write_text("go")
        done = await process.wait(60)
        assert (State.SUCCESS, ["done"], 1) == (done.state, done.output, done.attempt)
        assert ["busy"] == [one.value for one in done.attributes]


@pytest.mark.parametrize("name", ["tidy", "tidy_later"])
async def test_a_cancelled_function_can_clean_up(launch, member, people, fifo, name):
    trace = fifo.with_name("trace")
    async with launch("python", "--path", ROOT) as running:
        await running.line_with("runtime ready")
        process = await member.submit(
            f"{FUNCTIONS}:{name}", str(fifo), str(trace), runtime_type="python"
        )
        (pid,) = await read(fifo)
        await member.cancel_process(process.id, "not needed")
        done = await process.wait(60)
        assert State.CANCELLED is done.state
        assert f"cancelled by {people.runtime.id}: not needed" in done.errors
        assert "tidy" == trace.read_text()
        assert await gone(int(pid))


async def test_a_cancelled_function_that_ends_in_time_with_a_value_has_succeeded(
    launch, member, fifo
):
    async with launch("python", "--path", ROOT) as running:
        await running.line_with("runtime ready")
        process = await member.submit(f"{FUNCTIONS}:finish", str(fifo), 7, runtime_type="python")
        await read(fifo)
        await member.cancel_process(process.id)
        done = await process.wait(60)
        assert (State.SUCCESS, ["7"]) == (done.state, done.output)


async def test_who_takes_no_notice_is_ended_after_the_grace_period(launch, member, fifo):
    async with launch("python", "--path", ROOT, "--slots", "1", "--grace", "0.2") as running:
        await running.line_with("runtime ready")
        process = await member.submit(f"{FUNCTIONS}:stubborn", str(fifo), runtime_type="python")
        pids = await read(fifo)
        await member.cancel_process(process.id)
        assert State.CANCELLED is (await process.wait(60)).state
        assert [True, True] == [await gone(int(pid)) for pid in pids]
        after = await member.submit(f"{FUNCTIONS}:add", 1, runtime_type="python")
        assert State.SUCCESS is (await after.wait(60)).state


async def test_a_cancelled_command_is_ended_with_its_children(launch, member, fifo):
    script = (
        "import os, signal, subprocess, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "child = subprocess.Popen(['sleep', '1000']);"
        f"open({str(fifo)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}'); time.sleep(1000)"
    )
    async with launch("shell", "--grace", "0.2") as running:
        await running.line_with("runtime ready")
        process = await member.submit(sys.executable, "-c", script, runtime_type="shell")
        pids = await read(fifo)
        await member.cancel_process(process.id)
        assert State.CANCELLED is (await process.wait(60)).state
        assert [True, True] == [await gone(int(pid)) for pid in pids]


async def test_a_function_whose_time_is_over_can_clean_up_and_is_tried_again(
    launch, member, server, tmp_path, fifo
):
    """As often as it takes: on a slow machine its time may be over before it has begun."""
    trace = tmp_path / "trace"
    options = {"runtime_type": "python", "max_exec_time": 1, "max_retries": -1}
    async with launch("python", "--path", ROOT) as running:
        await running.line_with("runtime ready")
        process = await member.submit(f"{FUNCTIONS}:tidy", str(fifo), str(trace), **options)
        for _ in range(2):
            beginning = asyncio.create_task(read(fifo))

            async def is_begun(beginning=beginning):
                return beginning.done()

            await passes_until(server, is_begun)
            await until(lambda: trace.exists() and trace.read_text() == "tidy")
            trace.unlink()
            await running.line_with("process stopped", "maximum execution time")
        assert (await member.get_process(process.id)).attempt >= 2


async def test_a_new_attempt_may_begin_while_the_last_one_is_being_ended(
    launch, member, server, tmp_path
):
    os.mkfifo(tmp_path / "go")
    options = ("--path", ROOT, "--slots", "2", "--grace", "1000")
    async with launch("python", *options) as running:
        await running.line_with("runtime ready")
        process = await member.submit(
            f"{FUNCTIONS}:stubborn_once",
            str(tmp_path),
            runtime_type="python",
            max_exec_time=1,
            max_retries=-1,
        )
        await running.line_with("process stopping")  # it takes no notice: for ever, nearly

        async def is_done():
            return (await member.get_process(process.id)).state.is_final

        try:
            await passes_until(server, is_done)
        finally:
            await asyncio.to_thread((tmp_path / "go").write_text, "now")
        done = await process.wait(60)
        assert (State.SUCCESS, ["second"]) == (done.state, done.output)
        assert done.attempt >= 2
        await running.line_with("outcome refused")  # that of the first


async def test_a_cancel_reaches_a_runtime_that_drains(launch, member, people, fifo, tmp_path):
    """It takes no pushes any more: its sign of life brings the news."""
    async with launch("python", "--path", ROOT, "--heartbeat", "0.2") as running:
        await running.line_with("runtime ready")
        process = await member.submit(
            f"{FUNCTIONS}:tidy", str(fifo), str(tmp_path / "trace"), runtime_type="python"
        )
        await read(fifo)
        running.send(signal.SIGTERM)
        await running.line_with("runtime draining")
        await member.cancel_process(process.id, "enough")
        assert 0 == await running.finish()
        done = await process.wait(60)
        assert State.CANCELLED is done.state
        assert f"cancelled by {people.runtime.id}: enough" in done.errors


@pytest.mark.parametrize(
    ("func", "state"),
    [("insist", State.SUCCESS), ("untidy", State.CANCELLED), ("raise", State.CANCELLED)],
)
async def test_however_a_plugin_takes_it_a_cancel_comes_to_its_end(
    launch, member, site, func, state
):
    async with launch("deaf", "--grace", "0.2", **site(deaf=DEAF)) as running:
        await running.line_with("runtime ready")
        process = await member.submit(func, runtime_type="deaf")
        await running.line_with("process started")
        await member.cancel_process(process.id)
        await running.line_with("process stopping")
        running.send(signal.SIGTERM)  # a second reason to stop
        done = await process.wait(60)
        assert state is done.state
        if func == "insist":
            assert ["1"] == done.output  # it was asked once
        assert 0 == await running.finish()


async def test_a_plugin_that_cannot_be_ended_does_not_hold_up_the_runtime_for_ever(
    launch, member, site
):
    async with launch("deaf", "--grace", "0", "--drain", "0", **site(deaf=DEAF)) as running:
        await running.line_with("runtime ready")
        await member.submit("stuck", runtime_type="deaf")
        await running.line_with("process started")
        running.send(signal.SIGTERM)
        assert 3 == await running.finish()
        assert any("process abandoned" in line for line in running.lines)


async def test_commands_of_a_runtime_that_was_killed_are_killed_by_its_next_start(
    launch, member, fifo
):
    script = f"import os, time; open({str(fifo)!r}, 'w').write(str(os.getpid())); time.sleep(1000)"
    async with launch("shell", "--name", "one") as running:
        await running.line_with("runtime ready")
        await member.submit(sys.executable, "-c", script, runtime_type="shell")
        (pid,) = await read(fifo)
        running.send(signal.SIGKILL)
        await running.finish()
    async with launch("shell", "--name", "one") as running:
        await running.line_with("leftovers killed")
        assert await gone(int(pid))
