"""What a Python function is given by the parents of its process, if it asks for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from colonies.core.process import decode_argument


class Inputs(tuple[Any, ...]):  # noqa: SLOT001 - a tuple has no room for more
    """The outputs of the parents, one after the other in the order of the dependencies.

    A parameter with this annotation is filled in by the `python` runtime and is no argument of a
    call. Outputs that read as JSON are that value, others are text, as arguments are. A process
    without parents has what its cron handed on, or nothing.
    """

    by_parent: Mapping[str, tuple[Any, ...]]
    """The same by the names of the parents; empty where there are none."""

    @classmethod
    def read(cls, texts: Iterable[str], by_parent: Mapping[str, Sequence[str]]) -> Self:
        """Make it of the texts that came with the process."""
        inputs = cls(decode_argument(text) for text in texts)
        inputs.by_parent = {
            name: tuple(decode_argument(text) for text in some) for name, some in by_parent.items()
        }
        return inputs
