"""The hub's private PostgreSQL: a child process that needs no set-up, and no looking after.

Here is only the life of the server; its programs are in `programs.py`, queries and connections in
`db.py`.
"""

import asyncio
import ctypes
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self
from urllib.parse import quote

import asyncpg
import structlog

from colonies.core.errors import Misconfigured
from colonies.server.programs import (
    Account,
    Programs,
    choose_account,
    find_bin_folder,
    make_reachable,
)

LOG_LIMIT_BYTES = 10 << 20
READY_TIMEOUT = 60.0  # recovery after a crash included
PREDECESSOR_TIMEOUT = 15.0  # of a killed server, then of its backends
STOP = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
# Not TMPDIR: the path of a socket may have 107 bytes, and another account must reach it.
SOCKETS = "/tmp"  # noqa: S108
SOCKETS_PREFIX = "colonies-pg-"

BACKENDS_TIMEOUT = 2.0
"""Seconds that one restart tries while backends of the dead server may be left."""

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
"""Seconds between restarts; the first after a good run comes at once."""

GOOD_RUN = 1.0
"""Seconds after which a server that dies again was not the last one's failure."""

LEAST_SPACE = 16 << 20
"""Bytes of disk without which PostgreSQL cannot go on with its log: it takes as many at once."""

# What a restart may meet. It is said and tried again, as long as the hub lives.
_FAILURES = (
    Misconfigured,
    OSError,
    subprocess.SubprocessError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)

# After each checkpoint every page is logged whole once more. It takes more disk, and after a crash
# the server has more to read before it is back.
RARE_CHECKPOINTS = ("max_wal_size=2GB", "checkpoint_timeout=15min")

logger = structlog.get_logger()


