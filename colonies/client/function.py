"""What a client can ask about functions: one short method an RPC."""

from __future__ import annotations

import msgspec

from colonies.client.asking import Asking
from colonies.core.function import Function


class Functions(Asking):
    """The part of `Colonies` that is about functions."""

    async def add_function(self, function: Function, colony_id: str = "") -> Function:
        """Announce a function that the caller can run, in place of an earlier one of its name."""
        return await self._call(
            Function,
            "addfunctionmsg",
            colony_id=self._colony(colony_id or function.colony_id),
            function=function,
        )

    async def get_functions(
        self, colony_id: str = "", *, runtime_id: str = "", name: str = ""
    ) -> list[Function]:
        """List what the runtimes of a colony announce: all, of one runtime, or of one name."""
        return await self._call(
            list[Function],
            "getfunctionsmsg",
            colony_id=self._colony(colony_id),
            runtime_id=runtime_id,
            name=name,
        )

    async def remove_function(self, name: str, colony_id: str = "") -> None:
        """Take back a function that the caller announced."""
        await self._call(
            msgspec.Raw, "removefunctionmsg", colony_id=self._colony(colony_id), name=name
        )
