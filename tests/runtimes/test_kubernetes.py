"""``colonies-run kubernetes`` at an API server: the fake of `kube_server.py`, or a real one.

With ``KUBECONFIG`` and ``-m real_k8s`` the tests that a real cluster can pass are run against it,
with ``KUBE_IMAGE`` (an image with Python 3) and in the namespace of the current context.
"""

import asyncio
import os
import signal
import sys

import msgspec
import pytest

from colonies.core.process import State, new_id
from runtimes.base import Job
from runtimes.kubernetes.plugin import Kubernetes
from runtimes.kubernetes.terms import name_of
from tests.runtimes.diary import Diary
from tests.runtimes.kube_server import Cluster
from tests.server.doors import until

EXACT = """
import json, os, sys
print(json.dumps([sys.argv[1:], {name: os.environ.get(name) for name in json.loads(sys.argv[1])}]))
"""

REAL = os.environ.get("KUBE_IMAGE", "python:3.13-slim")

both = pytest.mark.parametrize("where", ["fake", pytest.param("real", marks=pytest.mark.real_k8s)])


@pytest.fixture
def where():
    return "fake"


@pytest.fixture
async def cluster(tmp_path):
    folder = tmp_path / "pods"
    folder.mkdir()
    async with Cluster(folder) as running:
        yield running


@pytest.fixture
async def kubernetes_with(cluster, tmp_path, monkeypatch, where):
    """Open a plugin at the cluster with these settings; again is another life of it."""
    if where == "fake":
        (tmp_path / "kubeconfig").write_text(cluster.kubeconfig())
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    elif not os.environ.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG is not set")
    opened = []
    runtime_id = new_id()

    async def make(**settings):
        settings = {
            "allow_image": [REAL, "missing/*"],
            "job_dir": str(tmp_path / "jobs"),
            **settings,
        }
        settings.setdefault("status_period", 0.1)
        plugin = Kubernetes(Kubernetes.Settings(**settings))
        plugin.runtime_id = runtime_id
        plugin.gone_after, plugin.busy_pause = 2, 0.5
        plugin.cluster = cluster
        await plugin.open()
        opened.append(plugin)
        return plugin

    yield make
    for plugin in opened:
        await plugin.close()


@pytest.fixture
def diary():
    return Diary()


@pytest.fixture
def job(diary):
    return Job(None, diary)


@pytest.fixture
def command(process_of, where):
    """Make a process of a Python script."""

    def make(script, *args, cores=0, **fields):
        program = sys.executable if where == "fake" else "python3"
        process = process_of(program, "-c", script, *args, **fields)
        conditions = msgspec.structs.replace(process.spec.conditions, cores=cores)
        spec = msgspec.structs.replace(process.spec, conditions=conditions)
        token = new_id()
        return msgspec.structs.replace(
            process, process_id=new_id(), attempt=1, attempt_token=token, spec=spec
        )

    return make


async def test_a_check_says_which_cluster_and_what_jobs_may_choose(cluster, tmp_path, monkeypatch):
    (tmp_path / "kubeconfig").write_text(cluster.kubeconfig())
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    said = await Kubernetes(Kubernetes.Settings(allow_image=["a", "b/*"])).check()
    assert said[0].startswith("cluster: http")
    assert ["images: a, b/*", "nodes: the usual", "user: 65532"] == said[1:]


LONG = "import time; print('here', flush=True); time.sleep(1000)"


@both
async def test_what_a_job_says_is_the_output_and_is_logged(kubernetes_with, command, job, diary):
    kubernetes = await kubernetes_with()
    process = command("print('one'); print('two')")
    outcome = await kubernetes.execute(process, job)
    assert (["one", "two"], []) == (outcome.output, outcome.errors)
    assert {"stdout": b"one\ntwo\n"} == diary.streams
    await kubernetes.forget(process)
    assert [] == list(kubernetes._folder().iterdir())


@both
async def test_what_is_sent_arrives_exactly(kubernetes_with, command, job, cluster):
    env = {
        "A": "it's $(id) && `x` \\n \"",
        "LINES": "a\nb\n",
        "B": "$(A) $$(A) $$ ümlaut",
        "a.b": "no name for a shell",
        "EMPTY": "",
    }
    names = msgspec.json.encode(list(env)).decode()
    args = [
        "two\nlines\n",
        "a && b",
        "$(id) `id` $HOME $(A) $$(A) $$",
        "'\"\\n",
        "-x",
        " ",
        "",
        "é",
    ]
    kubernetes = await kubernetes_with()
    process = command(EXACT, names, *args, env=env)
    outcome = await kubernetes.execute(process, job)
    words, seen = msgspec.json.decode(outcome.output[0])
    assert (args, env) == (words[1:], seen)
    await kubernetes.forget(process)


