"""``colonies attribute``, text and JSON."""

from colonies.core.attribute import AttributeKind, attribute_id


async def test_an_attribute_is_added_to_a_running_process(shell, member):
    submitted = await member.submit("f", runtime_type="cli")
    await member.assign_process()
    words = ("--processid", submitted.id, "--key", "colour", "--value")
    ran = await shell("attribute", "add", *words, "sea green")
    expected = attribute_id(submitted.id, "colour", AttributeKind.OUT)
    assert ran.out == f"{expected}\n"

    assert ["value", "sea", "green"] in (await shell("attribute", "get", expected)).rows
    got = (await shell("attribute", "get", expected, "--json")).answer
    assert (got["key"], got["value"], got["targetid"]) == ("colour", "sea green", submitted.id)

    assert "attribute" in await shell.refuses("attribute", "add", *words, "red", status=6)


async def test_an_unknown_attribute_is_not_found(shell):
    assert "<nope>" in await shell.refuses("attribute", "get", "nope", status=4)
