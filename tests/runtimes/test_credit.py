"""That a machine which is short of something takes less, and fails nothing for it."""

import asyncio
import errno
import os
import resource
import signal
import sys

import pytest

from colonies.core.process import State
from runtimes.base import not_here
from runtimes.child import not_started
from runtimes.credit import FIRST_PAUSE, LONGEST_PAUSE, Credit
from tests.programs import ROOT
from tests.runtimes.conftest import COMMAND

PICKY = """
from runtimes.base import not_here

class Plugin(Runtime):
    runtime_type = "picky"

    async def execute(self, process, job):
        return success("done") if process.attempt > 2 else not_here("not now")
"""


async def test_what_is_not_for_here_goes_back_to_the_queue_and_costs_no_retry(launch, member, site):
    async with launch("picky", **site(picky=PICKY)) as running:
        await running.line_with("runtime ready")
        process = await member.submit("x", runtime_type="picky")
        assert "not now" in await running.line_with("process handed back")
        done = await process.wait(60)
    assert (State.SUCCESS, ["done"], 0) == (done.state, done.output, done.retries)


async def test_a_runtime_without_files_fails_nothing(launch, member, tmp_path):
    """The limit is so low that most of what it has slots for cannot be started at once."""
    script = 'ulimit -n 64; exec "$@"'
    start = launch("shell", "--slots", "50")
    start._argv = ["sh", "-c", script, "sh", str(COMMAND), *start._argv[1:]]
    async with start as running:
        await running.line_with("runtime ready")
        many = [await member.submit("sleep", 0.5, runtime_type="shell") for _ in range(60)]
        done = await asyncio.gather(*(process.wait(60) for process in many))
        running.send(signal.SIGTERM)
        assert 0 == await running.finish()
    assert any("process handed back" in line for line in running.lines)
    assert {State.SUCCESS} == {one.state for one in done}


def test_what_the_machine_lacks_is_told_from_what_a_process_gets_wrong():
    for number in (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM):
        assert not_started("x", OSError(number, os.strerror(number))).is_returned
    for error in (FileNotFoundError("x"), PermissionError("x"), ValueError("x")):
        outcome = not_started("x", error)
        assert (False, False) == (outcome.is_returned, outcome.is_success)


async def test_fewer_are_taken_after_each_that_could_not_be_begun():
    running = 50
    credit = Credit(50, lambda: running)
    assert 50 == credit.now
    with credit.short() as first, credit.short() as second:
        assert (48, FIRST_PAUSE, FIRST_PAUSE) == (credit.now, first, second)
    running = 1
    pauses = []
    for _ in range(20):
        with credit.short() as pause:
            pauses.append(pause)
    assert 1 == credit.now
    assert (FIRST_PAUSE, LONGEST_PAUSE) == (pauses[0], pauses[-1])
    credit.has_begun()
    with credit.short() as pause:
        assert FIRST_PAUSE == pause


async def test_more_are_taken_again_but_never_more_than_the_plugin_admits():
    credit = Credit(8, lambda: 3)
    with credit.short():
        assert 2 == credit.now
    credit._ease()
    assert 4 == credit.now
    credit.admit(3)
    credit._ease()
    assert 3 == credit.now
    credit.admit(100)
    assert 8 == credit.now
    credit.admit(0)
    assert 1 == credit.now


def test_not_here_is_no_success():
    assert (False, True) == (not_here("x").is_success, not_here("x").is_returned)


@pytest.mark.parametrize(("slots", "expected"), [(1, 264), (50, 656), (10_000, 4000)])
async def test_as_many_files_may_be_open_as_the_slots_need(slots, expected):
    script = (
        "import resource as r; from runtimes.machine import allow_files;"
        "r.setrlimit(r.RLIMIT_NOFILE, (100, 4000));"
        f"allow_files({slots}); print(r.getrlimit(r.RLIMIT_NOFILE)[0])"
    )
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 4000:
        pytest.skip("fewer files than that may be open here")
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await child.communicate()
    assert expected == int(said)
