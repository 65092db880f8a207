"""What of a process becomes an option of sbatch, and what of it the owner allows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from colonies.core.process import Process

CHOICES = ("partition", "account", "qos", "gres")
"""What a process may choose, by its kwargs."""

_MINUTE = 60


@dataclass(frozen=True)
class Allowed:
    """The owner's lists. The first of each is what a process has that chooses nothing.

    Generic resources are written as ``gpu:4`` or ``gpu:a100:2``: up to so many of these.
    """

    partition: Sequence[str] = ()
    account: Sequence[str] = ()
    qos: Sequence[str] = ()
    gres: Sequence[str] = ()

    def refusals(self, process: Process) -> list[str]:
        """Say what of a process is not allowed, and what would be."""
        chosen = process.spec.kwargs
        reasons = [
            f"kwargs.{name}: expected one of {', '.join(CHOICES)}"
            for name in sorted(chosen.keys() - set(CHOICES))
        ]
        for name in ("partition", "account", "qos"):
            allowed = getattr(self, name)
            if name in chosen and chosen[name] not in allowed:
                reasons.append(f"kwargs.{name}: {chosen[name]!r} is not allowed, {_list(allowed)}")
        wanted = _gres(process)
        if wanted and not any(_covers(one, wanted) for one in self.gres):
            field = "kwargs.gres" if "gres" in chosen else "conditions.gpus"
            reasons.append(f"{field}: {wanted!r} is not allowed, {_list(self.gres)}")
        return reasons + _unspeakable(process)

    def options(self, process: Process) -> list[str]:
        """Give the options of sbatch for a process that is not refused."""
        spec, conditions = process.spec, process.spec.conditions
        options = {
            "partition": spec.kwargs.get("partition") or _first(self.partition),
            "account": spec.kwargs.get("account") or _first(self.account),
            "qos": spec.kwargs.get("qos") or _first(self.qos),
            "gres": _gres(process),
            "cpus-per-task": str(conditions.cores) if conditions.cores > 0 else "",
            "mem": f"{conditions.mem}M" if conditions.mem > 0 else "",
            # Slurm counts in minutes.
            "time": str(-(-spec.max_exec_time // _MINUTE)) if spec.max_exec_time > 0 else "",
        }
        # Whoever allows no retries is not run again by Slurm either.
        again = "--no-requeue" if spec.max_retries == 0 else "--requeue"
        return [f"--{name}={value}" for name, value in options.items() if value] + [again]


def _gres(process: Process) -> str:
    if chosen := process.spec.kwargs.get("gres"):
        return chosen
    gpus = process.spec.conditions.gpus
    return f"gpu:{gpus}" if gpus > 0 else ""


def _covers(allowed: str, wanted: str) -> bool:
    """Whether as many are allowed of this very thing."""
    thing, most = _split(allowed)
    asked, count = _split(wanted)
    return asked == thing and 0 < count <= most


def _split(gres: str) -> tuple[str, int]:
    match = re.fullmatch(r"([\w.-]+(?::[A-Za-z_][\w.-]*)?)(?::([0-9]{1,9}))?", gres, re.ASCII)
    return (match[1], int(match[2] or 1)) if match else ("", 0)


def _unspeakable(process: Process) -> list[str]:
    """Say what cannot be handed to a command at all."""
    spec = process.spec
    reasons = []
    if not spec.func or "=" in spec.func:
        reasons.append("func: expected a program, without an equals sign")
    if any("\0" in text for text in (spec.func, *spec.args)):
        reasons.append("args: expected no NUL")
    for name, value in spec.env.items():
        if not name or "=" in name or "\0" in name + value:
            reasons.append(f"env: {name!r} cannot be a variable")
    return reasons


def _first(allowed: Sequence[str]) -> str:
    return allowed[0] if allowed else ""


def _list(allowed: Sequence[str]) -> str:
    return f"allowed: {', '.join(allowed)}" if allowed else "nothing is"
