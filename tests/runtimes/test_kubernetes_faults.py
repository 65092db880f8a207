"""What holds whatever an API does: one that lies, hangs, evicts and loses replies."""

import asyncio
import random
from collections import Counter

import msgspec
import pytest

from colonies.core.process import new_id
from runtimes.base import Job
from runtimes.kubernetes import api
from runtimes.kubernetes.plugin import Kubernetes
from runtimes.kubernetes.terms import name_of
from tests.runtimes.bad_day import long, many, spend
from tests.runtimes.bad_kubernetes import PATIENCE, BadDay, ending_of
from tests.runtimes.kube_server import Cluster


@pytest.fixture
async def kubernetes(tmp_path, monkeypatch):
    (tmp_path / "pods").mkdir()
    monkeypatch.setattr(api, "WATCHED", 2)
    async with Cluster(tmp_path / "pods") as cluster:
        (tmp_path / "kubeconfig").write_text(cluster.kubeconfig())
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        settings = Kubernetes.Settings(
            allow_image=["any"], job_dir=str(tmp_path / "jobs"), patience=PATIENCE, max_pending=1000
        )
        plugin = Kubernetes(settings)
        plugin.runtime_id = new_id()
        plugin.gone_after, plugin.busy_pause = 4, 0.5
        await plugin.open()
        plugin.cluster = cluster
        yield plugin
        await plugin.close()


@pytest.mark.parametrize("hung", ["jobs", "pods"])
async def test_nothing_is_lost_where_one_watch_shows_nothing(kubernetes, process_of, hung):
    cluster = kubernetes.cluster

    async def hang(request, answer):
        if request.query_params.get("watch") and request.path_params["plural"] == hung:
            await asyncio.Event().wait()
        return await answer(request)

    cluster.fault = hang
    process = process_of("echo", "here")
    process = msgspec.structs.replace(process, process_id=new_id(), attempt=1)
    outcome = await kubernetes.execute(process, Job(None))
    assert (["here"], []) == (outcome.output, outcome.errors)


@pytest.mark.timeout(500)
@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=long)])
async def test_no_job_is_created_twice_or_stuck_and_one_list_a_second_sees_all(
    kubernetes, process_of, count
):
    cluster = kubernetes.cluster
    seed = random.SystemRandom().getrandbits(32)
    chance = random.Random(seed)
    cluster.pods.pretend = lambda job: (
        chance.uniform(0, 1),
        *ending_of(job["metadata"]["name"])[:2],
    )
    cluster.fault = day = BadDay(cluster, seed)
    spent = await spend(kubernetes, many(process_of("true", env={"A": "b"}), count))

    assert {1} == set(Counter(cluster.created).values())
    for process, outcome in spent.results:
        name = name_of(process)
        error = (outcome.errors or [""])[0]
        if name in day.never_created and name not in cluster.created:
            assert error.startswith("vanished")
        else:
            assert name in cluster.created
            assert error.startswith(ending_of(name)[2]), (error, name)
    for plural in ("jobs", "pods"):
        assert cluster.calls.count(("list", plural)) <= spent.seconds + 2
