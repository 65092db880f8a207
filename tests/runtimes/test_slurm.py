"""Processes as jobs of a real Slurm, started by the tests; skipped where none is installed."""

import asyncio
import sys

import msgspec
import pytest

from colonies.core.process import new_id
from runtimes.base import Job
from runtimes.slurm.plugin import Slurm
from tests.runtimes.conftest import here
from tests.runtimes.diary import Diary
from tests.runtimes.slurm_cluster import Cluster, own_slurm

pytestmark = pytest.mark.timeout(180)

EXACT = """
import json, os, sys
names = ("A", "LINES", "a.b", "UID", "RAW", "EMPTY")
seen = {name: os.environb[name.encode()].hex() for name in names}
print(json.dumps([[word.hex() for word in map(os.fsencode, sys.argv[1:])], seen]))
"""


@pytest.fixture
def cluster(slurm_cluster):
    return slurm_cluster


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

    def make(script, *args, conditions=None, **fields):
        process = process_of(sys.executable, "-c", script, *args, **fields)
        wanted = msgspec.structs.replace(process.spec.conditions, **(conditions or {}))
        spec = msgspec.structs.replace(process.spec, conditions=wanted)
        return msgspec.structs.replace(process, spec=spec, process_id=new_id(), attempt=1)

    return make


async def test_a_check_asks_the_cluster_and_says_what_jobs_may_choose(cluster, monkeypatch):
    for name, value in cluster.env.items():
        monkeypatch.setenv(name, value)
    said = await Slurm(Slurm.Settings(allow_partition=["a", "b"], allow_gres=["gpu:2"])).check()
    assert said[0].startswith("cluster: slurm")
    assert ["partitions: a, b", "accounts: the usual", "qos: the usual", "gres: gpu:2"] == said[1:]


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
    kwargs = {"partition": "short", "gres": "gpu:1"}
    process = command(script, kwargs=kwargs, max_exec_time=50, conditions={"cores": 3})
    outcome = await slurm.execute(process, job)
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


@pytest.mark.parametrize("json", [True, pytest.param(False, marks=pytest.mark.slurm)])
async def test_a_preempted_job_is_told_and_what_may_be_tried_again_is(
    slurm_with, command, cluster, n2, json
):
    slurm = await slurm_with(allow_partition=["other", "first"], json=json)
    script = (
        "import os, time; count = os.environ.get('SLURM_RESTART_COUNT');"
        "print(count) if count else time.sleep(1000)"
    )
    once, again, urgent = Diary(), Diary(), Diary()
    first = asyncio.create_task(slurm.execute(command(script), Job(None, once)))
    later = command(script, max_retries=1)
    second = asyncio.create_task(slurm.execute(later, Job(None, again)))
    await once.said("running (RUNNING, n2)")
    await again.said("running (RUNNING, n2)")
    better = command("", kwargs={"partition": "first"}, conditions={"cores": 2})
    assert (await slurm.execute(better, Job(None, urgent))).is_success
    assert (await first).errors[0].startswith("preempted: slurm job")
    await again.said("queued (PENDING, BeginTime)")
    name = f"{slurm.prefix}{later.process_id}-1"
    job_id = cluster.ask("squeue", "-h", "-o", "%A", f"--name={name}").strip()
    cluster.ask("scontrol", "update", f"JobId={job_id}", "StartTime=now")  # it waits for minutes
    assert ["1"] == (await second).output


@pytest.mark.slurm
async def test_a_job_over_its_time_limit_is_told(slurm_with, command):
    """Slurm counts in whole minutes, and looks twice a minute."""
    plugins = [await slurm_with(json=json) for json in (True, False)]
    script = "import time; print('so far', flush=True); time.sleep(1000)"
    outcomes = await asyncio.gather(
        *(
            plugin.execute(command(script, max_exec_time=1), Job(None, Diary()))
            for plugin in plugins
        )
    )
    for outcome in outcomes:
        assert outcome.errors[0].startswith("time limit: slurm job")
        assert "TIMEOUT" in outcome.errors[0]
        assert "so far" in outcome.errors


@pytest.mark.slurm
@pytest.mark.parametrize("json", [True, False])
async def test_a_job_over_its_memory_is_told(
    tmp_path_factory, slurm_with, command, json, monkeypatch
):
    cluster = Cluster(tmp_path_factory.mktemp("slurm"), is_confining=True)
    with here(own_slurm(cluster)) as confining:
        monkeypatch.setenv("SLURM_CONF", confining.env["SLURM_CONF"])
        slurm = await slurm_with(json=json)
        process = command("x = b'x' * 300_000_000", conditions={"mem": 50})
        outcome = await slurm.execute(process, Job(None, Diary()))
    assert outcome.errors[0].startswith("out of memory: slurm job")


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
