"""A runtime: the machine that works, what it has, and whether it is let in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum
from typing import Annotated

import msgspec

from colonies.core.errors import Malformed
from colonies.core.wire import ZERO_TIME, Int32, Label, Time, Wire

MOST_LABELS = 64

LONGEST_LABEL = 256
"""Characters of the value of a label."""

_LABEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,62}")


class Approval(IntEnum):
    """What the colony's owner has decided about a runtime."""

    PENDING = 0
    APPROVED = 1
    REJECTED = 2


class Location(Wire):
    """Where a runtime stands, in degrees; 0/0 when it does not say."""

    long: float = 0.0
    lat: float = 0.0


Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
"""How many of something there are."""


class Figures(Wire):
    """What a runtime has: cores, memory in MiB and GPUs, and their models, for people."""

    cores: Count
    mem: Count
    gpus: Count
    cpu: Label = ""
    gpu: Label = ""


class Runtime(Wire):
    """A member of a colony that takes processes of its type.

    Labels are what it says of itself, for people: no process is given by them.
    """

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
    labels: dict[str, str] = {}

    @property
    def figures(self) -> Figures:
        """Give what it has; of what is below 0, that is nothing."""
        return Figures(
            cores=max(self.cores, 0),
            mem=max(self.mem, 0),
            gpus=max(self.gpus, 0),
            cpu=self.cpu,
            gpu=self.gpu,
        )

    @property
    def is_approved(self) -> bool:
        """Whether the owner has let this runtime in."""
        return self.state is Approval.APPROVED


def check_labels(labels: Mapping[str, str]) -> None:
    """Refuse labels that cannot be told on one line; raise Malformed with the path of the fault."""
    if len(labels) > MOST_LABELS:
        raise Malformed(f"labels: expected {MOST_LABELS} at most", field="labels")
    for name, value in labels.items():
        if not _LABEL_NAME.fullmatch(name):
            raise Malformed(
                f"labels: expected a name of 1 to 63 letters, digits and ._/- that begins with a "
                f"letter or digit, not {name[:64]!r}",
                field="labels",
            )
        if len(value) > LONGEST_LABEL or not value.isprintable():
            raise Malformed(
                f"labels.{name}: expected printable text of {LONGEST_LABEL} characters at most",
                field=f"labels.{name}",
            )