async def test_env_is_in_a_secret_of_the_job_and_goes_with_it(
    kubernetes_with, command, job, cluster
):
    kubernetes = await kubernetes_with()
    process = command("", env={"PASSWORD": "hunter2"})
    await kubernetes.execute(process, job)
    created = cluster.objects["jobs"][name_of(process)]
    (secret,) = cluster.objects["secrets"].values()
    assert created["metadata"]["uid"] == secret["metadata"]["ownerReferences"][0]["uid"]
    assert "hunter2" not in str(created)
    await kubernetes.forget(process)
    await cluster.until(lambda: not any(cluster.objects.values()))


@both
@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("print('out'); raise SystemExit(3)", "exit code 3"),
        ("import os; os.kill(os.getpid(), 11)", "killed by signal 11"),
    ],
)
async def test_an_exit_code_and_a_signal_are_told_apart(
    kubernetes_with, command, job, script, error
):
    kubernetes = await kubernetes_with()
    process = command(script)
    outcome = await kubernetes.execute(process, job)
    assert error == outcome.errors[0]
    await kubernetes.forget(process)


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("OOMKilled", "out of memory: kubernetes job"),
        ("Evicted", "evicted: kubernetes job"),
        ("PreemptionByScheduler", "preempted: kubernetes job"),
        ("DeadlineExceeded", "time limit: kubernetes job"),
    ],
)
async def test_what_ended_a_pod_from_outside_is_told(
    kubernetes_with, command, diary, reason, error
):
    kubernetes = await kubernetes_with()
    cluster = kubernetes.cluster
    running = asyncio.create_task(kubernetes.execute(command(LONG), Job(None, diary)))
    await diary.until(lambda: diary.streams.get("stdout") == b"here\n")
    (pod,) = cluster.pods.running
    cluster.pods.strike(pod, reason)
    outcome = await running
    assert outcome.errors[0].startswith(error)
    assert "here" in outcome.errors


async def test_a_pod_that_somebody_deletes_has_not_ended_by_itself(
    kubernetes_with, command, job, diary, cluster
):
    kubernetes = await kubernetes_with()
    running = asyncio.create_task(kubernetes.execute(command(LONG), job))
    await diary.said("running")
    (pod,) = cluster.objects["pods"].values()
    await cluster.pods.delete(pod)
    assert not (await running).is_success


async def test_a_job_that_somebody_deletes_has_vanished(
    kubernetes_with, command, job, diary, cluster
):
    kubernetes = await kubernetes_with()
    process = command(LONG)
    running = asyncio.create_task(kubernetes.execute(process, job))
    await diary.said("running")
    await cluster.remove(name_of(process), orphan=False)
    assert (await running).errors[0].startswith("vanished: kubernetes job")


@both
async def test_an_overrun_limit_ends_the_pod_and_keeps_its_log(kubernetes_with, command, job):
    kubernetes = await kubernetes_with()
    process = command(LONG, max_exec_time=1)
    outcome = await kubernetes.execute(process, job)
    assert outcome.errors[0].startswith("time limit: kubernetes job")
    await kubernetes.forget(process)


@both
async def test_an_image_that_cannot_be_pulled_is_given_up(kubernetes_with, command, job, diary):
    kubernetes = await kubernetes_with(start_patience=1)
    process = command("", kwargs={"image": "missing/image:1"})
    outcome = await kubernetes.execute(process, job)
    assert outcome.errors[0].startswith("no image: kubernetes job")
    await diary.said("queued", "Pull")
    await kubernetes.forget(process)


@both
async def test_what_no_node_can_take_says_so_and_is_given_up_if_wished(
    kubernetes_with, command, job, diary
):
    kubernetes = await kubernetes_with(schedule_patience=1)
    process = command("", cores=9000)
    outcome = await kubernetes.execute(process, job)
    assert outcome.errors[0].startswith("unschedulable: kubernetes job")
    await diary.said("queued (Unschedulable", "Insufficient cpu")
    await kubernetes.forget(process)


async def test_a_program_that_is_not_there_is_not_started(kubernetes_with, process_of, job):
    kubernetes = await kubernetes_with()
    process = msgspec.structs.replace(process_of("/no/such"), process_id=new_id(), attempt=1)
    outcome = await kubernetes.execute(process, job)
    assert outcome.errors[0].startswith("not started: kubernetes job")


async def test_what_is_not_allowed_is_refused_before_anything_starts(
    kubernetes_with, command, job, cluster
):
    kubernetes = await kubernetes_with()
    outcome = await kubernetes.execute(command("", kwargs={"image": "x"}), job)
    why = f"refused: kwargs.image: 'x' is not allowed, allowed: {REAL}, missing/*"
    assert [why] == outcome.errors
    assert {} == cluster.objects["jobs"]


async def test_settings_without_sense_are_told(kubernetes_with):
    with pytest.raises(ValueError, match="node_selector: expected name=value, not 'ssd'"):
        await kubernetes_with(node_selector=["ssd"])


@both
async def test_a_cancel_is_over_when_the_pod_is_gone(
    kubernetes_with, command, diary, cluster, where
):
    kubernetes = await kubernetes_with()
    process = command(LONG)
    running = asyncio.create_task(kubernetes.execute(process, Job(None, diary)))
    await diary.until(lambda: diary.streams.get("stdout") == b"here\n")
    assert await kubernetes.cancel(process)
    with pytest.raises(asyncio.CancelledError):
        await running
    if where == "fake":
        assert ({}, {}) == (cluster.objects["jobs"], cluster.pods.running)


