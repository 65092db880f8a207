"""What a client can ask about runtimes: one short method an RPC."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from colonies.client.asking import Asking
from colonies.core.runtime import Figures, Runtime


class Runtimes(Asking):
    """The part of `Colonies` that is about runtimes."""

    async def add_runtime(self, runtime: Runtime) -> Runtime:
        """Add a runtime to its colony; it is pending until approved."""
        return await self._call(Runtime, "addruntimemsg", runtime=runtime)

    async def get_runtimes(self, colony_id: str = "") -> list[Runtime]:
        """List the runtimes of a colony."""
        return await self._call(list[Runtime], "getruntimesmsg", colony_id=self._colony(colony_id))

    async def get_runtime(self, runtime_id: str) -> Runtime:
        """Give a runtime."""
        return await self._call(Runtime, "getruntimemsg", runtime_id=runtime_id)

    async def approve_runtime(self, runtime_id: str) -> None:
        """Let a runtime in."""
        await self._call(msgspec.Raw, "approveruntimemsg", runtime_id=runtime_id)

    async def reject_runtime(self, runtime_id: str) -> None:
        """Shut a runtime out."""
        await self._call(msgspec.Raw, "rejectruntimemsg", runtime_id=runtime_id)

    async def label_runtime(self, labels: Mapping[str, str], colony_id: str = "") -> None:
        """Say all labels of the caller, in place of those that it had."""
        await self._call(
            msgspec.Raw, "labelruntimemsg", colony_id=self._colony(colony_id), labels=dict(labels)
        )

    async def update_runtime(
        self, figures: Figures, runtime_id: str = "", colony_id: str = ""
    ) -> None:
        """Say what a runtime has now, in place of what was known; without an id, the caller."""
        await self._call(
            msgspec.Raw,
            "updateruntimemsg",
            colony_id=self._colony(colony_id),
            figures=figures,
            runtime_id=runtime_id,
        )

    async def delete_runtime(self, runtime_id: str) -> None:
        """Delete a runtime; what it was running returns to the queue."""
        await self._call(msgspec.Raw, "deleteruntimemsg", runtime_id=runtime_id)
