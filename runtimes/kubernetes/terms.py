"""What of a process becomes a Job and its Secret, and what of it the owner allows."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from lightkube.models import batch_v1, core_v1
from lightkube.models.meta_v1 import ObjectMeta, OwnerReference
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Secret

from colonies.core.identity import sha3
from colonies.core.process import Process
from runtimes.child import argv_of, process_environment
from runtimes.job_state import Unsure

CHOICES = ("image", "node")
"""What a process may choose, by its kwargs."""

CONTAINER = "main"
"""The container of a pod that is ours; a cluster may put others beside it."""

RUNTIME_LABEL = "colonies/runtime"
"""By which a runtime finds its Jobs and their pods again, and no others."""

ORDER = "colonies/order"
"""The annotation with the whole name of an attempt, for which a Job's own name is too short."""

ATTEMPT = "colonies/attempt"
"""The annotation that tells two attempts of one number apart: a digest of the token."""

KEPT = 2 * 86_400
"""Seconds before the cluster removes an ended Job that nobody has: longer than any lease."""

_SETTABLE = re.compile(r"[ -<>-~]+", re.ASCII)
_LABEL = re.compile(r"[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?", re.ASCII)
_TOLERATION = re.compile(r"([^=:]*)(?:=([^:]*))?(?::(NoSchedule|PreferNoSchedule|NoExecute))?")


@dataclass(frozen=True)
class Terms:
    """The owner's lists and orders; of what a process may choose, the first is usual.

    Images are names, or beginnings of names that end with ``*``. Nodes are labels such as
    ``disk=ssd``.
    """

    images: Sequence[str] = ()
    nodes: Sequence[str] = ()
    node_selector: Sequence[str] = ()
    tolerations: Sequence[str] = ()
    pull_secrets: Sequence[str] = ()
    gpu: str = "nvidia.com/gpu"
    user: int = 65532
    cwd: str = ""

    def check(self) -> None:
        """Raise ValueError for an order of the owner's that makes no sense."""
        for name, labels in (("allow_node", self.nodes), ("node_selector", self.node_selector)):
            for label in labels:
                _pair(name, label)
        for toleration in self.tolerations:
            _toleration(toleration)

    def refusals(self, process: Process) -> list[str]:
        """Say what of a process is not allowed, and what would be."""
        chosen = process.spec.kwargs
        reasons = [
            f"kwargs.{name}: expected one of {', '.join(CHOICES)}"
            for name in sorted(chosen.keys() - set(CHOICES))
        ]
        image = self._image(process)
        if not image:
            reasons.append(f"kwargs.image: expected an image, {_list(self.images)}")
        elif not any(_covers(one, image) for one in self.images):
            reasons.append(f"kwargs.image: {image!r} is not allowed, {_list(self.images)}")
        if "node" in chosen and chosen["node"] not in self.nodes:
            reasons.append(f"kwargs.node: {chosen['node']!r} is not allowed, {_list(self.nodes)}")
        return reasons + _unspeakable(process)

    def job(self, process: Process, *, order: str, runtime: str) -> Job:
        """Make the Job of a process that is not refused; its env comes in a Secret of its name."""
        labels = {RUNTIME_LABEL: runtime, "app.kubernetes.io/managed-by": "colonies"}
        notes = {ORDER: order, ATTEMPT: attempt_of(process)}
        template = core_v1.PodTemplateSpec(
            metadata=ObjectMeta(labels=labels, annotations=notes), spec=self._pod(process)
        )
        spec = batch_v1.JobSpec(
            # A command runs once: whether it is tried again is for the hub to say.
            backoffLimit=0,
            podReplacementPolicy="Failed",
            ttlSecondsAfterFinished=KEPT,
            template=template,
        )
        metadata = ObjectMeta(name=name_of(process), labels=labels, annotations=notes)
        return Job(metadata=metadata, spec=spec)

    def _pod(self, process: Process) -> core_v1.PodSpec:
        limit = process.spec.max_exec_time
        selector = [*self.node_selector, *filter(None, [process.spec.kwargs.get("node")])]
        return core_v1.PodSpec(
            containers=[self._container(process)],
            restartPolicy="Never",
            # Of the pod and not of the Job: the time in the queue does not count, and logs stay.
            activeDeadlineSeconds=limit if limit > 0 else None,
            automountServiceAccountToken=False,
            enableServiceLinks=False,
            nodeSelector=dict(_pair("node", label) for label in selector) or None,
            tolerations=[_toleration(one) for one in self.tolerations] or None,
            imagePullSecrets=[core_v1.LocalObjectReference(name=one) for one in self.pull_secrets]
            or None,
            securityContext=core_v1.PodSecurityContext(
                runAsNonRoot=True,
                runAsUser=self.user,
                runAsGroup=self.user,
                fsGroup=self.user,
                seccompProfile=core_v1.SeccompProfile(type="RuntimeDefault"),
            ),
        )

    def _container(self, process: Process) -> core_v1.Container:
        program, *args = (_literal(word) for word in argv_of(process))
        return core_v1.Container(
            name=CONTAINER,
            image=self._image(process),
            command=[program],
            args=args or None,
            env=_variables(process),
            workingDir=self.cwd or None,
            resources=self._resources(process),
            securityContext=core_v1.SecurityContext(
                allowPrivilegeEscalation=False,
                privileged=False,
                capabilities=core_v1.Capabilities(drop=["ALL"]),
            ),
        )

    def _resources(self, process: Process) -> core_v1.ResourceRequirements | None:
        conditions = process.spec.conditions
        wanted = {
            "cpu": str(conditions.cores) if conditions.cores > 0 else "",
            "memory": f"{conditions.mem}Mi" if conditions.mem > 0 else "",
            self.gpu: str(conditions.gpus) if conditions.gpus > 0 else "",
        }
        limits = {name: amount for name, amount in wanted.items() if amount}
        return core_v1.ResourceRequirements(limits=limits, requests=limits) if limits else None

    def _image(self, process: Process) -> str:
        if "image" in process.spec.kwargs:
            return process.spec.kwargs["image"]
        usual = self.images[0] if self.images else ""
        return "" if usual.endswith("*") else usual


