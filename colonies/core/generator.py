"""A generator: gathers arguments, and submits a workflow with so many of them at a time."""

from __future__ import annotations

from typing import Annotated

import msgspec

from colonies.core.wire import ZERO_TIME, Label, Time, Wire

MAX_TRIGGER = 10_000
"""Arguments that one workflow can be given."""

MAX_PACKED_BYTES = 16 * 1024 * 1024
ARGUMENT_BYTES = 32
"""Of all arguments that a generator has gathered, each counted with so many more than it has."""

Trigger = Annotated[int, msgspec.Meta(ge=1, le=MAX_TRIGGER)]
Timeout = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class Generator(Wire):
    """How many arguments make a workflow, or after how long fewer do, and what is gathered.

    The workflow is the JSON of a `WorkflowSpec`, as text; the arguments become those of all its
    processes without parents. ``timeout`` is in seconds from when the oldest argument was packed, 0
    is none. ``last_run`` is when the last workflow was submitted, ``first_pack`` when the oldest of
    the ``queue_size`` arguments was packed. ``checker_period`` is how often a hub looks, in
    milliseconds. What it submits is submitted by whoever has added it.
    """

    generator_id: str = ""
    colony_id: str = ""
    name: Label = ""
    workflow_spec: str = ""
    trigger: Trigger = 1
    last_run: Time = ZERO_TIME
    queue_size: int = 0
    checker_period: int = 0
    timeout: Timeout = 0
    first_pack: Time = ZERO_TIME
    added_by: str = ""

    def portions(self, most: int) -> list[int]:
        """Give how many arguments each of the next workflows gets, which are ``most`` at most.

        With less than the trigger gathered, all of it goes into one.
        """
        full = min(self.queue_size // self.trigger, most, max(1, MAX_TRIGGER // self.trigger))
        return [self.trigger] * full or [self.queue_size]
