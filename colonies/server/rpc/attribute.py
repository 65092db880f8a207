"""Attributes: added by the runtime that runs the process, read by its colony."""

from __future__ import annotations

import msgspec

from colonies.core.attribute import Attribute, attribute_id
from colonies.core.errors import Forbidden
from colonies.core.wire import Int32, Wire
from colonies.server.call import Call
from colonies.server.intent import Seen
from colonies.server.lifecycle import Assignment
from colonies.server.rpc import Request, rpc
from colonies.server.rules import (
    assignee,
    find_attribute,
    reader_of_attribute,
    refuse_assignee,
)


class NewAttribute(Wire):
    """An attribute to be; colony, graph and id are the hub's to fill in."""

    target_id: str
    attribute_type: Int32 = 0
    key: str = ""
    value: str = ""


class AddAttribute(Request):
    """The attribute to add; its target is a process."""

    attribute: NewAttribute
    attempt_token: str = ""


async def _added(call: Call, msg: AddAttribute, _seen: Seen) -> Attribute:
    new = msg.attribute
    added = attribute_id(new.target_id, new.key, new.attribute_type)
    return await find_attribute(call, added)


@rpc("addattributemsg", rule=assignee("attribute.target_id"), again=_added)
async def add_attribute(call: Call, msg: AddAttribute, assignment: Assignment) -> Attribute:
    """Add an attribute to a running process; it cannot be changed afterwards."""
    new = msg.attribute
    added = await call.db.fetch_maybe(
        Attribute,
        "add_attribute",
        **msgspec.structs.asdict(assignment),
        attribute_id=attribute_id(new.target_id, new.key, new.attribute_type),
        attribute_type=new.attribute_type,
        key=new.key,
        value=new.value,
        **call.intent.parameters,
    )
    if added is None:
        refusal = await refuse_assignee(call, assignment)
        if assignment.attempt_token:
            raise refusal
        # As v1 has it: to add to what has ended is not allowed, rather than a conflict.
        raise Forbidden(refusal.message)
    return added


class GetAttribute(Request):
    """The attribute asked for."""

    attribute_id: str


@rpc("getattributemsg", rule=reader_of_attribute("attribute_id"))
async def get_attribute(_call: Call, _msg: GetAttribute, attribute: Attribute) -> Attribute:
    """Give an attribute."""
    return attribute
