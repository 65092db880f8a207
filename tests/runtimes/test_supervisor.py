"""``colonies-run --config``: several runtimes from one file, at a real hub and a real systemd socket."""

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
            done = await (await member.submit("echo", kind, runtime_type=kind)).wait(20)
            assert [kind] == done.output
        last = await member.submit("sleep", 1, runtime_type="first")
        await running.line_with("process started")
        running.send(signal.SIGTERM)
        assert 0 == await running.finish()
    assert State.SUCCESS is (await last.wait(1)).state
    assert 2 == len(Keychain(tmp_path / "keychain").list())
