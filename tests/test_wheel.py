"""What is packaged is whole: a hub starts from the wheel, away from the checkout."""

import signal
import subprocess
import sys
import zipfile

import pytest

from colonies.core.identity import PrivateKey
from tests.programs import ROOT, Program


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The content of the wheel, as an installer lays it out."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_it_holds_the_schema_the_statements_and_the_migrations(installed):
    server = installed / "colonies" / "server"
    assert (ROOT / "schema.sql").read_text() == (server / "schema.sql").read_text()
    for folder in ("sql", "migrations"):
        ours = ROOT / "colonies" / "server" / folder
        names = sorted(file.name for file in ours.glob("*.sql"))
        assert names == sorted(file.name for file in (server / folder).glob("*.sql"))


def test_it_offers_both_programs_and_the_plugins(installed):
    (entry_points,) = installed.glob("*.dist-info/entry_points.txt")
    text = entry_points.read_text()
    for line in ("colonies = colonies.__main__:main", "shell = runtimes.shell.plugin:Shell"):
        assert line in text


async def test_a_hub_starts_from_it(installed, tmp_path):
    env = {
        "PYTHONPATH": str(installed),
        "PYTHONSAFEPATH": "1",
        "COLONIES_SERVERID": PrivateKey.generate().id,
        "COLONIES_DATA_DIR": str(tmp_path / "data"),
        "COLONIES_KEYCHAIN": str(tmp_path / "keys"),
    }
    where = "import colonies, runpy; print(colonies.__file__); "
    run = where + "runpy.run_module('colonies.cli', run_name='__main__')"
    start = ("server", "start", "--port", "0", "--bind", "127.0.0.1")
    async with Program(sys.executable, "-c", run, *start, env=env) as hub:
        await hub.line_with(str(installed / "colonies"))
        await hub.line_with("listening on 127.0.0.1:")
        hub.send(signal.SIGTERM)
        assert 0 == await hub.finish()
