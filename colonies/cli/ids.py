"""Ids as people write them: whole, by their beginning, or by a name; and completed by the shell."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import click
import msgspec
from click.shell_completion import CompletionItem

from colonies.cli.session import GIVEN, Session
from colonies.complaints import printable
from colonies.core.errors import ColoniesError, Forbidden, Malformed, Misconfigured, NotFound
from colonies.core.process import ANYBODY, State
from colonies.core.wire import is_id

if TYPE_CHECKING:
    from colonies.client import Colonies

LEAST = 4
"""Characters of an id by which it is found."""

_BEGINNING = re.compile(rf"[0-9a-f]{{{LEAST},63}}", re.ASCII)
_TOO_SHORT = re.compile(rf"[0-9a-f]{{1,{LEAST - 1}}}", re.ASCII)

MOST_LISTED = 1000
"""Crons or generators that are looked through."""

COMPLETION_TIMEOUT = 2.0
"""Seconds that somebody who pressed the tab key waits for a hub."""


@dataclass(frozen=True)
class Thing:
    """Something that has an id: what people call it, and what is told of it beside."""

    id: str
    name: str = ""
    about: str = ""


Listing = Callable[..., Awaitable[Iterable[Thing]]]
"""Lists things for a session. What has ids alone is also asked for what begins so."""


class Listed(click.Parameter):
    """What is the id of something that can be listed, or its name if such things have one.

    Those that have one ``is_named``.
    """

    def __init__(self, *args: Any, listing: Listing, is_named: bool = False, **attrs: Any) -> None:
        self._listing = listing
        self._is_named = is_named
        super().__init__(*args, **attrs)

    async def find(self, session: Session, text: Any) -> Any:
        """Give the whole id of each that was given; raise Malformed where it may be several."""
        if isinstance(text, tuple):
            return tuple([await self.find(session, one) for one in text])
        if not text:
            return text
        if not self._is_named and _TOO_SHORT.fullmatch(text):
            raise Malformed(f"{text!r} is too short: give {LEAST} characters of an id or more")
        try:
            found = await find(session, text, self._listing, is_named=self._is_named)
        except (Forbidden, Misconfigured, NotFound):
            return text  # the command itself says best what is amiss
        self._check(found)
        return found

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """List what there is, as far as a hub says it in time."""
        return completing(self._listing)(ctx, self, incomplete)

    def _check(self, found: str) -> None:
        """Look at what was found: the text as it is if nothing begins so or is called so."""


class Id(Listed, click.Argument):
    """The id as an argument; what is not found the command itself is asked about.

    Where none is given, a flag that names such a thing stands for it (``setting``), as it does for
    the reference.
    """

    def __init__(
        self,
        param_decls: Sequence[str],
        required: bool = True,  # noqa: FBT001, FBT002 - as click declares it
        *,
        setting: str = "",
        **attrs: Any,
    ) -> None:
        self._setting = setting
        self._is_wanted = required
        attrs.setdefault("metavar", "ID")
        super().__init__(param_decls, required=False, callback=self._or_setting, **attrs)

    def _or_setting(self, ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        value = value or ctx.meta.get(GIVEN, {}).get(self._setting)
        if not value and self._is_wanted and not ctx.resilient_parsing:
            raise click.MissingParameter(ctx=ctx, param=param)
        return value or ""


class IdOption(Listed, click.Option):
    """The id as an option, which is refused if it is not found, as nobody may ever ask for it."""

    def _check(self, found: str) -> None:
        if is_id(found) or found == ANYBODY:
            return
        names = "a name or " if self._is_named else ""
        raise NotFound(f"{self.opts[0]}: {found!r} is not {names}the beginning of an id here")


def completing(
    listing: Listing,
) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Give what completes an id or a name, as far as a hub says it in time."""

    def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        import asyncio  # noqa: PLC0415 - commands are completed without

        things: Iterable[Thing] = ()
        with suppress(ColoniesError, TimeoutError):
            things = asyncio.run(_listed(Session.of(ctx), listing, incomplete))
        return [
            CompletionItem(text, help=printable(thing.about))
            for thing in things
            for text in (thing.id, thing.name)
            if text and text.isprintable() and text.startswith(incomplete)
        ]

    return complete


