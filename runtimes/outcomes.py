"""Outcomes that the hub has not heard of yet: on disk, so that they outlive the runtime.

A file each, ``outcomes/<runtime>/<process>.<attempt>.json`` in the state folder, for nobody but the
user to read. A file is whole or not there.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import msgspec
import structlog

from colonies.core.process import Conditions, Process, ProcessSpec, State
from runtimes.base import Outcome
from runtimes.files import attempt_file, make_private, remove_drafts, write_whole

logger = structlog.get_logger()

LONGEST = 7 * 86_400
"""Seconds that an outcome is kept; an attempt that nobody has heard of for so long is over."""

MOST = 10_000
"""Outcomes that are kept; of more, the newest, when the runtime starts."""


class Kept(msgspec.Struct, frozen=True):
    """The outcome of an attempt, with what it takes to renew its lease and to close it."""

    runtime_id: str
    colony_id: str
    process_id: str
    attempt: int
    attempt_token: str
    lease: int
    outcome: Outcome
    version: Literal[1] = 1

    @classmethod
    def of(cls, process: Process, outcome: Outcome) -> Kept:
        """Put together what an outcome is kept as."""
        return cls(
            runtime_id=process.assigned_runtime_id,
            colony_id=process.colony_id,
            process_id=process.process_id,
            attempt=process.attempt,
            attempt_token=process.attempt_token,
            lease=process.spec.lease,
            outcome=outcome,
        )

    @property
    def process(self) -> Process:
        """The process as far as it matters to whoever closes it."""
        spec = ProcessSpec(lease=self.lease, conditions=Conditions(colony_id=self.colony_id))
        return Process(
            process_id=self.process_id,
            assigned_runtime_id=self.runtime_id,
            is_assigned=True,
            state=State.RUNNING,
            attempt=self.attempt,
            attempt_token=self.attempt_token,
            spec=spec,
        )

    @property
    def name(self) -> str:
        """The name of its file; raises ValueError when there can be none."""
        return attempt_file(self.process_id, self.attempt)


class Outcomes:
    """The kept outcomes of one runtime in one colony."""

    def __init__(self, state_folder: Path, runtime_id: str, colony_id: str) -> None:
        self._folder = state_folder / "outcomes" / runtime_id
        self._runtime_id = runtime_id
        self._colony_id = colony_id

    def keep(self, kept: Kept, *, is_synced: bool = True) -> None:
        """Write an outcome down; raise OSError or ValueError when that cannot be.

        One that is not ``is_synced`` is there after a kill of ours, but not of the machine.
        """
        path = self._folder / kept.name
        make_private(self._folder)
        write_whole(path, msgspec.json.encode(kept), is_synced=is_synced)

    def drop(self, kept: Kept) -> None:
        """Forget an outcome, kept or not."""
        (self._folder / kept.name).unlink(missing_ok=True)

    def load(self) -> list[Kept]:
        """Give what is kept, oldest first; drop what is too old or too much.

        What cannot be read, or is another's, stays where it is. Raises OSError when the folder
        cannot be read.
        """
        remove_drafts(self._folder)
        found: list[Kept] = []
        dropped: list[str] = []
        odd: list[str] = []
        for path in self._newest_first():
            kept = self._read(path)
            if kept is None:
                odd.append(path.name)
            elif len(found) < MOST and time.time() - path.stat().st_mtime < LONGEST:
                found.append(kept)
            else:
                dropped.append(path.name)
                self.drop(kept)
        where = str(self._folder)
        if odd:
            logger.warning("outcomes not read", folder=where, count=len(odd), first=odd[0])
        if dropped:
            logger.warning("outcomes dropped", folder=where, count=len(dropped), first=dropped[0])
        return found[::-1]

    def _newest_first(self) -> list[Path]:
        try:
            files = [path for path in self._folder.iterdir() if path.suffix == ".json"]
        except FileNotFoundError:
            return []
        return sorted(files, key=lambda path: path.stat().st_mtime, reverse=True)

    def _read(self, path: Path) -> Kept | None:
        try:
            kept = msgspec.json.decode(path.read_bytes(), type=Kept)
            owner = (kept.runtime_id, kept.colony_id, kept.name)
        except (OSError, ValueError):  # msgspec's errors are ValueErrors
            return None
        return kept if owner == (self._runtime_id, self._colony_id, path.name) else None
