"""The one effect of what is asked about crons and generators, told as in `effects`."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from colonies.client import Colonies
from colonies.core.cron import Cron
from colonies.core.generator import Generator
from tests.faults.effects import MANY, Call, Story, World
from tests.server.recurring import ONE


def a_cron(world: World) -> Cron:
    colony_id = world.people.colony_owner.id
    return Cron(colony_id=colony_id, name="each", cron_expression="@daily", workflow_spec=ONE)


def a_generator(world: World) -> Generator:
    colony_id = world.people.colony_owner.id
    return Generator(colony_id=colony_id, name="words", trigger=9, workflow_spec=ONE)


def reading_cron(ask: Callable[[Colonies, Cron], Call]) -> Callable[[World], Story]:
    """Tell of a question about a cron."""

    async def story(world: World) -> Story:
        cron = await world.runtime.add_cron(a_cron(world))
        expected = await ask(world.runtime, cron)
        assert (yield ask(world.faulty(), cron)) == expected

    return story


def reading_generator(ask: Callable[[Colonies, Generator], Call]) -> Callable[[World], Story]:
    """Tell of a question about a generator."""

    async def story(world: World) -> Story:
        generator = await world.runtime.add_generator(a_generator(world))
        expected = await ask(world.runtime, generator)
        assert (yield ask(world.faulty(), generator)) == expected

    return story


async def add_cron(world: World) -> Story:
    cron = yield world.faulty().add_cron(a_cron(world))
    assert [cron] == await world.runtime.get_crons()


async def run_cron(world: World) -> Story:
    cron = await world.runtime.add_cron(a_cron(world))
    run = yield world.faulty().run_cron(cron.cron_id)
    assert await world.count("process_graphs", process_graph_id=run.prev_process_graph_id) == 1
    assert await world.count("process_graphs") == await world.count("processes") == 1


async def delete_cron(world: World) -> Story:
    cron = await world.runtime.add_cron(a_cron(world))
    other = await world.runtime.add_cron(replace(a_cron(world), name="other"))
    assert (yield world.faulty().delete_cron(cron.cron_id)) is None
    assert [other] == await world.runtime.get_crons()


async def add_generator(world: World) -> Story:
    generator = yield world.faulty().add_generator(a_generator(world))
    assert [generator] == await world.runtime.get_generators()


async def pack_generator(world: World) -> Story:
    """What is packed before and after stays where it is."""
    generator_id = (await world.runtime.add_generator(a_generator(world))).generator_id
    await world.runtime.pack_generator(generator_id, "before")

    async def meanwhile() -> None:
        await world.runtime.pack_generator(generator_id, "after")

    assert (yield world.faulty().pack_generator(generator_id, "now"), meanwhile) is None
    rows = await world.sql.fetch("SELECT arg FROM generator_args ORDER BY number")
    assert [arg for (arg,) in rows] == ["before", "now", "after"]
    assert (await world.runtime.get_generator(generator_id)).queue_size == MANY


async def delete_generator(world: World) -> Story:
    generator = await world.runtime.add_generator(a_generator(world))
    other = await world.runtime.add_generator(replace(a_generator(world), name="other"))
    await world.runtime.pack_generator(generator.generator_id, "gone")
    assert (yield world.faulty().delete_generator(generator.generator_id)) is None
    assert [other] == await world.runtime.get_generators()
    assert await world.count("generator_args") == 0
