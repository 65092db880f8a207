"""What a command sees of the machine's files: all of them to be read, but for a few."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from colonies.core.errors import Misconfigured

Mount = tuple[str, ...]
"""Words of bubblewrap for what is in a place, which is the last of them."""


@dataclass(frozen=True)
class Place:
    """Where a command runs, what it may write to beside its temporary folder, and must not see."""

    cwd: str = ""
    writable: tuple[str, ...] = ()
    has_network: bool = True
    hidden: tuple[Path, ...] = ()

    @property
    def folder(self) -> str:
        """The folder that it runs in."""
        return self.cwd or str(Path.cwd())

    def check(self) -> None:
        """Raise Misconfigured unless its folders are there."""
        for name, folder in self._named():
            if not Path(folder).is_dir():
                raise Misconfigured(f"{name}: there is no folder {folder!r}")

    def check_hidden(self) -> None:
        """Raise Misconfigured when it shall work in a folder that it must not see."""
        hidden = {os.path.realpath(path) for path in self.hidden}
        for name, folder in self._named():
            if os.path.realpath(folder) in hidden:
                raise Misconfigured(
                    f"{name}: {folder!r} has keys or state of the runtime, which no command may "
                    "see; choose another folder, or one inside it"
                )

    def _named(self) -> list[tuple[str, str]]:
        return [("cwd", self.folder), *(("write", folder) for folder in self.writable)]

    def mounts(self, temporary: str) -> list[Mount]:
        """Give what differs from the machine's own files, in the order in which it is done.

        What lies further inside is done later, and so counts. That a service was started in ``/``
        does not mean that its commands may write everywhere.
        """
        open_to = [os.path.realpath(folder) for folder in (self.folder, *self.writable)]
        if open_to[0] == "/":
            del open_to[0]
        mounts: list[Mount] = [
            ("--dev", "/dev"),
            ("--proc", "/proc"),
            ("--bind", temporary, "/tmp"),  # noqa: S108 - its own
            *(("--bind", folder, folder) for folder in open_to),
        ]
        for path in sorted({os.path.realpath(path) for path in self.hidden}, key=len):
            if Path(path).exists() and _is_seen(path, mounts):
                is_folder = Path(path).is_dir()
                mounts.append(("--tmpfs", path) if is_folder else ("--ro-bind", os.devnull, path))
        mounts.sort(key=lambda mount: len(Path(mount[-1]).parts))
        # At the last: places inside are made when they are mounted.
        closed = [("--remount-ro", mount[-1]) for mount in mounts if mount[0] == "--tmpfs"]
        return [*mounts, *closed]


def _is_seen(path: str, mounts: list[Mount]) -> bool:
    """Whether what is in a place is there with these mounts as well."""
    around = [mount for mount in reversed(mounts) if Path(path).is_relative_to(mount[-1])]
    if not around:
        return True
    nearest = max(around, key=lambda mount: len(mount[-1]))
    return nearest[:-1] == ("--bind", nearest[-1])
