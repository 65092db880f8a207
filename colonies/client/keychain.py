"""Private keys, one file per identity, readable by nobody but their owner.

The files are those of the reference: named by the identity, holding the key as hex. With a
passphrase, keys that are added are locked (`core/keystore.py`), and locked ones can be read.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from secrets import token_hex

from colonies.core.errors import Malformed, Misconfigured
from colonies.core.identity import PrivateKey
from colonies.core.keystore import is_locked, lock, unlock
from colonies.core.wire import is_id
from colonies.settings import Settings, flag_of

_NAME = re.compile(r"[\w@-][\w.@-]{0,127}")


class Keychain:
    """A folder of private keys, and of names for some of them."""

    def __init__(self, folder: Path, passphrase: str = "") -> None:
        self.folder = folder.expanduser()
        self._passphrase = passphrase

    @classmethod
    def of(cls, settings: Settings) -> Keychain:
        """Give the keychain that the settings name."""
        return cls(Path(settings.keychain), settings.passphrase)

    def add(self, key: PrivateKey) -> None:
        """Keep a key, locked if there is a passphrase."""
        text = lock(key.hex, self._passphrase) if self._passphrase else key.hex
        self._write(self.folder / key.id, text)

    def get(self, identity: str) -> PrivateKey | None:
        """Give the key of an identity, if it is here.

        Raises Misconfigured when the file holds no key, another's key, or others may read it.
        """
        if not is_id(identity):
            return None
        path = self.folder / identity
        text = self._read(path)
        if text is None:
            return None
        try:
            key = PrivateKey(self._unlock(text))
        except (Malformed, Misconfigured) as error:
            raise Misconfigured(f"{path}: {error}") from error
        if key.id != identity:
            raise Misconfigured(f"{path}: holds the key of <{key.id}>")
        return key

    def _unlock(self, text: str) -> str:
        if not is_locked(text):
            return text
        if not self._passphrase:
            raise Misconfigured("locked, and COLONIES_PASSPHRASE is not set")
        return unlock(text, self._passphrase)

    def list(self) -> list[str]:
        """Give the identities whose keys are here."""
        return [name for name in _names_in(self.folder) if is_id(name)]

    def names(self) -> dict[str, str]:
        """Give the names that keys go by on this machine, each with the identity it means."""
        folder = self.folder / "names"
        names = [name for name in _names_in(folder) if _NAME.fullmatch(name)]
        return {name: self._read(folder / name) or "" for name in names}

    def named(self, name: str) -> PrivateKey:
        """Give the key that goes by a name on this machine, making one at the first time."""
        if found := self.find(name):
            return found
        key = PrivateKey.generate()
        self.add(key)
        if self._write_once(self.folder / "names" / name, key.id):
            return key
        # Somebody was quicker: the name stands for their key.
        (self.folder / key.id).unlink()
        return self.named(name)

    def find(self, name: str) -> PrivateKey | None:
        """Give the key that goes by a name on this machine, if there is one.

        Raises Misconfigured for what can be no name, and when the key it stands for is not here.
        """
        if not _NAME.fullmatch(name):
            raise Misconfigured(f"{name!r}: expected letters, digits and . _ @ - in a name")
        path = self.folder / "names" / name
        identity = self._read(path)
        if identity is None:
            return None
        if key := self.get(identity):
            return key
        raise Misconfigured(f"{path}: names <{identity}>, whose key is not in {self.folder}")

    def _read(self, path: Path) -> str | None:
        try:
            mode = path.stat().st_mode
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise Misconfigured(f"{path}: others can read it; run: chmod 600 {path}")
            return path.read_text().strip()
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise Misconfigured(f"{path}: {error}") from error

    def _write(self, path: Path, text: str) -> None:
        self._draft(path, text).replace(path)

    def _write_once(self, path: Path, text: str) -> bool:
        """Write a file that is not there yet; says whether it was not."""
        draft = self._draft(path, text)
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            return False
        finally:
            draft.unlink()
        return True

    def _draft(self, path: Path, text: str) -> Path:
        """Write the text beside where it shall be: a reader never sees half a key."""
        draft = path.with_name(f".{path.name}.{token_hex(8)}")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(
                os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w"
            ) as file:
                file.write(text)
        except OSError as error:
            raise Misconfigured(f"{path}: {error}") from error
        return draft


def _names_in(folder: Path) -> list[str]:
    try:
        return sorted(file.name for file in folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Misconfigured(f"{folder}: {error.strerror}") from error


def find_key(settings: Settings, role: str) -> PrivateKey:
    """Give the key of a role: ``server``, ``colony`` or ``runtime``.

    It comes from ``COLONIES_<ROLE>PRVKEY``, else from the keychain by the role's id. Raises
    Misconfigured that says what is missing, and when key and id do not belong together.
    """
    identity: str = getattr(settings, f"{role}_id")
    text: str = getattr(settings, f"{role}_prvkey")
    variable = f"COLONIES_{role.upper()}PRVKEY"
    if text:
        try:
            key = PrivateKey(text)
        except Malformed as error:
            raise Misconfigured(f"{variable}: {error}") from error
        if identity and key.id != identity:
            raise Misconfigured(f"{variable} is the key of <{key.id}>, not of {role} <{identity}>")
        return key
    if not identity:
        flag, of_id = flag_of(f"{role}_id"), f"COLONIES_{role.upper()}ID"
        raise Misconfigured(f"which {role}? Give {flag} or set {of_id} or {variable}")
    keychain = Keychain.of(settings)
    found = keychain.get(identity)
    if found is None:
        raise Misconfigured(
            f"no key of {role} <{identity}>: not in {keychain.folder}, and {variable} is not set"
        )
    return found
