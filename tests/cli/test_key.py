"""``colonies key``: needs no hub and tells no secret."""

import pytest

from colonies.core.identity import PrivateKey


async def test_a_new_key_is_kept_and_only_its_id_is_printed(bare, keychain):
    ran = await bare("key", "new")
    key = keychain.get(ran.out.removesuffix("\n"))
    assert key.hex not in ran.out + ran.err


async def test_a_named_key_is_made_once(bare):
    first = await bare("key", "new", "--name", "laptop")
    again = await bare("key", "new", "--name", "laptop", "--json")
    assert again.answer == {"id": first.out.strip()}
    notes = ["", "note: laptop has a key already, which is given again\n"]
    assert [one.err for one in (first, again)] == notes


async def test_a_key_is_imported_from_stdin_and_never_shown(bare, keychain):
    key = PrivateKey.generate()
    ran = await bare("key", "import", stdin=f"{key.hex}\n".encode())
    assert ran.out == f"{key.id}\n"
    assert keychain.get(key.id).hex == key.hex
    assert key.hex not in ran.err


@pytest.mark.parametrize("content", [b"", b"not a key", b"\xff\xfe", b"0" * 64])
async def test_what_is_no_key_is_refused(bare, keychain, content):
    assert "private key: expected" in await bare.refuses("key", "import", stdin=content, status=2)
    assert keychain.list() == []


async def test_the_id_of_a_key_on_stdin_is_printed_and_the_key_not_kept(bare, keychain):
    key = PrivateKey.generate()
    assert (await bare("key", "id", stdin=key.hex.encode())).out == f"{key.id}\n"
    assert keychain.list() == []


async def test_whether_a_key_is_here(bare, keychain):
    key = PrivateKey.generate()
    assert f"<{key.id}>" in await bare.refuses("key", "id", key.id, status=4)
    keychain.add(key)
    assert (await bare("key", "id", key.id, "--json")).answer == {"id": key.id}


async def test_keys_are_listed_by_id(bare, keychain):
    keys = [PrivateKey.generate() for _ in range(2)]
    for key in keys:
        keychain.add(key)
    expected = sorted(key.id for key in keys)
    assert (await bare("key", "ls")).out.split() == expected
    assert (await bare("key", "ls", "--json")).answer == [
        {"id": one, "names": []} for one in expected
    ]


async def test_keys_are_listed_with_their_names(bare, keychain):
    name = "laptop"
    key = keychain.named(name)
    assert (await bare("key", "ls")).out == f"{key.id}  {name}\n"
    assert (await bare("key", "ls", "--json")).answer == [{"id": key.id, "names": [name]}]


async def test_a_keychain_that_is_no_folder_is_refused(bare):
    line = await bare.refuses("key", "ls", "--keychain", "/etc/passwd", status=2)
    assert line == "/etc/passwd: Not a directory"
