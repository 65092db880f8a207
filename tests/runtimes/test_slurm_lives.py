"""Jobs of Slurm that outlive the runtime that submitted them; the whole way, from a hub."""

import asyncio
import os
import signal
import sys

import pytest

from colonies.core.process import State

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def live(launch, slurm_cluster, tmp_path):
    """Start a life of one runtime."""

    def start(*options):
        env = {**slurm_cluster.env, "COLONIES_STATE_DIR": str(tmp_path / "state")}
        return launch("slurm", "--name", "one", "--drain", "0", *options, **env)

    return start


async def test_a_job_lives_on_when_its_runtime_leaves_or_is_killed(live, member, tmp_path):
    go = tmp_path / "go"
    os.mkfifo(go)
    script = f"print(open({str(go)!r}).read())"
    for number in (signal.SIGTERM, signal.SIGKILL):
        async with live() as running:
            await running.line_with("runtime ready")
            if number is signal.SIGTERM:
                options = {"runtime_type": "slurm", "lease": 600}
                process = await member.submit(sys.executable, "-c", script, **options)
                await running.line_with("job submitted")
            running.send(number)
            assert (0 if number is signal.SIGTERM else -9) == await running.finish()
    async with live() as running:
        await running.line_with("attempts taken up")
        await asyncio.to_thread(go.write_text, "still here")
        done = await process.wait(60)
        assert (State.SUCCESS, ["still here"], 1) == (done.state, done.output, done.attempt)


async def test_what_is_cancelled_while_its_runtime_is_away_is_ended_by_the_next_life(
    live, member, slurm_cluster, server
):
    async with live() as running:
        await running.line_with("runtime ready")
        process = await member.submit("sleep", 1000, runtime_type="slurm", lease=600)
        await running.line_with("job submitted")
        running.send(signal.SIGKILL)
        await running.finish()
    await member.cancel_process(process.id, "enough")
    async with live() as running:
        await running.line_with("attempts taken up")
        assert State.CANCELLED is (await process.wait(60)).state
    (states,) = [states for name, states in slurm_cluster.jobs().items() if process.id in name]
    assert ["CANCELLED"] == states


async def test_no_more_is_taken_than_the_slurm_cluster_has_room_for(live, member):
    """Two may wait in its queue beside what runs: the rest is for others."""
    options = ("--max-pending", "2", "--allow-partition", "other")  # whose node is not there
    async with live(*options) as running:
        await running.line_with("runtime ready")
        submitted = [await member.submit("true", runtime_type="slurm") for _ in range(4)]
        for _ in range(2):
            await running.line_with("job submitted")
        states = [(await member.get_process(one.id)).state for one in submitted]
        assert [State.RUNNING, State.RUNNING, State.WAITING, State.WAITING] == states
        for one in submitted:
            await member.cancel_process(one.id)
        for one in submitted:
            assert State.CANCELLED is (await one.wait(60)).state


@pytest.mark.slurm
@pytest.mark.settings(tick=0.5)
async def test_a_runtime_killed_amid_a_hundred_jobs_runs_each_once_and_closes_all(
    launch, member, slurm_cluster, tmp_path
):
    """What it had not begun yet when it was killed goes back, and comes as another attempt."""
    trace = tmp_path / "trace"
    script = "import sys, time; open(sys.argv[1], 'a').write(sys.argv[2] + '\\n'); time.sleep(1)"
    env = {**slurm_cluster.env, "COLONIES_STATE_DIR": str(tmp_path / "state")}
    submitted = await asyncio.gather(
        *(
            member.submit(
                sys.executable, "-c", script, str(trace), i, runtime_type="slurm", lease=600
            )
            for i in range(100)
        )
    )
    for _ in range(3):
        async with launch("slurm", "--name", "one", **env) as running:
            await running.line_with("runtime ready")
            for _ in range(25):
                await running.line_with("process started")
            running.send(signal.SIGKILL)
            await running.finish()
    async with launch("slurm", "--name", "one", **env) as running:
        await running.line_with("attempts taken up")
        done = await asyncio.gather(*(process.wait(120) for process in submitted))
        running.send(signal.SIGTERM)
        assert 0 == await running.finish()
    assert [] == [one.errors for one in done if one.state is not State.SUCCESS]
    assert sorted(map(str, range(100))) == sorted(trace.read_text().split())
    held = tmp_path / "state" / "held"
    assert ["subscription"] == [path.name for path in held.rglob("*") if path.is_file()]
