"""The hub as a whole: opens everything in order, closes it in reverse."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import socket
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog
from platformdirs import user_data_path

from colonies.core.cluster import Node
from colonies.core.errors import Misconfigured, Unavailable
from colonies.server.agenda import Agenda
from colonies.server.db import Database
from colonies.server.descriptors import Descriptors
from colonies.server.dispatch import Dispatcher
from colonies.server.duties import duties
from colonies.server.embedded import EmbeddedPostgres
from colonies.server.hub import Hub
from colonies.server.leader import Leader
from colonies.server.lookout import Lookout
from colonies.server.members import Members
from colonies.server.metrics import Metrics
from colonies.server.news import News
from colonies.server.peers import Peers
from colonies.server.pooler import check_settings
from colonies.server.protocol import Web
from colonies.server.rpc import (
    Rpc,
    attribute,
    collect,
    colony,
    cron,
    function,
    generator,
    log,
    process,
    runtime,
    server,
    subscription,
    workflow,
)
from colonies.server.running import Limits
from colonies.server.schema import bring_up_to_date
from colonies.server.ticker import Ticker
from colonies.server.turns import Turns
from colonies.server.web import make_app
from colonies.settings import Settings
from colonies.version import __version__

logger = structlog.get_logger()

BACKLOG = 1024
MAX_PORT = 65535
COLLECT_AFTER = (20_000, 20, 100)
"""Objects, and rounds of the younger generation, after which garbage is looked for."""

MAX_LAG = 1.0
"""Seconds that the event loop may be late before the hub says that it is not ready."""


def make_table() -> dict[str, Rpc]:
    """Build the table of everything that may be asked."""
    return collect(
        server, colony, runtime, function, process, workflow, cron, generator,
        attribute, subscription, log,
    )  # fmt: skip


def data_folder(settings: Settings) -> Path:
    """Give the folder of all that the hub keeps."""
    if settings.data_dir:
        return Path(settings.data_dir).expanduser().absolute()
    return user_data_path("colonies", appauthor=False)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Give what makes the event loop of a hub: uvloop's, where there is one for the platform."""
    try:
        import uvloop  # noqa: PLC0415 - there is none for every platform
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def spare_collector() -> None:
    """Let the garbage collector leave alone what is there: a hub's process calls it when it serves.

    It looked at all of that over and over, for a twentieth of what the hub costs.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def raise_file_limit() -> int:
    """Let this process open as many files as the system lets it, one a socket; gives how many.

    What is usual is 1,024, which is for programs that cannot poll more.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS may not grant what it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


async def open_embedded(settings: Settings, stack: AsyncExitStack) -> str:
    """Start a PostgreSQL of our own, to be stopped with the stack; give its URL."""
    if settings.database_direct_url:
        raise Misconfigured("--database-direct-url is of no use without --database-url")
    bin_folder = Path(settings.postgres_bin) if settings.postgres_bin else None
    postgres = EmbeddedPostgres(data_folder(settings), bin_folder=bin_folder)
    return (await stack.enter_async_context(postgres)).url


