"""A podman of one's own, with one image in it, made of nothing but busybox."""

import asyncio
import os
import shutil
import signal
import subprocess
import tarfile
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path

from tests.programs import NotHere

IMAGE = "localhost/box:1"
APPLETS = "sh echo cat sleep printf env id true touch tail kill ls"


def missing() -> str:
    """Say what is not here that these tests need."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    names = [name for name in ("podman", "runc", "busybox") if not shutil.which(name, path=path)]
    if names:
        return f"not installed: {', '.join(names)}"
    return "" if os.geteuid() == 0 else "podman is set up here for root alone"


class Engine:
    """An engine with folders of its own, by its command line."""

    kind: str
    options: list[str]
    conf: Path

    def run(self, *words: str, **how) -> str:
        """Run a command of it; gives what it says."""
        argv = [shutil.which(self.kind), *self.options, *words]
        env = {**os.environ, "CONTAINERS_CONF": str(self.conf)}
        return subprocess.run(argv, env=env, check=True, capture_output=True, **how).stdout.decode()

    def names(self) -> list[str]:
        """Give all containers there are."""
        return self.run("ps", "--all", "--format={{.Names}}").split()

    def running(self) -> list[str]:
        """Give the containers that run."""
        return self.run("ps", "--format={{.Names}}").split()


class Podman(Engine):
    """Podman with folders of its own."""

    kind = "podman"

    def __init__(self, folder: Path) -> None:
        self.options = [
            "--runtime=runc",
            "--cgroup-manager=cgroupfs",
            "--events-backend=file",
            f"--root={folder}/root",
            f"--runroot={folder}/run",
            f"--tmpdir={folder}/tmp",
        ]
        self.conf = folder / "containers.conf"
        # What it would set otherwise is more than a container within a container may.
        self.conf.write_text(
            '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'
        )


def image() -> bytes:
    """Give a root file system as a tar file."""
    packed = BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in ("bin", "tmp", "etc", "proc", "dev", "sys"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(folder)
        tar.add(shutil.which("busybox"), "bin/busybox")
        for name in APPLETS.split():
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return packed.getvalue()


@contextmanager
def own_podman():
    """Set podman up with the image, and leave nothing behind; raise NotHere if it runs nothing."""
    if reason := missing():
        raise NotHere(reason)
    folder = Path("/tmp") / f"colonies-podman-{os.getpid()}"  # its socket's path must be short
    folder.mkdir()
    podman = Podman(folder)
    try:
        try:
            podman.run("import", "-", IMAGE, input=image())
            podman.run("run", "--rm", "--network=none", IMAGE, "true")
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode()[-500:]
            raise NotHere(f"podman can run nothing here: {said}") from error
        yield podman
    finally:
        with suppress(subprocess.CalledProcessError):
            podman.run("rm", "--all", "--force", "--time=0")
        end_monitors(folder)
        subprocess.run(
            ["umount", str(folder / "root" / "overlay")], capture_output=True, check=False
        )
        shutil.rmtree(folder, ignore_errors=True)


def end_monitors(folder: Path) -> None:
    """Kill what follows containers yet, though they are gone: a podman that was killed left it."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if f"{folder}/".encode() in path.read_bytes():
                os.kill(int(path.parent.name), signal.SIGKILL)


class Heard:
    """The log of a job, which can be waited on for a word."""

    def __init__(self) -> None:
        self.said = {"stdout": b"", "stderr": b""}
        self._more = asyncio.Event()

    async def write(self, data, stream, offset):
        """Take what is said."""
        del offset
        self.said[stream] += data if isinstance(data, bytes) else data.encode()
        self._more.set()

    async def reached(self, stream):
        """Give how much was said."""
        return len(self.said[stream])

    async def until(self, word: bytes, stream: str = "stdout") -> None:
        """Wait until a word was said."""
        async with asyncio.timeout(60):
            while word not in self.said[stream]:
                self._more.clear()
                await self._more.wait()
