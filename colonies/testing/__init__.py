"""What tests of a plugin stand on: a hub of their own, and cases that every plugin must pass.

For those who write plugins; it needs ``pip install 'colonies[testing]'``. Each name is imported by
its first use: pytest loads the fixtures of this package wherever it is installed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from colonies.testing.conformance import Conformance, Work
    from colonies.testing.running import Running
    from colonies.testing.world import World, open_world

__all__ = ["Conformance", "Running", "Work", "World", "open_world"]

_PLACES = {
    "Conformance": "conformance",
    "Running": "running",
    "Work": "conformance",
    "World": "world",
    "open_world": "world",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
