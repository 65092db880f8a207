"""A podman on a bad day: it refuses, hangs, lies, kills and loses replies; else it is the real one.

What then cannot be mended is noted, by the name of the container, in the words that the error may
begin with. Of how a container is it never says something wrong twice in a row.
"""

import json
import os
import signal
import subprocess
import sys
import time

from tests.runtimes.luck import FOLDER, hang, luck, note, real, write

BAD, HANGS = (FOLDER / "bad").exists(), (FOLDER / "hangs").exists()
"""Whether it is such a day, and whether it hangs as well: each time, that takes some patience."""

MEANWHILE = 0.6
"""Seconds after its start in which a container is evicted, or lost sight of."""

LOST = "Error: unexpected EOF"


def main() -> None:
    words = sys.argv[1:]
    verbs = {"create": create, "start": start, "container": states, "ps": names, "rm": remove}
    verb = next(word for word in words if not word.startswith("--"))
    (verbs.get(verb, honest) if BAD else honest)()


def argv() -> list[str]:
    return [real("podman"), *sys.argv[1:]]


def obey() -> int:
    """Do what was asked for, and say all that there is to be said."""
    return os.spawnv(os.P_WAIT, argv()[0], argv())


def honest() -> None:
    os.execv(argv()[0], argv())


def options() -> list[str]:
    return [word for word in sys.argv[1:-2] if word.startswith("--")]


def create() -> None:
    name = next(word[7:] for word in sys.argv if word.startswith("--name="))
    match lot(0.03, 0.05, 0.05, 0.05, 0.02 * HANGS, 0.02):
        case 0:
            note(name, "not started: Error: no room")
            sys.exit("Error: no room")
        case 1:
            obey()
            sys.exit(LOST)
        case 2:
            obey()
            os.kill(os.getpid(), signal.SIGKILL)
        case 3:
            os.kill(os.getpid(), signal.SIGKILL)
        case 4:
            hang()
        case 5:
            note(name, "not started: ")
            note(name, "vanished: ")
            write("0" * 64)  # a lie
            return
    honest()


def start() -> None:
    name = sys.argv[-1]
    match lot(0.03, 0.03, 0.02 * HANGS, 0.04, 0.02 * HANGS, 0.05, 0.05, 0.03):
        case 0:
            note(name, "not started: ")
            sys.exit("Error: no room")
        case 1:
            note(name, "not started: ")  # a lie
            return
        case 2:
            note(name, "not started: ")
            hang()
        case 3:
            note(name, "vanished: it succeeded")
            obey()
            sys.exit(LOST)
        case 4:
            note(name, "vanished: it succeeded")
            obey()
            hang()
        case 5:
            note(name, "vanished: ")
            note(name, "not started: ")
            meanwhile("rm", "--force", "--time=0", name)
        case 6:
            note(name, "exit code 137 (signal 9)")
            note(name, "not started: ")
            meanwhile("kill", name)
        case 7:
            note(name, "vanished: ")
            note(name, "not started: ")
            meanwhile()
    honest()


def meanwhile(*words: str) -> None:
    """Start it, and then do something to it; nothing is to go away without a word."""
    child = os.spawnv(os.P_NOWAIT, argv()[0], argv())
    time.sleep(MEANWHILE * luck())
    if not words:
        os.kill(child, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
    subprocess.run([real("podman"), *options(), *words], capture_output=True, check=False)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def states() -> None:
    note("calls")
    asked = {word for word in sys.argv if word.startswith("colonies-")}
    lied_to = set((FOLDER / "lied_to").read_text().split())
    which = lot(0.06, 0.02 * HANGS, 0.06, 0.06, 0.1, 0.06)
    is_honest = which is None or bool(asked & lied_to)
    (FOLDER / "lied_to").write_text("\n".join(lied_to - asked if is_honest else lied_to | asked))
    if is_honest:
        honest()
    if which == 0:
        sys.exit("Error: cannot connect to Podman")
    if which == 1:
        hang()
    done = subprocess.run(argv(), capture_output=True, check=False)
    lines = done.stdout.decode().splitlines()
    if which == 2:
        lines = [line[: len(line) // 2] for line in lines]
    elif which == 3:
        lines = ["what containers?", *lines[:1]]
    elif which == 4:
        lines = lines[::2]
    else:
        lines = [bewildered(line) for line in lines]
    write("\n".join(lines))
    sys.stderr.buffer.write(done.stderr)
    sys.exit(done.returncode)


def bewildered(line: str) -> str:
    look = json.loads(line)
    return json.dumps({**look, "state": {**look["state"], "Status": "bewildered"}})


def names() -> None:
    note("calls")
    if lot(0.2) == 0:
        sys.exit("Error: cannot connect to Podman")
    honest()


def remove() -> None:
    match lot(0.1, 0.1, 0.03 * HANGS, 0.05):
        case 0:
            sys.exit("Error: no reply")
        case 1:
            obey()
            sys.exit(LOST)
        case 2:
            hang()
        case 3:
            return  # a lie
    honest()


def lot(*odds: float) -> int | None:
    """Draw one of these, or mostly none."""
    drawn = luck()
    for which, odd in enumerate(odds):
        drawn -= odd
        if drawn < 0:
            return which
    return None
