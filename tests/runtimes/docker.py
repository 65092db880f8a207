"""A docker of one's own: a daemon with the same one image, and nothing of the machine's."""

import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.programs import PATIENCE, NotHere
from tests.runtimes.podman import IMAGE, Engine, image

PROGRAMS = ("docker", "dockerd", "containerd", "busybox")


class Docker(Engine):
    """Docker at a daemon with folders of its own."""

    kind = "docker"

    def __init__(self, folder: Path) -> None:
        self.conf = folder / "no.conf"
        self.options = [f"--host=unix://{folder}/socket"]


def missing() -> str:
    """Say what is not here that these tests need."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    names = [name for name in PROGRAMS if not shutil.which(name, path=path)]
    if names:
        return f"not installed: {', '.join(names)}"
    return "" if os.geteuid() == 0 else "docker is set up here for root alone"


@contextmanager
def own_docker():
    """Start a daemon with the image, and leave nothing behind; raise NotHere if it runs nothing."""
    if reason := missing():
        raise NotHere(reason)
    folder = Path("/tmp") / f"colonies-docker-{os.getpid()}"  # its socket's path must be short
    folder.mkdir()
    docker = Docker(folder)
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen(_daemon(folder), env=_environment(), stdout=log, stderr=log)
    try:
        _wait_for(docker, daemon, folder)
        yield docker
    finally:
        daemon.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            daemon.wait(PATIENCE)
        daemon.kill()
        for mount in (folder / "run" / "netns").glob("*"):
            subprocess.run(["umount", str(mount)], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _daemon(folder: Path) -> list[str]:
    return [
        shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin"),
        f"--data-root={folder}/data",
        f"--exec-root={folder}/run",
        f"--pidfile={folder}/pid",
        f"--host=unix://{folder}/socket",
        "--storage-driver=vfs",
        "--bridge=none",
        "--iptables=false",
    ]


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"}


def _wait_for(docker: Docker, daemon: subprocess.Popen, folder: Path) -> None:
    """Have the image in it once it listens; raise NotHere if that, or a container, cannot be."""
    until = time.monotonic() + PATIENCE
    while daemon.poll() is None and time.monotonic() < until:
        with suppress(subprocess.CalledProcessError):
            docker.run("version")
            break
        time.sleep(0.1)
    try:
        docker.run("import", "-", IMAGE, input=image())
        docker.run("run", "--rm", "--network=none", IMAGE, "true")
    except subprocess.CalledProcessError as error:
        said = (folder / "log").read_text(errors="replace")[-500:]
        raise NotHere(f"docker can run nothing here: {error.stderr[-200:]!r}, {said}") from error
