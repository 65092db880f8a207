"""A small plugin whose work lives on without it: a nap, of which files say how far it is."""

import asyncio
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import Annotated

from runtimes.base import Help, Outcome, Runtime, failure, success
from runtimes.lasting import Lasting

# Whoever makes the folder is the one that naps; `$$` is the group, as it leads a session.
NAP = """(
  mkdir "$0" || exit 0
  echo $$ > "$0/draft"; mv "$0/draft" "$0/group"
  sleep "$1" && touch "$0/done"
) > /dev/null 2>&1 &"""


class Detached(Lasting):
    """Naps, for so many seconds, whatever becomes of the runtime."""

    runtime_type = "detached"

    class Settings(Runtime.Settings, frozen=True):
        folder: Annotated[str, Help("Where naps are kept")]

    def __init__(self, settings):
        super().__init__(settings)
        self._asked = set()

    async def execute(self, process, job) -> Outcome:
        del job
        if process.spec.func != "nap":
            return failure("expected nap")
        nap = self._place(process)
        try:
            self._begin(nap, process.spec.args[0])
            while not (nap / "done").exists():
                await asyncio.sleep(0.02)
        except asyncio.CancelledError:
            if process.attempt_token in self._asked:
                await self._end(nap)
            raise
        return success("rested")

    def _place(self, process):
        return Path(self.settings.folder, f"{process.process_id}.{process.attempt}")

    def _begin(self, nap, seconds):
        if not nap.exists():
            subprocess.run(["/bin/sh", "-c", NAP, nap, seconds], check=True, start_new_session=True)

    async def _end(self, nap):
        while not (nap / "group").exists():
            await asyncio.sleep(0.02)
        with suppress(ProcessLookupError):
            os.killpg(int((nap / "group").read_text()), signal.SIGKILL)

    async def cancel(self, process):
        self._asked.add(process.attempt_token)
        return False

    async def recover(self, processes): ...

    async def leave(self): ...

    async def forget(self, process): ...


class Forgetful(Detached):
    """Begins everything anew in each life."""

    def __init__(self, settings):
        super().__init__(settings)
        self._life = token_hex(4)

    def _place(self, process):
        place = super()._place(process)
        return place.with_name(f"{place.name}.{self._life}")