@both
async def test_the_next_life_goes_on_with_a_job(kubernetes_with, command, diary, cluster, where):
    script = "import os, time; print('here', flush=True); time.sleep(3); print(os.environ['A'])"
    first, process = await kubernetes_with(), command(script, env={"A": "b"})
    left = asyncio.create_task(first.execute(process, Job(None, diary)))
    await diary.until(lambda: diary.streams.get("stdout") == b"here\n")
    await first.leave()
    await asyncio.wait({left})
    assert left.cancelled()
    await first.close()
    again = await kubernetes_with()
    await again.recover([process])
    outcome = await again.execute(process, Job(None, diary))
    assert ["here", "b"] == outcome.output
    assert b"here\nb\n" == diary.streams["stdout"]
    await again.forget(process)
    if where == "fake":
        assert [name_of(process)] == cluster.created


async def test_strays_of_an_earlier_life_are_ended(kubernetes_with, command, job, diary, cluster):
    first, process = await kubernetes_with(), command(LONG)
    left = asyncio.create_task(first.execute(process, job))
    await diary.said("running")
    await first.leave()
    await asyncio.wait({left})
    again = await kubernetes_with()
    await again.recover([])
    await cluster.until(lambda: not cluster.objects["jobs"] and not cluster.pods.running)


async def test_a_job_created_before_a_kill_gets_its_secret_from_the_next_life(
    kubernetes_with, command, job, cluster
):
    """As if the first life had been killed between the two."""
    kubernetes, process = await kubernetes_with(), command("", env={"A": "b"})
    order = kubernetes._order(process)
    kubernetes.write(order)
    assert name_of(process) == await kubernetes.submit(order)
    assert {} == cluster.objects["secrets"]
    assert (await kubernetes.execute(process, job)).is_success
    assert [name_of(process)] == cluster.created


async def test_a_job_of_an_earlier_attempt_of_the_same_number_is_not_taken_for_ours(
    kubernetes_with, command, cluster
):
    kubernetes, process = await kubernetes_with(), command("print('old')")
    await kubernetes.execute(process, Job(None))
    newer = msgspec.structs.replace(process, attempt_token=new_id())
    kubernetes._order(newer).folder.remove()
    outcome = await kubernetes.execute(newer, Job(None))
    assert ["old"] == outcome.output
    assert [name_of(process)] * 2 == cluster.created


async def test_a_watch_that_is_too_old_is_begun_anew(
    *, kubernetes_with, command, job, diary, cluster, tmp_path
):
    go = tmp_path / "go"
    os.mkfifo(go)
    kubernetes = await kubernetes_with()
    running = asyncio.create_task(kubernetes.execute(command(f"open({str(go)!r}).read()"), job))
    await diary.said("running")
    before = cluster.calls.count(("list", "jobs"))
    cluster.forget_history()
    async with cluster.changed:
        cluster.changed.notify_all()
    await until(lambda: cluster.calls.count(("list", "jobs")) > before)
    await asyncio.to_thread(go.write_text, "now")
    assert (await running).is_success
    assert before + 1 == cluster.calls.count(("list", "jobs"))


@pytest.mark.settings(tick=0.5)
async def test_a_runtime_killed_amid_jobs_runs_each_once_and_closes_all(
    launch, member, cluster, tmp_path
):
    (tmp_path / "kubeconfig").write_text(cluster.kubeconfig())
    options = ["--name", "one", "--allow-image", "any"]
    env = {
        "KUBECONFIG": str(tmp_path / "kubeconfig"),
        "COLONIES_STATE_DIR": str(tmp_path / "state"),
        "COLONIES_KUBERNETES_JOB_DIR": str(tmp_path / "jobs"),
    }
    trace = tmp_path / "trace"
    script = "import sys, time; open(sys.argv[1], 'a').write(sys.argv[2] + '\\n'); time.sleep(1)"
    submitted = await asyncio.gather(
        *(
            member.submit(
                sys.executable, "-c", script, str(trace), i, runtime_type="kubernetes", lease=60
            )
            for i in range(20)
        )
    )
    async with launch("kubernetes", *options, **env) as running:
        for _ in range(20):
            await running.line_with("process started")
        running.send(signal.SIGKILL)
        await running.finish()
    async with launch("kubernetes", *options, **env) as running:
        await running.line_with("attempts taken up")
        running.send(signal.SIGKILL)
        await running.finish()
    async with launch("kubernetes", *options, **env) as running:
        await running.line_with("attempts taken up")
        following = asyncio.create_task(running.finish())
        done = await asyncio.gather(*(process.wait(60) for process in submitted))
        running.send(signal.SIGTERM)
        assert 0 == await following
    assert {State.SUCCESS} == {one.state for one in done}
    assert {1} == {one.attempt for one in done}
    assert sorted(map(str, range(20))) == sorted(trace.read_text().split())
