"""Asking a system by its commands, which may fail, hang or say nonsense."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runtimes.child import kill_group
from runtimes.job_state import Unsure


@dataclass(frozen=True)
class Answer:
    """How a command ended, and what it said."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def complaint(self) -> str:
        """The end of what it said about going wrong."""
        said = (self.stderr.strip() or self.stdout.strip()).decode(errors="replace")
        return said.replace("\0", "")[-1000:] or f"exit code {self.code}"


async def ask(argv: Sequence[str], env: Mapping[str, str], *, patience: float) -> Answer:
    """Run a command to its end; raise Unsure when it cannot be, or takes over ``patience`` s.

    It is killed then, and when this is cancelled; what it asked for may happen all the same.
    """
    try:
        child = await asyncio.create_subprocess_exec(
            *argv,
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise Unsure(f"cannot start {argv[0]}: {error}") from error
    try:
        async with asyncio.timeout(patience):
            stdout, stderr = await child.communicate()
    except TimeoutError:
        raise Unsure(f"{argv[0]} did not answer within {patience:g} s") from None
    finally:
        kill_group(child)
        await child.wait()
    return Answer(child.returncode or 0, stdout, stderr)
