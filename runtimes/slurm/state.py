"""What squeue and sacct say, in their JSON and in their columns, as sights of jobs.

The JSON of 22.05 has plain values where that of 23.02 and later has lists and objects; its exit
code is a wait status. Both are read. States that are not known here are neither running nor ended.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import msgspec
import structlog

from runtimes.batch.watch import Sights
from runtimes.job_state import Ending, Phase, Sight, Unsure

logger = structlog.get_logger()

STATES = {
    "PENDING": Phase.QUEUED,
    "CONFIGURING": Phase.QUEUED,
    "REQUEUED": Phase.QUEUED,
    "REQUEUE_FED": Phase.QUEUED,
    "REQUEUE_HOLD": Phase.QUEUED,
    "RESV_DEL_HOLD": Phase.QUEUED,
    "SPECIAL_EXIT": Phase.QUEUED,
    "POWER_UP_NODE": Phase.QUEUED,
    "RUNNING": Phase.RUNNING,
    "COMPLETING": Phase.RUNNING,
    "RESIZING": Phase.RUNNING,
    "SIGNALING": Phase.RUNNING,
    "STAGE_OUT": Phase.RUNNING,
    "EXPEDITING": Phase.QUEUED,
    "SUSPENDED": Phase.SUSPENDED,
    "STOPPED": Phase.SUSPENDED,
}
"""States of jobs that have not ended."""

ENDINGS = {
    "COMPLETED": Ending.ITSELF,
    "FAILED": Ending.ITSELF,
    "TIMEOUT": Ending.OVERTIME,
    "DEADLINE": Ending.OVERTIME,
    "OUT_OF_MEMORY": Ending.OUT_OF_MEMORY,
    "NODE_FAIL": Ending.NODE_FAILED,
    "PREEMPTED": Ending.PREEMPTED,
    "CANCELLED": Ending.CANCELLED,
    "REVOKED": Ending.CANCELLED,
    "BOOT_FAIL": Ending.NOT_STARTED,
    "LAUNCH_FAILED": Ending.NOT_STARTED,
    "RECONFIG_FAIL": Ending.NOT_STARTED,
}
"""States of jobs that have ended, and what has ended them."""

ALIVE_FIRST = (Phase.QUEUED, Phase.SUSPENDED, Phase.RUNNING, Phase.ENDED)
"""Of several states of one job the first counts: one that is requeued is not running."""

QUEUE_COLUMNS = "JobID:|,State:|,exit_code:|,StartTime:|,restartcnt:|,NodeList:|,Name:|,Reason:|"
PAST_COLUMNS = "JobIDRaw,State,ExitCode,JobName"
LEGACY_COLUMNS = "JobID,State,ExitCode,JobName"
"""What can be had of a cluster that only writes its finished jobs into a file."""


class _Job(msgspec.Struct):
    """A job of squeue, or of sacct, whose names differ; of either, what counts."""

    job_id: int
    name: str = ""
    job_state: Any = None
    state_reason: Any = ""
    exit_code: Any = None
    start_time: Any = 0
    restart_cnt: Any = 0
    nodes: Any = ""
    state: Any = None


class _Listing(msgspec.Struct):
    jobs: list[_Job]


def read_json(said: bytes, prefix: str) -> Sights:
    """Read what ``--json`` gives, as far as names begin so; raise Unsure when it is not that."""
    try:
        listing = msgspec.json.decode(said, type=_Listing)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Unsure(f"no list of jobs: {error}") from error
    return _by_name(_of_json(job) for job in listing.jobs if job.name.startswith(prefix))


def read_queue(said: bytes, prefix: str) -> Sights:
    """Read the columns of squeue."""
    return _by_name(_of_queue(row) for row in _rows(said, 8) if row[6].startswith(prefix))


def read_past(said: bytes, prefix: str) -> Sights:
    """Read the columns of sacct."""
    return _by_name(_of_past(row) for row in _rows(said, 4) if row[3].startswith(prefix))


def _by_name(sights: Iterable[Sight]) -> Sights:
    found: dict[str, list[Sight]] = {}
    for sight in sights:
        found.setdefault(sight.name, []).append(sight)
    return {name: tuple(ones) for name, ones in found.items()}


def _rows(said: bytes, columns: int) -> list[list[str]]:
    rows = [line.split("|") for line in said.decode(errors="replace").splitlines() if line]
    if any(len(row) < columns for row in rows):
        raise Unsure("no list of jobs: columns are missing")
    return rows


def _of_json(job: _Job) -> Sight:
    state, reason = job.job_state, job.state_reason
    if isinstance(job.state, dict):  # of sacct
        state, reason = job.state.get("current"), job.state.get("reason", "")
    words = state if isinstance(state, list) else [state]
    code, number = _exit(job.exit_code)
    return _sight(
        str(job.job_id),
        job.name,
        [str(word) for word in words],
        reason=str(reason or ""),
        code=code,
        number=number,
        start=_number(job.start_time),
        restarts=_number(job.restart_cnt),
        nodes=str(job.nodes or ""),
    )


def _of_queue(row: list[str]) -> Sight:
    job_id, state, exit_code, start, restarts, nodes, name, reason = row[:8]
    code, number = _exit(int(exit_code) if exit_code.isdecimal() else 0)
    return _sight(
        job_id,
        name,
        [state],
        reason=reason,
        code=code,
        number=number,
        start=int(start) if start.isdecimal() else 0,
        restarts=int(restarts) if restarts.isdecimal() else 0,
        nodes=nodes,
    )


def _of_past(row: list[str]) -> Sight:
    job_id, state, exit_code, name = row[:4]
    code, _, number = exit_code.partition(":")
    return _sight(
        job_id,
        name,
        state.split()[:1],  # CANCELLED by 1000
        code=int(code) if code.isdecimal() else 0,
        number=int(number) if number.isdecimal() else 0,
    )


def _sight(
    job_id: str,
    name: str,
    words: list[str],
    *,
    reason: str = "",
    code: int = 0,
    number: int = 0,
    start: int = 0,
    restarts: int = 0,
    nodes: str = "",
) -> Sight:
    known = [Phase.ENDED if word in ENDINGS else STATES.get(word) for word in words]
    phases = [phase for phase in known if phase]
    phase = min(phases, key=ALIVE_FIRST.index) if phases else None
    ended = [word for word in words if word in ENDINGS]
    return Sight(
        job_id=job_id,
        name=name,
        phase=phase,
        state=" ".join(words),
        reason="" if reason == "None" else reason,
        ending=ENDINGS[ended[0]] if ended else Ending.ITSELF,
        # The start of what runs is no expectation.
        expected_start=start if phase is Phase.QUEUED else 0,
        exit_code=code,
        signal=number,
        nodes=nodes,
        restarts=restarts,
    )


def _exit(value: Any) -> tuple[int, int]:
    """Give exit code and signal, of a wait status or of what newer versions make of it."""
    if isinstance(value, dict):
        signal = value.get("signal") or {}
        number = signal.get("id", signal.get("signal_id", 0)) if isinstance(signal, dict) else 0
        return _number(value.get("return_code")), _number(number)
    status = _number(value)
    if os.WIFSIGNALED(status):
        return 0, os.WTERMSIG(status)
    return os.WEXITSTATUS(status), 0


def _number(value: Any) -> int:
    """Give a number, also of newer versions' ``{"set": true, "infinite": false, "number": 1}``."""
    if isinstance(value, dict):
        value = value.get("number") if value.get("set", True) else 0
    return value if isinstance(value, int) else 0
