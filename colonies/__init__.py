"""Put other people's machines to work.

What most programs need is here; everything else is in `colonies.client` and `colonies.core`. Each
name is imported by its first use: a command that asks for little shall not wait for the rest.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from colonies.client import BlockingColonies, Colonies, Keychain, SubmittedProcess, connect
    from colonies.client.work import result_of
    from colonies.core.errors import (
        ColoniesError,
        Conflict,
        ConnectionLost,
        Failure,
        Forbidden,
        Malformed,
        Misconfigured,
        NotFound,
        NothingToAssign,
    )
    from colonies.core.identity import PrivateKey
    from colonies.core.process import (
        Conditions,
        Process,
        ProcessSpec,
        State,
        decode_argument,
        encode_argument,
    )
    from colonies.core.runtime import Runtime
    from colonies.settings import Settings
    from colonies.version import __version__

__all__ = [
    "BlockingColonies",
    "Colonies",
    "ColoniesError",
    "Conditions",
    "Conflict",
    "ConnectionLost",
    "Failure",
    "Forbidden",
    "Keychain",
    "Malformed",
    "Misconfigured",
    "NotFound",
    "NothingToAssign",
    "PrivateKey",
    "Process",
    "ProcessSpec",
    "Runtime",
    "Settings",
    "State",
    "SubmittedProcess",
    "__version__",
    "connect",
    "decode_argument",
    "encode_argument",
    "result_of",
]

_PLACES = {
    "client": ("BlockingColonies", "Colonies", "Keychain", "SubmittedProcess", "connect"),
    "client.work": ("result_of",),
    "core.errors": (
        "ColoniesError",
        "Conflict",
        "ConnectionLost",
        "Failure",
        "Forbidden",
        "Malformed",
        "Misconfigured",
        "NotFound",
        "NothingToAssign",
    ),
    "core.identity": ("PrivateKey",),
    "core.process": (
        "Conditions",
        "Process",
        "ProcessSpec",
        "State",
        "decode_argument",
        "encode_argument",
    ),
    "core.runtime": ("Runtime",),
    "settings": ("Settings",),
    "version": ("__version__",),
}


def __getattr__(name: str) -> Any:
    for place, names in _PLACES.items():
        if name in names:
            value = getattr(import_module(f"{__name__}.{place}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
