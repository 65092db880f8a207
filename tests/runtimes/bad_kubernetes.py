"""An API server of Kubernetes on a bad day: it lies, hangs, evicts and loses replies.

Unrealistic: jobs only pretend to run, for up to a second each; how one ends follows from its name.
"""

import asyncio
import random

from starlette.responses import JSONResponse, PlainTextResponse, Response

from tests.runtimes.kube_answers import status
from tests.runtimes.kube_server import is_list

PATIENCE = 1.0

ENDINGS = [
    (0, "", ""),
    (0, "", ""),
    (3, "", "exit code 3"),
    (137, "OOMKilled", "out of memory"),
    (1, "Evicted", "evicted"),
    (1, "DeadlineExceeded", "time limit"),
    (1, "PreemptionByScheduler", "preempted"),
]


def ending_of(name):
    return ENDINGS[int(name.split("-")[1][:6], 16) % len(ENDINGS)]


class BadDay:
    """Decides what becomes of each request."""

    def __init__(self, cluster, seed):
        self.cluster = cluster
        self.chance = random.Random(seed)
        self.never_created = set()
        self.has_lied = False

    async def __call__(self, request, answer):
        luck = self.chance.random()
        if luck > 0.1:
            self.has_lied = False
            return await answer(request)
        kinds = [self.lose, self.hang, self.stammer, self.refuse, self.lie]
        return await self.chance.choice(kinds)(request, answer)

    async def lose(self, request, answer):
        """Do it, and say that it went wrong."""
        if request.query_params.get("watch"):
            return Response(status_code=500)
        await answer(request)
        return status(500, "InternalError", "etcdserver: request timed out")

    async def hang(self, request, answer):
        """Do it or not, and say nothing for too long."""
        if self.chance.random() < 0.5 and not request.query_params.get("watch"):
            await answer(request)
        await asyncio.sleep(PATIENCE + 0.2)
        return Response(status_code=504)

    async def stammer(self, request, answer):
        """Do it, and answer with what cannot be understood."""
        if not request.query_params.get("watch"):
            await answer(request)
        text = self.chance.choice(["", "<html>", '{"kind": "Job"}', "[]", '{"items": [{}]}\n'])
        media = self.chance.choice(["application/json", "text/html"])
        return PlainTextResponse(text, self.chance.choice([200, 502]), media_type=media)

    async def refuse(self, *_):
        return status(429, "TooManyRequests", "too many requests, please try again later")

    async def lie(self, request, answer):
        """Say that it is done, or that there is nothing, if that was not said just now."""
        if request.method == "POST" and request.path_params["plural"] == "jobs":
            job = await request.json()
            if job["metadata"]["name"] in self.cluster.objects["jobs"]:
                return await answer(request)
            self.never_created.add(job["metadata"]["name"])
            return JSONResponse({**job, "metadata": {**job["metadata"], "uid": "none"}}, 201)
        is_watch = request.query_params.get("watch")
        if is_list(request) and not is_watch and not self.has_lied:
            self.has_lied = True
            version = {"resourceVersion": str(self.cluster.version)}
            return JSONResponse({"metadata": version, "items": []})
        return await answer(request)
