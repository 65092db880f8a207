"""``colonies generator``, text and JSON."""

import json

import pytest

SPEC = json.dumps([{"name": "a", "func": "work", "conditions": {"runtimetype": "cli"}}]).encode()
ADD = ("generator", "add", "--spec", "-", "--name", "words")


async def test_a_generator_is_added_packed_shown_and_removed(shell, member, server):
    added = (await shell(*ADD, "--trigger", "9", "--after", "60", stdin=SPEC)).out.strip()
    generator = await member.get_generator(added)
    assert (generator.name, generator.trigger, generator.timeout) == ("words", 9, 60)
    assert (await shell("generator", "resolve", "words")).out.strip() == added

    assert (await shell("generator", "pack", "words", "one", "two words", "--", "-3")).out == ""
    await shell("generator", "pack", "--generatorid", added, "--arg", "as in v1")
    (heading, row) = (await shell("generator", "ls")).rows
    assert heading == ["GENERATORID", "NAME", "QUEUESIZE", "TRIGGER", "TIMEOUT", "LASTRUN"]
    assert row == [added, "words", "4", "9", "60", "-"]
    assert ["queuesize", "4"] in (await shell("generator", "get", added)).rows
    (listed,) = (await shell("generator", "ls", "--json")).answer
    assert listed["generatorid"] == added

    which = {"colony_id": generator.colony_id, "generator_id": added, "count": 9}
    rows = await server.db.fetch_rows("claim_generator_args", **which)
    assert [arg for _, arg in sorted(rows)] == ["one", "two words", "-3", "as in v1"]

    assert (await shell("generator", "rm", "words")).out == ""
    assert "<" + added in await shell.refuses("generator", "get", added, status=4)
    assert "'words'" in await shell.refuses("generator", "resolve", "words", status=4)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((*ADD,), "--trigger"),
        ((*ADD, "--trigger", "0"), "1<=x<=10000"),
        ((*ADD, "--trigger", "1", "--timeout", "-1"), "x>=0"),
        (("generator", "pack", "x"), "missing argument 'ARGS...'"),
    ],
)
async def test_wrong_usage_is_explained(shell, words, expected):
    assert expected in (await shell(*words, status=2, stdin=SPEC)).err


async def test_a_name_that_is_taken_is_told(shell):
    await shell(*ADD, "--trigger", "9", stdin=SPEC)
    line = await shell.refuses(*ADD, "--trigger", "9", stdin=SPEC, status=6)
    assert line == f"there already is a generator {ADD[ADD.index('--name') + 1]!r} in the colony"
