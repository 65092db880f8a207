"""Run a process as a Kubernetes Job: func is the program, args are its arguments.

The Job is watched and not asked for, its log is followed into a folder of ours, and its name
follows from the attempt: to create it once more is to find that it is there.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Annotated

import msgspec
import structlog
from lightkube.resources.batch_v1 import Job as KubernetesJob
from lightkube.resources.core_v1 import Pod

from colonies.core.process import Process
from runtimes.base import Amount, Help, Job, Outcome
from runtimes.batch.job import Order
from runtimes.batch.runtime import BatchRuntime
from runtimes.batch.watch import Sights
from runtimes.files import make_private, write_whole
from runtimes.job_state import Busy, Ending, Phase, Refused, Sight, Unsure
from runtimes.kubernetes.api import Api
from runtimes.kubernetes.logs import Logs
from runtimes.kubernetes.mirror import Mirror
from runtimes.kubernetes.state import Stall, has_begun, has_exited, sight_of, stall_of
from runtimes.kubernetes.terms import (
    ATTEMPT,
    ORDER,
    RUNTIME_LABEL,
    Terms,
    attempt_of,
    name_of,
    secret_for,
)

logger = structlog.get_logger()

JOB_NAME = "batch.kubernetes.io/job-name"
"""The label by which a pod says whose it is; set by the cluster."""

FORGET_TRIES = 3


class Kubernetes(BatchRuntime):
    """Runs commands as Kubernetes Jobs. What they write, by line, is the output."""

    runtime_type = "kubernetes"
    system = "kubernetes"

    class Settings(BatchRuntime.Settings, frozen=True):
        """What the owner allows."""

        cwd: Annotated[str, Help("Folder in the image that commands run in (default: its own)")] = (
            ""
        )
        status_period: Annotated[
            Annotated[float, msgspec.Meta(ge=0.1)], Help("Seconds between looks at the watches")
        ] = 0.25
        context: Annotated[str, Help("Context of the kubeconfig (default: the current one)")] = ""
        namespace: Annotated[str, Help("Namespace of the Jobs (default: the credentials' own)")] = (
            ""
        )
        allow_image: Annotated[
            list[str],
            Help("Image that a process may choose, or its beginning and *; the first is usual"),
        ] = []
        allow_node: Annotated[
            list[str], Help("Label of nodes, name=value, that a process may choose; repeatable")
        ] = []
        node_selector: Annotated[
            list[str], Help("Label that nodes must have, name=value; repeatable")
        ] = []
        toleration: Annotated[
            list[str], Help("Taint that all pods tolerate, key[=value][:effect]; repeatable")
        ] = []
        pull_secret: Annotated[list[str], Help("Secret to pull images with; repeatable")] = []
        gpu_resource: Annotated[str, Help("Name of GPUs in the cluster")] = "nvidia.com/gpu"
        run_as: Annotated[
            Annotated[int, msgspec.Meta(ge=1)], Help("User and group that commands run as; not 0")
        ] = 65532
        start_patience: Annotated[
            Amount, Help("Seconds that an image or a container may fail to start")
        ] = 300.0
        schedule_patience: Annotated[
            Amount, Help("Seconds that no node may have room for a pod; 0 is without end")
        ] = 0.0

    settings: Settings

    # A deleted Job is said to be deleted; to be sure, it is also listed.
    gone_after = 10.0

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._terms = Terms(
            images=settings.allow_image,
            nodes=settings.allow_node,
            node_selector=settings.node_selector,
            tolerations=settings.toleration,
            pull_secrets=settings.pull_secret,
            gpu=settings.gpu_resource,
            user=settings.run_as,
            cwd=settings.cwd,
        )
        self._orders: dict[str, Order] = {}
        self._unsealed: dict[str, Process] = {}  # by Jobs, whose Secrets may not be there yet
        self._sealing: asyncio.Task[None] | None = None
        self._stalled: dict[str, float] = {}
        self._doubted: dict[str, int] = {}  # lists of pods, when these Jobs were seen to have ended

    async def check(self) -> list[str]:
        """Say which cluster it would ask, and what Jobs may choose; it is not asked."""
        api = self._find()
        await api.close()
        own = self.settings
        return [
            f"cluster: {api.server}, namespace {api.namespace}",
            f"images: {', '.join(own.allow_image) or 'none'}",
            f"nodes: {', '.join(own.allow_node) or 'the usual'}",
            f"user: {own.run_as}",
        ]

    def _find(self) -> Api:
        self._terms.check()
        own = self.settings
        return Api(namespace=own.namespace, context=own.context, patience=own.patience)

    async def open(self) -> None:
        """Find the cluster, and begin to watch; raise ValueError for settings without sense."""
        self._api = self._find()
        self._runtime = self.runtime_id[:32]
        label = (RUNTIME_LABEL, self._runtime)
        self._kube_jobs = Mirror(self._api, KubernetesJob, label)
        self._pods = Mirror(self._api, Pod, label)
        self._logs = Logs(self._api)
        logger.info("kubernetes found", server=self._api.server, namespace=self._api.namespace)
        self._mirroring = [
            asyncio.create_task(mirror.run()) for mirror in (self._kube_jobs, self._pods)
        ]
        await super().open()

    async def close(self) -> None:
        """Watch no more."""
        await super().close()
        tasks = [*self._mirroring, *filter(None, [self._sealing])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._logs.close()
        await self._api.close()

    def refusals(self, process: Process) -> list[str]:
        """Compare a process with what the owner allows."""
        return self._terms.refusals(process)

    async def execute(self, process: Process, job: Job) -> Outcome:
        """See a Job through."""
        order = self._order(process)
        self._orders[order.name] = order
        if process.spec.env:
            self._unsealed[name_of(process)] = process
        try:
            return await super().execute(process, job)
        finally:
            self._orders.pop(order.name, None)
            self._unsealed.pop(name_of(process), None)
            self._doubted.pop(name_of(process), None)

    def write(self, order: Order) -> None:
        """Write down the Job as it will be asked for, for the next life and for people."""
        make_private(order.folder.path)
        write_whole(order.folder.script, msgspec.json.format(msgspec.json.encode(self._job(order))))

    async def submit(self, order: Order) -> str:
        """Create the Job, then its Secret, for which the pod waits; both may be there already."""
        name = name_of(order.process)
        job = await self._api.create(self._job(order))
        if job is None:
            job = await self._api.find(KubernetesJob, name)
            if job is None:
                raise Unsure(f"job {name} was there and is not")
            await self._claim(job, order)
        if name in self._unsealed:
            with suppress(Unsure, Busy):  # seen to when the Job is seen
                await self._seal(job)
        return name

    async def look(self) -> Sights:
        """Give what the watches show."""
        for mirror in (self._kube_jobs, self._pods):
            if mirror.trouble:
                raise Unsure(mirror.trouble)
        bare = [job for name, job in self._kube_jobs.objects.items() if name in self._unsealed]
        if bare and (self._sealing is None or self._sealing.done()):
            self._sealing = asyncio.create_task(self._seal_all(bare))
        if self._doubted:
            with suppress(Unsure):
                await self._pods.look()
        return self._sights()

    async def look_back(self, job_ids: list[str]) -> dict[str, Sight]:
        """List all Jobs, as a watch may have missed something."""
        await self._kube_jobs.look()
        seen = {one.job_id: one for sights in self._sights().values() for one in sights}
        return {job_id: seen[job_id] for job_id in job_ids if job_id in seen}

    async def end(self, job_id: str) -> None:
        """Delete a Job and its pods."""
        await self._api.delete(job_id)

    async def forget(self, process: Process) -> None:
        """Remove the Job, whose end is known to the hub, and the folder."""
        name = name_of(process)
        for _ in range(FORGET_TRIES):
            with suppress(Unsure):
                async with self.turns:
                    await self._api.delete(name)
                break
        else:
            logger.warning("job not deleted", job=name)  # the cluster does it in two days
        for pod in self._pods_of().get(name, []):
            self._logs.forget(_name(pod))
        self._stalled.pop(name, None)
        await super().forget(process)

    def _job(self, order: Order) -> KubernetesJob:
        return self._terms.job(order.process, order=order.name, runtime=self._runtime)

    async def _claim(self, job: KubernetesJob, order: Order) -> None:
        """See that a Job that was there is this very attempt; raise Refused or Busy."""
        metadata = job.metadata
        notes = (metadata and metadata.annotations) or {}
        labels = (metadata and metadata.labels) or {}
        if notes.get(ATTEMPT) == attempt_of(order.process) and notes.get(ORDER) == order.name:
            if metadata and metadata.deletionTimestamp:
                raise Busy("a job of this name is being deleted")
            return
        name = name_of(order.process)
        if labels.get(RUNTIME_LABEL) != self._runtime:
            raise Refused(f"job {name} is there already, and somebody else's")
        await self._api.delete(name)
        raise Busy("a job of an earlier attempt is being deleted")

    # What is seen.

    def _sights(self) -> Sights:
        jobs, pods = self._kube_jobs.objects, self._pods_of()
        found: dict[str, tuple[Sight, ...]] = {}
        for job_id in jobs.keys() | pods.keys():
            job, its_pods = jobs.get(job_id), pods.get(job_id, [])
            name = _order_of(job or its_pods[0])
            sight = sight_of(name, job_id, job, its_pods)
            if sight:
                found[name] = (self._attend(sight, its_pods),)
        return found

    def _attend(self, sight: Sight, pods: list[Pod]) -> Sight:
        """Do what a Job needs to have done for it, and give what is to be seen of it then."""
        order = self._orders.get(sight.name)
        if order is None:
            return sight
        path = order.folder.path / "stdout"
        if sight.phase is Phase.ENDED and not self._is_settled(sight.job_id, pods):
            return _still(sight, "its pod is looked for")
        begun = [pod for pod in pods if has_begun(pod)]
        is_read = True
        for pod in begun:
            if sight.phase is Phase.ENDED or has_exited(pod):
                is_read = self._logs.is_read(_name(pod), path) and is_read
            else:
                self._logs.follow(_name(pod), path)
        if sight.phase is Phase.ENDED and not is_read:
            return _still(sight, "reading the log")
        return self._judge_stall(sight, pods)

    def _is_settled(self, job_id: str, pods: list[Pod]) -> bool:
        """Whether the pods of an ended Job are seen as they are, and not as a slow watch shows."""
        if pods and all(map(has_exited, pods)):
            self._doubted.pop(job_id, None)
            return True
        return self._pods.listed > self._doubted.setdefault(job_id, self._pods.begun)

    def _judge_stall(self, sight: Sight, pods: list[Pod]) -> Sight:
        """Take a job that has not started for too long as ended; it is deleted when forgotten."""
        stall = next(filter(None, map(stall_of, pods)), None)
        if sight.phase is not Phase.QUEUED or stall is None:
            self._stalled.pop(sight.job_id, None)
            return sight
        now = asyncio.get_running_loop().time()
        since = self._stalled.setdefault(sight.job_id, now)
        if now - since < self._patience_with(stall):
            return sight
        return Sight(
            sight.job_id, sight.name, Phase.ENDED, stall.state, stall.reason[:500], stall.ending
        )

    def _patience_with(self, stall: Stall) -> float:
        if stall.state == "InvalidImageName":
            return 0.0
        if stall.ending is Ending.UNSCHEDULABLE:
            return self.settings.schedule_patience or float("inf")
        return self.settings.start_patience

    def _pods_of(self) -> dict[str, list[Pod]]:
        found: dict[str, list[Pod]] = {}
        for pod in self._pods.objects.values():
            labels = (pod.metadata and pod.metadata.labels) or {}
            found.setdefault(labels.get(JOB_NAME, ""), []).append(pod)
        found.pop("", None)
        return found

    async def _seal(self, job: KubernetesJob) -> None:
        name = _name(job)
        if process := self._unsealed.get(name):
            await self._api.create(secret_for(process, job, self._runtime))
            self._unsealed.pop(name, None)

    async def _seal_all(self, jobs: list[KubernetesJob]) -> None:
        """Create the Secrets of Jobs for which an earlier life, or a lost answer, did not."""
        for job in jobs:
            try:
                await self._seal(job)
            except (Unsure, Busy, Refused) as error:
                logger.warning("secret not created", job=_name(job), error=str(error))


def _still(sight: Sight, why: str) -> Sight:
    return Sight(sight.job_id, sight.name, Phase.RUNNING, sight.state, why, nodes=sight.nodes)


def _name(thing: KubernetesJob | Pod) -> str:
    return (thing.metadata and thing.metadata.name) or ""


def _order_of(thing: KubernetesJob | Pod) -> str:
    return str(((thing.metadata and thing.metadata.annotations) or {}).get(ORDER, ""))
