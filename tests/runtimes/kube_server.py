"""An API server of Kubernetes for tests: a fake, pinned to what a real v1.36 was seen to answer.

It knows Jobs, pods, their logs and Secrets, in as far as ``colonies-run kubernetes`` asks for them;
`kube_contract.json` holds what it is compared with. Unrealistic: one node, no quotas, no roles but
a token, no managed fields, no etcd; names are looked up by what a resource needs and nothing else.
"""

import asyncio
import contextlib
import copy
import json
import socket
from datetime import UTC, datetime
from uuid import uuid4

import uvicorn
import yaml
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.programs import ROOT
from tests.runtimes.kube_answers import (
    GROUPS,
    KINDS,
    complete_job,
    forbidden,
    invalid_job,
    named,
    status,
)
from tests.runtimes.kube_pods import Pods
from tests.runtimes.kube_schema import unknown_field

TOKEN = "the-token"
PRESERVED = (
    '299 - "child pods are preserved by default when jobs are deleted; set propagationPolicy='
    'Background to remove them or set propagationPolicy=Orphan to suppress this warning"'
)
MANIFESTS = list(
    yaml.safe_load_all((ROOT / "examples/kubernetes/runtime/runtime.yaml").read_text())
)
ROLE = next(one for one in MANIFESTS if one["kind"] == "Role")


