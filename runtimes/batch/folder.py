"""A job's own folder: what it runs, what it writes, and how it ended.

It lies where both this machine and the nodes can reach it. The script that a queue system starts
there makes sure by itself that an attempt runs once, even if a system was made to take it twice:
the first job to begin claims the folder, by a link that holds its id, and any other ends at once.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from runtimes.child import Tail
from runtimes.files import make_private, write_whole

STREAMS = ("stdout", "stderr")

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

_SHELLS_OWN = frozenset(
    [
        "BASHOPTS",
        "BASH_VERSINFO",
        "DIRSTACK",
        "EUID",
        "FUNCNAME",
        "GROUPS",
        "IFS",
        "LINENO",
        "OPTARG",
        "OPTIND",
        "PPID",
        "PS4",
        "PWD",
        "OLDPWD",
        "RANDOM",
        "SECONDS",
        "SHELLOPTS",
        "SHLVL",
        "UID",
        "_",
    ]
)
"""Variables that one shell or another will not have set."""

SCRIPT = """\
#!/bin/sh
folder={folder}
cd "$folder" || exit 125
ln -s "${job_id}" claim 2>/dev/null
[ "$(readlink claim)" = "${job_id}" ] || exit 0
rm -f exit
(
cd {cwd} || exit 125
. "$folder/environment"
exec {command}
)
code=$?
cd "$folder" && echo "$code" > exit.part && mv exit.part exit
exit "$code"
"""


class JobFolder:
    """The folder of one attempt."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.script = path / "script"

    def exists(self) -> bool:
        """Whether an earlier life may have submitted it."""
        return self.script.exists()

    def make(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        *,
        cwd: str = "",
        job_id: str,
        shell_lines: str = "",
    ) -> None:
        """Write down what to run; ``job_id`` is the variable in which the system gives its id.

        Values go through a file and not through a command line, where others could read them; but
        for names that shells do not take. Raises OSError.
        """
        plain = {name for name in env if _PLAIN.fullmatch(name) and name not in _SHELLS_OWN}
        others = [f"{name}={env[name]}" for name in env if name not in plain]
        command = shlex.join(["/usr/bin/env", "--", *others, *argv])
        script = SCRIPT.format(
            folder=shlex.quote(str(self.path)),
            cwd=shlex.quote(cwd or str(Path.home())),
            job_id=job_id,
            command=command,
        )
        exports = "".join(f"export {name}={shlex.quote(env[name])}\n" for name in sorted(plain))
        make_private(self.path)
        write_whole(self.path / "environment", _bytes(shell_lines + exports))
        write_whole(self.script, _bytes(script))

    def note_job(self, job_id: str) -> None:
        """Write down as which job the system has taken it; raise OSError."""
        write_whole(self.path / "job", job_id.encode())

    def job(self) -> str:
        """Give the job that runs it, or was taken for it, if that is known."""
        with suppress(OSError):
            return str((self.path / "claim").readlink())
        with suppress(OSError):
            return (self.path / "job").read_text()
        return ""

    def exit_code(self) -> int | None:
        """Give what the command has ended with, if it has ended by itself."""
        with suppress(OSError, ValueError):
            return int((self.path / "exit").read_text())
        return None

    def lines(self, stream: str, limit: int) -> list[str]:
        """Give the last of what was written to a stream, by line."""
        tail = Tail(limit)
        with suppress(OSError), (self.path / stream).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            tail.skip(file.seek(max(0, size - limit)))
            tail.add(file.read(limit))
        return tail.lines()

    def read(self, stream: str, offset: int, most: int) -> bytes:
        """Give what follows an offset in a stream; nothing when there is none yet."""
        try:
            with (self.path / stream).open("rb") as file:
                file.seek(offset)
                return file.read(most)
        except OSError:
            return b""

    def remove(self) -> None:
        """Leave nothing."""
        shutil.rmtree(self.path, ignore_errors=True)


def _bytes(text: str) -> bytes:
    """Give text as the bytes that it stands for, whatever they are."""
    return text.encode(errors="surrogateescape")
