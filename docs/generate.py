"""The rows of the generated tables in these pages; cog calls it."""

from collections.abc import Iterator
from typing import Any, get_args, get_origin

import msgspec

from colonies.server.app import make_table
from colonies.server.call import Door
from colonies.server.rpc import Request
from colonies.settings import SETTINGS, Settings


def rpc_rows() -> Iterator[str]:
    """Give a row for everything that may be asked, by noun."""
    table = make_table().values()
    for rpc in sorted(table, key=lambda rpc: (rpc.handler.__module__, rpc.payload_type)):
        doc = " ".join(rpc.doc.split())
        reply = "pushes" if Door.API not in rpc.doors else _kind(rpc.reply)
        reply = "" if rpc.payload_type == "unsubscribemsg" else reply
        cells = (f"`{rpc.payload_type}`", rpc.rule.who, _fields(rpc.request), reply, doc)
        yield f"| {' | '.join(cells)} |"


def setting_rows() -> Iterator[str]:
    """Give a row for every setting."""
    for field in msgspec.structs.fields(Settings):
        setting = SETTINGS[field.name]
        default = f"`{field.default}`" if field.default != "" else ""
        yield f"| `{field.name}` | `{setting.env}` | {default} | {setting.help} |"


def _fields(request: type[Request]) -> str:
    return ", ".join(
        f"`{field.encode_name}`{'*' if field.required else ''}"
        for field in msgspec.structs.fields(request)
    )


def _kind(hint: Any) -> str:
    if hint is type(None):
        return "`{}`"
    if get_origin(hint) is list:
        return f"list of {get_args(hint)[0].__name__}"
    return str(hint.__name__)
