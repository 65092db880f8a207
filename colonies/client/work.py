"""What calls give that goes on: processes submitted, and processes pushed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import msgspec

from colonies.client.closing import Closing
from colonies.client.stream import Stream
from colonies.core.errors import ColoniesError
from colonies.core.process import (
    Conditions,
    Process,
    ProcessSpec,
    State,
    decode_argument,
    encode_argument,
)

if TYPE_CHECKING:
    from colonies.client.api import Colonies
    from colonies.client.asking import Asking


class Changes(Closing):
    """Processes as they are pushed; use it in ``async with`` and ``async for``."""

    def __init__(self, asking: Asking, stream: Stream) -> None:
        self._asking = asking
        self._stream = stream

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Process:
        """Wait for the next process; raise what ended the subscription when it has ended."""
        process: Process = await anext(self._stream)
        return process

    async def close(self) -> None:
        """End the subscription; may be called twice."""
        await self._asking.end_subscription(self._stream)

    async def ask_again(self) -> None:
        """Say anew what was asked for, such as how much work there is room for."""
        await self._asking.ask_again(self._stream)

    def unread(self) -> list[Process]:
        """Give what had been pushed already and nobody has read."""
        return self._stream.take_unread()


@dataclass(frozen=True)
class SubmittedProcess:
    """A process that was submitted, and the way to its end."""

    process: Process
    _colonies: Colonies

    @property
    def id(self) -> str:
        """The id of the process."""
        return self.process.process_id

    async def wait(self, timeout: float | None = None) -> Process:
        """Wait for any final state; raise TimeoutError after ``timeout`` seconds."""
        return await self._colonies.wait_for(self.id, timeout)


def make_spec(
    func: str, args: Iterable[Any], colony_id: str, options: Mapping[str, Any]
) -> ProcessSpec:
    """Make the spec of a call; raise TypeError for an option that no spec has."""
    of_spec = {
        name: value for name, value in options.items() if name in ProcessSpec.__struct_fields__
    }
    of_conditions = {name: value for name, value in options.items() if name not in of_spec}
    kwargs = {name: encode_argument(value) for name, value in of_spec.pop("kwargs", {}).items()}
    return ProcessSpec(
        func=func,
        args=[encode_argument(value) for value in args],
        kwargs=kwargs,
        conditions=Conditions(colony_id=colony_id, **of_conditions),
        **of_spec,
    )


def in_colony(spec: ProcessSpec, colony_id: str) -> ProcessSpec:
    """Give the spec, in this colony if it names none."""
    if spec.conditions.colony_id:
        return spec
    conditions = msgspec.structs.replace(spec.conditions, colony_id=colony_id)
    return msgspec.structs.replace(spec, conditions=conditions)


def result_of(process: Process) -> Any:
    """Give what a process gave back: its one output decoded, else the list of them.

    Raises ColoniesError when it has not succeeded.
    """
    if process.state is not State.SUCCESS:
        reasons = "; ".join(process.errors) or process.state.name.lower()
        raise ColoniesError(f"process <{process.process_id}> has no result: {reasons}")
    values = [decode_argument(text) for text in process.output]
    return values[0] if len(values) == 1 else values or None
