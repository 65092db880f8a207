"""A PgBouncer in front of a database, as `docs/scaling.md` says, where one is installed."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

from colonies.server.programs import choose_account
from tests.programs import ROOT

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
SIZE = 2
"""Its connections to the database: fewer than a hub has to it."""


def documented(language: str) -> str:
    """Give a block of the page."""
    page = (ROOT / "docs" / "scaling.md").read_text()
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return block


@contextmanager
def pooler(database_url: str, folder: Path) -> Iterator[str]:
    """Give the URL of a pooler in transaction mode, running."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (host,) = parse_qs(urlsplit(database_url).query)["host"]
    settings = {
        "host": f"host={host}", "listen_addr": "listen_addr = 127.0.0.1",
        "listen_port": f"listen_port = {port}", "default_pool_size": f"default_pool_size = {SIZE}",
        "auth_type": "auth_type = trust",
    }  # fmt: skip
    text = documented("ini")
    for name, setting in settings.items():
        text, found = re.subn(rf"\b{name} ?= ?\S+", setting, text)
        assert found == 1, name
    users = folder / "userlist.txt"
    text = re.sub(r"auth_file = \S+", "auth_file = userlist.txt\nunix_socket_dir =", text)
    users.write_text('"colonies" ""\n')
    (folder / "pgbouncer.ini").write_text(text)
    options = {}
    if account := choose_account():
        options = {"user": account[0], "group": account[1], "extra_groups": []}
        for path in (*folder.iterdir(), folder):
            os.chown(path, *account)
    # Not by its path: the folders above may be closed to the account.
    with subprocess.Popen(
        [PROGRAM, "pgbouncer.ini"], cwd=folder, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **options,
    ) as running:  # fmt: skip
        # Read to its end, as a full pipe would stop it.
        reader = Thread(target=running.stderr.read)
        try:
            said = b"".join(_until(b"process up", running.stderr))
            assert b"process up" in said, said.decode()
            reader.start()
            yield f"postgresql://colonies@127.0.0.1:{port}/colonies?sslmode=disable"
        finally:
            running.kill()
            if reader.is_alive():
                reader.join()


def _until(text: bytes, lines: Iterable[bytes]) -> Iterator[bytes]:
    """Give the lines up to the one with a text, or all."""
    for line in lines:
        yield line
        if text in line:
            return