class EmbeddedPostgres:
    """A PostgreSQL of our own, which runs while this context is entered.

    When it dies it is started again, at the same address, for as long as the context lasts.
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
        self._server: subprocess.Popen[bytes] | None = None
        self._stack = AsyncExitStack()

    @property
    def url(self) -> str:
        """The address of the database, known once the context is entered."""
        # The port only names the socket; unsaid, asyncpg would take it from PGPORT.
        return f"postgresql://colonies@/colonies?host={quote(str(self._sockets))}&port=5432"

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            try:
                await self._open(stack)
            except OSError as error:
                raise Misconfigured(f"cannot use data folder {self._folder}: {error}") from error
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _open(self, stack: AsyncExitStack) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        stack.enter_context(_locked(self._folder))
        programs = await asyncio.to_thread(self._prepare)
        self._sockets = stack.enter_context(_socket_folder(self._folder, programs.account))
        stack.push_async_callback(self._stop)
        server = await self._start(programs, PREDECESSOR_TIMEOUT, ready=READY_TIMEOUT)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        stack.callback(tasks.create_task(self._supervise(programs, server)).cancel)

    def _prepare(self) -> Programs:
        account = choose_account(self._data, self._folder)
        programs, major = make_reachable(Programs(find_bin_folder(self._bin_folder), account))
        for stale in self._folder.glob("postgres.new*"):  # of a hub killed in _initialise
            shutil.rmtree(stale, ignore_errors=True)
        if not self._data.exists() or not any(self._data.iterdir()):
            self._initialise(programs)
        _check_version(self._data, major)
        return programs

    def _initialise(self, programs: Programs) -> None:
        # A new name each time: the initdb of a killed hub may still be writing to the last one.
        fresh = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=self._folder))
        if programs.account:
            os.chown(fresh, *programs.account)
        options = ["--no-locale", "--encoding=UTF8", "--username=colonies"]
        options += ["--auth-local=trust", "--auth-host=reject"]
        options += ["--no-clean"] if self._fsync else ["--no-clean", "--no-sync"]
        status, output = programs.run("initdb", *options, data=fresh)
        if status:
            why = self._lack_of_space() or f"initdb failed: {_last_lines(output)}"
            shutil.rmtree(fresh, ignore_errors=True)
            raise Misconfigured(f"no database made in {self._folder}: {why}")
        fresh.rename(self._data)

    async def _supervise(self, programs: Programs, server: subprocess.Popen[bytes]) -> None:
        """Start a new server whenever one has ended, until cancelled.

        A task of our loop, since whatever thread starts a server must live as long as it.
        """
        waits = pauses()
        while True:
            began = time.monotonic()
            status = await _end_of(server)
            logger.warning("database died", folder=str(self._folder), status=status)
            if time.monotonic() - began > GOOD_RUN:
                waits = pauses()
            server = await self._restart(programs, waits)

    async def _restart(
        self, programs: Programs, pauses: Iterator[float]
    ) -> subprocess.Popen[bytes]:
        while True:
            await asyncio.sleep(next(pauses))
            try:
                # However long recovery takes: to stop it would be to begin it again.
                return await self._start(programs, BACKENDS_TIMEOUT, ready=None)
            except _FAILURES as error:
                why = str(error) or repr(error)
                logger.error("database start failed", folder=str(self._folder), error=why)  # noqa: TRY400 - no bug

    async def _start(
        self, programs: Programs, patience: float, *, ready: float | None
    ) -> subprocess.Popen[bytes]:
        began = time.monotonic()
        await self._stop()  # a server that a failed restart left
        await _outlast_predecessor(self._data)
        for stale in self._sockets.iterdir():  # they name a process, whose number may be another's
            stale.unlink()
        # The backends of a killed server may take a moment to go, and PostgreSQL waits for none.
        unclean = (self._data / "postmaster.pid").exists()
        give_up = time.monotonic() + (patience if unclean else 0)
        while True:
            server = self._server = self._launch(programs)
            if await self._accepts(server, ready):
                ms = round((time.monotonic() - began) * 1000)
                logger.info("database started", folder=str(self._folder), ms=ms)
                return server
            if time.monotonic() >= give_up:
                words = _last_lines(self._log.read_bytes())
                why = self._lack_of_space() or f"see {self._log}: {words}"
                raise Misconfigured(f"database did not start, {why}")
            await asyncio.sleep(0.2)

    def _lack_of_space(self) -> str:
        """Say so if it is that; a full disk is why PostgreSQL can write its own reason nowhere."""
        free = shutil.disk_usage(self._folder).free
        return f"no space left, {free >> 20} MB are free" if free < LEAST_SPACE else ""

    def _launch(self, programs: Programs) -> subprocess.Popen[bytes]:
        settings = ["listen_addresses=", "port=5432", "dynamic_shared_memory_type=mmap", "jit=off"]
        settings += RARE_CHECKPOINTS
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

    async def _accepts(self, server: subprocess.Popen[bytes], timeout: float | None) -> bool:
        """Wait until a server takes connections; False when it ended instead."""
        try:
            async with asyncio.timeout(timeout):
                while server.poll() is None:
                    if await self._greet():
                        return True
                    await asyncio.sleep(0.02)
        except TimeoutError:
            message = f"database not ready in {READY_TIMEOUT:.0f} s, see {self._log}"
            raise Misconfigured(message) from None
        return False

    async def _greet(self) -> bool:
        try:
            connection = await asyncpg.connect(self.url, timeout=READY_TIMEOUT)
        except asyncpg.InvalidCatalogNameError:
            connection = await asyncpg.connect(self.url, database="postgres")
            await connection.execute("CREATE DATABASE colonies")
        except asyncpg.TooManyConnectionsError:
            return True  # others were faster
        except (asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError):
            return False
        except (ConnectionError, FileNotFoundError):
            return False
        await connection.close()
        return True

    async def _stop(self) -> None:
        server = self._server
        if server is None or server.poll() is not None:
            return
        for number, patience in STOP:
            server.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(server.wait, patience)
                break
        logger.info("database stopped", folder=str(self._folder), status=server.returncode)


def pauses() -> Iterator[float]:
    """Give how long to wait before each start of what died: not at first, then ever longer."""
    pause = FIRST_PAUSE
    yield 0.0
    while True:
        yield pause
        pause = min(pause * 2, LONGEST_PAUSE)


async def _end_of(child: subprocess.Popen[bytes]) -> int:
    """Wait until a child has ended, and give its status."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def wait() -> None:
        child.wait()
        with suppress(RuntimeError):  # the loop was closed first
            loop.call_soon_threadsafe(ended.set)

    # Not a thread of the loop's pool: the loop would end only after those, and so after the child.
    threading.Thread(target=wait, name="database", daemon=True).start()
    await ended.wait()
    return child.returncode


def _check_version(data: Path, major: str) -> None:
    note = data / "PG_VERSION"
    found = note.read_text().strip() if note.exists() else "an unknown version"
    if found != major:
        raise Misconfigured(
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
            raise Misconfigured(
                f"data folder {folder} is in use by another hub (pid {pid}); "
                "choose another with --data-dir"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _socket_folder(folder: Path, account: Account | None) -> Iterator[Path]:
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
        raise Misconfigured(f"process {pid} still serves {data}; stop it first") from None
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
    return " | ".join(output[-4096:].decode(errors="replace").strip().splitlines()[-4:])
