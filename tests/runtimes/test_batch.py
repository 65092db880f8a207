"""What holds whatever a queue system does: at commands that lie, hang and lose replies."""

import asyncio
import sys
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from colonies.core.process import new_id
from runtimes.base import Job
from runtimes.slurm.plugin import Slurm
from tests.runtimes import bad_slurm

COMMANDS = ("sbatch", "squeue", "sacct", "scancel")


@pytest.fixture
async def slurm(tmp_path, monkeypatch):
    """A plugin whose Slurm has a bad day, and patience for no longer than a second."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in COMMANDS:
        program = folder / name
        program.write_text(f"#!{sys.executable} -SE\n" + Path(bad_slurm.__file__).read_text())
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("BAD_SLURM", str(tmp_path))
    plugin = Slurm(Slurm.Settings(job_dir=str(tmp_path / "work"), patience=1.0, max_pending=1000))
    plugin.runtime_id = new_id()
    plugin.gone_after, plugin.busy_pause = 2, 0.5
    await plugin.open()
    yield plugin
    await plugin.close()


def expected(name):
    """Give how an execution must have ended, by the first words of its error."""
    return {
        "COMPLETED": "",
        "FAILED": "exit code 3",
        "TIMEOUT": "time limit",
        "OUT_OF_MEMORY": "out of memory",
        "EVICTED": "node failed",
        "FORGOTTEN": "vanished",
    }[bad_slurm.ending_of(name)]


@pytest.fixture(autouse=True)
def _folder(monkeypatch, tmp_path):
    monkeypatch.setattr(bad_slurm, "FOLDER", tmp_path)


@pytest.mark.timeout(500)
@pytest.mark.parametrize("count", [25, pytest.param(1000, marks=pytest.mark.slurm)])
async def test_no_job_is_submitted_twice_or_stuck_and_one_call_a_second_sees_all(
    slurm, process_of, tmp_path, count
):
    processes = [
        msgspec.structs.replace(process_of("true"), process_id=new_id(), attempt=1)
        for _ in range(count)
    ]
    cancelled = processes[::10]
    started = time.monotonic()
    running = {
        one.process_id: asyncio.create_task(slurm.execute(one, Job(None))) for one in processes
    }
    await asyncio.sleep(0)
    for process in cancelled:
        assert await slurm.cancel(process)
    await asyncio.wait(running.values())
    elapsed = time.monotonic() - started

    names = Counter(
        str(path.readlink()).partition("@")[0] for path in (tmp_path / "jobs").iterdir()
    )
    assert {1} == set(names.values())
    for process in processes:
        task = running[process.process_id]
        name = f"{slurm.prefix}{process.process_id}-1"
        if process in cancelled:
            assert task.cancelled() or task.result()
        else:
            assert name in names
            assert (task.result().errors or [""])[0].startswith(expected(name))
    calls = (tmp_path / "calls").read_text().split()
    assert len(calls) <= elapsed + 2
