"""What a client can ask about generators: one short method an RPC."""

from __future__ import annotations

import msgspec

from colonies.client.asking import Asking
from colonies.core.generator import Generator


class Generators(Asking):
    """The part of `Colonies` that is about generators."""

    async def add_generator(self, generator: Generator) -> Generator:
        """Add a generator to its colony; gives it with its id.

        Raises Malformed, naming what is at fault, when its workflow makes no sense.
        """
        return await self._call(Generator, "addgeneratormsg", generator=generator)

    async def get_generator(self, generator_id: str) -> Generator:
        """Give a generator, with how much it has gathered."""
        return await self._call(Generator, "getgeneratormsg", generator_id=generator_id)

    async def resolve_generator(self, generator_name: str, colony_id: str = "") -> Generator:
        """Give the generator of a name; of which colony is left open only if none is set."""
        return await self._call(
            Generator,
            "resolvegeneratormsg",
            generator_name=generator_name,
            colony_id=colony_id or self.settings.colony_id,
        )

    async def get_generators(self, colony_id: str = "", *, count: int = 100) -> list[Generator]:
        """List at most ``count`` (up to 1,000) generators of a colony by name."""
        return await self._call(
            list[Generator], "getgeneratorsmsg", colony_id=self._colony(colony_id), count=count
        )

    async def pack_generator(self, generator_id: str, arg: str) -> None:
        """Pack an argument: it is used once, after those packed before it."""
        await self._call(msgspec.Raw, "packgeneratormsg", generator_id=generator_id, arg=arg)

    async def delete_generator(self, generator_id: str) -> None:
        """Delete a generator with what it has gathered."""
        await self._call(msgspec.Raw, "deletegeneratormsg", generator_id=generator_id)
