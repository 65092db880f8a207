"""What is on the wire: a signed request, and the reply or push that comes back.

Bytes in, bytes out; nothing here knows a socket. The signature covers the base64 *text* of the
payload, and the payload repeats the message type, which is what binds the type to the signature.
"""

from __future__ import annotations

import binascii
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping
from secrets import token_bytes
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec

from colonies.core import wire
from colonies.core.errors import Failure, FailureMessage, Malformed, TooLarge, failure_from

if TYPE_CHECKING:
    from colonies.core.identity import PrivateKey

MAX_ID_LENGTH = 64

T = TypeVar("T")

MAX_REQUEST_ID_LENGTH = 64

RequestId = Annotated[str, msgspec.Meta(max_length=MAX_REQUEST_ID_LENGTH)]

EnvelopeId = Annotated[str, msgspec.Meta(max_length=MAX_ID_LENGTH)]


class Envelope(wire.Wire):
    """A request: what is asked, by whose key. ``id`` is outside the signature and only echoed."""

    payload_type: str = ""
    payload: str = ""
    signature: str = ""
    id: EnvelopeId | msgspec.UnsetType = msgspec.UNSET


class Reply(wire.Wire):
    """An answer (it has the request's ``id``) or a push (it has its ``subscription``)."""

    payload_type: str = ""
    payload: str = ""
    error: bool = False
    id: str | msgspec.UnsetType = msgspec.UNSET
    subscription: str | msgspec.UnsetType = msgspec.UNSET


class Security(wire.Wire):
    """What is signed along with a request; v1 clients send none of it, and v1 hubs ignore it.

    ``req`` names the intention: a retry has the same, and no second effect.
    """

    v: int = 1
    req: RequestId = ""


def new_request_id() -> str:
    """Make an id for a new intention: 16 random bytes, in base64url."""
    # Not by `random`: a program that seeds it, or forks, would ask twice by one id.
    return urlsafe_b64encode(token_bytes(16)).rstrip(b"=").decode()


def seal(
    payload_type: str,
    fields: Mapping[str, Any],
    key: PrivateKey | None,
    id_: str = "",
    *,
    req: str = "",
) -> bytes:
    """Sign a request; without a key it goes unsigned, which only the version call may.

    ``id_`` is echoed by the reply, ``req`` makes a retry harmless.
    """
    security = {"sec": Security(req=req)} if req else {}
    payload = pack({"msgtype": payload_type, **fields, **security})
    return wire.encode(
        Envelope(
            payload_type=payload_type,
            payload=payload,
            signature=key.sign(payload) if key else "",
            id=id_ or msgspec.UNSET,
        )
    )


def pack(content: Any) -> str:
    """Give the payload text of a Struct or of plain values: base64 of its JSON."""
    return b64encode(wire.encode(content)).decode()


def unpack(payload: str) -> bytes:
    """Give the JSON inside a payload text; raise Malformed when it is not base64."""
    if "\n" in payload or "\r" in payload:
        payload = payload.replace("\n", "").replace("\r", "")
    try:
        return binascii.a2b_base64(payload, strict_mode=True)
    except ValueError as error:
        raise Malformed("payload: expected base64 with padding", field="payload") from error


def too_large(size: int, most: int) -> TooLarge:
    """Give what refuses a message of so many bytes before it is sent."""
    limit = f"expected at most {most} bytes, max_message_bytes here and at the hub"
    return TooLarge(f"a message of {size} bytes is too large: {limit}")


def error_reply(failure: Failure, id_: str | msgspec.UnsetType = msgspec.UNSET) -> Reply:
    """Give the reply that carries a failure."""
    return Reply(payload_type="error", payload=pack(failure.to_message()), error=True, id=id_)


def open_reply(reply: Reply, kind: type[T]) -> T:
    """Read what a reply carries; raise the Failure if it is one."""
    if reply.error:
        raise failure_from(wire.decode(unpack(reply.payload), FailureMessage))
    return wire.decode(unpack(reply.payload), kind)
