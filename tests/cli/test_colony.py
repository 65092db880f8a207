"""``colonies colony``, text and JSON."""

from colonies.core.identity import PrivateKey


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


async def test_a_colony_is_deleted(shell, colony):
    assert (await shell("colony", "rm", colony)).out == ""
    assert colony not in (await shell("colony", "ls")).out
