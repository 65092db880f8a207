"""What is pushed over a connection: changes of processes, and assignments."""

from __future__ import annotations

import msgspec

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
        self._hub.forget(self)


class AssignmentStream:
    """Pushes assigned processes to a runtime as far as its credit goes."""

    def __init__(self, call: Call, connection: Connection, runtime: Runtime, credit: int) -> None:
        self._db = call.db
        self._hub = call.hub
        self._connection = connection
        self._name = call.id
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

    def _push(self, process: Process) -> bool:
        return self._connection.push(self._reply(process), dropped=lambda: self._take_back(process))

    def tell(self, process: Process) -> None:
        """Send news of a process that the runtime holds."""
        self._connection.push(self._reply(process))

    def _reply(self, process: Process) -> Reply:
        return Reply(payload_type=PUSHED_ASSIGNMENT, payload=pack(process), subscription=self._name)

    def _take_back(self, process: Process) -> None:
        self._connection.start(take_back(self._db, self._hub, process))
