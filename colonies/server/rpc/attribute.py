"""Attributes: added by the runtime that runs the process, read by its colony."""

from __future__ import annotations

from colonies.core.attribute import Attribute, attribute_id
from colonies.core.errors import Forbidden
from colonies.core.process import Process
from colonies.core.wire import Int32, Wire
from colonies.server.call import Call
from colonies.server.rpc import Request, rpc
from colonies.server.rules import assignee, reader_of_attribute


class NewAttribute(Wire):
    """An attribute to be; colony, graph and id are the hub's to fill in."""

    target_id: str
    attribute_type: Int32 = 0
    key: str = ""
    value: str = ""


class AddAttribute(Request):
    """The attribute to add; its target is a process."""

    attribute: NewAttribute


@rpc("addattributemsg", rule=assignee("attribute.target_id"))
async def add_attribute(call: Call, msg: AddAttribute, process: Process) -> Attribute:
    """Add an attribute to a running process; it cannot be changed afterwards."""
    new = msg.attribute
    return await call.db.fetch_one(
        Attribute,
        "add_attribute",
        colony_id=process.colony_id,
        process_id=process.process_id,
        runtime_id=process.assigned_runtime_id,
        attribute_id=attribute_id(process.process_id, new.key, new.attribute_type),
        attribute_type=new.attribute_type,
        key=new.key,
        value=new.value,
        missing=Forbidden(f"process <{process.process_id}> is not running"),
    )


class GetAttribute(Request):
    """The attribute asked for."""

    attribute_id: str


@rpc("getattributemsg", rule=reader_of_attribute("attribute_id"))
async def get_attribute(_call: Call, _msg: GetAttribute, attribute: Attribute) -> Attribute:
    """Give an attribute."""
    return attribute
