"""Files that are whole or not there, and that only their owner can read."""

from __future__ import annotations

import os
from pathlib import Path
from secrets import token_hex

from colonies.core.wire import is_id


def attempt_file(process_id: str, attempt: int) -> str:
    """Name the file of an attempt; raise ValueError when its id could lead elsewhere."""
    if not is_id(process_id):
        raise ValueError(f"{process_id!r} is no id of a process")
    return f"{process_id}.{attempt}.json"


def make_private(folder: Path) -> None:
    """Make a folder, and those above it, for nobody else to read."""
    for one in (folder.parent, folder):
        one.mkdir(mode=0o700, parents=True, exist_ok=True)


def try_folder(folder: Path) -> None:
    """Raise OSError unless files can be made in a folder, or it can be made; leaves nothing."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    made = []
    try:
        for one in reversed(missing):
            one.mkdir(mode=0o700)
            made.append(one)
        draft = (missing or [folder])[0] / f".{token_hex(8)}"
        _write(draft, b"", is_synced=False)
        draft.unlink()
    finally:
        for one in reversed(made):
            one.rmdir()


def write_whole(path: Path, content: bytes, *, is_synced: bool = True) -> None:
    """Write a file at once, to last; raise OSError when that cannot be.

    One that is not ``is_synced`` outlives us, but not the machine, and costs next to nothing.
    """
    draft = path.parent / f".{path.name}.{token_hex(8)}"
    try:
        _write(draft, content, is_synced=is_synced)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    if is_synced:
        _sync(path.parent)


def remove_drafts(folder: Path) -> None:
    """Remove what a kill has left half-written; nobody may be writing there just now."""
    for draft in folder.glob(".*.json.*"):
        draft.unlink(missing_ok=True)


def _write(path: Path, content: bytes, *, is_synced: bool) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        if is_synced:
            os.fsync(descriptor)


def _sync(folder: Path) -> None:
    """Make the names in a folder last as well."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
