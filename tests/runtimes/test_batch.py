"""What holds whatever a queue system does: at commands that lie, hang and lose replies."""

from collections import Counter

import pytest

from colonies.core.process import new_id
from runtimes.slurm.plugin import Slurm
from tests.runtimes import bad_slurm
from tests.runtimes.bad_day import many, spend
from tests.runtimes.luck import programs


@pytest.fixture
async def slurm(tmp_path, monkeypatch):
    """A plugin whose Slurm has a bad day, and patience for no longer than a second."""
    programs(tmp_path / "bin", bad_slurm.__name__, "sbatch", "squeue", "sacct", "scancel")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
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


@pytest.mark.timeout(500)
@pytest.mark.parametrize("count", [25, pytest.param(1000, marks=pytest.mark.slurm)])
async def test_no_job_is_submitted_twice_or_stuck_and_one_call_a_second_sees_all(
    slurm, process_of, tmp_path, count
):
    day = await spend(slurm, many(process_of("true"), count))

    names = Counter(
        str(path.readlink()).partition("@")[0] for path in (tmp_path / "bin" / "jobs").iterdir()
    )
    assert {1} == set(names.values())
    for process, outcome in day.results:
        name = f"{slurm.prefix}{process.process_id}-1"
        assert name in names
        assert (outcome.errors or [""])[0].startswith(expected(name))
    calls = (tmp_path / "bin" / "calls").read_text().split()
    assert len(calls) <= day.seconds + 2
