import asyncio
import os
import select
import signal
import sys
from pathlib import Path

import pytest

from colonies.core.process import encode_argument
from runtimes.shell.plugin import Shell
from tests.server.doors import LONG, until


@pytest.fixture
def shell():
    return Shell(Shell.Settings())


def is_alive(pid: int) -> bool:
    """Whether a process runs: a zombie that only waits to be buried does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def gone(pid: int) -> bool:
    """Wait until a process, which need not be our child, has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        ready, _, _ = await asyncio.to_thread(select.select, [handle], [], [], LONG)
        return bool(ready)
    finally:
        os.close(handle)


def count_files() -> int:
    """Count what this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_standard_output_by_line_is_the_output(shell, job, process_of):
    outcome = await shell.execute(process_of("printf", "one\\ntwo\\n"), job)
    assert outcome.is_success
    assert ["one", "two"] == outcome.output


async def test_arguments_are_never_read_by_a_shell(shell, job, process_of):
    outcome = await shell.execute(process_of("echo", "$HOME; echo x", "`id`", "a  b"), job)
    assert ["$HOME; echo x `id` a  b"] == outcome.output


async def test_text_that_looks_like_something_else_arrives_as_the_text(shell, job, process_of):
    """A client quotes the text 1, so that functions can tell it from the number."""
    args = [encode_argument(value) for value in ("1", 1, "a", True, "[2]")]
    outcome = await shell.execute(process_of("echo", *args), job)
    assert ["1 1 a true [2]"] == outcome.output


async def test_a_shell_reads_them_only_if_the_owner_allows_it(job, process_of):
    shell = Shell(Shell.Settings(allow_shell=True))
    outcome = await shell.execute(process_of("echo", "a", "&&", "echo", "b"), job)
    assert ["a", "b"] == outcome.output


async def test_an_exit_code_is_a_failure_with_the_standard_error(shell, job, process_of):
    script = "import sys; print('out'); print('why', file=sys.stderr); sys.exit(3)"
    outcome = await shell.execute(process_of(sys.executable, "-c", script), job)
    assert not outcome.is_success
    assert ["exit code 3", "why", "out"] == outcome.errors


async def test_a_signal_is_told_from_an_exit_code(shell, job, process_of):
    script = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    outcome = await shell.execute(process_of(sys.executable, "-c", script), job)
    assert ["killed by signal 9"] == outcome.errors


@pytest.mark.parametrize("func", ["", "no-such-program", "/etc", "a\udcff"])
async def test_what_cannot_be_started_is_a_failure(shell, job, process_of, func):
    outcome = await shell.execute(process_of(func), job)
    assert not outcome.is_success
    assert 1 == len(outcome.errors)


async def test_a_command_sees_its_own_variables_and_no_key(job, process_of, monkeypatch):
    monkeypatch.setenv("COLONIES_RUNTIMEPRVKEY", "secret")
    monkeypatch.setenv("COLONIES_COLONYPRVKEY", "secret")
    monkeypatch.setenv("SOME_TOKEN", "secret")
    monkeypatch.setenv("MAY_SEE", "this")
    shell = Shell(Shell.Settings(pass_env=["MAY_SEE", "COLONIES_RUNTIMEPRVKEY"]))
    outcome = await shell.execute(process_of("env", env={"MINE": "value"}), job)
    assert "secret" not in "\n".join(outcome.output)
    assert {"MINE=value", "MAY_SEE=this", f"COLONIES_PROCESSID={'1' * 64}"} <= set(outcome.output)


@pytest.mark.parametrize("name", ["", "a=b"])
async def test_a_variable_that_cannot_be_is_named(shell, job, process_of, name):
    outcome = await shell.execute(process_of("env", env={name: "value"}), job)
    assert [f"cannot start 'env': env: {name!r} cannot name a variable"] == outcome.errors


async def test_of_too_much_output_the_end_is_kept(job, process_of):
    shell = Shell(Shell.Settings(max_output=1000))
    script = "print('x' * 10_000_000); print('end')"
    outcome = await shell.execute(process_of(sys.executable, "-c", script), job)
    assert "bytes left out" in outcome.output[0]
    assert "end" == outcome.output[-1]
    assert sum(map(len, outcome.output)) < 1100


async def test_output_that_is_no_text_is_made_one(shell, job, process_of):
    script = r"import sys; sys.stdout.buffer.write(b'a\0b\xff\n')"
    outcome = await shell.execute(process_of(sys.executable, "-c", script), job)
    assert ["ab\N{REPLACEMENT CHARACTER}"] == outcome.output


async def test_cancelling_ends_the_command_and_all_that_it_started(
    shell, job, process_of, tmp_path
):
    fifo = tmp_path / "ready"
    os.mkfifo(fifo)
    script = (
        "import os, signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "child = subprocess.Popen(['sleep', '1000']);"
        f"open({str(fifo)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}'); time.sleep(1000)"
    )
    task = asyncio.create_task(shell.execute(process_of(sys.executable, "-c", script), job))
    pids = [int(pid) for pid in (await asyncio.to_thread(fifo.read_text)).split()]
    assert [True, True] == [is_alive(pid) for pid in pids]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [True, True] == [await gone(pid) for pid in pids]


async def test_children_that_a_command_leaves_behind_are_ended_with_it(shell, job, process_of):
    script = "import subprocess; print(subprocess.Popen(['sleep', '1000']).pid)"
    outcome = await shell.execute(process_of(sys.executable, "-c", script), job)
    assert outcome.is_success
    assert await gone(int(outcome.output[0]))


async def test_who_leaves_the_group_with_the_pipes_is_neither_waited_for_nor_kept(
    shell, job, process_of
):
    before = count_files()
    script = (
        "import subprocess; child = subprocess.Popen(['sleep', '1000'], start_new_session=True);"
        "print(child.pid)"
    )
    outcome = await shell.execute(process_of(sys.executable, "-c", script), job)
    pid = int(outcome.output[0])
    try:
        assert outcome.is_success
        assert is_alive(pid)
        await until(lambda: count_files() <= before)
    finally:
        os.kill(pid, signal.SIGKILL)
