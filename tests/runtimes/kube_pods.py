"""What a scheduler, a kubelet and the job controller do, for a pod that is a local process.

Unrealistic: images are names, and all run what is installed here; a pod is one container on one
node, without limits: that it runs out of memory, or is evicted, is done to it by a test.
"""

import asyncio
import base64
import contextlib
import os
import re
import signal
from datetime import UTC, datetime
from functools import partial
from uuid import uuid4

NODE = {"cpu": 4, "labels": {"disk": "ssd"}}
NOWHERE = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
FULL = "0/1 nodes are available: 1 Insufficient cpu."
TOLERATIONS = [
    {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute",
     "tolerationSeconds": 300}
    for key in ("not-ready", "unreachable")
]  # fmt: skip


def now():
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(kind, value, **fields):
    return {
        "type": kind,
        "status": value,
        "lastProbeTime": None,
        "lastTransitionTime": now(),
        **fields,
    }


def expand(text, variables):
    """Put variables in place of ``$(NAME)``, as Kubernetes does; ``$$`` is a dollar."""

    def replace(match):
        if match[0] == "$$":
            return "$"
        return variables.get(match[1], match[0])

    return re.sub(r"\$\$|\$\(([^)]*)\)", replace, text)


class Pods:
    def __init__(self, cluster, folder):
        self.cluster = cluster
        self.folder = folder
        self.has_scheduler = True
        self.pretend = None  # gives (seconds, exit code, reason) of a Job that is not really run
        self.running = {}
        self.struck = {}  # why a container was ended, by the names of pods

    async def close(self):
        for process in list(self.running.values()):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    # The job controller.

    async def run(self, job):
        pod = self.make(job)
        await self.put(pod, "ADDED")
        active = {"startTime": now(), "active": 1, "terminating": 0, "uncountedTerminatedPods": {}}
        await self.say(job, {**active, "ready": 0})
        if not await self.schedule(pod) or not await self.pull(pod):
            return
        state = await self.execute(job, pod, {**active, "ready": 1})
        await asyncio.sleep(self.cluster.lag)
        await self.conclude(job, pod, state)

    async def conclude(self, job, pod, state):
        """Say how it ended: first that it will, then that it has."""
        has_succeeded = state["phase"] == "Succeeded"
        reason = "CompletionsReached" if has_succeeded else "BackoffLimitExceeded"
        message = (
            "Reached expected number of succeeded pods"
            if has_succeeded
            else "Job has reached the specified backoff limit"
        )
        kinds = ("SuccessCriteriaMet", "Complete") if has_succeeded else ("FailureTarget", "Failed")
        conditions = [
            condition(kind, "True", lastProbeTime=now(), reason=reason, message=message)
            for kind in kinds
        ]
        ended = {"startTime": job["status"]["startTime"], "terminating": 0, "ready": 0}
        counted = "succeeded" if has_succeeded else "failed"
        uncounted = {counted: [pod["metadata"]["uid"]]}
        await self.say(
            job, {"conditions": conditions[:1], **ended, "uncountedTerminatedPods": uncounted}
        )
        pod["metadata"].pop("finalizers", None)
        await self.put(pod)
        final = {"conditions": conditions, **ended, counted: 1, "uncountedTerminatedPods": {}}
        await self.say(job, final | ({"completionTime": now()} if has_succeeded else {}))

    async def say(self, job, status):
        job = self.cluster.objects["jobs"].get(job["metadata"]["name"])
        if job is not None:
            job["status"] = status
            await self.cluster.put("jobs", job)

    # The scheduler.

    def make(self, job):
        template, owner = job["spec"]["template"], job["metadata"]
        metadata = {
            **template["metadata"],
            "name": f"{owner['name']}-{uuid4().hex[:5]}",
            "generateName": f"{owner['name']}-",
            "namespace": owner["namespace"],
            "uid": str(uuid4()),
            "generation": 1,
            "creationTimestamp": now(),
            "ownerReferences": [
                {"apiVersion": "batch/v1", "kind": "Job", "name": owner["name"],
                 "uid": owner["uid"], "controller": True, "blockOwnerDeletion": True}
            ],
            "finalizers": ["batch.kubernetes.io/job-tracking"],
        }  # fmt: skip
        spec = {
            "enableServiceLinks": True,
            **template["spec"],
            "tolerations": template["spec"].get("tolerations", []) + TOLERATIONS,
            "priority": 0,
            "preemptionPolicy": "PreemptLowerPriority",
        }
        kind = {"kind": "Pod", "apiVersion": "v1"}
        status = {"phase": "Pending", "qosClass": "BestEffort"}
        return {**kind, "metadata": metadata, "spec": spec, "status": status}

    async def schedule(self, pod):
        if not self.has_scheduler:
            return False
        wanted = pod["spec"].get("nodeSelector", {})
        cpu = pod["spec"]["containers"][0]["resources"].get("requests", {}).get("cpu", "0")
        if why := (not wanted.items() <= NODE["labels"].items() and NOWHERE) or (
            int(cpu) > NODE["cpu"] and FULL
        ):
            pod["status"]["conditions"] = [
                condition("PodScheduled", "False", reason="Unschedulable", message=why)
            ]
            await self.put(pod)
            return False
        pod["spec"]["nodeName"] = "fake1"
        pod["status"]["conditions"] = [condition("PodScheduled", "True")]
        await self.put(pod)
        return True

    # The kubelet.

    async def pull(self, pod):
        image = pod["spec"]["containers"][0]["image"]
        if "missing" not in image:
            return True
        for reason in ("ErrImagePull", "ImagePullBackOff"):
            message = f'Back-off pulling image "{image}"'
            self.wait_for(pod, reason, message)
            await self.put(pod)
        return False

    def wait_for(self, pod, reason, message):
        waiting = {"waiting": {"reason": reason, "message": message}}
        pod["status"]["containerStatuses"] = [self.container(pod, waiting)]

    def container(self, pod, state, *, pid=0):
        image = pod["spec"]["containers"][0]["image"]
        return {
            "name": "main", "state": state, "lastState": {}, "ready": "running" in state,
            "restartCount": 0, "image": image, "imageID": "", "containerID": f"proc://{pid}",
            "started": "running" in state,
        }  # fmt: skip

    async def variables(self, pod):
        """Give the environment of a container, as soon as its Secrets are there."""
        found = {}
        for one in pod["spec"]["containers"][0].get("env", []):
            if "valueFrom" not in one:
                found[one["name"]] = expand(one.get("value", ""), found)
                continue
            key = one["valueFrom"]["secretKeyRef"]
            secrets = self.cluster.objects["secrets"]
            if key["name"] not in secrets:
                self.wait_for(
                    pod, "CreateContainerConfigError", f'secret "{key["name"]}" not found'
                )
                await self.put(pod)
                await self.cluster.until(partial(secrets.__contains__, key["name"]))
            found[one["name"]] = base64.b64decode(secrets[key["name"]]["data"][key["key"]]).decode()
        return found

    async def execute(self, job, pod, ready):
        name = pod["metadata"]["name"]
        (self.folder / name).touch()
        started = now()
        if self.pretend:
            seconds, code, reason = self.pretend(job)
            await self.begin(job, pod, 1, ready)
            await asyncio.sleep(seconds)
            if reason:
                self.struck[name] = reason
        else:
            code, pid = await self.execute_really(job, pod, ready)
        container = {"exitCode": code, "reason": "Completed" if code == 0 else "Error"}
        struck = self.struck.pop(name, "")
        if struck == "OOMKilled":
            container = {"exitCode": 137, "reason": struck}
        if code == 128 and not self.pretend:
            container |= {"reason": "StartError", "message": "exec: no such file or directory"}
        status = {"phase": "Succeeded" if container["exitCode"] == 0 else "Failed"}
        if struck in ("Evicted", "DeadlineExceeded"):
            message = {"Evicted": "The node was low on resource: memory."}
            status |= {"phase": "Failed", "reason": struck, "message": message.get(struck, "")}
        if struck == "PreemptionByScheduler":
            status["phase"] = "Failed"
        ended = {**container, "startedAt": started, "finishedAt": now()}
        ended["containerID"] = f"proc://{1 if self.pretend else pid}"
        pod["status"] |= status
        pod["status"]["conditions"] = [
            condition("Ready", "False"),
            condition("PodScheduled", "True"),
        ]
        if struck == "PreemptionByScheduler":
            pod["status"]["conditions"].append(condition("DisruptionTarget", "True", reason=struck))
        pod["status"]["containerStatuses"] = [self.container(pod, {"terminated": ended})]
        await self.put(pod)
        return pod["status"]

    async def begin(self, job, pod, pid, ready):
        pod["status"] |= {
            "phase": "Running",
            "conditions": [condition("Ready", "True"), condition("PodScheduled", "True")],
            "hostIP": "127.0.0.1", "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}],
            "startTime": now(),
            "containerStatuses": [self.container(pod, {"running": {"startedAt": now()}}, pid=pid)],
        }  # fmt: skip
        await self.put(pod)
        await self.say(job, ready)

    async def execute_really(self, job, pod, ready):
        container = pod["spec"]["containers"][0]
        env = await self.variables(pod)
        argv = [expand(word, env) for word in container["command"] + container.get("args", [])]
        name = pod["metadata"]["name"]
        with (self.folder / name).open("wb") as log:
            try:
                process = await asyncio.create_subprocess_exec(
                    *argv, env={"PATH": os.environ["PATH"], **env},
                    stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                    start_new_session=True,
                )  # fmt: skip
            except OSError:
                return 128, 0
        self.running[name] = process
        await self.begin(job, pod, process.pid, ready)
        limit = pod["spec"].get("activeDeadlineSeconds")
        try:
            async with asyncio.timeout(limit):
                await process.wait()
        except TimeoutError:
            self.strike(name, "DeadlineExceeded")
            await process.wait()
        del self.running[name]
        code = process.returncode
        return (128 - code if code < 0 else code), process.pid

    def strike(self, name, reason):
        """End a pod's container for a reason."""
        self.struck[name] = reason
        os.killpg(self.running[name].pid, signal.SIGKILL)

    async def delete(self, pod):
        name = pod["metadata"]["name"]
        pod["metadata"] |= {"deletionTimestamp": now(), "deletionGracePeriodSeconds": 30}
        await self.put(pod)
        if name in self.running:
            process = self.running[name]
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        # A finalizer holds a pod up until it is counted.
        await asyncio.sleep(self.cluster.lag)
        if name in self.cluster.objects["pods"]:
            await self.cluster.put("pods", pod, "DELETED")

    async def put(self, pod, change="MODIFIED"):
        name = pod["metadata"]["name"]
        if change == "ADDED" or name in self.cluster.objects["pods"]:
            await self.cluster.put("pods", pod, change)

    async def said(self, name, *, follow):
        """Give what a pod has said, and what it says."""
        with (self.folder / name).open("rb") as file:
            while True:
                pod = self.cluster.objects["pods"].get(name)
                is_over = pod is None or pod["status"]["phase"] != "Running"
                while piece := file.read(4096):
                    yield piece
                if is_over or not follow:
                    return
                await asyncio.sleep(0.05)
