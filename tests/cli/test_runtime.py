"""``colonies runtime``, text and JSON."""

import re

from colonies.core.identity import PrivateKey
from colonies.core.runtime import Approval


async def test_a_new_runtime_has_its_key_in_the_keychain_and_is_pending(shell, keychain, client):
    words = ("--name", "new", "--type", "python", "--cores", "4", "--mem", "512", "--cpu", "fast")
    ran = await shell("runtime", "add", *words)
    key = keychain.get(ran.out.strip())
    added = next(one for one in await client.acting_as(key).get_runtimes() if one.name == "new")
    assert (added.runtime_id, added.runtime_type, added.cores) == (key.id, "python", 4)
    assert (added.mem, added.cpu, added.gpus) == (512, "fast", 0)
    assert added.state is Approval.PENDING


async def test_a_runtime_of_another_machine_is_added_by_id_and_let_in(shell):
    theirs = PrivateKey.generate().id
    words = ("--name", "new", "--type", "t", "--runtimeid", theirs, "--approve", "--json")
    added = (await shell("runtime", "add", *words)).answer
    assert (added["runtimeid"], added["state"]) == (theirs, Approval.APPROVED)


async def test_a_runtime_has_an_id(shell):
    words = ("runtime", "add", "--name", "new", "--type", "t", "--runtimeid", "foo")
    line = await shell.refuses(*words, status=2)
    assert line == "--runtimeid: expected 64 lower-case hex characters, not 'foo'"


async def test_runtimes_are_listed_with_full_ids_and_utc(shell, people):
    ran = await shell("runtime", "ls")
    assert ran.rows[0] == [
        "RUNTIMEID",
        "NAME",
        "RUNTIMETYPE",
        "STATE",
        "LASTHEARDFROMTIME",
        "CORES",
        "MEM",
        "GPUS",
    ]
    states = {row[0]: row[3] for row in ran.rows[1:]}
    assert states == {people.runtime.id: "approved", people.pending.id: "pending"}


async def test_runtimes_are_listed_and_shown_by_their_labels(shell, member, people):
    await member.label_runtime({"os": "linux", "rack": "7"})
    found = (await shell("runtime", "ls", "--label", "rack=7", "--label", "os=linux")).rows
    assert [people.runtime.id] == [row[0] for row in found[1:]]
    assert [] == (await shell("runtime", "ls", "--label", "rack=8", "--json")).answer
    assert ["labels.rack", "7"] in (await shell("runtime", "get", people.runtime.id)).rows


async def test_the_owner_lists_where_there_is_no_runtime(shell, people):
    owner = shell.having(COLONIES_RUNTIMEID=None)
    listed = (await owner("runtime", "ls", "--json")).answer
    assert {one["runtimeid"] for one in listed} == {people.runtime.id, people.pending.id}


async def test_a_runtime_is_shown(shell, people):
    ran = await shell("runtime", "get", people.runtime.id)
    assert ["state", "approved"] in ran.rows
    assert re.search(r"^commissiontime +\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ$", ran.out, re.MULTILINE)
    shown = (await shell("runtime", "get", people.runtime.id, "--json")).answer
    assert shown["name"] == f"runtime-{people.runtime.id[:12]}"


async def test_a_runtime_is_let_in_shut_out_and_deleted(shell, client, people):
    owner = client.acting_as(people.colony_owner)
    assert (await shell("runtime", "approve", people.pending.id)).out == ""
    assert (await owner.get_runtime(people.pending.id)).state is Approval.APPROVED
    await shell("runtime", "reject", people.pending.id)
    assert (await owner.get_runtime(people.pending.id)).state is Approval.REJECTED
    await shell("runtime", "rm", people.pending.id)
    assert [people.runtime.id] == [one.runtime_id for one in await owner.get_runtimes()]


async def test_what_a_runtime_has_is_updated_and_the_rest_of_it_stays(shell, people):
    words = ("runtime", "update", people.runtime.id)
    assert "" == (await shell(*words, "--cores", "4", "--mem", "512", "--gpu", "big")).out
    assert "" == (await shell(*words, "--mem", "1024")).out
    known = (await shell("runtime", "get", people.runtime.id, "--json")).answer
    expected = {"cores": 4, "mem": 1024, "gpus": 0, "gpu": "big", "state": 1}
    assert expected == {name: known[name] for name in expected}
    assert "nothing to update" in (await shell(*words, status=2)).err
    assert "-1 is not in the range" in (await shell(*words, "--gpus", "-1", status=2)).err


async def test_an_unknown_runtime_is_not_found(shell):
    assert "there is no runtime <nope>" in await shell.refuses("runtime", "get", "nope", status=4)
    assert "<nope>" in await shell.refuses("runtime", "approve", "nope", status=4)