def name_of(process: Process) -> str:
    """Give the name of an attempt's Job; it becomes a label, which has 63 characters at most."""
    return f"colonies-{process.process_id[:40]}-{process.attempt}"


def attempt_of(process: Process) -> str:
    """Give what tells an attempt from any other, and nothing of its token."""
    return sha3(f"{process.process_id}:{process.attempt}:{process.attempt_token}".encode())[:32]


def secret_for(process: Process, job: Job, runtime: str) -> Secret:
    """Make the Secret of a process's env, which goes when its Job goes; raise Unsure."""
    uid = job.metadata.uid if job.metadata else None
    if not uid:
        raise Unsure("the job has no uid")
    owner = OwnerReference(apiVersion="batch/v1", kind="Job", name=name_of(process), uid=uid)
    return Secret(
        metadata=ObjectMeta(
            name=_secret_name(process), labels={RUNTIME_LABEL: runtime}, ownerReferences=[owner]
        ),
        immutable=True,
        data={
            _key(number): base64.b64encode(value.encode()).decode()
            for number, value in enumerate(process.spec.env.values())
        },
    )


def _variables(process: Process) -> list[core_v1.EnvVar]:
    known = process_environment(process)
    secret = _secret_name(process)
    sealed = [
        core_v1.EnvVar(
            name=name,
            valueFrom=core_v1.EnvVarSource(
                secretKeyRef=core_v1.SecretKeySelector(name=secret, key=_key(number))
            ),
        )
        for number, name in enumerate(process.spec.env)
        if known[name] == process.spec.env[name]  # else it is one of ours
    ]
    names = {one.name for one in sealed}
    return sealed + [
        core_v1.EnvVar(name=name, value=value) for name, value in known.items() if name not in names
    ]


def _secret_name(process: Process) -> str:
    # Not that of an earlier attempt of the same number, which may be there still.
    return f"{name_of(process)}-{attempt_of(process)[:8]}"


def _key(number: int) -> str:
    # Variables may have names that are no keys of a Secret.
    return f"env-{number}"


def _literal(word: str) -> str:
    """Give a word as Kubernetes must be told it, which puts variables in place of ``$(NAME)``."""
    return word.replace("$", "$$")


def _unspeakable(process: Process) -> list[str]:
    """Say what Kubernetes cannot carry at all."""
    spec = process.spec
    reasons = [] if spec.func else ["func: expected a program"]
    carries = "Kubernetes carries UTF-8 without NUL, and nothing else"
    if not all(map(_is_text, argv_of(process))):
        reasons.append(f"args: {carries}")
    for name, value in spec.env.items():
        if not _SETTABLE.fullmatch(name):
            reasons.append(f"env: {name!r} cannot be a variable in Kubernetes")
        if not _is_text(value):
            reasons.append(f"env.{name}: {carries}")
    return reasons


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _covers(allowed: str, image: str) -> bool:
    if allowed.endswith("*"):
        return image.startswith(allowed[:-1])
    return image == allowed


def _pair(field: str, label: str) -> tuple[str, str]:
    name, equals, value = label.partition("=")
    if not (name and equals and (not value or _LABEL.fullmatch(value))):
        raise ValueError(f"{field}: expected name=value, not {label!r}")
    return name, value


def _toleration(text: str) -> core_v1.Toleration:
    match = _TOLERATION.fullmatch(text)
    if not match or not match[1]:
        raise ValueError(f"toleration: expected key[=value][:effect], not {text!r}")
    key, value, effect = match.groups()
    operator = "Exists" if value is None else "Equal"
    return core_v1.Toleration(key=key, operator=operator, value=value, effect=effect)


def _list(allowed: Sequence[str]) -> str:
    return f"allowed: {', '.join(allowed)}" if allowed else "nothing is"
