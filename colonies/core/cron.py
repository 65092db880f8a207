"""A cron: a workflow that is submitted again and again, by a schedule."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from colonies.core.digest import sha3
from colonies.core.errors import Malformed
from colonies.core.schedule import Every, Schedule, parse
from colonies.core.wire import ZERO_TIME, Int32, Label, Time, Wire

NO_INTERVAL = -1
"""The interval of a cron that has an expression."""

LATE = timedelta(seconds=30)
"""How long after its time a tick still counts as in time: longer than a change of the leader."""


class Catchup(StrEnum):
    """What becomes of ticks that were missed, as no hub was there to run them in time."""

    NONE = "none"
    """They are left out."""
    ONE = "one"
    """One is run for all of them, as soon as possible."""


class Cron(Wire):
    """A schedule, what it submits, and how far it has come.

    The workflow is the JSON of a `WorkflowSpec`, as text. An ``interval`` is in seconds, -1 with an
    expression; ``random`` draws each time anew from within the interval. ``next_run`` is the tick
    that comes next, ``last_run`` when the last workflow was submitted, which is the one named by
    ``prev_process_graph_id``. ``checker_period`` is how often a hub looks, in milliseconds. What it
    submits is submitted by whoever has added it.
    """

    cron_id: str = ""
    colony_id: str = ""
    name: Label = ""
    cron_expression: Label = ""
    interval: Int32 = NO_INTERVAL
    random: bool = False
    next_run: Time = ZERO_TIME
    last_run: Time = ZERO_TIME
    workflow_spec: str = ""
    prev_process_graph_id: str = ""
    wait_for_prev_process_graph: bool = False
    checker_period: int = 0
    catchup: Catchup = Catchup.ONE
    added_by: str = ""

    @property
    def schedule(self) -> Schedule:
        """When it ticks; raises Malformed that names the field at fault."""
        if self.interval != NO_INTERVAL:
            return self._every()
        if self.random:
            raise Malformed(
                "cron.random: expected an interval with it, not an expression", field="cron.random"
            )
        return parse(self.cron_expression, "cron.cronexpression")

    def _every(self) -> Every:
        if self.interval < 1:
            raise Malformed(
                "cron.interval: expected seconds, or -1 for none", field="cron.interval"
            )
        if self.cron_expression:
            raise Malformed(
                "cron.cronexpression: expected none beside an interval",
                field="cron.cronexpression",
            )
        return Every(self.interval, random=self.random)

    @property
    def times(self) -> str:
        """When it ticks, as people say it."""
        if self.interval == NO_INTERVAL:
            return self.cron_expression
        return f"once in {self.interval} s" if self.random else f"every {self.interval} s"

    def skips(self, now: datetime) -> bool:
        """Whether the tick that comes next was missed, and is not made up for."""
        return self.catchup is Catchup.NONE and now - self.next_run > LATE


def graph_id_of(cron_id: str, tick: datetime) -> str:
    """Give the id of the workflow that a tick submits: the same whoever does it, so only once."""
    return sha3(f"{cron_id}:{tick.isoformat()}")
