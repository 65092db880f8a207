"""What of a process becomes a Job, and what does not."""

import msgspec
import pytest

from runtimes.kubernetes.terms import Terms
from tests.runtimes.kube_schema import problems

TEXT = "Kubernetes carries UTF-8 without NUL, and nothing else"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"kwargs": {"image": "x"}}, "kwargs.image: 'x' is not allowed, allowed: one:1, team/*"),
        ({"kwargs": {"image": ""}}, "kwargs.image: expected an image, allowed: one:1, team/*"),
        ({"kwargs": {"node": "a=b"}}, "kwargs.node: 'a=b' is not allowed, allowed: disk=ssd"),
        ({"kwargs": {"privileged": "yes"}}, "kwargs.privileged: expected one of image, node"),
        ({"env": {"A": "\0"}}, f"env.A: {TEXT}"),
        ({"env": {"A": "\udcff"}}, f"env.A: {TEXT}"),
        ({"env": {"\xc4": ""}}, "env: '\xc4' cannot be a variable in Kubernetes"),
    ],
)
def test_what_is_not_allowed_is_refused(process_of, fields, error):
    terms = Terms(images=["one:1", "team/*"], nodes=["disk=ssd"])
    assert [error] == terms.refusals(process_of("true", **fields))


def test_what_is_allowed_is_not_refused(process_of):
    terms = Terms(images=["one:1", "team/*"], nodes=["disk=ssd"])
    kwargs = {"image": "team/any:2", "node": "disk=ssd"}
    assert [] == terms.refusals(process_of("true", kwargs=kwargs))
    assert [] == terms.refusals(process_of("true"))


def test_bytes_that_are_no_text_are_refused(process_of):
    assert [f"args: {TEXT}"] == Terms(images=["a"]).refusals(process_of("true", "raw \udcff"))


def test_without_an_allowed_image_nothing_is_run(process_of):
    assert ["kwargs.image: expected an image, nothing is"] == Terms().refusals(process_of("true"))


def test_all_that_is_asked_for_is_in_the_schema_and_runs_as_nobody(process_of):
    kwargs = {"node": "disk=ssd"}
    process = process_of("true", env={"A": "b"}, max_exec_time=5, kwargs=kwargs)
    conditions = msgspec.structs.replace(process.spec.conditions, cores=2, mem=512, gpus=1)
    spec = msgspec.structs.replace(process.spec, conditions=conditions)
    process = msgspec.structs.replace(process, spec=spec)
    terms = Terms(
        images=["python:3.13"],
        nodes=["disk=ssd"],
        node_selector=["zone=a"],
        tolerations=["gpu=yes:NoSchedule", "spot"],
        pull_secrets=["registry"],
        cwd="/work",
    )
    job = msgspec.to_builtins(terms.job(process, order="name", runtime="1" * 32))
    assert [] == problems("Job", job)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    limits = {"cpu": "2", "memory": "512Mi", "nvidia.com/gpu": "1"}
    assert {"limits": limits, "requests": limits} == container["resources"]
    assert {"zone": "a", "disk": "ssd"} == pod["nodeSelector"]
    tolerations = [
        {"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"},
        {"key": "spot", "operator": "Exists"},
    ]
    assert tolerations == pod["tolerations"]
    assert (True, 65532) == (
        pod["securityContext"]["runAsNonRoot"],
        pod["securityContext"]["runAsUser"],
    )
    assert ["ALL"] == container["securityContext"]["capabilities"]["drop"]
    assert (False, 5) == (pod["automountServiceAccountToken"], pod["activeDeadlineSeconds"])
    assert len(job["metadata"]["name"]) <= 63
