"""Signed calls that change nothing: what the way to a handler and back costs."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress

from bench.load import clients, per_second
from bench.parts.ceilings import recovered
from bench.report import Chapter, Figures, Table, number, rate
from bench.world import Hub, World
from colonies import Colonies, Forbidden, PrivateKey, connect

CONDITIONS = """\
Each call is signed, and its signature checked by the hub. *Refused* goes no further: a stranger
asks for what only the owner of the hub may know. *Answered* is `getcaller`, by a member of the
colony."""


async def measure(world: World) -> Chapter:
    """Measure calls a second by more and more clients, a socket each."""
    seconds = world.scale.seconds
    figures = {"calls/recover": recovered(seconds)}
    async with world.hub() as hub:
        for count in world.scale.clients:
            figures[f"calls/refused/{count}"] = await measure_refused(hub, count, seconds)
            figures[f"calls/answered/{count}"] = await measure_answered(hub, count, seconds)
    tables = [table(figures, world.scale.clients)]
    return Chapter("Authenticated calls", CONDITIONS, tables, figures=figures)


async def measure_refused(hub: Hub, count: int, seconds: float) -> float:
    """Calls of strangers, a second."""
    async with AsyncExitStack() as stack:
        strangers = [
            await stack.enter_async_context(connect(hub.settings, key=PrivateKey.generate()))
            for _ in range(count)
        ]
        for one in strangers:
            await _be_refused(one)
        return await per_second(count, seconds, lambda one: _be_refused(strangers[one]))


async def _be_refused(stranger: Colonies) -> None:
    with suppress(Forbidden):
        await stranger.get_statistics()


async def measure_answered(hub: Hub, count: int, seconds: float) -> float:
    """Calls of a member, a second."""
    async with clients(hub, count) as sockets:

        async def ask(one: int) -> None:
            await sockets[one].get_caller()

        return await per_second(count, seconds, ask)


def table(figures: Figures, counts: tuple[int, ...]) -> Table:
    """Show them, also as shares of what one core can recover."""
    ceiling = figures["calls/recover"]
    rows = []
    for count in counts:
        refused, answered = (figures[f"calls/{how}/{count}"] for how in ("refused", "answered"))
        rows.append(
            (
                f"{count} at once",
                *(rate(refused), number(refused / ceiling)),
                *(rate(answered), number(answered / ceiling)),
            )
        )
    head = ("clients", "refused", "of what a core recovers", "answered", "of what a core recovers")
    return Table(head, rows)
