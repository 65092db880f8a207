"""Plugins on their own, without a hub, and ``colonies-run`` at a real one."""

import asyncio
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from colonies.core.process import Conditions, Process, ProcessSpec, State
from runtimes.base import Job
from tests.programs import NotHere, Program, environment
from tests.runtimes.docker import own_docker
from tests.runtimes.podman import own_podman
from tests.runtimes.slurm_cluster import Cluster, own_slurm

COMMAND = Path(sys.executable).with_name("colonies-run")


@pytest.fixture
def job():
    """What a plugin may do with the hub; these plugins do nothing with it."""

    async def refuse(key, value):
        raise AssertionError(f"no attribute expected: {key}")

    return Job(refuse)


@pytest.fixture
def process_of():
    """Make an assigned process of a function and its arguments."""

    def make(func, *args, **fields):
        return Process(
            process_id="1" * 64,
            assigned_runtime_id="2" * 64,
            is_assigned=True,
            state=State.RUNNING,
            spec=ProcessSpec(
                func=func, args=list(args), conditions=Conditions(colony_id="3" * 64), **fields
            ),
        )

    return make


@contextmanager
def here(opening):
    """Have a real system run, and skip what needs it where it does not."""
    try:
        with opening as running:
            yield running
    except NotHere as why:
        pytest.skip(str(why))


@pytest.fixture(scope="session")
def podman():
    """A podman of our own; a test leaves no containers in it."""
    with here(own_podman()) as podman:
        yield podman


@pytest.fixture(scope="session")
def docker():
    """A docker of our own; a test leaves no containers in it."""
    with here(own_docker()) as docker:
        yield docker


@pytest.fixture(scope="session")
def slurm_cluster(tmp_path_factory):
    """A Slurm of our own, with one node; a test may have a second, for as long as it takes."""
    with here(own_slurm(Cluster(tmp_path_factory.mktemp("slurm")))) as running:
        yield running


@pytest.fixture
def launch(server, colony, people, tmp_path):
    """Start a plugin, by default with the colony owner's key, so that it lets itself in."""

    def make(name, *options, owner=True, **env):
        settings = {
            **environment(server, colony),
            "COLONIES_KEYCHAIN": str(tmp_path / "keychain"),
            **({"COLONIES_COLONYPRVKEY": people.colony_owner.hex} if owner else {}),
            **env,
        }
        return Program(COMMAND, name, *options, env=settings)

    return make


@pytest.fixture
def site(tmp_path):
    """A folder of installed packages: plugins by name, as the source of a class."""

    def install(**plugins):
        metadata = tmp_path / "site" / "their.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: their\nVersion: 1\n")
        names = "".join(f"{name} = their_{name}:Plugin\n" for name in plugins)
        (metadata / "entry_points.txt").write_text(f"[colonies.runtimes]\n{names}")
        for name, source in plugins.items():
            code = f"from runtimes.base import Runtime, success\n{source}"
            (tmp_path / "site" / f"their_{name}.py").write_text(code)
        return {"PYTHONPATH": str(tmp_path / "site")}

    return install


async def passes_until(server, happened):
    """Let the hub do what is due until something has come of it."""
    async with asyncio.timeout(60):
        while not await happened():
            await server.ticker.run_once()
