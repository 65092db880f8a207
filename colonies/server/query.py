"""The statements of ``sql/<noun>.sql``: each under its name, as PostgreSQL takes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import msgspec

_HEADING = re.compile(r"^-- (name|part): (\w+)\n", re.MULTILINE)
_COMMENT = re.compile(r"^--.*\n", re.MULTILINE)
_PARAMETER = re.compile(r"(?<!:):([a-z_]+)")
_PART = re.compile(r"\{(\w+)\}")


class Query(msgspec.Struct, frozen=True):
    """A statement as PostgreSQL takes it, and the names of its parameters in order."""

    name: str
    text: str
    parameters: tuple[str, ...]

    def arguments(self, given: Mapping[str, Any]) -> list[Any]:
        """Put named arguments in order; a missing or unknown name is a bug and raises."""
        if unknown := given.keys() - set(self.parameters):
            raise TypeError(f"{self.name} has no parameter {sorted(unknown)}")
        return [given[name] for name in self.parameters]


def load_queries() -> dict[str, Query]:
    """Read every statement of ``sql/``; ``{name}`` in one stands for the part of that name."""
    parts: dict[str, str] = {}
    statements: dict[str, str] = {}
    for file in files("colonies.server").joinpath("sql").iterdir():
        _, *sections = _HEADING.split(file.read_text())
        for kind, name, body in zip(sections[::3], sections[1::3], sections[2::3], strict=True):
            known = parts if kind == "part" else statements
            if name in known:
                raise ValueError(f"{file.name}: {name} is declared twice")
            known[name] = _COMMENT.sub("", body).strip().rstrip(";")
    return {name: _query(name, text, parts) for name, text in statements.items()}


def _query(name: str, text: str, parts: Mapping[str, str]) -> Query:
    while _PART.search(text):
        text = _PART.sub(lambda match: parts[match[1]], text)
    parameters = tuple(dict.fromkeys(_PARAMETER.findall(text)))
    text = _PARAMETER.sub(lambda match: f"${parameters.index(match[1]) + 1}", text)
    return Query(name, text, parameters)
