"""Keys in files, and which key somebody acts with."""

import os
import stat

import pytest
from msgspec.structs import replace

from colonies.client.keychain import Keychain, find_key
from colonies.core.errors import Misconfigured
from colonies.core.identity import PrivateKey
from colonies.settings import Settings

ROLES = ("server", "colony", "runtime")


@pytest.fixture
def keychain(tmp_path) -> Keychain:
    return Keychain(tmp_path / "keys")


@pytest.fixture
def key() -> PrivateKey:
    return PrivateKey.generate()


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_key_is_kept_where_only_its_owner_can_read_it(keychain, key):
    old = os.umask(0)
    try:
        keychain.add(key)
    finally:
        os.umask(old)
    assert mode(keychain.folder) == 0o700
    assert mode(keychain.folder / key.id) == 0o600
    assert (keychain.folder / key.id).read_text() == key.hex
    assert keychain.get(key.id).hex == key.hex
    assert keychain.list() == [key.id]


def test_the_files_of_the_reference_are_read(keychain, key):
    keychain.add(key)
    (keychain.folder / key.id).write_text(key.hex.upper() + "\n")
    assert keychain.get(key.id).hex == key.hex


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o666, 0o610, 0o601])
def test_a_file_that_others_may_touch_is_refused(keychain, key, bits):
    keychain.add(key)
    (keychain.folder / key.id).chmod(bits)
    with pytest.raises(Misconfigured, match="others can read it; run: chmod 600") as refusal:
        keychain.get(key.id)
    assert key.hex not in str(refusal.value)


@pytest.mark.parametrize("content", ["", "nonsense", "0" * 64, "\udcff"])
def test_a_file_without_a_key_is_refused_by_its_name(keychain, key, content):
    keychain.add(key)
    path = keychain.folder / key.id
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(Misconfigured, match=key.id):
        keychain.get(key.id)


def test_a_file_with_anothers_key_is_refused(keychain, key):
    other = PrivateKey.generate()
    keychain.add(key)
    (keychain.folder / key.id).write_text(other.hex)
    with pytest.raises(Misconfigured, match=f"holds the key of <{other.id}>") as refusal:
        keychain.get(key.id)
    assert other.hex not in str(refusal.value)


@pytest.mark.parametrize("identity", ["", "..", "../key", "/etc/passwd", "A" * 64, "0" * 63, "\0"])
def test_what_is_no_identity_is_not_looked_for(keychain, identity):
    keychain.folder.mkdir()
    (keychain.folder.parent / "key").write_text("0" * 63 + "1")
    assert keychain.get(identity) is None


def test_an_empty_keychain_lists_nothing(keychain, key):
    assert keychain.list() == []
    assert keychain.get(key.id) is None


def test_a_name_is_one_key_for_ever(keychain):
    key = keychain.named("solver@host.1")
    assert keychain.named("solver@host.1").hex == key.hex
    assert keychain.named("other").id != key.id
    assert keychain.get(key.id).hex == key.hex
    assert mode(keychain.folder / "names" / "other") == 0o600
    assert len(keychain.list()) == 2


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a b", "x" * 129, "a\0", "a\n", ".", ".."])
def test_a_name_that_is_none_is_refused_and_leaves_nothing(keychain, name):
    with pytest.raises(Misconfigured):
        keychain.named(name)
    assert keychain.list() == []


def test_a_name_whose_key_is_gone_is_refused(keychain):
    key = keychain.named("solver")
    (keychain.folder / key.id).unlink()
    with pytest.raises(Misconfigured, match=f"names <{key.id}>"):
        keychain.named("solver")


def test_a_folder_that_cannot_be_is_told_by_its_name(tmp_path, key):
    (tmp_path / "keys").write_text("a file")
    with pytest.raises(Misconfigured, match="keys"):
        Keychain(tmp_path / "keys").add(key)


@pytest.mark.parametrize("role", ROLES)
def test_the_key_of_a_role_comes_from_its_setting_else_from_the_keychain(tmp_path, key, role):
    settings = Settings(keychain=str(tmp_path))
    given = replace(settings, **{f"{role}_prvkey": key.hex})
    assert find_key(given, role).id == key.id
    assert find_key(replace(given, **{f"{role}_id": key.id}), role).id == key.id
    Keychain(tmp_path).add(key)
    assert find_key(replace(settings, **{f"{role}_id": key.id}), role).hex == key.hex


@pytest.mark.parametrize("role", ROLES)
def test_what_is_missing_or_does_not_belong_together_is_said(tmp_path, key, role):
    settings = Settings(keychain=str(tmp_path))
    variable = f"COLONIES_{role.upper()}PRVKEY"
    with pytest.raises(Misconfigured, match=f"which {role}.*COLONIES_{role.upper()}ID"):
        find_key(settings, role)
    with pytest.raises(Misconfigured, match=f"no key of {role} <{key.id}>.*{variable}"):
        find_key(replace(settings, **{f"{role}_id": key.id}), role)
    other = PrivateKey.generate()
    both = replace(settings, **{f"{role}_id": key.id, f"{role}_prvkey": other.hex})
    with pytest.raises(Misconfigured, match=f"{variable} is the key of <{other.id}>") as refusal:
        find_key(both, role)
    assert other.hex not in str(refusal.value)
    with pytest.raises(Misconfigured, match=f"{variable}: private key"):
        find_key(replace(settings, **{f"{role}_prvkey": "nonsense"}), role)
