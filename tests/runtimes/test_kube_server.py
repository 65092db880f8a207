"""The fake API server against what a real one, v1.36.2, answered to the same requests."""

import asyncio
import json
import re
from pathlib import Path

import httpx2
import msgspec
import pytest
from lightkube.resources.batch_v1 import Job

from runtimes.job_state import Phase
from runtimes.kubernetes.state import sight_of
from tests.runtimes.kube_schema import problems
from tests.runtimes.kube_server import TOKEN, Cluster

EXCHANGES = json.loads(Path(__file__).with_name("kube_contract.json").read_text())

CHANCE = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"  # uids
    r"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ|proc://\d+"
    r"|(?<=rec-ok-)\w{5}\b|(?<=rec-fail-)\w{5}\b|(?<=nn-)\w{5}\b"
)


def plain(value):
    """Give an answer without what is different each time."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items() if key != "resourceVersion"}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return CHANCE.sub("*", value) if isinstance(value, str) else value


@pytest.fixture
async def cluster(tmp_path):
    async with Cluster(tmp_path, lag=0.2) as running:
        yield running


class Asker:
    def __init__(self, cluster):
        self.cluster = cluster
        self.client = httpx2.AsyncClient(base_url=cluster.url, trust_env=False)

    def request(self, exchange):
        path = exchange["path"]
        for job, pod in (("rec-ok", "rec-ok-qp5fv"), ("nn", "nn-7gx7j")):
            found = [name for name in self.cluster.objects["pods"] if name.startswith(f"{job}-")]
            path = path.replace(pod, found[0] if found else pod)
        body = exchange.get("body")
        content = body if body is None or isinstance(body, str) else json.dumps(body)
        tokens = {"good": f"Bearer {TOKEN}", "bad": "Bearer nope"}
        headers = (
            {"authorization": tokens[exchange["token"]]} if exchange["token"] in tokens else {}
        )
        params = dict(exchange.get("params", {}))
        return self.client.build_request(
            exchange["method"], path, params=params, content=content, headers=headers
        )

    async def answer(self, exchange):
        return await self.client.send(self.request(exchange))

    async def events(self, exchange, since):
        """Give what a watch says, until it has said as much as the recorded one."""
        request = self.request({**exchange, "params": {**exchange["params"], "watch": "true"}})
        request.url = request.url.copy_set_param("resourceVersion", str(since))
        found = []
        reply = await self.client.send(request, stream=True)
        async for line in reply.aiter_lines():
            found.append(json.loads(line))
            if len(found) == len(exchange["events"]):
                break
        await reply.aclose()
        return found


async def settled(cluster, what):
    """Wait until what a recording took time for has happened here."""
    pods, jobs = cluster.objects["pods"], cluster.objects["jobs"]
    ends = {"job-get-complete": "rec-ok", "job-get-failed": "rec-fail", "pods-failed": "rec-fail"}
    if name := ends.get(what):
        await cluster.until(lambda: len(jobs[name]["status"].get("conditions", [])) == 2)
    if what == "pods-after-delete":
        await cluster.until(lambda: not pods)
    if what == "pods-unscheduled":
        await cluster.until(lambda: any(name.startswith("nn-") for name in pods))


async def test_the_fake_answers_what_a_real_server_has_answered(cluster):
    asker = Asker(cluster)
    loose = {"pod-list-of-job", "pod-log"}  # asked while a job ran: its moment is not ours
    since = 0
    for exchange in EXCHANGES:
        what = exchange["what"]
        cluster.pods.has_scheduler = what != "job-create-nonode"
        if "events" in exchange:
            found = await asker.events(exchange, since)
            assert plain(exchange["events"]) == plain(found), what
            continue
        await settled(cluster, what)
        answer = await asker.answer(exchange)
        assert exchange["status"] == answer.status_code, what
        assert exchange.get("warning") == answer.headers.get("warning"), what
        if what == "job-create":
            since = int(answer.json()["metadata"]["resourceVersion"])
        if what in loose:
            continue
        body = answer.json() if isinstance(exchange["answer"], dict) else answer.text
        assert plain(exchange["answer"]) == plain(body), what
        if what == "job-create-nonode":
            cluster.pods.has_scheduler = False
            await settled(cluster, "pods-unscheduled")
    await asker.client.aclose()


def test_what_was_recorded_reads_as_running_until_it_is_complete():
    events = next(one["events"] for one in EXCHANGES if one["what"] == "job-watch-ok")
    jobs = [msgspec.convert(one["object"], Job) for one in events]
    phases = [sight_of("n", "j", job, []).phase for job in jobs]
    assert [Phase.QUEUED] * 3 + [Phase.ENDED] == phases


def test_the_schema_finds_what_is_wrong():
    assert ["spec.nope is unknown", "spec.template is missing"] == sorted(
        problems("Job", {"spec": {"nope": 1}})
    )


async def test_a_version_that_is_too_old_is_gone(cluster):
    """Not recorded, but as the documentation of the API says."""
    cluster.forget_history()
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx2.AsyncClient(base_url=cluster.url, headers=headers, trust_env=False) as client:
        url = "/apis/batch/v1/namespaces/default/jobs?watch=true&resourceVersion=1"
        answer = await client.get(url)
    assert [200, "ERROR", 410] == [
        answer.status_code,
        answer.json()["type"],
        answer.json()["object"]["code"],
    ]


async def test_a_watch_sees_what_comes_while_it_is_open(cluster):
    asker = Asker(cluster)
    create = next(one for one in EXCHANGES if one["what"] == "job-create-fail")
    watch = {**create, "method": "GET", "params": {"timeoutSeconds": "5"}, "events": [1]}
    watch.pop("body")
    seeing = asyncio.create_task(asker.events(watch, cluster.version))
    await asker.answer(create)
    assert ["ADDED"] == [one["type"] for one in await seeing]
    await asker.client.aclose()
