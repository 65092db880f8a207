"""The words before a command: programs that take on limits, and become what follows them.

`prlimit` and the `env` of GNU do that in a millisecond or two. An interpreter takes some ten, and
does it where these are not, and what they cannot.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_INTERPRETED = Path(__file__).with_name("sandbox_child.py").read_text()
"""Its source, as the file may be where a command sees its own temporary folder."""

_PYTHON = os.path.realpath(sys.executable)

PROBE_PATIENCE = 10
"""Seconds that a protection may take to show that it works."""


def why_not(argv: list[str]) -> str:
    """Say why a command does not succeed, if it does not; this blocks for a moment."""
    try:
        tried = subprocess.run(  # noqa: S603 - words of ours
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=PROBE_PATIENCE,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    said = tried.stderr.decode(errors="replace").strip()
    return (said[-300:] or f"exit code {tried.returncode}") if tried.returncode else ""


class Steps:
    """What is needed before a command, with the programs that are here."""

    def __init__(self) -> None:
        """Find out which programs there are; this blocks for a moment."""
        self._prlimit, self._env = (shutil.which(name) or "" for name in ("prlimit", "env"))
        self.are_quick = "=" not in self._env and self._try()

    def _try(self) -> bool:
        limited = self._limit({"RLIMIT_CORE": 0})
        argv = [*limited, *self._signal("ignore"), *self._signal("default"), "true"]
        return not why_not(argv)

    def _limit(self, limits: Mapping[str, int]) -> list[str]:
        names = {name: name.removeprefix("RLIMIT_").lower() for name in limits}
        return [
            self._prlimit,
            *(f"--{names[name]}={most}:{most}" for name, most in limits.items()),
            "--",
        ]

    def _signal(self, how: str) -> list[str]:
        return [self._env, f"--{how}-signal=TERM", "--"]

    def confine(
        self,
        limits: Mapping[str, int],
        program: str,
        env: Mapping[str, str],
        *,
        cgroup: str = "",
        is_patient: bool = False,
    ) -> list[str]:
        """Have a program started within limits and a control group; nobody gets more than we have.

        Who ``is_patient`` does not end when it is asked to.
        """
        limits = {name: _capped(name, most) for name, most in limits.items()}
        # `env` would take the name for a variable, and neither steps into a group.
        if not self.are_quick or cgroup or (is_patient and "=" in program):
            return _interpreted(env, limits, cgroup, is_patient=is_patient)
        return [*self._limit(limits), *(self._signal("ignore") if is_patient else [])]

    def relent(self, program: str, env: Mapping[str, str]) -> list[str]:
        """Have a program started that ends when it is asked to, by one who does not."""
        if not self.are_quick or "=" in program:
            return _interpreted(env, {}, "", is_patient=False)
        return self._signal("default")


def _capped(name: str, most: int) -> int:
    _, hard = resource.getrlimit(getattr(resource, name))
    return most if hard == resource.RLIM_INFINITY else min(most, hard)


def _interpreted(
    env: Mapping[str, str], limits: Mapping[str, int], cgroup: str, *, is_patient: bool
) -> list[str]:
    """Give the words by which `sandbox_child.py` is told what to do; an empty one is a no."""
    orders = [
        " ".join(f"{name}={most}" for name, most in limits.items()),
        cgroup,
        "LC_CTYPE" if "LC_CTYPE" in env else "",
        "patient" if is_patient else "",
    ]
    return [_PYTHON, "-I", "-S", "-c", _INTERPRETED, *orders]
