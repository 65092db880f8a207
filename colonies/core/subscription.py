"""A subscription: which changes of processes somebody wants to hear of."""

from __future__ import annotations

from colonies.core.process import Process, State
from colonies.core.wire import Wire


class Subscription(Wire):
    """Changes into ``states``, of one process or of all of a type, within ``colony_ids``."""

    colony_ids: frozenset[str]
    states: frozenset[State]
    process_id: str = ""
    runtime_type: str = ""

    @property
    def queues(self) -> frozenset[tuple[str, str]]:
        """The colonies and types that are watched, if it is not about one process."""
        if self.process_id:
            return frozenset()
        return frozenset((colony_id, self.runtime_type) for colony_id in self.colony_ids)

    @property
    def keys(self) -> frozenset[tuple[str, ...]]:
        """What it goes by: the process, or each of the queues."""
        return frozenset({(self.process_id,)}) if self.process_id else self.queues

    def concerns(self, process: Process) -> bool:
        """Whether the subscriber wants to hear of this process as it is now."""
        if process.colony_id not in self.colony_ids or process.state not in self.states:
            return False
        if self.process_id:
            return process.process_id == self.process_id
        return process.spec.conditions.runtime_type == self.runtime_type