async def find(session: Session, text: str, listing: Listing, *, is_named: bool = False) -> str:
    """Give the one id that begins so, or of what is called so; else the text as it is.

    Raises Malformed when there are several.
    """
    if not text or is_id(text) or not (is_named or _BEGINNING.fullmatch(text)):
        return text
    things = list(await (listing(session) if is_named else listing(session, text)))
    fitting = [one.id for one in things if one.name == text]
    if not fitting and _BEGINNING.fullmatch(text):
        fitting = [one.id for one in things if one.id.startswith(text)]
    if len(fitting) > 1:
        apart = 1 + max(_shared(*pair) for pair in pairwise(sorted(fitting)))
        more = f"; give {apart} characters of it" if apart > len(text) else ""
        some = ", ".join(f"<{one}>" for one in fitting[:3])
        raise Malformed(f"{text} may be any of {some}{more}")
    return fitting[0] if fitting else text


def _shared(one: str, other: str) -> int:
    """Give how many characters two ids begin with alike."""
    return next(at for at, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)


async def processes(session: Session, beginning: str = "") -> list[Thing]:
    """List the processes whose ids begin so, else the first 100 of each state."""

    async def ask(hub: Colonies) -> list[Thing]:
        if beginning:
            found = await hub.get_processes(beginning=beginning, colony_id=session.colony_id)
        else:
            found = [
                one
                for state in State
                for one in await hub.get_processes(state, colony_id=session.colony_id)
            ]
        return [
            Thing(one.process_id, about=f"{one.state.name.lower()} {one.spec.func}")
            for one in found
        ]

    return await session.read(ask)


async def workflows(session: Session, beginning: str = "") -> list[Thing]:
    """List the workflows whose ids begin so, else the first 100 of each state."""

    async def ask(hub: Colonies) -> list[Thing]:
        if beginning:
            found = await hub.get_process_graphs(beginning=beginning, colony_id=session.colony_id)
        else:
            found = [
                one
                for state in State
                for one in await hub.get_process_graphs(state=state, colony_id=session.colony_id)
            ]
        return [Thing(one.process_graph_id, about=one.state.name.lower()) for one in found]

    return await session.read(ask)


async def crons(session: Session) -> list[Thing]:
    """List the crons of the colony."""

    async def ask(hub: Colonies) -> list[Thing]:
        return [
            Thing(one.cron_id, one.name, one.times)
            for one in await hub.get_crons(session.colony_id, count=MOST_LISTED)
        ]

    return await session.read(ask)


async def generators(session: Session) -> list[Thing]:
    """List the generators of the colony."""

    async def ask(hub: Colonies) -> list[Thing]:
        return [
            Thing(one.generator_id, one.name, f"{one.queue_size} of {one.trigger}")
            for one in await hub.get_generators(session.colony_id, count=MOST_LISTED)
        ]

    return await session.read(ask)


async def runtimes(session: Session) -> list[Thing]:
    """List the runtimes of the colony."""

    async def ask(hub: Colonies) -> list[Thing]:
        return [
            Thing(one.runtime_id, one.name, f"{one.state.name.lower()} {one.runtime_type}")
            for one in await hub.get_runtimes(session.colony_id)
        ]

    return await session.read(ask)


async def functions(session: Session) -> list[Thing]:
    """List the functions of the colony, each by its name alone."""

    async def ask(hub: Colonies) -> list[Thing]:
        found = await hub.get_functions(session.colony_id)
        return [
            Thing(name, about=said) for name, said in {f.name: f.signature for f in found}.items()
        ]

    return await session.read(ask)


async def colonies(session: Session) -> list[Thing]:
    """List the colonies, as the hub's owner may."""
    found = await session.acting_as("server").get_colonies()
    return [Thing(one.colony_id, one.name) for one in found]


async def _listed(session: Session, listing: Listing, incomplete: str) -> Iterable[Thing]:
    import asyncio  # noqa: PLC0415 - see above

    session.settings = msgspec.structs.replace(session.settings, timeout=COMPLETION_TIMEOUT)
    async with session, asyncio.timeout(COMPLETION_TIMEOUT):
        if listing in (processes, workflows) and _BEGINNING.fullmatch(incomplete):
            return await listing(session, incomplete)
        return await listing(session)
