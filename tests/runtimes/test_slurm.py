"""Processes as jobs of a real Slurm, started by the tests; skipped where none is installed."""

import asyncio
import os
import signal
import sys

import msgspec
import pytest

from colonies.core.process import State, new_id
from runtimes.base import Job
from runtimes.slurm.plugin import Slurm
from tests.programs import NotHere
from tests.runtimes.slurm_cluster import MISSING, WHY, Cluster

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=WHY),
    pytest.mark.timeout(180),
]

EXACT = """
import json, os, sys
names = ("A", "LINES", "a.b", "UID", "RAW", "EMPTY")
seen = {name: os.environb[name.encode()].hex() for name in names}
print(json.dumps([[word.hex() for word in map(os.fsencode, sys.argv[1:])], seen]))
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    running = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        running.start()
        yield running
    except NotHere as why:
        pytest.skip(str(why))
    finally:
        running.stop()


class Diary:
    """What a job says of itself."""

    def __init__(self):
        self.texts = []
        self.streams = {}
        self._news = asyncio.Event()

    async def write(self, data, stream, offset):
        kept = self.streams.setdefault(stream, b"")
        assert offset == len(kept)
        self.streams[stream] = kept + data
        self._news.set()

    async def reached(self, stream):
        return len(self.streams.get(stream, b""))

    async def progress(self, progress):
        self.texts.append(progress.text)
        self._news.set()

    async def until(self, happened):
        async with asyncio.timeout(90):
            while not happened():
                self._news.clear()
                await self._news.wait()

    async def said(self, *words):
        await self.until(lambda: any(all(word in text for word in words) for text in self.texts))


@pytest.fixture
def diary():
    return Diary()


@pytest.fixture
def job(diary):
    return Job(None, diary)


@pytest.fixture
async def slurm_with(cluster, tmp_path, monkeypatch):
    """Open a plugin at the cluster with these settings; again is another life of it."""
    for name, value in cluster.env.items():
        monkeypatch.setenv(name, value)
    opened = []
    runtime_id = new_id()

    async def make(**settings):
        plugin = Slurm(Slurm.Settings(job_dir=str(tmp_path / "it's % jobs"), **settings))
        plugin.runtime_id = runtime_id
        await plugin.open()
        opened.append(plugin)
        return plugin

    yield make
    for plugin in opened:
        await plugin.close()


@pytest.fixture
def command(process_of):
    """Make a process of a Python script."""

    def make(script, *args, **fields):
        process = process_of(sys.executable, "-c", script, *args, **fields)
        return msgspec.structs.replace(process, process_id=new_id(), attempt=1)

    return make


@pytest.mark.parametrize("json", [True, False])
async def test_standard_output_by_line_is_the_output_and_is_logged(
    slurm_with, command, job, diary, json
):
    slurm = await slurm_with(json=json)
    outcome = await slurm.execute(command("print('one'); print('two')"), job)
    assert (["one", "two"], True) == (outcome.output, outcome.is_success)
    assert {"stdout": b"one\ntwo\n"} == diary.streams


async def test_what_is_sent_arrives_exactly(slurm_with, command, job):
    args = [
        "two\nlines\n",
        "a && b",
        "$(id) `id` $HOME",
        "'\"\\n",
        "raw \udcff\udcfe",
        "-x",
        " ",
        "",
    ]
    env = {
        "A": "it's $(id) && `x` \\n \"",
        "LINES": "a\nb\n",
        "a.b": "no name for a shell",
        "UID": "nor is this one's to have",
        "RAW": "\udcff\udc80",
        "EMPTY": "",
    }
    slurm = await slurm_with()
    outcome = await slurm.execute(command(EXACT, *args, env=env), job)
    words, seen = msgspec.json.decode(outcome.output[0])
    assert [word.encode(errors="surrogateescape").hex() for word in args] == words
    assert {name: text.encode(errors="surrogateescape").hex() for name, text in env.items()} == seen


async def test_an_exit_code_and_a_signal_are_told_apart(slurm_with, command):
    slurm = await slurm_with()
    code = "import sys; print('out'); print('why', file=sys.stderr); sys.exit(3)"
    kill = "import os; os.kill(os.getpid(), 11)"
    failed, killed = await asyncio.gather(
        *(slurm.execute(command(one), Job(None, Diary())) for one in (code, kill))
    )
    assert ["exit code 3", "why", "out"] == failed.errors
    assert "killed by signal 11" == killed.errors[0]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        (
            {"kwargs": {"partition": "x"}},
            "kwargs.partition: 'x' is not allowed, allowed: debug, short",
        ),
        ({"kwargs": {"account": "x"}}, "kwargs.account: 'x' is not allowed, nothing is"),
        ({"kwargs": {"gres": "gpu:3"}}, "kwargs.gres: 'gpu:3' is not allowed, allowed: gpu:2"),
        ({"kwargs": {"image": "x"}}, "kwargs.image: expected one of partition, account, qos, gres"),
        ({"env": {"A": "\0"}}, "env: 'A' cannot be a variable"),
    ],
)
async def test_what_is_not_allowed_is_refused_before_anything_starts(
    slurm_with, command, job, fields, error
):
    slurm = await slurm_with(allow_partition=["debug", "short"], allow_gres=["gpu:2"])
    outcome = await slurm.execute(command("", **fields), job)
    assert [f"refused: {error}"] == outcome.errors
    assert [] == list(slurm._folder().iterdir())


async def test_what_is_allowed_is_asked_for(slurm_with, command, job):
    slurm = await slurm_with(allow_partition=["debug", "short"], allow_gres=["gpu:2"])
    script = (
        "import os; print(os.environ['SLURM_JOB_PARTITION'], os.environ['SLURM_CPUS_PER_TASK'])"
    )
    process = command(script, kwargs={"partition": "short", "gres": "gpu:1"}, max_exec_time=50)
    conditions = msgspec.structs.replace(process.spec.conditions, cores=3)
    spec = msgspec.structs.replace(process.spec, conditions=conditions)
    outcome = await slurm.execute(msgspec.structs.replace(process, spec=spec), job)
    assert ["short 3"] == outcome.output


async def test_what_slurm_will_never_run_fails_with_its_words(slurm_with, command, job):
    slurm = await slurm_with(allow_partition=["nowhere"])
    outcome = await slurm.execute(command(""), job)
    assert "refused: " in outcome.errors[0]
    assert "invalid partition" in outcome.errors[0]


async def test_a_cancel_is_over_when_the_job_is(slurm_with, command, job, diary, cluster):
    slurm = await slurm_with()
    process = command("import time; print('here', flush=True); time.sleep(1000)")
    running = asyncio.create_task(slurm.execute(process, job))
    await diary.until(lambda: diary.streams.get("stdout") == b"here\n")
    assert await slurm.cancel(process)
    with pytest.raises(asyncio.CancelledError):
        await running
    states = [states for name, states in cluster.jobs().items() if process.process_id in name]
    assert [["CANCELLED"]] == states


async def test_a_job_that_somebody_cancels_in_slurm_has_failed_and_says_so(
    slurm_with, command, job, diary, cluster
):
    slurm = await slurm_with()
    process = command("import time; time.sleep(1000)")
    running = asyncio.create_task(slurm.execute(process, job))
    await diary.said("RUNNING")
    cluster.ask("scancel", f"--name={slurm.prefix}{process.process_id}-1")
    assert "cancelled in the queue system: slurm job" in (await running).errors[0]


async def test_one_that_waits_says_why_and_is_held_and_suspended_ones_are_told(
    slurm_with, command, job, diary, cluster
):
    slurm = await slurm_with(allow_partition=["other"])  # whose node is not there
    process = command("print('at last')")
    running = asyncio.create_task(slurm.execute(process, job))
    await diary.said("queued (PENDING, ")
    job_id = cluster.ask("squeue", "-h", "-o", "%A", f"--name={slurm.prefix}{process.process_id}-1")
    cluster.ask("scontrol", "hold", job_id.strip())
    await diary.said("JobHeldAdmin")
    cluster.ask("scontrol", "update", f"JobId={job_id.strip()}", "Partition=debug")
    cluster.ask("scontrol", "release", job_id.strip())
    assert ["at last"] == (await running).output


async def test_a_suspended_job_is_told(slurm_with, command, job, diary, cluster):
    slurm = await slurm_with()
    process = command("import time; time.sleep(1000)")
    running = asyncio.create_task(slurm.execute(process, job))
    await diary.said("RUNNING")
    job_id = diary.texts[-1].split()[2].rstrip(":")
    cluster.ask("scontrol", "suspend", job_id)
    await diary.said("suspended (SUSPENDED")
    cluster.ask("scontrol", "resume", job_id)
    await slurm.cancel(process)
    await asyncio.wait({running})


@pytest.fixture
def n2(cluster):
    """Have the second node there, for as long as a test takes."""
    cluster.start_node("n2")
    yield "n2"
    cluster.kill_node("n2")


@pytest.mark.slurm
async def test_a_lost_node_is_told_and_what_may_be_tried_again_is(slurm_with, command, cluster, n2):
    """One that allows retries is queued again by Slurm, and runs when the node is back."""
    slurm = await slurm_with(allow_partition=["other"])
    script = (
        "import os, time; count = os.environ.get('SLURM_RESTART_COUNT');"
        "print(count) if count else time.sleep(1000)"
    )
    once, again = Diary(), Diary()
    first = asyncio.create_task(slurm.execute(command(script), Job(None, once)))
    later = command(script, max_retries=1)
    second = asyncio.create_task(slurm.execute(later, Job(None, again)))
    await once.said("running (RUNNING, n2)")
    await again.said("running (RUNNING, n2)")
    await asyncio.to_thread(cluster.kill_node, "n2")
    assert (await first).errors[0].startswith("node failed: slurm job")
    await again.said("queued (PENDING, BeginTime)")
    await asyncio.to_thread(cluster.start_node, "n2")
    name = f"{slurm.prefix}{later.process_id}-1"
    job_id = cluster.ask("squeue", "-h", "-o", "%A", f"--name={name}").strip()
    cluster.ask("scontrol", "update", f"JobId={job_id}", "StartTime=now")  # it waits for minutes
    await again.said("restarted 1 times")
    assert ["1"] == (await second).output


async def test_strays_of_an_earlier_life_are_ended_and_their_folders_removed(
    slurm_with, command, job, diary, cluster
):
    slurm = await slurm_with()
    process = command("import time; time.sleep(1000)")
    running = asyncio.create_task(slurm.execute(process, job))
    await diary.said("RUNNING")
    await slurm.leave()
    await asyncio.wait({running})
    assert running.cancelled()
    again = await slurm_with()
    await again.recover([])
    name = f"{slurm.prefix}{process.process_id}-1"
    await asyncio.to_thread(cluster.wait, lambda: cluster.jobs()[name] == ["CANCELLED"])
    assert [] == list(again._folder().iterdir())


async def test_another_job_of_the_same_attempt_does_not_run(slurm_with, command, job, cluster):
    """As if the answer of sbatch had been lost and the job come all the same, later."""
    slurm = await slurm_with()
    process = command("open('ran', 'a').write('x'); import time; time.sleep(2)", env={"HOME": "/"})
    slurm.settings = msgspec.structs.replace(slurm.settings, cwd=str(cluster.folder))
    running = asyncio.create_task(slurm.execute(process, job))
    order = slurm._order(process)
    await asyncio.to_thread(cluster.wait, order.folder.script.exists)
    await slurm.submit(order)
    assert (await running).is_success
    assert "x" == (cluster.folder / "ran").read_text()


@pytest.fixture
def live(launch, cluster, tmp_path):
    """Start a life of one runtime."""

    def start(*options):
        env = {**cluster.env, "COLONIES_STATE_DIR": str(tmp_path / "state")}
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
    live, member, cluster, server
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
    (states,) = [states for name, states in cluster.jobs().items() if process.id in name]
    assert ["CANCELLED"] == states


async def test_no_more_is_taken_than_the_cluster_has_room_for(live, member):
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
    launch, member, cluster, tmp_path
):
    """What it had not begun yet when it was killed goes back, and comes as another attempt."""
    trace = tmp_path / "trace"
    script = "import sys, time; open(sys.argv[1], 'a').write(sys.argv[2] + '\\n'); time.sleep(1)"
    env = {**cluster.env, "COLONIES_STATE_DIR": str(tmp_path / "state")}
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
    left = [path.name for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert ["subscription"] == left
