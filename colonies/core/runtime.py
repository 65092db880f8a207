"""A runtime: the machine that works, what it has, and whether it is let in."""

from __future__ import annotations

from enum import IntEnum

from colonies.core.wire import ZERO_TIME, Int32, Time, Wire


class Approval(IntEnum):
    """What the colony's owner has decided about a runtime."""

    PENDING = 0
    APPROVED = 1
    REJECTED = 2


class Location(Wire):
    """Where a runtime stands, in degrees; 0/0 when it does not say."""

    long: float = 0.0
    lat: float = 0.0


class Runtime(Wire):
    """A member of a colony that takes processes of its type."""

    runtime_id: str = ""
    runtime_type: str = ""
    name: str = ""
    colony_id: str = ""
    cpu: str = ""
    cores: Int32 = 0
    mem: Int32 = 0  # MiB
    gpu: str = ""
    gpus: Int32 = 0
    state: Approval = Approval.PENDING
    commission_time: Time = ZERO_TIME
    last_heard_from_time: Time = ZERO_TIME
    location: Location = Location()

    @property
    def is_approved(self) -> bool:
        """Whether the owner has let this runtime in."""
        return self.state is Approval.APPROVED
