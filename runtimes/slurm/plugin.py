"""Run a process as a Slurm job: func is the program, args are its arguments."""

from __future__ import annotations

import os
import re
from typing import Annotated

import structlog

from colonies.core.process import Process
from runtimes.base import Help
from runtimes.batch.job import Order
from runtimes.batch.runtime import BatchRuntime
from runtimes.batch.watch import Sights
from runtimes.child import argv_of, process_environment
from runtimes.command import Answer, ask
from runtimes.job_state import Busy, Refused, Sight, Unsure
from runtimes.slurm.state import (
    LEGACY_COLUMNS,
    PAST_COLUMNS,
    QUEUE_COLUMNS,
    read_json,
    read_past,
    read_queue,
)
from runtimes.slurm.terms import Allowed

logger = structlog.get_logger()

PREAMBLE = "unset SLURM_EXPORT_ENV\n"
"""Else srun inside the job would see as little of our environment as the job itself."""

_OURS = re.compile(r"(SLURM|SBATCH|SQUEUE|SACCT|SCANCEL)_")
_KEPT = {"SLURM_CONF", "SLURM_CLUSTERS"}

_NOT_NOW = re.compile(
    "policy .job submit limit|temporarily|try again|busy|slurmdbd|too many|QOSMaxSubmit|MaxSubmit",
    re.IGNORECASE,
)
"""Refusals of sbatch that are about the hour and not about the job."""

_NO_ANSWER = re.compile(
    "socket|unable to contact|communication|connection|timed out|i/o error", re.IGNORECASE
)
"""Failures of sbatch after which the controller may have the job or not."""

_NO_HISTORY = re.compile(
    "disabled|not configured|unrecognized option|invalid option", re.IGNORECASE
)
"""What sacct says where it, or this way of asking it, does not exist."""

_GONE = re.compile("invalid job id|already completed|job/step already", re.IGNORECASE)


