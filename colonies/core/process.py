"""A process: what shall be done, by whom it may be done, and how far it has come.

::

        submit              assign                closesuccessful
 ( ) ──────────▶ WAITING ──────────▶ RUNNING ─────────────────────▶ SUCCESS
                 │ │  ▲                │ │ │
     maxwaittime │ │  └─ lease lost, ──┘ │ └─ closefailed, or no retries left ──▶ FAILED
        ▼        │ │     maxexectime,    │
      FAILED ◀───┘ │     release         └─ cancel, once stopped or after a grace period
                   │     (retries left)                                 │
                   └─────────────────── cancel ─────────▶ CANCELLED ◀───┘

SUCCESS, FAILED and CANCELLED are final. The moves are single statements in ``server/sql``.
"""

from __future__ import annotations

import json
from datetime import datetime
from enum import IntEnum
from itertools import islice
from typing import Annotated, Any
from uuid import uuid4

import msgspec

from colonies.core.attribute import Attribute, AttributeKind, attribute_id
from colonies.core.digest import sha3
from colonies.core.runtime import Runtime
from colonies.core.wire import ZERO_TIME, Int32, Label, Time, Wire

USUAL_LEASE = 30
"""Seconds that a runtime may be silent before what it runs counts as lost."""

MAX_LEASE = 86_400

Lease = Annotated[int, msgspec.Meta(ge=0, le=MAX_LEASE)]

ANYBODY = "*"
"""In a list of runtime ids: no restriction, as v1 clients say it."""


class State(IntEnum):
    """How far a process has come."""

    WAITING = 0
    RUNNING = 1
    SUCCESS = 2
    FAILED = 3
    CANCELLED = 4

    @property
    def is_final(self) -> bool:
        """Whether nothing changes any more."""
        return self in FINAL_STATES


FINAL_STATES = (State.SUCCESS, State.FAILED, State.CANCELLED)


Progress = tuple[int, int, bool]
"""How far a process has come: of two sights of one process, the greater is the newer."""

NOTHING: Progress = (-1, 0, False)
"""Less than every progress."""


class Conditions(Wire):
    """Which runtimes may have a process. Figures of 0 or less ask for nothing.

    Runtime ids with an empty type mean "these runtimes, whatever their type".
    """

    colony_id: str = ""
    runtime_ids: list[str] = []
    runtime_type: Label = ""
    dependencies: list[str] = []
    cores: Int32 = 0
    mem: Int32 = 0  # MiB
    gpus: Int32 = 0

    @property
    def is_addressed(self) -> bool:
        """Whether it is meant for runtimes by their ids, whatever their type."""
        return bool(self.runtime_ids) and not self.runtime_type

    def fit(self, runtime: Runtime) -> bool:
        """Whether the runtime may have the process; the claim in SQL says the same."""
        return (
            runtime.colony_id == self.colony_id
            and (self.is_addressed or runtime.runtime_type == self.runtime_type)
            and (not self.runtime_ids or runtime.runtime_id in self.runtime_ids)
            and max(runtime.cores, 0) >= self.cores
            and max(runtime.mem, 0) >= self.mem
            and max(runtime.gpus, 0) >= self.gpus
        )


class ProcessSpec(Wire):
    """What is submitted: a function, its arguments, limits in seconds and conditions.

    Limits of 0 or less are no limits. ``max_retries`` counts returns to the queue after an
    execution ran over its time or its lease was lost: 0 is none, negative is without end. A
    ``lease`` of 0 is the usual one. Higher ``priority`` goes first.
    """

    name: str = ""
    func: str = ""
    args: list[str] = []
    kwargs: dict[str, str] = {}
    priority: Int32 = 0
    max_wait_time: Int32 = 0
    max_exec_time: Int32 = 0
    max_retries: Int32 = 0
    lease: Lease = 0
    conditions: Conditions = Conditions()
    env: dict[str, str] = {}

    def normalised(self) -> ProcessSpec:
        """Give the spec as it is kept: any runtime is an empty list of runtime ids."""
        if ANYBODY not in self.conditions.runtime_ids:
            return self
        conditions = msgspec.structs.replace(self.conditions, runtime_ids=[])
        return msgspec.structs.replace(self, conditions=conditions)


