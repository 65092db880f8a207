"""An attribute: a key and a value that a process carries, written once."""

from __future__ import annotations

from enum import IntEnum

from colonies.core.digest import sha3
from colonies.core.wire import Int32, Wire


class AttributeKind(IntEnum):
    """What an attribute is for; other integers are accepted from v1 clients and mean nothing."""

    IN = 0
    OUT = 1
    ERR = 2
    ENV = 3


class Attribute(Wire):
    """A key and a value on a process. The hub fills in everything but key, value and type."""

    attribute_id: str = ""
    target_id: str = ""
    target_colony_id: str = ""
    target_process_graph_id: str = ""
    attribute_type: Int32 = AttributeKind.IN
    key: str = ""
    value: str = ""


def attribute_id(target_id: str, key: str, attribute_type: int) -> str:
    """Give the id of an attribute, which a client can compute as well as the hub."""
    return sha3(f"{target_id}{key}{attribute_type}")
