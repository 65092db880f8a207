"""The plugins that come with Colonies pass the cases that those of others are given.

The shell does so in `test_conformance.py`. Slurm and podman are real, the Kubernetes is that of
`kube_server.py`.
"""

import asyncio
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from colonies.testing import Conformance, Work
from runtimes.container.plugin import Container
from runtimes.kubernetes.plugin import Kubernetes
from runtimes.python.plugin import Python
from runtimes.slurm.plugin import Slurm
from tests.programs import ROOT
from tests.runtimes import kube_server
from tests.runtimes.podman import IMAGE


class Commands(Conformance):
    """Work for whatever runs commands."""

    __test__ = False

    good = Work("echo", "hello")
    bad = Work("false")
    endless = Work("sleep", 1000)
    slow = Work("sleep", 1)
    loud = Work("sh", "-c", "yes hello | head -c 3000000")
    telling = (Work("echo", "to the log"), "to the log")
    grace = 0.5


def processes_of(process):
    """Give the processes of this machine that were started for one of a colony."""
    mark = f"COLONIES_PROCESSID={process.process_id}\0".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark in path.read_bytes():
                found.append(path.parent.name)
    return found


class TestPython(Conformance):
    plugin = Python
    settings = Python.Settings(path=[str(ROOT)])
    good = Work("math:sqrt", 4.0)
    bad = Work("math:sqrt", -1.0)
    endless = Work("time:sleep", 1000)
    slow = Work("time:sleep", 1)
    # What it returns is one value, and no half of it: of that, too much is refused.
    loud = Work("tests.runtimes.functions:fail_hugely", 3_000_000)
    telling = (Work("builtins:print", "to the log"), "to the log")
    grace = 0.5

    def left_of(self, process):
        return processes_of(process)


class TestContainer(Commands):
    __test__ = True

    plugin = Container

    @pytest.fixture(autouse=True)
    def _podman(self, podman, monkeypatch):
        monkeypatch.setenv("CONTAINERS_CONF", str(podman.conf))
        self.podman = podman
        self.settings = Container.Settings(
            engine="podman", engine_option=podman.options, image=[IMAGE], max_memory=64
        )
        yield
        assert [] == podman.names()

    def left_of(self, process):
        return [name for name in self.podman.names() if process.process_id in name]


class TestSlurm(Commands):
    __test__ = True

    plugin = Slurm

    @pytest.fixture(autouse=True)
    def _cluster(self, slurm_cluster, monkeypatch, tmp_path):
        for name, value in slurm_cluster.env.items():
            monkeypatch.setenv(name, value)
        self.cluster = slurm_cluster
        self.settings = Slurm.Settings(job_dir=str(tmp_path))

    def jobs_of(self, process):
        jobs = self.cluster.jobs().items()
        return [state for name, states in jobs if process.process_id in name for state in states]

    def left_of(self, process):
        return [state for state in self.jobs_of(process) if state != "CANCELLED"]

    def starts_of(self, process):
        return len(self.jobs_of(process))


@contextmanager
def elsewhere(opening):
    """Have something open on a loop of its own, in a thread, while the block lasts."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def do(work):
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    yield do(opening.__aenter__())
    do(opening.__aexit__(None, None, None))
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


class TestKubernetes(Commands):
    __test__ = True

    plugin = Kubernetes

    @pytest.fixture(autouse=True)
    def _cluster(self, monkeypatch, tmp_path):
        pods = tmp_path / "pods"
        pods.mkdir()
        with elsewhere(kube_server.Cluster(pods)) as self.cluster:
            (tmp_path / "kubeconfig").write_text(self.cluster.kubeconfig())
            monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
            self.settings = Kubernetes.Settings(allow_image=["any"], job_dir=str(tmp_path / "jobs"))
            yield

    def of(self, process, names):
        return [name for name in names if process.process_id[:40] in name]

    def left_of(self, process):
        return self.of(process, self.cluster.objects["jobs"])

    def starts_of(self, process):
        return len(self.of(process, self.cluster.created))
