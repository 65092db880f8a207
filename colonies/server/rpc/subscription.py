"""Subscriptions: changes of processes, and work pushed to a runtime.

On ``/ws`` a subscription goes by the ``id`` of the request that made it: its pushes carry that as
``subscription``, and `unsubscribe` names it.
"""

from __future__ import annotations

from typing import Annotated
from uuid import uuid4

import msgspec

from colonies.core.errors import Forbidden, Malformed, NotFound
from colonies.core.log import Count
from colonies.core.process import Held, Process, State
from colonies.core.runtime import Runtime
from colonies.core.subscription import Subscription
from colonies.core.wire import Int32
from colonies.server import lifecycle
from colonies.server.call import Call, Door
from colonies.server.connection import Connection
from colonies.server.log_stream import LogStream
from colonies.server.rpc import Request, rpc
from colonies.server.rules import (
    any_key,
    colonies_of,
    find_process,
    member,
    member_somewhere,
    reader_of_process,
)
from colonies.server.stream import AssignmentStream, ChangeStream

PUSHED = frozenset({Door.WS, Door.PUBSUB})
NATIVE = frozenset({Door.WS})

MAX_CREDIT = 10_000
"""Processes that one runtime may hold at once."""

Credit = Annotated[int, msgspec.Meta(ge=1, le=MAX_CREDIT)]
Heartbeat = Annotated[float, msgspec.Meta(ge=0, le=86400)]


class SubscribeProcesses(Request):
    """Which changes: into ``state``, or any of ``states``, of processes of a runtime type.

    ``timeout`` in seconds; 0 or less has no end on ``/ws`` and ends at once on ``/pubsub``.
    """

    runtime_type: str = ""
    state: State = State.WAITING
    states: list[State] = []
    timeout: Int32 = 0


@rpc("subscribeprocessesmsg", rule=member_somewhere, doors=PUSHED)
async def subscribe_processes(
    call: Call, msg: SubscribeProcesses, colony_ids: frozenset[str]
) -> None:
    """Push every change of the processes of a type, in the caller's own colonies."""
    subscription = Subscription(
        colony_ids=colony_ids,
        states=frozenset(msg.states or [msg.state]),
        runtime_type=msg.runtime_type,
    )
    connection = _connection(call)
    if connection.has_stream(call.id, call.intent.request):
        return
    stream = ChangeStream(call, connection, subscription)
    with connection.opening(call.id, stream, call.intent.request):
        _listen(call, connection, stream, msg.timeout)
        # Registered first, looked at second: who was shut out in between shall hear nothing.
        if not subscription.colony_ids <= await colonies_of(call):
            raise Forbidden(f"<{call.caller}> is not an approved runtime of a colony any more")


class SubscribeProcess(Request):
    """Which process, and which changes of it. ``runtimetype`` of v1 clients is not needed."""

    process_id: str
    runtime_type: str = ""
    state: State = State.WAITING
    states: list[State] = []
    timeout: Int32 = 0


@rpc("subscribeprocessmsg", rule=reader_of_process("process_id"), doors=PUSHED)
async def subscribe_process(call: Call, msg: SubscribeProcess, process: Process) -> None:
    """Push every change of one process, and at once if it is in a wanted state already."""
    subscription = Subscription(
        colony_ids=frozenset({process.colony_id}),
        states=frozenset(msg.states or [msg.state]),
        process_id=process.process_id,
    )
    connection = _connection(call)
    if connection.has_stream(call.id, call.intent.request):
        return
    stream = ChangeStream(call, connection, subscription)
    with connection.opening(call.id, stream, call.intent.request):
        _listen(call, connection, stream, msg.timeout)
        # Registered first, looked at second: a change in between is pushed, not lost.
        current = await call.db.fetch_maybe(
            Process, "get_process", process_id=process.process_id, caller=call.caller
        )
    if current:
        call.hub.listeners.show_to(stream, current)


