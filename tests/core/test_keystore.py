import json

import pytest

from colonies.core.errors import Misconfigured
from colonies.core.keystore import is_locked, lock, unlock

SECRET = "ddf7f7791208083b6a9ed975a72684f6406a269cfa36f1b1c32045c0a71fff05"


@pytest.fixture(scope="module")
def locked():
    return lock(SECRET, "correct horse")


def test_what_was_locked_is_unlocked_by_its_passphrase_alone(locked):
    assert is_locked(locked)
    assert not is_locked(SECRET)
    assert SECRET not in locked
    assert SECRET == unlock(locked, "correct horse")
    with pytest.raises(Misconfigured, match="wrong passphrase"):
        unlock(locked, "battery staple")


def test_the_same_key_is_locked_differently_each_time(locked):
    assert lock(SECRET, "correct horse") != locked


@pytest.mark.parametrize("field", ["salt", "nonce", "tag", "secret"])
def test_what_was_tampered_with_is_refused(locked, field):
    content = json.loads(locked)
    content[field] = "AAAA" + content[field][4:]
    with pytest.raises(Misconfigured):
        unlock(json.dumps(content), "correct horse")


@pytest.mark.parametrize(
    "content", ["{", "{}", '{"cipher": 1}', '{"cost": 1e9}', '{"salt": "not base64"}']
)
def test_what_is_no_locked_key_is_refused(content):
    with pytest.raises(Misconfigured):
        unlock(content, "correct horse")


def test_a_file_cannot_ask_for_all_of_the_memory(locked):
    content = {**json.loads(locked), "cost": 2**30}
    with pytest.raises(Misconfigured, match="reasonable"):
        unlock(json.dumps(content), "correct horse")
