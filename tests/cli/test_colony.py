"""``colonies colony``, text and JSON."""

import asyncio
import signal

from colonies.core.identity import PrivateKey
from tests.cli.conftest import PATIENCE, stop


async def test_a_new_colony_has_its_key_in_the_keychain(shell, keychain):
    ran = await shell("colony", "add", "--name", "new")
    colony_id = ran.out.strip()
    assert keychain.get(colony_id)
    assert [colony_id, "new"] in (await shell("colony", "ls")).rows


async def test_a_colony_of_somebody_else_is_added_by_id(shell, keychain):
    theirs = PrivateKey.generate().id
    ran = await shell("colony", "add", "--name", "new", "--colonyid", theirs, "--json")
    assert ran.answer == {"colonyid": theirs, "name": "new"}
    assert theirs not in keychain.list()


async def test_a_colony_that_is_there_already_is_a_conflict(shell, colony):
    words = ("colony", "add", "--name", "again", "--colonyid", colony)
    assert "already is a colony" in await shell.refuses(*words, status=6)


async def test_colonies_are_listed(shell, colony):
    ran = await shell("colony", "ls")
    assert ran.rows[0] == ["COLONYID", "NAME"]
    assert [colony, "ours"] in ran.rows
    listed = (await shell("colony", "ls", "--json")).answer
    assert {"colonyid": colony, "name": "ours"} in listed


async def test_a_colony_is_shown(shell, colony):
    assert (await shell("colony", "get")).rows == [["colonyid", colony], ["name", "ours"]]
    assert (await shell("colony", "get", "--json")).answer == {"colonyid": colony, "name": "ours"}


async def test_a_colony_is_counted(shell, member):
    await member.submit("f", runtime_type="cli")
    assert ["waitingprocesses", "1"] in (await shell("colony", "stats")).rows
    assert (await shell("colony", "stats", "--json")).answer["runtimes"] == 2


async def test_the_owner_reads_where_there_is_no_runtime(shell, colony):
    owner = shell.having(COLONIES_RUNTIMEID=None)
    assert (await owner("colony", "get", "--json")).answer["colonyid"] == colony


async def test_a_colony_is_deleted_only_on_a_yes(shell, colony, people):
    for answer in (b"", b"no\n"):
        ran = await shell("colony", "rm", colony, stdin=answer, status=2)
        assert "Delete the colony 'ours'" in ran.err
        assert "nothing was deleted" in ran.err
    assert colony in (await shell("colony", "ls")).out
    assert (await shell("colony", "rm", colony, stdin=b"yes\n")).out == ""
    assert colony not in (await shell("colony", "ls")).out
    assert (await shell("colony", "rm", people.other_owner.id, "--yes")).err == ""
    assert people.other_owner.id not in (await shell("colony", "ls")).out


async def test_ctrl_c_ends_the_question(shell, colony):
    async with shell.started("colony", "rm", colony) as process:
        async with asyncio.timeout(PATIENCE):
            assert b"Delete" in await process.stderr.readuntil(b"[y/N] ")
        ran = await stop(process, signal.SIGINT)
    assert (ran.status, ran.out, ran.err) == (130, "", "")
    assert colony in (await shell("colony", "ls")).out


async def test_an_unknown_colony_is_not_found(shell):
    line = await shell.refuses("colony", "rm", "nope", "--yes", status=4)
    assert line == "there is no colony <nope>"


async def test_a_colony_has_a_name_and_an_id(shell):
    assert "expected a name" in (await shell("colony", "add", "--name", "", status=2)).err
    words = ("colony", "add", "--name", "new", "--colonyid", "A" * 64)
    line = await shell.refuses(*words, status=2)
    assert line == f"--colonyid: expected 64 lower-case hex characters, not '{'A' * 64}'"
