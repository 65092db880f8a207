"""One run of one command: its settings, its keys, and the hub as one identity sees it.

The client is imported by the first question: help, and what is asked of this machine alone, do
without.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import click

from colonies import settings as all_settings
from colonies.core.errors import (
    ConnectionLost,
    DeadlineExceeded,
    Forbidden,
    Misconfigured,
    NotFound,
)
from colonies.core.wire import is_id
from colonies.settings import SETTINGS, Settings, flag_of

if TYPE_CHECKING:
    from colonies.client import Colonies, Keychain
    from colonies.core.identity import PrivateKey

Role = Literal["server", "colony", "runtime"]

T = TypeVar("T")

GIVEN, ENVIRON = f"{__name__}.given", f"{__name__}.environ"
"""Where a command's context keeps what flags say, and what stands in for the environment."""


class Session:
    """One run of one command: its settings, and the hub as one identity sees it."""

    def __init__(
        self, settings: Settings, given: Mapping[str, Any], sources: Mapping[str, str]
    ) -> None:
        self.settings = settings
        self.given = given
        self.sources = sources
        self._signature = ""

    @classmethod
    def of(cls, ctx: click.Context) -> Session:
        """Make the session of a command, of what was given by flags, of environment and file."""
        given = ctx.meta.get(GIVEN, {})
        environ = {**os.environ, **ctx.meta.get(ENVIRON, {})}
        settings = all_settings.load(given, environ)
        return cls(settings, given, all_settings.sources(given, environ))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, Forbidden) and self._signature:
            error.add_note(self._signature)
        if isinstance(error, ConnectionLost | DeadlineExceeded):
            error.add_note(self._whereabouts())
        if "hub" in vars(self):
            await self.hub.close()

    @cached_property
    def hub(self) -> Colonies:
        """The hub, as anybody sees it."""
        from colonies.client import connect  # noqa: PLC0415 - see the module's docstring

        return connect(self.settings)

    @cached_property
    def keychain(self) -> Keychain:
        """The keys that are here."""
        from colonies.client import Keychain  # noqa: PLC0415 - see the module's docstring

        return Keychain.of(self.settings)

    @property
    def colony_id(self) -> str:
        """The colony that the command is about."""
        if not self.settings.colony_id:
            raise _missing("colony", SETTINGS["colony_id"].env)
        return self.settings.colony_id

    def acting_as(self, *roles: Role) -> Colonies:
        """Give the hub as seen by the first of these roles whose key is here.

        Nobody stands in for a runtime that is named by a flag, or whose key is given.
        """
        refusals = []
        for role in roles:
            try:
                key = self.key_of(role)
            except Misconfigured as error:
                if self._is_runtime_named and role == "runtime":
                    raise
                refusals.append(error)
                continue
            named = self.sources.get(f"{role}_id")
            name = f"{role} <{key.id}>{f' ({named})' if named else ''}"
            self._signature = f"signed as {name}, whose key is {self.origin(role)}"
            return self.hub.acting_as(key)
        raise refusals[0]

    async def read(self, question: Callable[[Colonies], Awaitable[T]]) -> T:
        """Ask what the colony's runtimes and its owner may know, as whoever's key is here.

        Where the hub refuses the runtime, or has nothing for it to know of, the owner asks, unless
        the runtime is named by a flag, or its key is given.
        """
        hub = self.acting_as("runtime", "colony")
        try:
            return await question(hub)
        except (Forbidden, NotFound):
            owner = None if self._is_runtime_named else self._owner()
            if owner is None or (hub.key and hub.key.id == owner.id):
                raise
        return await question(self.acting_as("colony"))

    def identity_for(self, role: Role) -> str:
        """Give the identity given by flag, else that of a key put into the keychain.

        That is a new one, unless the key itself was given by a flag, as v1 has it.
        """
        given: str | None = self.given.get(f"{role}_id")
        if given is not None:
            return check_identity(given, flag_of(f"{role}_id"))
        from colonies.core.identity import PrivateKey  # noqa: PLC0415 - as the client

        text = self.given.get(f"{role}_prvkey")
        key = PrivateKey(text) if text else PrivateKey.generate()
        self.keychain.add(key)
        return key.id

    @property
    def _is_runtime_named(self) -> bool:
        """Whether somebody says as which runtime to ask, and does not only live as one."""
        return bool(self.given.get("runtime_id")) or "runtime_prvkey" in self.sources

    def _owner(self) -> PrivateKey | None:
        try:
            return self.key_of("colony")
        except Misconfigured:
            return None

    def key_of(self, role: Role) -> PrivateKey:
        """Give the key of a role; raise Misconfigured, which says where it was looked for."""
        if not (getattr(self.settings, f"{role}_id") or getattr(self.settings, f"{role}_prvkey")):
            raise _missing(role, SETTINGS[f"{role}_id"].env, SETTINGS[f"{role}_prvkey"].env)
        from colonies.client.keychain import find_key  # noqa: PLC0415 - see the module's docstring

        try:
            return find_key(self.settings, role)
        except Misconfigured as error:
            source, identity = self.sources.get(f"{role}_id"), getattr(self.settings, f"{role}_id")
            if source and identity in str(error):
                error.add_note(f"that id is from {source}")
            raise

    def origin(self, role: Role) -> str:
        """Say where the key of a role comes from."""
        if source := self.sources.get(f"{role}_prvkey"):
            return f"from {source}"
        return f"in {self.keychain.folder}"

    def _whereabouts(self) -> str:
        parts = {"host": "server_host", "port": "server_port"}
        said = [
            f"{part} from {self.sources[one]}" for part, one in parts.items() if one in self.sources
        ]
        return f"{' and '.join(said) or 'host and port are the defaults'}; try: colonies doctor"


def check_identity(text: str, source: str) -> str:
    """Give the text if it is an identity; what is not names where it came from."""
    if not is_id(text):
        raise Misconfigured(f"{source}: expected 64 lower-case hex characters, not {text!r}")
    return text


def _missing(role: Role, *variables: str) -> Misconfigured:
    flag, ways = flag_of(f"{role}_id"), " or ".join(variables)
    file = f"write {role}_id into {all_settings.config_path()}"
    return Misconfigured(
        f"which {role}? Give {flag}, set {ways}, or {file}; `colonies dev` prints some to try"
    )
