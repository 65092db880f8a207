"""Attributes."""

import pytest

from colonies.core.attribute import Attribute, AttributeKind, attribute_id
from colonies.core.errors import AlreadyExists, Forbidden, NotFound


@pytest.fixture
async def process(member):
    await member.submit("work", runtime_type="cli", env={"B": "2", "A": "1"})
    return await member.assign_process(timeout=-1)


async def test_the_environment_is_attributes_of_type_3(member, colony):
    submitted = await member.submit("work", runtime_type="cli", env={"B": "2", "A": "1"})
    expected = [
        Attribute(
            attribute_id=attribute_id(submitted.id, key, 3),
            target_id=submitted.id,
            target_colony_id=colony,
            attribute_type=3,
            key=key,
            value=value,
        )
        for key, value in (("A", "1"), ("B", "2"))
    ]
    assert submitted.process.attributes == expected
    assert (await member.get_process(submitted.id)).attributes == expected
    assert (await member.assign_process(timeout=-1)).attributes == expected
    assert await member.get_attribute(expected[0].attribute_id) == expected[0]


@pytest.mark.parametrize("kind", [0, 1, 2, 7, -1, 2**31 - 1])
async def test_an_attribute_is_stored_with_what_the_hub_knows(member, process, colony, kind):
    added = await member.add_attribute(process.process_id, "key", "value", kind)
    assert added == Attribute(
        attribute_id=attribute_id(process.process_id, "key", kind),
        target_id=process.process_id,
        target_colony_id=colony,
        attribute_type=kind,
        key="key",
        value="value",
    )
    assert await member.get_attribute(added.attribute_id) == added
    assert added in (await member.get_process(process.process_id)).attributes


async def test_what_the_client_says_of_colony_graph_and_id_is_ignored(
    socket, process, people, colony
):
    sent = {
        "targetid": process.process_id,
        "attributeid": "mine",
        "targetcolonyid": people.other_owner.id,
        "targetprocessgraphid": "mine",
        "key": "key",
    }
    added = await socket.ask("addattributemsg", {"attribute": sent}, people.runtime)
    assert added["attributeid"] == attribute_id(process.process_id, "key", 0)
    assert added["targetcolonyid"] == colony
    assert added["targetprocessgraphid"] == ""


async def test_an_attribute_is_written_once_for_each_key_and_type(member, process):
    await member.add_attribute(process.process_id, "key", "first")
    with pytest.raises(AlreadyExists) as refusal:
        await member.add_attribute(process.process_id, "key", "second")
    assert refusal.value.field == "attribute.key"
    with pytest.raises(AlreadyExists):
        await member.add_attribute(process.process_id, "A", "mine", AttributeKind.ENV)
    await member.add_attribute(process.process_id, "key", "third", AttributeKind.ERR)
    values = [one.value for one in (await member.get_process(process.process_id)).attributes]
    assert sorted(values) == ["1", "2", "first", "third"]


async def test_only_a_running_process_takes_attributes(member, process):
    await member.close_successful(process.process_id)
    with pytest.raises(Forbidden, match="is not running"):
        await member.add_attribute(process.process_id, "late", "value")
    waiting = await member.submit("work", runtime_type="cli")
    with pytest.raises(Forbidden):
        await member.add_attribute(waiting.id, "early", "value")
    assert (await member.get_process(waiting.id)).attributes == []


async def test_attributes_go_with_their_process(member, process, sql):
    added = await member.add_attribute(process.process_id, "key", "value")
    await member.delete_process(process.process_id)
    with pytest.raises(NotFound):
        await member.get_attribute(added.attribute_id)
    assert await sql.fetchval("SELECT count(*) FROM attributes") == 0
