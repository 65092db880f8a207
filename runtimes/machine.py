"""What this machine lets us have: cores, memory and GPUs, and what models these are.

Within limits, such as those of a container, that is less than what is built in. All of it is read
from files of the system, below a root.
"""

from __future__ import annotations

import os
import platform
import re
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

ROOT = Path("/")

MIB = 2**20

LONGEST_MODEL = 256
"""Characters of the name of a model."""

FILES_ANYWAY, FILES_OF_A_SLOT = 256, 8
"""Files that a runtime has open for itself, and for each process that it holds, at most."""

_OPAQUE = re.compile(r"[^!-~]+")


class Group(msgspec.Struct, frozen=True):
    """A control group that we are in; version 1 has several, each with controllers of its own."""

    folder: Path
    mount: Path
    is_unified: bool
    """Whether it is of version 2, which has but one."""

    def core_limits(self) -> Iterator[float]:
        """Give how many cores' time it and those above it may take."""
        if self.is_unified:
            found = self._read("cpu.max")
        else:
            pairs = zip(
                self._read("cpu.cfs_quota_us"), self._read("cpu.cfs_period_us"), strict=False
            )
            found = (quota + period for quota, period in pairs)
        for words in found:
            match words:
                case [quota, period] if quota.isdecimal() and period.isdecimal():
                    yield int(quota) / int(period)

    def memory_limits(self) -> Iterator[int]:
        """Give how many bytes it and those above it may take."""
        for words in self._read("memory.max" if self.is_unified else "memory.limit_in_bytes"):
            match words:
                case [limit] if limit.isdecimal():
                    yield int(limit)

    def _read(self, file: str) -> Iterator[list[str]]:
        above = (one for one in self.folder.parents if one.is_relative_to(self.mount))
        for folder in (self.folder, *above):
            with suppress(OSError):
                yield (folder / file).read_text().split()


def own_groups(root: Path = ROOT) -> list[Group]:
    """Give the control groups that this process is in; none where the system has no such thing."""
    try:
        mounts = (root / "proc/self/mountinfo").read_text().splitlines()
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    paths = {names: path for _, names, path in (line.split(":", 2) for line in lines)}
    found = []
    for line in mounts:
        about, _, kind = line.partition(" - ")
        top, mount = about.split()[3:5]
        system, *_, options = kind.split()
        for names, path in paths.items():
            is_unified = not names
            wanted = "cgroup2" if is_unified else "cgroup"
            if system == wanted and set(names.split(",")) - {""} <= set(options.split(",")):
                place = root / mount.lstrip("/")
                found.append(Group(place / _below(top, path), place, is_unified))
    return found


def _below(top: str, path: str) -> str:
    """Give a group's path below the mount of another; the mount's own where it is not seen."""
    return str(Path(path).relative_to(top)) if Path(path).is_relative_to(top) else "."


def count_cores(root: Path = ROOT) -> int:
    """Give on how many cores we may run, and no more than we have time of; 1 at least."""
    shares = [share for group in own_groups(root) for share in group.core_limits()]
    return max(1, int(min([_allowed_cores(), *shares])))


def _allowed_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def count_memory(root: Path = ROOT) -> int:
    """Give the memory that we may have, in MiB; 0 where the system does not say."""
    limits = [limit for group in own_groups(root) for limit in group.memory_limits()]
    with suppress(ValueError, OSError):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(limits, default=0) // MIB


def count_gpus(root: Path = ROOT) -> int:
    """Give how many GPUs we may compute with: of NVIDIA and of AMD, each by its device file."""
    devices = root / "dev"
    nvidia = sum(path.name.removeprefix("nvidia").isdecimal() for path in devices.glob("nvidia*"))
    renderers = _amd_renderers(root / "sys/class/kfd/kfd/topology/nodes")
    return nvidia + sum((devices / "dri" / f"renderD{one}").exists() for one in renderers)


def _amd_renderers(nodes: Path) -> Iterator[int]:
    """Give the minor numbers of the device files of what AMD's driver computes with.

    It lists CPUs as well, which have no such file. A container sees the nodes of its host's GPUs,
    but only the files of its own.
    """
    for properties in nodes.glob("*/properties"):
        with suppress(OSError):
            words = properties.read_text().split()
            found = dict(zip(words[::2], words[1::2], strict=False))
            if found.get("simd_count", "0") != "0":
                yield int(found.get("drm_render_minor", "0"))


def cpu_model(root: Path = ROOT) -> str:
    """Give the model of the CPU, or its architecture where the system does not say more."""
    found = _values(root / "proc/cpuinfo", "model name")
    return next(iter(found), platform.machine())


def gpu_model(root: Path = ROOT) -> str:
    """Give the models of the GPUs, as their drivers name them; empty where none does."""
    if not count_gpus(root):
        return ""
    nvidia = (root / "proc/driver/nvidia/gpus").glob("*/information")
    found = [model for path in sorted(nvidia) for model in _values(path, "Model")]
    for path in sorted((root / "sys/class/drm").glob("card*/device/product_name")):
        with suppress(OSError):
            found.append(_plain(path.read_text(errors="replace")))
    return ", ".join(dict.fromkeys(filter(None, found)))[:LONGEST_MODEL]


def _values(path: Path, wanted: str) -> list[str]:
    """Give what follows a name in a file of lines like ``name : value``."""
    try:
        lines = path.read_text(errors="replace").split("\n")
    except OSError:
        return []
    pairs = (line.partition(":") for line in lines)
    return [text for name, _, value in pairs if name.strip() == wanted and (text := _plain(value))]


def _plain(text: str) -> str:
    return _OPAQUE.sub(" ", text).strip()[:LONGEST_MODEL]


def allow_files(slots: int) -> None:
    """Let us open as many files as so many processes take, as far as the system lets us.

    No more: what we start inherits it, and some programs cannot poll beyond the usual 1,024.
    """
    wanted = FILES_ANYWAY + FILES_OF_A_SLOT * slots
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or wanted <= soft:
        return
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with suppress(ValueError, OSError):  # macOS may not grant what it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
