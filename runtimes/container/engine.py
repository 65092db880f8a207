"""The command lines of podman, docker and apptainer: what is wanted in, a list of words out.

Nothing is run here and nothing is asked: `life.py` does that. No word of a process ever
stands where an engine would read it as an option, and no shell reads any of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

ENGINES = ("podman", "docker", "apptainer")
"""In the order in which they are looked for."""

RUNTIME_LABEL = "colonies.runtime"
KEEPER_LABEL = "colonies.keeper"

STATE = (
    '{"name":{{json .Name}},"state":{{json .State}},'
    f'"keeper":{{{{json (index .Config.Labels "{KEEPER_LABEL}")}}}}}}'
)


@dataclass(frozen=True)
class Mount:
    """A folder of the machine, and where the container has it."""

    source: str
    target: str
    is_writable: bool = False


@dataclass(frozen=True)
class House:
    """What holds for all containers of a runtime."""

    user: str = "65534:65534"
    is_writable: bool = False
    tmp_size: int = 64
    """MiB of the container's own /tmp."""
    processes: int = 512
    options: Sequence[str] = ()


@dataclass(frozen=True)
class Wanted:
    """One container. Memory is in MiB; no program means the image's own."""

    name: str
    image: str
    program: str = ""
    args: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    mounts: Sequence[Mount] = ()
    network: str = "none"
    folder: str = ""
    cores: int = 1
    memory: int = 64
    seconds: int = 0
    """How long it may run, for engines that see to that as well; 0 is without end."""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Engine:
    """Podman or docker: a container is made, started, looked at and removed by its name."""

    kind: str
    command: Sequence[str]
    """The program, and the owner's own options for it."""

    def has_image(self, image: str) -> list[str]:
        """Succeeds if the image is here."""
        return [*self.command, "image", "inspect", "--format={{.Id}}", image]

    def pull(self, image: str) -> list[str]:
        """Fetches an image."""
        return [*self.command, "pull", "--quiet", image]

    def create(self, wanted: Wanted, house: House) -> list[str]:
        """Makes a container that can do nothing but what it was made for."""
        options = [
            f"--name={wanted.name}",
            *(f"--label={key}={value}" for key, value in wanted.labels.items()),
            "--pull=never",
            "--log-driver=none",
            "--no-healthcheck",
            "--stop-timeout=0",  # who removes it has asked it before, or will not
            *_closed(wanted, house),
            f"--tmpfs=/tmp:rw,nosuid,nodev,mode=1777,size={house.tmp_size}m",
            *(["--http-proxy=false", "--systemd=false"] if self.kind == "podman" else []),
            *self._time_limit(wanted),
            *(_mount(mount) for mount in wanted.mounts),
            *(f"--env={name}={value}" for name, value in wanted.env.items()),
            *([f"--workdir={wanted.folder}"] if wanted.folder else []),
            *house.options,
            *([f"--entrypoint={self._entrypoint(wanted.program)}"] if wanted.program else []),
        ]
        return [*self.command, "create", *options, wanted.image, *wanted.args]

    def _entrypoint(self, program: str) -> str:
        # Podman reads a list if it can, docker never does.
        return json.dumps([program]) if self.kind == "podman" else program

    def _time_limit(self, wanted: Wanted) -> list[str]:
        """Holds even when nobody is left who would stop it."""
        is_limited = self.kind == "podman" and wanted.seconds > 0
        return [f"--timeout={wanted.seconds}"] if is_limited else []

    def start(self, name: str) -> list[str]:
        """Runs it to its end, its output here."""
        return [*self.command, "start", "--attach", name]

    def states(self, names: Sequence[str]) -> list[str]:
        """Says how these are, in JSON, a line for each that there is."""
        return [*self.command, "container", "inspect", f"--format={STATE}", *names]

    def stop(self, name: str, grace: int) -> list[str]:
        """Asks it to end, and kills it after so many seconds."""
        return [*self.command, "stop", "-t", str(grace), name]

    def kill(self, name: str) -> list[str]:
        """Kills it."""
        return [*self.command, "kill", name]

    def remove(self, name: str) -> list[str]:
        """Removes it with what it wrote, running or not."""
        return [*self.command, "rm", "--force", "--volumes", name]

    def names_of(self, runtime_id: str) -> list[str]:
        """Lists the containers of a runtime, a name a line."""
        wanted = f"--filter=label={RUNTIME_LABEL}={runtime_id}"
        return [*self.command, "ps", "--all", wanted, "--format={{.Names}}"]


def _closed(wanted: Wanted, house: House) -> Iterable[str]:
    """Keeps it away from all that it does not need."""
    yield f"--network={wanted.network}"
    yield "--cap-drop=all"
    yield "--security-opt=no-new-privileges"
    yield f"--user={house.user}"
    if not house.is_writable:
        yield "--read-only"
    yield f"--memory={wanted.memory}m"
    yield f"--memory-swap={wanted.memory}m"
    yield f"--cpus={wanted.cores}"
    yield f"--pids-limit={house.processes}"


def _mount(mount: Mount) -> str:
    access = "" if mount.is_writable else ",readonly"
    return f"--mount=type=bind,source={mount.source},target={mount.target}{access}"


def apptainer_argv(command: Sequence[str], wanted: Wanted, house: House) -> list[str]:
    """Give the command that is the container: apptainer has no names and keeps nothing.

    Its environment is that of `apptainer_environment`.
    """
    options = [
        "--containall",
        "--cleanenv",
        "--no-eval",  # else variables and arguments are read by a shell
        "--no-privs",
        "--net",
        f"--network={wanted.network}",
        f"--memory={wanted.memory}M",
        f"--memory-swap={wanted.memory}M",
        f"--cpus={wanted.cores}",
        f"--pids-limit={house.processes}",
        *(["--writable-tmpfs"] if house.is_writable else []),
        *(f"--bind={_bind(mount)}" for mount in wanted.mounts),
        *([f"--pwd={wanted.folder}"] if wanted.folder else []),
        *house.options,
    ]
    verb = "exec" if wanted.program else "run"
    program = [wanted.program] if wanted.program else []
    return [*command, verb, *options, wanted.image, *program, *wanted.args]


def _bind(mount: Mount) -> str:
    return f"{mount.source}:{mount.target}:{'rw' if mount.is_writable else 'ro'}"


def apptainer_environment(wanted: Wanted) -> dict[str, str]:
    """Give the variables by which apptainer is told those of the container, as they are."""
    return {f"APPTAINERENV_{name}": value for name, value in wanted.env.items()}


def unspeakable(kind: str, wanted: Wanted) -> list[str]:
    """Say which words of a process would not arrive as they are, by the names of their fields."""
    words = {"func": wanted.program}
    words |= {f"args[{place}]": word for place, word in enumerate(wanted.args)}
    words |= {f"env.{name}": value for name, value in wanted.env.items()}
    reasons = [f"{name}: expected no NUL" for name, word in words.items() if "\0" in word + name]
    if kind == "apptainer":
        return reasons + [
            f"env: apptainer cannot set {name!r}, expected a name of a variable"
            for name in wanted.env
            if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII)
        ]
    # Their own records of a container are JSON.
    return reasons + [
        f"{name}: expected UTF-8, {kind} would change it"
        for name, word in words.items()
        if not _is_text(word)
    ]


def _is_text(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True
