"""Asking the hub: one connection, one method an RPC."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from colonies.client.api import Colonies, connect
    from colonies.client.blocking import BlockingColonies
    from colonies.client.keychain import Keychain
    from colonies.client.work import SubmittedProcess

__all__ = ["BlockingColonies", "Colonies", "Keychain", "SubmittedProcess", "connect"]

_PLACES = {
    "BlockingColonies": "blocking",
    "Colonies": "api",
    "Keychain": "keychain",
    "SubmittedProcess": "work",
    "connect": "api",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: whoever wants a key shall not wait for the WebSocket."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
