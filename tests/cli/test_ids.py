"""Ids as people write them: whole, by their beginning, by a name; and as the shell completes."""

import pytest

from colonies.cli.ids import Thing, find
from colonies.cli.session import Session
from colonies.core.errors import Malformed
from colonies.core.process import State


async def test_the_beginning_of_an_id_is_enough(shell, member):
    submitted = await member.submit("f", runtime_type="cli")
    ran = await shell("process", "get", submitted.id[:6], "--json")
    assert ran.answer["processid"] == submitted.id
    await shell("process", "cancel", submitted.id[:12])
    assert (await member.get_process(submitted.id)).state is State.CANCELLED
    line = await shell.refuses("process", "get", submitted.id[:3], status=2)
    assert line == f"{submitted.id[:3]!r} is too short: give 4 characters of an id or more"


async def test_a_beginning_of_several_is_refused(settings):
    twins = [Thing(f"abcd{digit}" + "0" * 59, name) for digit, name in ((1, "a"), (2, "b"))]

    async def listing(session, beginning=""):
        return twins

    session = Session(settings, {}, {})
    some = f"<{twins[0].id}>, <{twins[1].id}>"
    expected = f"abcd may be any of {some}; give 5 characters of it"
    with pytest.raises(Malformed, match=expected):
        await find(session, "abcd", listing)
    assert await find(session, "abcd2", listing) == twins[1].id
    assert await find(session, "a", listing, is_named=True) == twins[0].id
    assert await find(session, "abc", listing) == "abc"


async def test_a_runtime_goes_by_its_name(shell, people):
    ran = await shell("runtime", "ls", "--json")
    name = next(one["name"] for one in ran.answer if one["runtimeid"] == people.pending.id)
    await shell("runtime", "approve", name)
    ran = await shell("runtime", "get", name, "--json")
    assert (ran.answer["runtimeid"], ran.answer["state"]) == (people.pending.id, 1)


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
async def test_a_shell_is_told_how_to_complete(bare, name):
    assert "_COLONIES_COMPLETE" in (await bare("completion", name)).out


async def test_a_shell_completes_commands_states_and_ids(shell, member, server):
    submitted = await member.submit("f\nplain,evil", runtime_type="cli")

    async def completed(*words: str) -> list[str]:
        bash = shell.having(
            _COLONIES_COMPLETE="bash_complete",
            COMP_WORDS=" ".join(["colonies", *words]),
            COMP_CWORD=str(len(words)),
        )
        return [line.partition(",")[2] for line in (await bash()).out.splitlines() if line]

    assert "process" in await completed("pro")
    assert await completed("process", "ls", "--state", "w") == ["waiting"]
    assert await completed("process", "get", submitted.id[:3]) == [submitted.id]
    assert await completed("process", "cancel", submitted.id[:3]) == [submitted.id]
    assert await completed("--port", "1", "process", "get", submitted.id[:3]) == []
    assert "psw" not in await completed("process", "p")


async def test_an_option_takes_names_and_beginnings_too(shell, member, people):
    runtimes = (await shell("runtime", "ls", "--json")).answer
    mine = next(one for one in runtimes if one["runtimeid"] == people.runtime.id)
    for text in (mine["name"], people.runtime.id[:10], people.runtime.id):
        ran = await shell("process", "run", "f", "--only", text, "--json")
        assert ran.answer["spec"]["conditions"]["runtimeids"] == [people.runtime.id]
        assert ran.err == ""
    process = await member.assign_process()
    words = ("attribute", "add", "--processid", process.process_id[:8], "--key", "k")
    await shell(*words, "--value", "v")
    assert (await member.get_process(process.process_id)).attributes[-1].key == "k"


async def test_an_option_that_names_nothing_is_refused(shell, people):
    run = ("process", "run", "f", "--only")
    expected = "--only: 'nobody' is not a name or the beginning of an id here"
    assert await shell.refuses(*run, "nobody", status=4) == expected
    ran = await shell(*run, "e" * 64)
    assert ran.err == f"note: no runtime of the colony is <{'e' * 64}>\n"
    assert "nobody" in (await shell(*run, "nobody", "--dry-run")).out
    words = ("attribute", "add", "--key", "k", "--value", "v", "--processid")
    line = await shell.refuses(*words, "beef", status=4)
    assert line == "--processid: 'beef' is not the beginning of an id here"
