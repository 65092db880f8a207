"""What a process may ask of a container, and what of it the owner allows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from posixpath import normpath
from typing import Any

from colonies.core.process import Process, decode_argument
from runtimes.child import argv_of, process_environment
from runtimes.container.engine import Mount, Wanted

CHOICES = ("image", "mounts", "network", "workdir")
"""What a process may choose, by its kwargs."""

_IMAGE = re.compile(r"(?!.*\.\.)[A-Za-z0-9/][\w.:/@+-]{0,511}", re.ASCII)
_PLACE = re.compile(r"/[^:,\"'\\\x00-\x1f\x7f\ud800-\udfff]{1,1023}")


class Refused(Exception):
    """What of a process is not allowed, reason by reason."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = list(reasons)


@dataclass(frozen=True)
class Allowed:
    """The owner's lists and ceilings: cores, and memory in MiB, of one container.

    Images may have ``*`` for any part. The first image is what a process has that names none,
    unless it has a ``*``. Mounts are absolute paths, and whether they may be written to.
    """

    images: Sequence[str] = ()
    mounts: Mapping[str, bool] = field(default_factory=dict)
    networks: Sequence[str] = ()
    cores: int = 1
    memory: int = 1024

    def wanted(self, process: Process, name: str, labels: Mapping[str, str]) -> Wanted:
        """Give the container that a process asks for; raise Refused if it may not have it."""
        reasons = list(self._refusals(process))
        try:
            env = process_environment(process)
        except ValueError as error:
            reasons.append(str(error))
        try:
            mounts = _mounts(process)
        except ValueError as error:
            reasons.append(str(error))
        else:
            reasons += self._refused_mounts(mounts)
        if reasons:
            raise Refused(reasons)
        spec = process.spec
        program, *args = argv_of(process)
        return Wanted(
            name=name,
            image=self._image(process),
            program=program,
            args=args,
            env=env,
            mounts=mounts,
            network=_choice(process, "network") or "none",
            folder=_choice(process, "workdir"),
            cores=spec.conditions.cores if spec.conditions.cores > 0 else self.cores,
            memory=spec.conditions.mem if spec.conditions.mem > 0 else self.memory,
            seconds=max(spec.max_exec_time, 0),
            labels=labels,
        )

    def _refusals(self, process: Process) -> Iterator[str]:
        conditions = process.spec.conditions
        for name in sorted(process.spec.kwargs.keys() - set(CHOICES)):
            yield f"kwargs.{name[:100]}: expected one of {', '.join(CHOICES)}"
        yield from self._refused_image(self._image(process))
        network = _choice(process, "network") or "none"
        if network not in ("none", *self.networks):
            yield f"kwargs.network: {network!r} is not allowed, {_list(['none', *self.networks])}"
        folder = _choice(process, "workdir")
        if folder and not _is_place(folder):
            yield f"kwargs.workdir: expected an absolute path, not {folder!r}"
        if conditions.cores > self.cores:
            yield f"conditions.cores: {conditions.cores} is not allowed, at most {self.cores}"
        if conditions.mem > self.memory:
            yield f"conditions.mem: {conditions.mem} MiB is not allowed, at most {self.memory}"
        if conditions.gpus > 0:
            yield f"conditions.gpus: {conditions.gpus} is not allowed, at most 0"

    def _refused_image(self, image: str) -> Iterator[str]:
        if not image:
            yield f"kwargs.image: expected an image, {_list(self.images)}"
        elif not _IMAGE.fullmatch(image):
            yield f"kwargs.image: {image[:200]!r} is no name of an image"
        elif not any(fnmatchcase(image, pattern) for pattern in self.images):
            yield f"kwargs.image: {image!r} is not allowed, {_list(self.images)}"

    def _image(self, process: Process) -> str:
        usual = self.images[0] if self.images and "*" not in self.images[0] else ""
        return _choice(process, "image") or usual

    def _refused_mounts(self, mounts: Sequence[Mount]) -> Iterator[str]:
        listed = [f"{place}:rw" if rw else place for place, rw in self.mounts.items()]
        for mount in mounts:
            # Nothing below a folder either: whoever can write there could put a link in its place.
            if mount.source not in self.mounts or (
                mount.is_writable and not self.mounts[mount.source]
            ):
                asked = f"{mount.source}:rw" if mount.is_writable else mount.source
                yield f"kwargs.mounts: {asked!r} is not allowed, {_list(listed)}"


def allowed_mounts(texts: Sequence[str]) -> dict[str, bool]:
    """Read the owner's mounts, ``/folder`` or ``/folder:rw``; raise ValueError for others."""
    mounts = {}
    for text in texts:
        place, _, access = text.partition(":")
        if access not in ("", "ro", "rw") or not _is_place(place):
            raise ValueError(f"mount: expected /folder or /folder:rw, not {text!r}")
        mounts[place] = access == "rw"
    return mounts


def _mounts(process: Process) -> list[Mount]:
    value: Any = decode_argument(process.spec.kwargs.get("mounts", "[]"))
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError("kwargs.mounts: expected a list of source:target or source:target:rw")
    return [_mount(text) for text in texts]


def _mount(text: str) -> Mount:
    source, _, rest = text.partition(":")
    target, _, access = rest.partition(":")
    target = target or source
    if access not in ("", "ro", "rw") or not (_is_place(source) and _is_place(target)):
        raise ValueError(f"kwargs.mounts: expected source:target[:rw], not {text[:200]!r}")
    return Mount(source, target, is_writable=access == "rw")


def _is_place(path: str) -> bool:
    """Whether it is an absolute path, below the root, that can be meant in one way only."""
    return bool(_PLACE.fullmatch(path)) and normpath(path) == path and not path.startswith("//")


def _choice(process: Process, name: str) -> str:
    value = decode_argument(process.spec.kwargs.get(name, ""))
    return value if isinstance(value, str) else process.spec.kwargs[name]


def _list(allowed: Sequence[str]) -> str:
    return f"allowed: {', '.join(allowed)}" if allowed else "nothing is"
