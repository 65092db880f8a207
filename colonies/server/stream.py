"""What is pushed over a connection: changes of processes, and assignments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import msgspec

from colonies.core import wire
from colonies.core.envelope import Reply, pack
from colonies.core.errors import Failure, Unavailable
from colonies.core.process import Held, Process
from colonies.core.runtime import Runtime
from colonies.core.subscription import Subscription
from colonies.server.assignment import Assigner, take_back
from colonies.server.call import Call, Door
from colonies.server.connection import Connection

PUSHED_CHANGE = "subscribeprocessmsg"
"""The payload type of every pushed change, whichever subscription it is for, as v1 has it."""

PUSHED_ASSIGNMENT = "subscribeassignmentsmsg"

PARCEL_BYTES = 256 * 1024
"""Bytes of the processes in one push, if they are more than one."""


class ChangeStream:
    """Pushes the processes that a subscription concerns."""

    def __init__(self, call: Call, connection: Connection, subscription: Subscription) -> None:
        self.caller = call.caller
        self.subscription = subscription
        self._hub = call.hub
        self._connection = connection
        self._name = call.id

    def push(self, payload: str) -> None:
        """Send a packed process, without waiting."""
        name = msgspec.UNSET if self._connection.door is Door.PUBSUB else self._name
        self._connection.push(Reply(payload_type=PUSHED_CHANGE, payload=payload, subscription=name))

    def end(self, failure: Failure) -> None:
        """End the subscription and say why."""
        self._connection.end_stream(self._name, failure)

    def stop(self) -> None:
        """Push nothing more."""
        self._hub.listeners.remove(self)


class AssignmentStream:
    """Pushes assigned processes to a runtime as far as its credit goes."""

    def __init__(
        self,
        call: Call,
        connection: Connection,
        runtime: Runtime,
        credit: int,
        *,
        are_together: bool,
    ) -> None:
        """Take who works and how much; ``are_together`` says that lists of processes are pushed."""
        self._db = call.db
        self._hub = call.hub
        self._connection = connection
        self._name = call.id
        self._are_together = are_together
        self._assigner = Assigner(
            call.db,
            call.hub,
            runtime,
            credit=credit,
            request=call.intent.request,
            peer=connection,
            push=self._push,
            tell=self.tell,
        )

    def set_credit(self, credit: int) -> None:
        """Let the runtime hold so many from now on; what it holds already it keeps."""
        self._assigner.set_credit(credit)

    def hold(self, attempts: list[Held]) -> None:
        """Count attempts that the runtime brought along against its credit."""
        for held in attempts:
            self._assigner.hold(held.process_id, held.attempt_token)

    async def run(self) -> None:
        """Assign until stopped; a runtime that is shut out is told."""
        try:
            await self._assigner.run()
        except Unavailable:
            return  # the hub is stopping: the socket goes, and the runtime subscribes anew
        except Failure as failure:
            self._connection.end_stream(self._name, failure)

    def stop(self) -> None:
        """Assign nothing more."""
        self._assigner.stop()

    def tell(self, process: Process) -> None:
        """Send news of a process that the runtime holds."""
        self._connection.push(self._reply([wire.encode(process)]))

    def _push(self, processes: Sequence[Process]) -> int:
        """Send processes to their runtime; gives how many are on their way."""
        sent = 0
        for texts in self._parcels(processes):
            some = processes[sent : sent + len(texts)]
            if not self._connection.push(self._reply(texts), partial(self._take_back, some)):
                break
            sent += len(texts)
        return sent

    def _parcels(self, processes: Iterable[Process]) -> Iterator[list[bytes]]:
        """Put into parcels what is to be sent, each for one push."""
        parcel: list[bytes] = []
        size = 0
        for text in map(wire.encode, processes):
            if parcel and (not self._are_together or size + len(text) > PARCEL_BYTES):
                yield parcel
                parcel, size = [], 0
            parcel.append(text)
            size += len(text)
        if parcel:
            yield parcel

    def _reply(self, texts: Sequence[bytes]) -> Reply:
        raw = [msgspec.Raw(text) for text in texts]
        payload = pack(raw if self._are_together else raw[0])
        return Reply(payload_type=PUSHED_ASSIGNMENT, payload=payload, subscription=self._name)

    def _take_back(self, processes: Sequence[Process]) -> None:
        self._connection.start(take_back(self._db, self._hub, processes))