class Process(Wire):
    """A submitted spec and its life so far. Times that are not yet are ``ZERO_TIME``.

    Attempts are counted from 1. The token of one is told to its runtime alone; a lease without an
    end has no ``leased_until``. Who cancelled it, why and when is empty unless somebody did; if it
    was running then, its runtime has a grace period to stop in good order.

    In a workflow the input is what the parents gave, one after the other in the order of the
    dependencies; ``input_lengths`` says how much of it is from each.

    ``submitted_by`` is who asked for it; for a cron or a generator, whoever added that.
    """

    process_id: str = ""
    assigned_runtime_id: str = ""
    is_assigned: bool = False
    state: State = State.WAITING
    submission_time: Time = ZERO_TIME
    start_time: Time = ZERO_TIME
    end_time: Time = ZERO_TIME
    wait_deadline: Time = ZERO_TIME
    exec_deadline: Time = ZERO_TIME
    retries: int = 0
    attributes: list[Attribute] = []
    spec: ProcessSpec = ProcessSpec()
    wait_for_parents: bool = False
    parents: list[str] = []
    children: list[str] = []
    process_graph_id: str = ""
    input: list[str] = msgspec.field(name="in", default_factory=list)
    output: list[str] = msgspec.field(name="out", default_factory=list)
    errors: list[str] = []
    attempt: int = 0
    attempt_token: str = ""
    leased_until: Time = ZERO_TIME
    cancelled_by: str = ""
    cancel_reason: str = ""
    cancel_time: Time = ZERO_TIME
    input_lengths: list[int] = []
    submitted_by: str = ""

    @property
    def input_by_parent(self) -> dict[str, list[str]]:
        """What each parent gave, by its name, in the order of the dependencies."""
        parts = iter(self.input)
        names = self.spec.conditions.dependencies
        return {
            name: list(islice(parts, length))
            for name, length in zip(names, self.input_lengths, strict=False)
        }

    @property
    def is_cancelling(self) -> bool:
        """Whether somebody has cancelled it, and its runtime has not stopped yet."""
        return bool(self.cancelled_by) and self.state is State.RUNNING

    @property
    def progress(self) -> Progress:
        """How far it has come."""
        return progress(self.attempt, self.state, is_cancelling=self.is_cancelling)

    def time_of(self, state: State) -> datetime:
        """Give the time by which the processes of a state are listed."""
        if state.is_final:
            return self.end_time
        return self.start_time if state is State.RUNNING else self.submission_time

    def as_submitted(self) -> Process:
        """Give it as it was before its first attempt."""
        return msgspec.structs.replace(
            self,
            state=State.WAITING,
            is_assigned=False,
            assigned_runtime_id="",
            start_time=ZERO_TIME,
            exec_deadline=ZERO_TIME,
            attempt=0,
            attempt_token="",
            leased_until=ZERO_TIME,
        )

    @property
    def colony_id(self) -> str:
        """The colony it belongs to."""
        return self.spec.conditions.colony_id


class Held(Wire):
    """An attempt, as the runtime that makes it knows it."""

    process_id: str
    attempt_token: str = ""


class AttemptEnd(Wire):
    """How an attempt ended: with ``SUCCESS`` and its output, or ``FAILED`` and the reasons."""

    process_id: str
    attempt_token: str = ""
    state: State = State.SUCCESS
    output: list[str] = msgspec.field(name="out", default_factory=list)
    errors: list[str] = []


def progress(attempt: int, state: State, *, is_cancelling: bool) -> Progress:
    """Say how far a process has come: an attempt runs, then it is over, or all is."""
    step = {State.RUNNING: 0, State.WAITING: 1}.get(state, 2)
    return attempt, step, is_cancelling and state is State.RUNNING


def environment_of(process_id: str, spec: ProcessSpec, graph_id: str = "") -> list[Attribute]:
    """Give the environment of a process as attributes, as v1 clients read it."""
    return [
        Attribute(
            attribute_id=attribute_id(process_id, key, AttributeKind.ENV),
            target_id=process_id,
            target_colony_id=spec.conditions.colony_id,
            target_process_graph_id=graph_id,
            attribute_type=AttributeKind.ENV,
            key=key,
            value=value,
        )
        for key, value in sorted(spec.env.items())
    ]


def new_id() -> str:
    """Make an id for a process or any other thing that has no key: 64 hex characters."""
    return sha3(str(uuid4()))


def encode_argument(value: Any) -> str:
    """Write a value as an argument or output: text as it is, everything else as JSON.

    Text that would read as JSON is quoted, so that `decode_argument` gives back what went in.
    """
    if isinstance(value, str) and decode_argument(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)


def decode_argument(text: str) -> Any:
    """Read an argument or output: JSON if it is JSON, else the text itself.

    As on the wire, half of a surrogate pair is no JSON, unless it stands for a byte (PEP 383).
    """
    try:
        value = json.loads(text)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode(errors="surrogateescape")
    except (ValueError, RecursionError):
        return text
    return value