def now():
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Cluster:
    """What an etcd would hold, the controllers around it, and the door to it."""

    def __init__(self, folder, *, lag=0.02):
        """``lag`` is what a real job controller takes about a second for."""
        self.lag = lag
        self.objects = {kind: {} for kind in GROUPS}
        self.history = []  # (version, plural, type, object)
        self.version = 200
        self.oldest = 0
        self.watches = 0  # those that were open when this grew are ended
        self.calls = []  # (method, plural, verb)
        self.created = []  # names of Jobs, as often as they came to be
        self.fault = None
        self.changed = asyncio.Condition()
        self.pods = Pods(self, folder)
        self.tasks = set()

    async def __aenter__(self):
        routes = [
            Route("/version", self.show_version),
            Route("/readyz", lambda _: PlainTextResponse("ok")),
            Route("/api/v1/namespaces/{ns}/pods/{name}/log", self.guarded(self.log)),
        ]
        for base in ("/apis/batch/v1/namespaces/{ns}/{plural}", "/api/v1/namespaces/{ns}/{plural}"):
            routes += [
                Route(base, self.guarded(self.collection), methods=["GET", "POST"]),
                Route(base + "/{name}", self.guarded(self.one), methods=["GET", "DELETE"]),
            ]
        config = uvicorn.Config(
            Starlette(routes=routes), log_level="critical", lifespan="off", ws="none",
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        self.server = uvicorn.Server(config)
        self.socket = socket.create_server(("127.0.0.1", 0))
        # What connects before it serves is answered when it does.
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.serving = asyncio.create_task(self.server._serve([self.socket]))
        return self

    async def __aexit__(self, *_):
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.pods.close()
        self.server.should_exit = True
        async with self.changed:
            self.changed.notify_all()
        await asyncio.wait({self.serving})
        self.socket.close()

    def kubeconfig(self, namespace="default"):
        cluster = {"name": "c", "cluster": {"server": self.url}}
        user = {"name": "u", "user": {"token": TOKEN}}
        context = {"name": "x", "context": {"cluster": "c", "user": "u", "namespace": namespace}}
        parts = {"clusters": [cluster], "users": [user], "contexts": [context]}
        return json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "x", **parts})

    def start(self, work):
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def until(self, happened):
        async with asyncio.timeout(30), self.changed:
            await self.changed.wait_for(happened)

    # What is stored.

    async def put(self, plural, thing, change="MODIFIED"):
        self.version += 1
        thing["metadata"]["resourceVersion"] = str(self.version)
        known = self.objects[plural]
        if change == "DELETED":
            known.pop(thing["metadata"]["name"], None)
        else:
            known[thing["metadata"]["name"]] = thing
        self.history.append((self.version, plural, change, copy.deepcopy(thing)))
        async with self.changed:
            self.changed.notify_all()

    def forget_history(self):
        """Make all that was seen too old to go on from."""
        self.version += 1
        self.oldest = self.version
        self.history.clear()
        self.watches += 1

    async def remove(self, name, *, orphan):
        """Delete a Job and, in the background, what is its."""
        job = self.objects["jobs"][name]
        await self.put("jobs", job, "DELETED")
        for pod in list(self.objects["pods"].values()):
            if job["metadata"]["uid"] in [o["uid"] for o in pod["metadata"]["ownerReferences"]]:
                if orphan:
                    pod["metadata"].pop("ownerReferences")
                    pod["metadata"].pop("finalizers", None)
                    await self.put("pods", pod)
                else:
                    self.start(self.pods.delete(pod))
        for secret in list(self.objects["secrets"].values()):
            owners = secret["metadata"].get("ownerReferences") or []
            if job["metadata"]["uid"] in [owner["uid"] for owner in owners]:
                await self.put("secrets", secret, "DELETED")

    # The door.

    def guarded(self, answer):
        async def asked(request):
            plural = request.path_params.get("plural", "log")
            verb = "list" if is_list(request) else request.method
            verb = "watch" if request.query_params.get("watch") else verb
            self.calls.append((verb, plural))
            given = request.headers.get("authorization")
            if given is None:
                return forbidden(request)
            if given != f"Bearer {TOKEN}":
                return status(401, "Unauthorized", "Unauthorized")
            if plural not in (*GROUPS, "log") or not self.is_at(request, plural):
                text = "the server could not find the requested resource"
                return status(404, "NotFound", text, {})
            if not permits(verb, plural):
                return status(403, "Forbidden", f"the Role does not permit {verb} {plural}")
            if self.fault:
                return await self.fault(request, answer)
            return await answer(request)

        return asked

    def is_at(self, request, plural):
        return plural == "log" or request.url.path.startswith("/apis/") == (plural == "jobs")

    async def show_version(self, _):
        return JSONResponse({"major": "1", "minor": "36", "gitVersion": "v1.36.2"})

    async def collection(self, request):
        plural = request.path_params["plural"]
        if request.method == "POST":
            return await self.create(request, plural)
        if request.query_params.get("watch"):
            return self.watch(request, plural)
        items = [copy.deepcopy(one) for one in self.objects[plural].values() if fits(request, one)]
        for one in items:
            one.pop("kind", None), one.pop("apiVersion", None)
        group = GROUPS[plural]
        return JSONResponse(
            {
                "kind": f"{KINDS[plural]}List",
                "apiVersion": f"{group}/v1" if group else "v1",
                "metadata": {"resourceVersion": str(self.version)},
                "items": items,
            }
        )

    def watch(self, request, plural):
        asked = request.query_params
        since = int(asked.get("resourceVersion") or self.version)
        if since < self.oldest:
            text = f"too old resource version: {since} ({self.oldest})"
            line = {"type": "ERROR", "object": json.loads(status(410, "Expired", text).body)}
            return PlainTextResponse(json.dumps(line) + "\n", media_type="application/json")

        async def lines():
            seen, watches = since, self.watches
            # That it is open is to be seen at once.
            yield b""
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(float(asked.get("timeoutSeconds", 1800))):
                    while watches == self.watches and not self.server.should_exit:
                        fresh = [one for one in self.history if one[0] > seen]
                        for version, kind, change, thing in fresh:
                            seen = version
                            if kind == plural and fits(request, thing):
                                event = json.dumps({"type": change, "object": thing})
                                yield event.encode() + b"\n"
                        if not fresh:
                            async with self.changed:
                                await self.changed.wait()
            if asked.get("allowWatchBookmarks"):
                mark = {"metadata": {"resourceVersion": str(seen)}}
                yield json.dumps({"type": "BOOKMARK", "object": mark}).encode() + b"\n"

        return StreamingResponse(lines(), media_type="application/json")

    async def create(self, request, plural):
        kind = KINDS[plural]
        raw = await request.body()
        try:
            thing = json.loads(raw)
        except ValueError:
            text = (
                f"the object provided is unrecognized (must be of type {kind}): couldn't get"
                " version/kind; json parse error: invalid character 'n' looking for beginning of"
                f" object key string ({raw.decode()})"
            )
            return status(400, "BadRequest", text)
        namespace, name = request.path_params["ns"], thing["metadata"]["name"]
        if namespace != "default":
            details = {"name": namespace, "kind": "namespaces"}
            return status(404, "NotFound", f'namespaces "{namespace}" not found', details)
        unknown = unknown_field(kind, thing)
        if unknown and request.query_params.get("fieldValidation") == "Strict":
            text = f'{kind} in version "v1" cannot be handled as a {kind}: strict decoding error: '
            return status(400, "BadRequest", f'{text}unknown field "{unknown}"')
        if problem := (invalid_job(thing) if plural == "jobs" else None):
            return problem
        if name in self.objects[plural]:
            return named(409, "AlreadyExists", plural, name, "already exists")
        thing["metadata"] |= {
            "namespace": namespace,
            "uid": str(uuid4()),
            "generation": 1,
            "creationTimestamp": now(),
        }
        if plural == "jobs":
            complete_job(thing)
            self.created.append(name)
        await self.put(plural, thing, "ADDED")
        answer = JSONResponse(thing, 201)
        if plural == "jobs":
            self.start(self.pods.run(thing))
        return answer

    async def one(self, request):
        plural, name = request.path_params["plural"], request.path_params["name"]
        thing = self.objects[plural].get(name)
        policy = ""
        if request.method == "DELETE":
            body = await request.body()
            policy = (json.loads(body) if body else {}).get("propagationPolicy", "")
            policy = policy or request.query_params.get("propagationPolicy", "")
        is_default = request.method == "DELETE" and plural == "jobs" and not policy
        headers = {"warning": PRESERVED} if is_default else None
        if thing is None:
            return named(404, "NotFound", plural, name, "not found", headers=headers)
        if request.method == "GET":
            return JSONResponse(thing)
        await self.remove(name, orphan=policy in ("", "Orphan"))
        if policy == "Background":
            return named(200, "", plural, name, "", uid=thing["metadata"]["uid"])
        gone = {"deletionTimestamp": now(), "deletionGracePeriodSeconds": 0, "generation": 2}
        finalizers = {"finalizers": ["orphan" if is_default else "foregroundDeletion"]}
        shown = {**thing, "metadata": {**thing["metadata"], **gone, **finalizers}}
        return JSONResponse(shown, headers=headers)

    async def log(self, request):
        name = request.path_params["name"]
        pod = self.objects["pods"].get(name)
        if pod is None:
            return named(404, "NotFound", "pods", name, "not found")
        container = request.query_params.get("container", "main")
        if container != "main":
            text = f"container {container} is not valid for pod {name}"
            return status(400, "BadRequest", text)
        if not pod["spec"].get("nodeName"):
            return Response(status_code=204)
        if not pod["status"].get("containerStatuses"):
            text = f'container "main" in pod "{name}" is waiting to start: ContainerCreating'
            return status(400, "BadRequest", text)
        follow = request.query_params.get("follow") == "true"
        return StreamingResponse(self.pods.said(name, follow=follow), media_type="text/plain")


def permits(verb, plural):
    """Whether the Role of our example says so."""
    verbs = {"POST": "create", "GET": "get", "DELETE": "delete"}
    resource = "pods/log" if plural == "log" else plural
    return any(
        resource in rule["resources"] and verbs.get(verb, verb) in rule["verbs"]
        for rule in ROLE["rules"]
    )


def is_list(request):
    return request.method == "GET" and "name" not in request.path_params


def fits(request, thing):
    asked, metadata = request.query_params, thing["metadata"]
    wanted = dict(
        pair.split("=") for pair in filter(None, asked.get("labelSelector", "").split(","))
    )
    field = asked.get("fieldSelector", "")
    labels = metadata.get("labels", {})
    is_named = not field or field == f"metadata.name={metadata['name']}"
    return is_named and all(labels.get(key) == value for key, value in wanted.items())
