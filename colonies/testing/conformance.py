"""The cases that every plugin must pass, as a test class to be subclassed.

::

    class TestShout(Conformance):
        plugin = Shout
        good = Work("say", "hello")
        bad = Work("say")

What the cases do is in `cases.py`; what they stand on is in `world.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any, ClassVar

import pytest

from colonies.core.process import Process
from colonies.testing import cases
from colonies.testing.world import LONG, open_world
from runtimes.base import Runtime
from runtimes.lasting import Lasting

NEVER = 3600
"""Seconds after which the hub would end what is cancelled by itself: only the plugin shall."""


class Work:
    """Something to be done: a function, its arguments, and other fields of a spec."""

    def __init__(self, func: str, *args: Any, **options: Any) -> None:
        self.func = func
        self.args = args
        self.options = options

    def __repr__(self) -> str:
        return f"{self.func!r} with {self.args}"


class Conformance:
    """The cases, one test each. Say what the plugin is, and work that ends in different ways.

    A case whose work is not said is skipped, and says which it lacks. Nothing is shared between
    cases: each has a colony, and an instance of the plugin, of its own.
    """

    plugin: ClassVar[type[Runtime]]
    """What is tested."""

    settings: Any = None
    """An instance of the plugin's own ``Settings``, unless the defaults will do."""

    good: ClassVar[Work]
    """Work that succeeds, soon."""

    bad: ClassVar[Work | None] = None
    """Work that fails, soon."""

    endless: ClassVar[Work | None] = None
    """Work that does not end by itself."""

    slow: ClassVar[Work | None] = None
    """Work that succeeds after a second or so."""

    loud: ClassVar[Work | None] = None
    """Work that gives more than a hub takes, which is a MiB."""

    telling: ClassVar[tuple[Work, str] | None] = None
    """Work that writes to the log, and a text that is then in it."""

    grace: ClassVar[float] = 1.0
    """Seconds between asking an execution to end and cancelling it."""

    patience: ClassVar[float] = LONG
    """Seconds after which what has not come counts as not coming."""

    def left_of(self, process: Process) -> Collection[str]:
        """Say what is left of a process that was stopped; a plugin must leave nothing.

        Override it if there is a way to see, such as a list of containers.
        """
        del process
        return ()

    def starts_of(self, process: Process) -> int:
        """Say how often the work of a process was begun, which a lasting plugin must do once.

        Override it if there is a way to see.
        """
        del process
        return 1

    @pytest.mark.parametrize("case", cases.ALL, ids=lambda case: case.__name__)
    def test_conforms(self, case: cases.Case, colonies_database: str) -> None:
        """Run a case."""
        if case in cases.LASTING and not issubclass(self.plugin, Lasting):
            pytest.skip(f"{self.plugin.__name__} is not Lasting")
        needed = cases.needs_of(case)
        if needed and getattr(self, needed) is None:
            pytest.skip(f"{type(self).__name__}.{needed} is not said")
        asyncio.run(self._run(case, colonies_database))

    async def _run(self, case: cases.Case, database_url: str) -> None:
        own = self.plugin.Settings() if self.settings is None else self.settings
        async with open_world(database_url, cancel_grace=NEVER) as world:
            await case(cases.Subject(self, world, lambda: self.plugin(own)))
