"""Asking an engine by its commands, which may fail, hang, be killed or say nonsense."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

from runtimes.child import inherited_environment, kill_group, start_child
from runtimes.command import Answer
from runtimes.container.engine import Engine

ENGINE_SEES = (
    *("CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF", "CONTAINERS_REGISTRIES_CONF"),
    *("CONTAINER_HOST", "REGISTRY_AUTH_FILE", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT"),
    *("DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "APPTAINER_CACHEDIR", "APPTAINER_TMPDIR"),
    *("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "DBUS_SESSION_BUS_ADDRESS"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)
"""What an engine may see of our environment; none of it comes into a container."""

MOST_SAID = 65_536

_NO_ANSWER = re.compile(
    r"\beof\b|connection|connect to|timed? ?out|broken pipe|in use|i/o error", re.IGNORECASE
)
"""Failures after which an engine may have done it or not, or which say that it had been done."""


class EngineFailed(Exception):
    """An engine did not do what it was asked, or did not say so in time.

    ``is_unsure`` says that it may have done it all the same.
    """

    def __init__(self, reason: str, *, is_unsure: bool = False) -> None:
        super().__init__(reason)
        self.is_unsure = is_unsure


@dataclass(frozen=True)
class Asking:
    """How engines are asked: ``patience`` is in seconds, of pulling and of everything else."""

    engine: Engine
    patience: float
    pull_patience: float

    async def ask(
        self,
        argv: Sequence[str],
        *,
        patience: float = 0,
        cwd: str | None = None,
        most: int = MOST_SAID,
    ) -> Answer:
        """Run a command of the engine; gives its exit code and the last of what it said.

        It is killed when it takes too long, which raises EngineFailed; or when this is cancelled.
        """
        patience = patience or self.patience
        verb = " ".join(argv[: len(self.engine.command) + 1])
        try:
            child = await start_child(list(argv), engine_environment(), cwd=cwd)
        except (OSError, ValueError) as error:
            raise EngineFailed(f"{verb}: {error}") from error
        try:
            async with asyncio.timeout(patience):
                stdout, stderr = await asyncio.gather(
                    _listen(child.stdout, most), _listen(child.stderr, most)
                )
                code = await child.process.wait()
        except TimeoutError:
            raise EngineFailed(f"{verb}: no answer within {patience:g} s", is_unsure=True) from None
        finally:
            kill_group(child.process)
            child.close()
            await child.process.wait()
        return Answer(code, stdout, stderr)

    async def need(self, argv: Sequence[str], *, patience: float = 0, cwd: str = "") -> str:
        """Run a command that must succeed; gives what it said, or raises EngineFailed."""
        answer = await self.ask(argv, patience=patience, cwd=cwd or None)
        if answer.code != 0:
            said = answer.complaint
            is_unsure = answer.code < 0 or bool(_NO_ANSWER.search(said))
            raise EngineFailed(said, is_unsure=is_unsure)
        return answer.stdout.decode(errors="replace").strip()


async def _listen(stream: asyncio.StreamReader, most: int) -> bytes:
    """Read a pipe to its end, and give the last of it."""
    kept = bytearray()
    while data := await stream.read(MOST_SAID):
        kept += data
        del kept[:-most]
    return bytes(kept)


def engine_environment() -> dict[str, str]:
    """Give what an engine sees of our environment."""
    return inherited_environment(ENGINE_SEES)
