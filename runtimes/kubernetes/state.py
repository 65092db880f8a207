"""What a Job and its pods say, as a sight of it.

A Job has ended when it is Complete or Failed: other conditions come before, and its pods say why
and with what exit code. Pods of a Job that is gone are seen until they have ended as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lightkube.models import core_v1
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Pod

from runtimes.job_state import Ending, Phase, Sight
from runtimes.kubernetes.terms import CONTAINER

NO_IMAGE = {
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
}
"""Why a container waits for its image; the cluster tries again for ever."""

NO_START = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
"""Why else a container does not start; it is tried again as well."""

NOT_STARTED = {"StartError", "ContainerCannotRun", "UnexpectedAdmissionError", "OutOfcpu"}
"""Reasons of what has ended and never ran."""

DISRUPTIONS = {
    "PreemptionByScheduler": Ending.PREEMPTED,
    "EvictionByEvictionAPI": Ending.EVICTED,
    "TerminationByKubelet": Ending.EVICTED,
    "DeletionByTaintManager": Ending.NODE_FAILED,
    "DeletionByPodGC": Ending.NODE_FAILED,
}
"""What has disrupted a pod, by the reason of its condition."""

ENDINGS = {
    "DeadlineExceeded": Ending.OVERTIME,
    "Evicted": Ending.EVICTED,
    "Preempting": Ending.PREEMPTED,
    "NodeLost": Ending.NODE_FAILED,
    "NodeShutdown": Ending.NODE_FAILED,
    "Terminated": Ending.NODE_FAILED,  # by a node that shuts down
    "OOMKilled": Ending.OUT_OF_MEMORY,
}
"""What has ended a pod or a container, by its reason."""


@dataclass(frozen=True)
class Stall:
    """Why a job does not start, and what it ends with if that goes on."""

    ending: Ending
    state: str
    reason: str


def sight_of(name: str, job_id: str, job: Job | None, pods: Sequence[Pod]) -> Sight | None:
    """Give what is seen of a Job and its pods; nothing if all is over, and the Job gone."""
    pod = _latest(pods)
    if job is None and (pod is None or _phase(pod) in {"Succeeded", "Failed"}):
        return None
    if job is None or (job.metadata and job.metadata.deletionTimestamp):
        return Sight(job_id=job_id, name=name, phase=Phase.RUNNING, state="Terminating")
    return _of_job(name, job_id, job, pod)


def _of_job(name: str, job_id: str, job: Job, pod: Pod | None) -> Sight:
    conditions = _true_conditions(job)
    if "Complete" in conditions:
        return Sight(job_id=job_id, name=name, phase=Phase.ENDED, state="Complete")
    if failed := conditions.get("Failed"):
        return _failed(name, job_id, failed, pod)
    if job.spec and job.spec.suspend:
        return Sight(job_id=job_id, name=name, phase=Phase.SUSPENDED, state="Suspended")
    if pod is None:
        return Sight(job_id=job_id, name=name, phase=Phase.QUEUED, state="Pending")
    return _living(name, job_id, pod)


def has_begun(pod: Pod) -> bool:
    """Whether there may be something in the log."""
    return bool(_container_state(pod).running or has_exited(pod))


def has_exited(pod: Pod) -> bool:
    """Whether nothing more comes into the log."""
    return bool(_container_state(pod).terminated) or _phase(pod) in {"Succeeded", "Failed"}


def stall_of(pod: Pod) -> Stall | None:
    """Say why a pod does not start, if it says so itself."""
    waiting = _container_state(pod).waiting
    reason = (waiting and waiting.reason) or ""
    if waiting and reason in NO_IMAGE:
        return Stall(Ending.NO_IMAGE, reason, waiting.message or "")
    if waiting and reason in NO_START:
        return Stall(Ending.NOT_STARTED, reason, waiting.message or "")
    for condition in (pod.status and pod.status.conditions) or []:
        is_false = condition.type == "PodScheduled" and condition.status == "False"
        if is_false and condition.reason == "Unschedulable":
            return Stall(Ending.UNSCHEDULABLE, "Unschedulable", condition.message or "")
    return None


def _living(name: str, job_id: str, pod: Pod) -> Sight:
    phase = _phase(pod)
    node = (pod.spec and pod.spec.nodeName) or ""
    if phase == "Pending":
        stall = stall_of(pod)
        waiting = _container_state(pod).waiting
        state = stall.state if stall else (waiting and waiting.reason) or phase
        reason = stall.reason if stall else ""
        return Sight(job_id, name, Phase.QUEUED, state, reason=reason, nodes=node)
    known = Phase.RUNNING if phase in {"Running", "Succeeded", "Failed"} else None
    return Sight(job_id, name, known, phase, nodes=node)


def _failed(name: str, job_id: str, reason: str, pod: Pod | None) -> Sight:
    """Say why a Job has failed: the Job knows only that it will not be tried again."""
    if pod is None:
        # Nobody but an overrun deadline, or somebody, deletes the pod of a Job that is there.
        ending = ENDINGS.get(reason, Ending.CANCELLED)
        return Sight(job_id, name, Phase.ENDED, "Failed", reason=reason, ending=ending)
    ended = _container_state(pod).terminated
    status = pod.status or core_v1.PodStatus()
    own = (ended and ended.reason) or ""
    disruption = next((text for text in _disruptions(status) if text in DISRUPTIONS), "")
    ending = DISRUPTIONS.get(disruption, Ending.ITSELF)
    for word in (own, status.reason or "", reason):
        if word in NOT_STARTED:
            ending = Ending.NOT_STARTED
        ending = ENDINGS.get(word, ending) if ending is Ending.ITSELF else ending
    code = ended.exitCode if ended else 0
    if ending is Ending.ITSELF and not code:
        ending = Ending.CANCELLED if ended is None else Ending.NODE_FAILED
    message = (ended and ended.message) or status.message or ""
    words = [word for word in (status.reason, own, disruption) if word and word != "Error"]
    return Sight(
        job_id,
        name,
        Phase.ENDED,
        " ".join(words) or "Failed",
        reason=message.strip()[:500],
        ending=ending,
        exit_code=code or 0,
        nodes=(pod.spec and pod.spec.nodeName) or "",
    )


def _true_conditions(job: Job) -> dict[str, str]:
    found = (job.status and job.status.conditions) or []
    return {one.type: one.reason or "" for one in found if one.status == "True"}


def _disruptions(status: core_v1.PodStatus) -> list[str]:
    return [
        one.reason or ""
        for one in status.conditions or []
        if one.type == "DisruptionTarget" and one.status == "True"
    ]


def _container_state(pod: Pod) -> core_v1.ContainerState:
    for one in (pod.status and pod.status.containerStatuses) or []:
        if one.name == CONTAINER and one.state:
            return one.state
    return core_v1.ContainerState()


def _phase(pod: Pod) -> str:
    return (pod.status and pod.status.phase) or "Pending"


def _latest(pods: Sequence[Pod]) -> Pod | None:
    """Give the pod that counts: there is one, unless a cluster was made to start another."""

    def age(pod: Pod) -> str:
        return str((pod.metadata and pod.metadata.creationTimestamp) or "")

    return max(pods, key=age, default=None)
