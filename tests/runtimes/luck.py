"""Chance, and other means of commands that have a bad day; each call is a program of its own.

They leave what they have to remember in the folder that they are in. Light to import, as that is
done with each call.
"""

import hashlib
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = Path(sys.argv[0]).parent


def programs(folder, module, *names):
    """Make programs that are a module's ``main``, under these names, in a folder of their own."""
    folder.mkdir()
    for name in names:
        program = folder / name
        program.write_text(
            f"#!{sys.executable} -SE\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
            f"from {module} import main\nmain()\n"
        )
        program.chmod(0o755)


def real(name: str) -> str:
    """Give the program of that name that is meant elsewhere."""
    places = os.environ["PATH"].split(os.pathsep)
    found = (Path(place, name) for place in places if Path(place) != FOLDER)
    return str(next(path for path in found if path.exists()))


def chance(*what: object) -> float:
    """Decide by a hash: the same for the same, between 0 and 1."""
    digest = hashlib.blake2b("/".join(map(str, what)).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") / 2**32


def luck() -> float:
    """Decide anew at each call."""
    return chance(*sys.argv, os.getpid(), time.time())


def note(what: str, text: str = "") -> None:
    """Write down a line, for the test to read."""
    with (FOLDER / what).open("a") as lines:
        lines.write(f"{text or time.time()}\n")


def hang() -> None:
    """Say nothing, until somebody loses patience."""
    time.sleep(1000)


def write(text: str) -> None:
    """Say something."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
