"""Bytes in, reply bytes out: the way of every message, whichever door it came through.

1. envelope   decode it                                            else Malformed
2. table      find the RPC of its payload type, for this door      else UnknownType
3. identity   recover the caller from the signature                else BadSignature
4. request    decode and check what was signed                     else Malformed
5. rule       may the caller do this, and to what?                 else Forbidden, NotFound
6. handler    do it, once, by turns; each change is one statement
7. publish    tell others what was committed
8. reply      encode it; here alone errors become replies
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import perf_counter
from typing import Any

import msgspec
import structlog
from prometheus_client import Histogram

from colonies.core import wire
from colonies.core.envelope import Envelope, Reply, Security, error_reply, pack, unpack
from colonies.core.errors import (
    Failure,
    Forbidden,
    Malformed,
    TooLarge,
    Unavailable,
    UnknownType,
)
from colonies.core.identity import recover
from colonies.server.agenda import Agenda
from colonies.server.call import Call, Peer
from colonies.server.db import UUID, Database
from colonies.server.functions import Functions
from colonies.server.hub import Hub
from colonies.server.intent import intent_of, recall
from colonies.server.members import Members
from colonies.server.metrics import Metrics
from colonies.server.quota import Quotas
from colonies.server.rpc import Request, Rpc
from colonies.server.turns import Turns
from colonies.settings import Settings

logger = structlog.get_logger()

OK = 200

LONG_PAYLOAD = 64 * 1024
"""Characters that take longer to hash (0.14 ms) than handing them to a thread and back."""

UNKNOWN = "unknown"
"""The label of calls whose payload type is none of ours, so that labels stay bounded."""


class _Head(wire.Wire):
    """The part of what was signed that is the same for all."""

    msg_type: str = ""
    sec: Security = Security()


class Dispatcher:
    """Answers messages; never raises."""

    def __init__(
        self,
        table: Mapping[str, Rpc],
        *,
        db: Database,
        hub: Hub,
        members: Members,
        agenda: Agenda,
        turns: Turns,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self.table = table
        self._db = db
        self._hub = hub
        self._members = members
        self._agenda = agenda
        self._turns = turns
        self._quotas = Quotas(db, settings)
        self._functions = Functions(db, members)
        self._settings = settings
        self._metrics = metrics
        # With whoever waits for the end of a request that was sent twice.
        self._under_way: dict[UUID, list[asyncio.Future[None]]] = {}
        # Looked up once, not with every message: it is a tenth of what the hub itself costs.
        self._log = logger.bind()
        self._seconds: dict[tuple[str, int], Histogram] = {}

    async def answer(self, raw: bytes, peer: Peer) -> tuple[Reply, Failure | None]:
        """Give the reply to one message, and the failure that it carries if it does."""
        started = perf_counter()
        call = Call(
            self._db,
            self._hub,
            self._members,
            self._settings,
            peer,
            self._quotas,
            self._turns,
            self._functions,
            self._agenda,
        )
        rpc = UNKNOWN
        failure: Failure | None = None
        reply = Reply()
        echo: str | msgspec.UnsetType = msgspec.UNSET
        try:
            envelope = self._decode(raw)
            echo = envelope.id
            call.id = envelope.id or ""
            rpc = envelope.payload_type if envelope.payload_type in self.table else UNKNOWN
            reply = await self._answer(envelope, call)
        except Failure as error:
            failure = error
        except Exception:
            logger.exception("call failed", rpc=rpc, caller=call.caller)
            failure = Failure()
        if failure:
            reply = error_reply(failure)
        self._record(rpc, call, perf_counter() - started, failure)
        return msgspec.structs.replace(reply, id=echo), failure

    def _decode(self, raw: bytes) -> Envelope:
        if len(raw) > self._settings.max_message_bytes:
            raise TooLarge(f"expected at most {self._settings.max_message_bytes} bytes")
        return wire.decode(raw, Envelope)

    async def _answer(self, envelope: Envelope, call: Call) -> Reply:
        rpc = self.table.get(envelope.payload_type)
        if rpc is None or call.peer.door not in rpc.doors:
            # Who signs badly learns that first, as in v1.
            await _recover(envelope)
            raise UnknownType(f"{call.peer.door} takes no {envelope.payload_type!r}"[:200])
        if rpc.rule.is_signed:
            call.caller = await _recover(envelope)
            call.peer.authenticate()
        head, msg = _request(rpc, envelope)
        call.intent = intent_of(call.caller, head.sec.req, rpc.payload_type, msg)
        result = await self._in_turn(rpc, call, msg)
        self._hub.publish(call.changed)
        return Reply(payload_type=rpc.payload_type, payload=_payload(result))

    async def _in_turn(self, rpc: Rpc, call: Call, msg: Request) -> Any:
        """Do what is asked; the same request, sent twice, is looked at one after the other."""
        key = call.intent.key
        if key is None:
            return await self._do(rpc, call, msg)
        while (twins := self._under_way.get(key)) is not None:
            twins.append(asyncio.get_running_loop().create_future())
            await twins[-1]
        twins = self._under_way[key] = []
        try:
            return await self._do(rpc, call, msg)
        finally:
            del self._under_way[key]
            for twin in twins:
                if not twin.done():
                    twin.set_result(None)

    async def _do(self, rpc: Rpc, call: Call, msg: Request) -> Any:
        await self._turns.take(call.caller)
        try:
            return await _do(rpc, call, msg)
        finally:
            self._turns.give_back()

    def _record(self, rpc: str, call: Call, seconds: float, failure: Failure | None) -> None:
        status = failure.status if failure else OK
        timer = self._seconds.get((rpc, status))
        if timer is None:
            timer = self._seconds[rpc, status] = self._metrics.rpc_seconds.labels(rpc, status)
        timer.observe(seconds)
        self._log.debug(
            "call answered",
            rpc=rpc,
            caller=call.caller,
            status=status,
            ms=round(seconds * 1000, 2),
            error=failure.message if failure else None,
        )


async def _recover(envelope: Envelope) -> str:
    """Give who signed; a long text is hashed beside the loop, for which it would take too long."""
    if len(envelope.payload) > LONG_PAYLOAD:
        return await asyncio.to_thread(recover, envelope.payload, envelope.signature)
    return recover(envelope.payload, envelope.signature)


async def _do(rpc: Rpc, call: Call, msg: Request) -> Any:
    """Do what is asked, or give the first answer if it was done before."""
    try:
        subject = await rpc.rule.check(call, msg)
    except Forbidden:
        raise  # nothing can be learned by those who may not call
    except Failure as failure:
        return await _answer_again(rpc, call, msg, failure)
    try:
        return await rpc.handler(call, msg, subject)
    except Unavailable:
        raise
    except Failure as failure:
        return await _answer_again(rpc, call, msg, failure)


async def _answer_again(rpc: Rpc, call: Call, msg: Request, failure: Failure) -> Any:
    """Give the first answer if it was because the request was done before that it failed now."""
    seen = await recall(call.db, call.intent)
    if seen is None:
        raise failure
    return await rpc.again(call, msg, seen)


def _request(rpc: Rpc, envelope: Envelope) -> tuple[_Head, Request]:
    raw = unpack(envelope.payload)
    head = wire.decode(raw, _Head)
    if head.msg_type != rpc.payload_type:
        raise Malformed(f"msgtype: expected {rpc.payload_type!r}", field="msgtype")
    return head, wire.decode(raw, rpc.request)


def _payload(result: Any) -> str:
    return pack({} if result is None else result)
