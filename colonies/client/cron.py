"""What a client can ask about crons: one short method an RPC."""

from __future__ import annotations

import msgspec

from colonies.client.asking import Asking
from colonies.core.cron import Cron


class Crons(Asking):
    """The part of `Colonies` that is about crons."""

    async def add_cron(self, cron: Cron) -> Cron:
        """Add a cron to its colony; gives it with its id, and when it comes first.

        Raises Malformed, naming what is at fault, when its times or its workflow make no sense.
        """
        return await self._call(Cron, "addcronmsg", cron=cron)

    async def get_cron(self, cron_id: str) -> Cron:
        """Give a cron."""
        return await self._call(Cron, "getcronmsg", cron_id=cron_id)

    async def get_crons(self, colony_id: str = "", *, count: int = 100) -> list[Cron]:
        """List at most ``count`` (up to 1,000) crons of a colony by name."""
        return await self._call(
            list[Cron], "getcronsmsg", colony_id=self._colony(colony_id), count=count
        )

    async def run_cron(self, cron_id: str) -> Cron:
        """Submit the workflow of a cron at once; gives the cron, which names the workflow."""
        return await self._call(Cron, "runcronmsg", cron_id=cron_id)

    async def delete_cron(self, cron_id: str) -> None:
        """Delete a cron."""
        await self._call(msgspec.Raw, "deletecronmsg", cron_id=cron_id)
