"""The contract of plugins whose work lives on without them, such as the jobs of a queue system.

When such a runtime leaves, what it executes is neither ended nor given back. When it starts again,
after a kill as well, it takes up every attempt that it was making: what the hub has given to
somebody else, or cancelled, meanwhile is then stopped as always.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from colonies.core.process import Process
from runtimes.base import Runtime


class Lasting(Runtime):
    """Executes what lives on when the runtime ends.

    `execute` is called again at the next start with the same attempt, and must then find what it
    has begun before instead of beginning it anew. When it is cancelled without `cancel` having
    been called, the runtime leaves: what it follows is to be left alone.
    """

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.admit: Callable[[int], None] = lambda _: None
        """Says how many processes it can hold now; never more than the slots are taken."""

    @abstractmethod
    async def recover(self, processes: list[Process]) -> None:
        """Take notice of all attempts that an earlier life has left; called once, before them.

        Each is then executed. Whatever else of this runtime there is belongs to no attempt.
        """

    @abstractmethod
    async def leave(self) -> None:
        """Let go of everything, also of what is being ended, and have no execution wait."""

    @abstractmethod
    async def forget(self, process: Process) -> None:
        """Drop what is kept of an attempt about which nothing is left to be said."""
