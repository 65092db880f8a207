"""That a runtime is on a machine once, and ends nothing but what is its own."""

import contextlib
import signal
import subprocess
import sys

import pytest

from colonies.client import Keychain
from colonies.core.errors import Misconfigured
from runtimes.presence import CHILD_OF, Presence
from tests.programs import ROOT, Program

RUNTIME = "a" * 64


async def test_who_shares_its_public_variables_lives_on(launch, people, tmp_path):
    """COLONIES_RUNTIMEID is there to be exported, by whoever likes."""
    key = people.runtime
    Keychain(tmp_path / "keychain").add(key)
    shared = {"COLONIES_RUNTIMEID": key.id}
    async with contextlib.AsyncExitStack() as stack:
        bystander = await stack.enter_async_context(Program("sleep", "1000", env=shared))
        for _ in range(2):  # the second start has a first whose leftovers it looks for
            start = launch("shell", "--runtimeid", key.id, "--type", "cli", **shared)
            running = await stack.enter_async_context(start)
            await running.line_with("runtime ready")
            running.send(signal.SIGTERM)
            assert 0 == await running.finish()
        assert not any("leftovers" in line for line in running.lines)
        assert bystander.process.returncode is None


@pytest.mark.parametrize("plugin", ["shell", "python"])
async def test_a_second_start_is_refused_and_the_first_works_on(launch, member, plugin):
    async with launch(plugin, "--name", "one") as first:
        await first.line_with("runtime ready")
        async with launch(plugin, "--name", "one") as second:
            assert 2 == await second.finish()
        (line,) = [line for line in second.lines if line.startswith("error: ")]
        assert f"already runs here (pid {first.process.pid}); give another --name" in line
        async with launch(plugin, "--name", "two") as other:
            await other.line_with("runtime ready")
        if plugin == "shell":
            process = await member.submit("echo", "on", runtime_type="shell")
            assert ["on"] == (await process.wait(60)).output


async def test_who_has_a_mark_is_ended_but_not_who_asks_nor_who_started_that():
    asks = "from runtimes.presence import end_marked; print('ended', end_marked('word'))"
    script = f'sleep 1000 & "{sys.executable}" -c "{asks}"; wait; echo "$?" alive'
    async with (
        Program("sleep", "1000", env={CHILD_OF: "word2"}) as other,
        Program("sh", "-c", script, env={CHILD_OF: "word", "PYTHONPATH": str(ROOT)}) as shell,
    ):
        assert 0 == await shell.finish()
        assert other.process.returncode is None
    assert ["ended 1", "0 alive"] == shell.lines


def test_the_mark_is_the_same_in_each_life_and_nobody_elses(tmp_path):
    with Presence(tmp_path, RUNTIME) as presence:
        first = dict(presence.mark)
        with pytest.raises(Misconfigured, match="already runs here"), Presence(tmp_path, RUNTIME):
            pass
        with Presence(tmp_path, "b" * 64) as other:
            assert first != other.mark
    left = subprocess.Popen(["sleep", "1000"], env=first)
    try:
        with Presence(tmp_path, RUNTIME) as presence:
            assert first == presence.mark
            assert -signal.SIGKILL == left.wait(60)
    finally:
        left.kill()


@pytest.mark.parametrize("content", [b"", b'{"pid": 1', b"[]"])
def test_what_cannot_be_read_there_is_written_anew(tmp_path, content):
    (tmp_path / "running").mkdir()
    path = tmp_path / "running" / f"{RUNTIME}.json"
    path.write_bytes(content)
    with Presence(tmp_path, RUNTIME) as presence:
        assert presence.mark[CHILD_OF].encode() in path.read_bytes()


@pytest.mark.parametrize("words", [(), ("--check",)])
async def test_a_state_folder_that_cannot_be_is_an_error_of_usage(launch, words):
    async with launch("shell", *words, "--state-dir", "/dev/null/state") as running:
        assert 2 == await running.finish()
    (line,) = running.lines
    assert line.startswith("error: --state-dir: /dev/null/state: ")


async def test_a_check_of_the_state_folder_leaves_nothing(launch, tmp_path):
    async with launch("shell", "--check", "--state-dir", tmp_path / "a" / "b") as running:
        assert 0 == await running.finish()
    assert not (tmp_path / "a").exists()
