"""``colonies key``: identities and their private keys, on this machine only."""

from __future__ import annotations

import click

from colonies.cli import answers, output
from colonies.cli.answers import Answer
from colonies.cli.command import Noun, Session
from colonies.core.errors import NotFound
from colonies.core.identity import PrivateKey
from colonies.core.wire import Wire

LOCAL = ("keychain", "verbose")
"""The settings that matter where no hub is asked."""


class Key(Wire):
    """A key as others may know it."""

    id: str


class ListedKey(Key):
    """A key and the names it goes by on this machine."""

    names: list[str] = []


@click.group(cls=Noun)
def key() -> None:
    """Keys: who you are. A key is 64 hex characters that you keep; its id is for everybody."""


@key.command("new", settings=LOCAL)
@click.option("--name", help="Name on this machine; a key that has it already is given again.")
def new(session: Session, name: str | None) -> Answer[Key]:
    """Make a key, keep it in the keychain and print its id."""
    keychain = session.keychain
    if name is not None:
        if name in keychain.names():
            output.note(f"note: {name} has a key already, which is given again")
        return _answer(keychain.named(name).id)
    made = PrivateKey.generate()
    keychain.add(made)
    return _answer(made.id)


@key.command("id", settings=LOCAL)
@click.argument("identity", metavar="[ID]", default="")
def id_(session: Session, identity: str) -> Answer[Key]:
    """Print the id of the private key (hex) on standard input; with ID, whether its key is here."""
    if not identity:
        return _answer(_read().id)
    keychain = session.keychain
    if keychain.get(identity) is None:
        raise NotFound(f"no key of <{identity}> in {keychain.folder}")
    return _answer(identity)


@key.command("import", settings=LOCAL)
@click.option("--prvkey", default="", hidden=True)
@click.option("--id", "identity", default="", hidden=True)
def import_(session: Session, prvkey: str, identity: str) -> Answer[Key]:
    """Keep the private key (hex) on standard input in the keychain and print its id."""
    taken = PrivateKey(prvkey) if prvkey else _read()
    if identity not in ("", taken.id):
        raise click.UsageError(f"that is the key of <{taken.id}>, not of <{identity}>")
    session.keychain.add(taken)
    return _answer(taken.id)


@key.command("ls", settings=LOCAL)
def ls(session: Session) -> Answer[list[ListedKey]]:
    """List the identities whose keys are in the keychain, with their names on this machine."""
    keychain = session.keychain
    identities, named = keychain.list(), keychain.names().items()
    keys = [
        ListedKey(id=identity, names=[name for name, whose in named if whose == identity])
        for identity in identities
    ]
    return Answer(keys, ["  ".join([one.id, *one.names]) for one in keys])


def _read() -> PrivateKey:
    return PrivateKey(output.read_secret("private key"))


def _answer(identity: str) -> Answer[Key]:
    return answers.identity(Key(id=identity), identity)