class SubscribeAssignments(Request):
    """How many processes the caller can hold at once, and which attempts it is making already.

    ``heartbeat`` is the most seconds it will be silent; the hub closes a connection that has been
    for three times as long. 0 promises nothing. If it says what it holds, even if that is nothing,
    then all else that was pushed over this very subscription before goes back to the queue. Who
    takes them ``together`` is pushed lists of processes, instead of each by itself. The same
    request again, over the same connection, changes the credit and nothing else.
    """

    colony_id: str
    credit: Credit = 1
    heartbeat: Heartbeat = 0
    holding: list[Held] | None = None
    together: bool = False


@rpc("subscribeassignmentsmsg", rule=member("colony_id"), doors=NATIVE)
async def subscribe_assignments(call: Call, msg: SubscribeAssignments, runtime: Runtime) -> None:
    """Assign and push processes to the caller as they come; every close frees its credit."""
    connection = _connection(call)
    if connection.has_stream(call.id, call.intent.request):
        there = connection.stream(call.id)
        if isinstance(there, AssignmentStream):
            there.set_credit(msg.credit)
        return
    stream = AssignmentStream(call, connection, runtime, msg.credit, are_together=msg.together)
    holding = msg.holding or []
    attempts = [lifecycle.Assignment.holding(held, runtime) for held in holding]
    with connection.opening(call.id, stream, call.intent.request):
        alive = await lifecycle.renew(call.db, attempts)
        if msg.holding is not None and call.intent.request:
            unheard = await lifecycle.release_unheard(
                call.db, runtime, pushed_over=call.intent.request, held=alive
            )
            call.publish(*unheard)
        stream.hold([held for held in holding if held.process_id in alive])
        # Registered first, looked at second: what ends in between gives its credit back.
        kept = [attempt for attempt in attempts if attempt.process_id in alive]
        alive = await lifecycle.renew(call.db, kept)
        for attempt in kept:
            if attempt.process_id not in alive:
                call.hub.holders.let_go_of(attempt)
    for process_id, is_cancelling in alive.items():
        if is_cancelling:
            call.hub.holders.tell(await find_process(call, process_id))
    if msg.heartbeat:
        connection.expect_heartbeat(msg.heartbeat)
    call.hub.hear(runtime)
    connection.start(stream.run())


class SubscribeLogs(Request):
    """From which position on."""

    process_id: str
    position: Count = 0


@rpc("subscribelogsmsg", rule=reader_of_process("process_id"), doors=NATIVE)
async def subscribe_logs(call: Call, msg: SubscribeLogs, process: Process) -> None:
    """Push the log of a process, page by page as it grows; the last page says that it is over.

    A reader that is slow gets larger pages later, and is never cut off for it.
    """
    connection = _connection(call)
    if connection.has_stream(call.id, call.intent.request):
        return
    stream = LogStream(call, connection, process, msg.position)
    with connection.opening(call.id, stream, call.intent.request):
        call.hub.listeners.add(stream)
        call.hub.logs.add(stream)
    connection.start(stream.run())


class Unsubscribe(Request):
    """The subscription to end."""

    subscription: str


class Unsubscribed(msgspec.Struct, frozen=True):
    """Whether there was such a subscription."""

    ended: bool


@rpc("unsubscribemsg", rule=any_key, doors=NATIVE)
async def unsubscribe(call: Call, msg: Unsubscribe, _: None) -> Unsubscribed:
    """End a subscription of this connection; one that is not there is no error."""
    try:
        _connection(call).close_stream(msg.subscription)
    except NotFound:
        return Unsubscribed(ended=False)
    return Unsubscribed(ended=True)


def _listen(call: Call, connection: Connection, stream: ChangeStream, timeout: int) -> None:
    call.hub.listeners.add(stream)
    if timeout > 0 or connection.door is Door.PUBSUB:
        connection.end_stream_after(call.id, max(0, timeout))


def _connection(call: Call) -> Connection:
    """Give the connection; the doors of these calls have one."""
    if not isinstance(call.peer, Connection):
        raise TypeError(f"a subscription came through {call.peer.door}")
    if call.peer.door is Door.PUBSUB:
        call.id = uuid4().hex
    elif not call.id:
        raise Malformed("id: expected one, to name the subscription by", field="id")
    return call.peer