class Server:
    """A hub that serves while its ``async with`` block lasts."""

    def __init__(self, settings: Settings, listener: socket.socket | None = None) -> None:
        """Take the settings, and the socket to listen at if there is one already."""
        self.settings = settings
        self._listener = listener
        self.news = News()
        self.hub = Hub(self.news, Limits(settings.max_running, settings.max_runtime_running))
        self.metrics = Metrics.create()
        self.agenda: Agenda
        self.ticker: Ticker
        self.leader: Leader
        self.turns: Turns
        self.peers: Peers
        self.db: Database
        self.port = settings.server_port
        self._schema = 0
        self._descriptors = Descriptors(settings.database_connections)
        self._stack = AsyncExitStack()
        self._serving: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        """Open; raise Misconfigured or Unavailable with nothing left running."""
        async with AsyncExitStack() as stack:
            # First: a database that is made for a port which is taken is of no use to anybody.
            listener = stack.enter_context(self._listener or bind(self.settings))
            self.port = listener.getsockname()[1]
            self.db = await self._open_database(stack)
            self._schema = await bring_up_to_date(self.db)
            if self.settings.database_direct_url:
                await check_settings(self.db)
            self.agenda = Agenda(self.db, tell=self.news.recur)
            lookout = Lookout(self.db, self.hub)
            self.ticker = Ticker(
                self.db,
                self.hub,
                self.metrics,
                lookout=lookout,
                period=self.settings.tick,
                grace=self.settings.cancel_grace,
            )
            listen(listener)
            members = Members(self.db, tell=self.news.forget_members)
            self.turns = Turns(self.settings.max_at_once, members.line_of)
            self.peers = self._make_peers(lookout, members)
            await stack.enter_async_context(self.peers)
            await self._start_serving(stack, listener, members)
            self._stack = stack.pop_all()
        logger.info(
            "hub started", port=self.port, schema=self._schema, server=self.settings.server_id
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()
        logger.info("hub stopped", port=self.port)

    async def wait_closed(self) -> None:
        """Wait until serving ends, which it does by itself only when something broke."""
        await asyncio.shield(self._serving)

    async def check_ready(self) -> None:
        """Raise Unavailable, and say which of all that a hub needs to serve it does not have."""
        self._descriptors.check()
        self.db.check()
        version = await self.db.fetch_value("get_schema_version")
        if version != self._schema:
            raise Unavailable(f"the database has schema version {version}, not {self._schema}")
        if self.ticker.lag > MAX_LAG:
            raise Unavailable(f"the event loop is {self.ticker.lag:.1f} s late")

    async def _open_database(self, stack: AsyncExitStack) -> Database:
        url = self.settings.database_url or await open_embedded(self.settings, stack)
        db = Database(
            url,
            direct_url=self.settings.database_direct_url,
            connections=self.settings.database_connections,
            batch=self.settings.database_batch,
        )
        await db.open()
        stack.push_async_callback(db.close)
        return db

    def _make_peers(self, lookout: Lookout, members: Members) -> Peers:
        every = duties(self.db, self.hub, self.settings, self.metrics, self.agenda)
        self.leader = Leader(self.hub.id, every)
        host = socket.gethostname()
        return Peers(
            self.db,
            self.hub,
            members,
            news=self.news,
            node=Node(
                name=f"{host}-{os.getpid()}", host=host, api_port=self.port, version=__version__
            ),
            lookout=lookout,
            leader=self.leader,
            agenda=self.agenda,
        )

    async def _start_serving(
        self, stack: AsyncExitStack, listener: socket.socket, members: Members
    ) -> None:
        dispatcher = Dispatcher(
            make_table(),
            db=self.db,
            hub=self.hub,
            members=members,
            agenda=self.agenda,
            turns=self.turns,
            settings=self.settings,
            metrics=self.metrics,
        )
        app = make_app(dispatcher, self.settings, self.metrics, check=self.check_ready)
        web = Web(app, self.settings, self._descriptors)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        ticking = tasks.create_task(self.ticker.run())
        self._serving = tasks.create_task(web.serve([listener]))

        async def stop() -> None:
            ticking.cancel()
            self.hub.lines.close(Unavailable("the hub is stopping"))
            web.should_exit = True
            web.stopping.set()

        stack.push_async_callback(stop)


def bind(settings: Settings) -> socket.socket:
    """Take the port, for whoever will listen there; raise Misconfigured when that cannot be."""
    _check_certificate(settings)
    family = socket.AF_INET6 if ":" in settings.bind else socket.AF_INET
    place = f"{settings.bind} port {settings.server_port}"
    if not 0 <= settings.server_port <= MAX_PORT:
        raise Misconfigured(f"cannot listen on {place}: expected 0 to {MAX_PORT}")
    listener = socket.socket(family)
    # Inherited by what is accepted. Loops set it too, but not for a socket made without a protocol
    # number, as this one: pushes then waited for the acknowledgement of what was sent before.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((settings.bind, settings.server_port))
    except OSError as error:
        listener.close()
        raise Misconfigured(f"cannot listen on {place}: {error}") from error
    return listener


def _check_certificate(settings: Settings) -> None:
    """Raise Misconfigured, which names the file, for a certificate that cannot be used."""
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise Misconfigured("TLS needs both --tls-cert and --tls-key")
    if not settings.tls_cert:
        return
    files = (("--tls-cert", settings.tls_cert), ("--tls-key", settings.tls_key))
    for flag, file in files:
        try:
            Path(file).read_bytes()
        except OSError as error:
            raise Misconfigured(f"{flag} {file}: {error.strerror}") from error
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_cert, settings.tls_key)
    except ssl.SSLError as error:
        both = ", ".join(" ".join(one) for one in files)
        wanted = "expected a certificate and its key in PEM"
        raise Misconfigured(f"{both}: {wanted} ({error.reason or error})") from error


def listen(listener: socket.socket) -> None:
    """Let callers come to a port; raise Misconfigured when somebody else was quicker."""
    try:
        listener.listen(BACKLOG)
    except OSError as error:
        host, port, *_ = listener.getsockname()
        raise Misconfigured(f"cannot listen on {host} port {port}: {error}") from error
