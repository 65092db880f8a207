"""Give the SHA-256 of files: a plugin with everything that a plugin can have."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path
from typing import Annotated, BinaryIO

from colonies import Process, decode_argument
from colonies.core.function import Argument, Function, Kind, Passing
from runtimes.base import Help, Job, Outcome, Runtime, failure, not_here, success

PIECE = 16 << 20


class Digest(Runtime):
    """Gives the SHA-256 of files."""

    runtime_type = "digest"
    usual_slots = 2

    class Settings(Runtime.Settings, frozen=True):
        """What the owner allows."""

        folder: Annotated[str, Help("Folder whose files may be read (default: this one)")] = "."

    settings: Settings

    async def open(self) -> None:
        """Find the folder; what is raised here ends the runtime with a message."""
        folder = Path(self.settings.folder)
        self._folder = await asyncio.to_thread(folder.resolve, strict=True)
        self._asked: set[str] = set()

    async def functions(self) -> list[Function]:
        """Say what can be called, so that wrong calls are refused when they are submitted."""
        path = Argument(name="path", type=Kind.STR, passing=Passing.POSITION)
        return [Function(name="digest", description="Give the SHA-256 of a file.", args=[path])]

    async def cancel(self, process: Process) -> bool:
        """Ask for an end after the next piece, which deserves the grace period."""
        self._asked.add(process.attempt_token)
        return True

    async def execute(self, process: Process, job: Job) -> Outcome:
        """Read a file of the folder; an OSError is a failure with its text."""
        if process.spec.func != "digest" or len(process.spec.args) != 1:
            return failure("expected digest PATH")
        name = str(decode_argument(process.spec.args[0]))
        path = await asyncio.to_thread((self._folder / name).resolve)
        if not path.is_relative_to(self._folder):
            return failure(f"path: expected a file in {self._folder}, got {name!r}")
        await job.log(f"reading {path}\n")
        try:
            with await asyncio.to_thread(path.open, "rb") as file:
                return await self._read(file, process, job)
        finally:
            self._asked.discard(process.attempt_token)

    async def _read(self, file: BinaryIO, process: Process, job: Job) -> Outcome:
        digest, done, size = hashlib.sha256(), 0, os.fstat(file.fileno()).st_size
        # In threads: what blocks this loop holds up all other executions.
        while piece := await asyncio.to_thread(file.read, PIECE):
            if process.attempt_token in self._asked:
                # No failure of the process: when the runtime leaves, others may have it.
                return not_here("stopped")
            await asyncio.to_thread(digest.update, piece)
            done += len(piece)
            await job.progress(done, max(done, size), "reading")
        await job.attribute("bytes", str(done))
        return success(digest.hexdigest())