class Slurm(BatchRuntime):
    """Runs commands as Slurm jobs. Standard output, by line, is the output."""

    runtime_type = "slurm"
    system = "slurm"

    class Settings(BatchRuntime.Settings, frozen=True):
        """What the owner allows."""

        allow_partition: Annotated[
            list[str], Help("Partition that a process may choose; the first is usual; repeatable")
        ] = []
        allow_account: Annotated[
            list[str], Help("Account that a process may choose; the first is usual; repeatable")
        ] = []
        allow_qos: Annotated[
            list[str], Help("QOS that a process may choose; the first is usual; repeatable")
        ] = []
        allow_gres: Annotated[
            list[str], Help("Generic resources that a job may have, such as gpu:2; repeatable")
        ] = []
        json: Annotated[bool, Help("Read the JSON of squeue and sacct where they offer it")] = True

    settings: Settings

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._allowed = Allowed(
            partition=settings.allow_partition,
            account=settings.allow_account,
            qos=settings.allow_qos,
            gres=settings.allow_gres,
        )
        self._has_json = settings.json
        # The ways to ask for what is past, tried in turn: where one does not exist, the next.
        self._history: list[tuple[str, ...]] = [("--json",)] if settings.json else []
        self._history += [
            ("--parsable2", "--noheader", "--allocations", f"--format={PAST_COLUMNS}"),
            ("--completion", "--parsable2", "--noheader", f"--format={LEGACY_COLUMNS}"),
        ]

    async def check(self) -> list[str]:
        """Say which Slurm is here, and what jobs may choose."""
        own, version = self.settings, await self._version()
        await self.look()
        return [
            f"cluster: {version}, answers",
            f"partitions: {', '.join(own.allow_partition) or 'the usual'}",
            f"accounts: {', '.join(own.allow_account) or 'the usual'}",
            f"qos: {', '.join(own.allow_qos) or 'the usual'}",
            f"gres: {', '.join(own.allow_gres) or 'none'}",
        ]

    async def _version(self) -> str:
        answer = await self._ask("squeue", "--version")
        if answer.code != 0:
            raise Unsure(f"squeue does not work: {answer.complaint}")
        return answer.stdout.decode(errors="replace").strip()

    async def open(self) -> None:
        """See that Slurm is there, and which of its languages it speaks."""
        logger.info("slurm found", version=await self._version())
        await super().open()

    def refusals(self, process: Process) -> list[str]:
        """Compare a process with what the owner allows."""
        return self._allowed.refusals(process)

    def write(self, order: Order) -> None:
        """Write the script and the environment file."""
        order.folder.make(
            argv_of(order.process),
            process_environment(order.process),
            cwd=self.settings.cwd,
            job_id="SLURM_JOB_ID",
            shell_lines=PREAMBLE,
        )

    async def submit(self, order: Order) -> str:
        """Hand the script to sbatch."""
        path = order.folder.path
        in_pattern = str(path).replace("\\", "\\\\").replace("%", "%%")
        answer = await self._ask(
            "sbatch",
            "--parsable",
            "--export=NONE",
            f"--job-name={order.name}",
            f"--chdir={path}",
            f"--output={in_pattern}/stdout",
            f"--error={in_pattern}/stderr",
            "--open-mode=append",
            *self._allowed.options(order.process),
            str(order.folder.script),
        )
        if answer.code == 0:
            job_id = answer.stdout.decode(errors="replace").strip().partition(";")[0]
            if not re.fullmatch("[0-9]+", job_id, re.ASCII):
                raise Unsure(f"sbatch gave {job_id[:100]!r}, expected the id of a job")
            return job_id
        if answer.code < 0 or not answer.stderr or _NO_ANSWER.search(answer.complaint):
            raise Unsure(f"sbatch: {answer.complaint}")
        if _NOT_NOW.search(answer.complaint):
            raise Busy(answer.complaint)
        raise Refused(answer.complaint)

    async def look(self) -> Sights:
        """Ask squeue for all jobs of ours, those that have just ended too."""
        which = ("--me", "--states=all")
        if self._has_json:
            answer = await self._ask("squeue", "--json", *which)
            if answer.code == 0:
                return read_json(answer.stdout, self.prefix)
            if not re.search("json|plugin|option", answer.complaint, re.IGNORECASE):
                raise Unsure(f"squeue: {answer.complaint}")
            logger.info("no JSON from squeue", error=answer.complaint)
            self._has_json = False
            raise Unsure("squeue gives no JSON here")  # the next look asks otherwise
        answer = await self._ask("squeue", "--noheader", *which, f"--Format={QUEUE_COLUMNS}")
        if answer.code != 0:
            raise Unsure(f"squeue: {answer.complaint}")
        return read_queue(answer.stdout, self.prefix)

    async def look_back(self, job_ids: list[str]) -> dict[str, Sight]:
        """Ask sacct; a cluster without accounting remembers nothing."""
        if not self._history:
            return {}
        answer = await self._ask("sacct", f"--jobs={','.join(job_ids)}", *self._history[0])
        if answer.code != 0 or _NO_HISTORY.search(answer.stderr.decode(errors="replace")):
            if _NO_HISTORY.search(answer.complaint):
                del self._history[0]
            raise Unsure(f"sacct: {answer.complaint}")
        read = read_json if "--json" in self._history[0] else read_past
        found = read(answer.stdout, self.prefix)
        return {sight.job_id: sight for sights in found.values() for sight in sights}

    async def end(self, job_id: str) -> None:
        """Ask scancel for the end of a job."""
        answer = await self._ask("scancel", job_id)
        if answer.code != 0 and not _GONE.search(answer.complaint):
            raise Unsure(f"scancel: {answer.complaint}")

    async def _ask(self, *argv: str) -> Answer:
        return await ask(argv, _environment(), patience=self.settings.patience)


def _environment() -> dict[str, str]:
    """Give what Slurm's commands see: no key of ours, and no options that we did not choose."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if "PRVKEY" not in name and (name in _KEPT or not _OURS.match(name))
    }
    return {**inherited, "LC_ALL": "C", "SLURM_TIME_FORMAT": "%s"}
