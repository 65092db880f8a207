"""``colonies server`` and ``colonies dev``: real hubs in processes of their own."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from colonies.cli.server import _advice
from colonies.client import Keychain, connect
from colonies.core.identity import PrivateKey
from colonies.settings import Settings
from colonies.version import __version__
from tests.cli.conftest import PATIENCE, Shell, stop
from tests.programs import Program, data_folder, processes_in

EXPORTS = 6
LOOPBACK = ("--port", "0", "--bind", "127.0.0.1")


async def next_line(process) -> str:
    async with asyncio.timeout(PATIENCE):
        return (await process.stdout.readline()).decode().rstrip("\n")


@pytest.fixture
def folder(tmp_path):
    with data_folder(tmp_path) as folder:
        yield folder


async def test_a_hub_serves_until_it_is_told_to_stop(bare, folder):
    owner = PrivateKey.generate()
    words = ("server", "start", *LOOPBACK, "--serverid", owner.id, "--data-dir", str(folder))
    async with bare.started(*words) as process:
        line = await next_line(process)
        assert line.startswith("listening on 127.0.0.1:")
        port = int(line.rpartition(":")[2])
        settings = Settings(server_host="127.0.0.1", server_port=port)
        async with connect(settings, key=owner) as hub:
            assert (await hub.get_caller()).is_server_owner
        assert processes_in(folder)

        line = await bare.refuses_hub(*words)
        assert f"data folder {folder} is in use by another hub" in line

        ran = await stop(process)
    assert (ran.status, ran.out) == (0, "")
    assert "Traceback" not in ran.err


async def test_a_hub_may_have_as_many_sockets_as_the_system_grants(database_url):
    start = f"ulimit -S -n 256; exec {sys.executable} -m colonies.cli server start"
    words = f"--port 0 --bind 127.0.0.1 --serverid {'a' * 64} --database-url '{database_url}'"
    async with Program("sh", "-c", f"{start} {words}") as hub:
        await hub.line_with("listening on")
        limits = Path(f"/proc/{hub.process.pid}/limits").read_text()
    (line,) = [line for line in limits.splitlines() if line.startswith("Max open files")]
    soft, hard = line.split()[3:5]
    assert soft == hard


async def test_a_port_in_use_is_one_line(bare, server, database_url):
    words = ("--port", str(server.port), "--bind", "127.0.0.1", "--serverid", "a" * 64)
    line = await bare.refuses_hub("server", "start", *words, "--database-url", database_url)
    assert line.startswith(f"error: cannot listen on 127.0.0.1 port {server.port}")


@pytest.mark.parametrize("more", [(), ("--workers", "2")])
async def test_a_port_that_cannot_be_had_is_found_before_a_database_is_made(
    bare, server, tmp_path, more
):
    folder = tmp_path / "none"
    words = ("server", "start", "--bind", "127.0.0.1", "--serverid", "a" * 64, *more)
    for port in (str(server.port), "70000"):
        line = await bare.refuses_hub(*words, "--data-dir", str(folder), "--port", port)
        assert line.startswith(f"error: cannot listen on 127.0.0.1 port {port}")
    assert not folder.exists()


async def test_a_hub_without_an_owner_is_told_how_to_make_one(bare):
    assert "colonies key new" in await bare.refuses("server", "start", status=2)


async def test_a_hub_of_nobody_is_refused(bare):
    line = await bare.refuses("server", "start", "--serverid", "foo", status=2)
    assert line == "--serverid: expected 64 lower-case hex characters, not 'foo'"
    named = bare.having(COLONIES_SERVERID="A" * 64)
    line = await named.refuses("server", "start", status=2)
    assert line.startswith("COLONIES_SERVERID: expected 64 lower-case hex characters")


def test_advice_is_how_to_run_it_from_here(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = Path(sys.executable).parent
    advice = _advice(Keychain(tmp_path / "keys"), tmp_path / "data")
    assert f"  {folder / 'colonies-run'} shell &\n" in advice
    assert f"  {folder / 'colonies'} process run" in advice
    assert f"Data: {tmp_path / 'data'}\nKeys: {tmp_path / 'keys'}\n" in advice
    assert f"  rm -r {tmp_path / 'data'}\n" in advice
    (tmp_path / "colonies-run").touch(mode=0o700)
    assert "  colonies-run shell &\n" in _advice(Keychain(tmp_path), tmp_path)


async def test_dev_is_ready_to_paste_and_keeps_what_it_has(bare, folder):
    words = ("dev", "--port", "0", "--data-dir", str(folder))
    async with bare.started(*words) as process:
        first = await environment(process)
        shell = Shell(first)
        submitted = await shell("process", "run", "greet", "--type", "cli", "--json")
        assert (await shell("runtime", "ls")).rows[1][1:4] == ["dev", "cli", "approved"]
        assert (await shell("colony", "get", "--json")).answer["name"] == "dev"
        ran = await stop(process, signal.SIGINT)
        assert ran.status == 0
        assert "colonies process run" in ran.err
        assert f"rm -r {folder}\n" in ran.err
        for identity in Keychain(Path(first["COLONIES_KEYCHAIN"])).list():
            secret = Keychain(Path(first["COLONIES_KEYCHAIN"])).get(identity).hex
            assert secret not in ran.out + ran.err + str(first)

    async with bare.started(*words) as process:
        again = await environment(process)
        assert {**first, "COLONIES_SERVERPORT": again["COLONIES_SERVERPORT"]} == again
        process_id = submitted.answer["processid"]
        assert process_id in (await Shell(again)("process", "ls")).out
        assert (await stop(process)).status == 0


async def environment(process) -> dict[str, str]:
    """Read what ``dev`` prints, as a shell would."""
    lines = [await next_line(process) for _ in range(EXPORTS + 1)]
    assert all(line.startswith("export COLONIES_") for line in lines)
    return dict(line.removeprefix("export ").split("=", 1) for line in lines)


async def test_a_signal_while_starting_leaves_nothing(bare, folder):
    words = ("server", "start", *LOOPBACK, "--serverid", "a" * 64, "--data-dir", str(folder))
    async with bare.started(*words, "--verbose") as process:
        async with asyncio.timeout(PATIENCE):
            while b"database started" not in await process.stderr.readline():
                pass
        assert (await stop(process)).status == 0


async def test_the_status_of_a_hub(shell, server):
    anyone = shell.having(COLONIES_RUNTIMEID=None, COLONIES_COLONYID=None, COLONIES_SERVERID=None)
    assert ["serverversion", __version__] in (await anyone("server", "status")).rows
    assert (await anyone("server", "status", "--json")).answer == {
        "serverhost": "127.0.0.1",
        "serverport": server.port,
        "serverversion": __version__,
        "cliversion": __version__,
    }


async def test_the_statistics_of_a_hub(shell):
    assert ["colonies", "2"] in (await shell("server", "stats")).rows
    assert (await shell("server", "stats", "--json")).answer["runtimes"] == 3


async def test_a_reset_is_asked_about(shell):
    asked = await shell("server", "reset", stdin=b"n\n", status=2)
    assert "Delete all 2 colonies" in asked.err
    assert (await shell("server", "stats", "--json")).answer["colonies"] == 2
    await shell("server", "reset", "--yes")
    assert (await shell("server", "stats", "--json")).answer["colonies"] == 0


WITHOUT_EXTRA = """
import sys
for name in ("asyncpg", "platformdirs", "starlette", "uvicorn", "uvloop"):
    sys.modules[name] = None
from colonies.cli import main
main()
"""


async def test_all_but_the_hub_works_without_what_hubs_need(shell):
    argv = (sys.executable, "-c", WITHOUT_EXTRA)
    async with shell.started("server", "status", argv=argv) as process:
        await process.communicate()
    assert process.returncode == 0
    async with shell.started("server", "start", argv=argv) as process:
        _, err = await process.communicate()
    assert process.returncode == 2
    assert err.startswith(b"error: a hub needs ")
    assert b"pip install 'colonies[server]'" in err
