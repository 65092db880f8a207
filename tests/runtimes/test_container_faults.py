"""What holds whatever an engine does: a real podman behind one that lies, hangs, evicts and kills.

Most of the time it does as it is told: the containers are real, and so is what they write.
"""

import os

import pytest

from colonies.core.process import new_id
from runtimes.container.plugin import Container
from tests.runtimes import bad_podman
from tests.runtimes.bad_day import long, many, spend
from tests.runtimes.luck import programs
from tests.runtimes.podman import IMAGE

AT_ONCE = 8

SCRIPT = """
echo x >> /out/$COLONIES_PROCESSID
sleep 0.2
echo said
case $COLONIES_PROCESSID in [0-3]*) exit 3;; esac
"""
"""What containers do: leave a line behind, stay for a while, and say a word."""


def expected(process):
    """Give how a container of this process ends by itself."""
    return "exit code 3" if process.process_id[0] in "0123" else ""


@pytest.fixture
def places(tmp_path):
    """A folder of what goes wrong, and one that containers write to."""
    programs(tmp_path / "bin", bad_podman.__name__, "podman")
    (tmp_path / "bin" / "lied_to").touch()
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(0o777)
    return tmp_path / "bin", tmp_path / "out"


@pytest.fixture
async def container(podman, places, monkeypatch):
    """A plugin whose podman has a bad day; when that is over, nothing is left."""
    bad, out = places
    monkeypatch.setenv("CONTAINERS_CONF", str(podman.conf))
    settings = Container.Settings(
        engine="podman",
        engine_option=podman.options,
        image=[IMAGE],
        mount=[f"{out}:rw"],
        pull="never",
        max_memory=64,
        patience=10.0,
    )
    monkeypatch.setenv("PATH", f"{bad}:{os.environ['PATH']}")
    plugin = Container(settings)
    plugin.runtime_id, plugin.grace = new_id(), 1.0
    await plugin.open()
    plugin.containers.look_period, plugin.containers.gone_after = 1.0, 2.0
    (bad / "bad").touch()
    yield plugin
    (bad / "bad").unlink()
    await plugin.close()
    assert [] == podman.names()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("count", [20, pytest.param(1000, marks=long)])
async def test_no_container_runs_twice_or_is_stuck_and_one_look_a_second_sees_all(
    container, process_of, places, count
):
    bad, out = places
    kwargs = {"mounts": f"{out}:/out:rw"}
    if count > 100:
        (bad / "hangs").touch()
    day = await spend(
        container, many(process_of("sh", "-c", SCRIPT, kwargs=kwargs), count), slots=AT_ONCE
    )

    # One that was killed may have come no further than to open it.
    assert {path.read_text() for path in out.iterdir()} <= {"", "x\n"}
    for process, outcome in day.results:
        error = (outcome.errors or [""])[0]
        name = f"colonies-{process.process_id}-{process.attempt}"
        noted = (bad / name).read_text().splitlines() if (bad / name).exists() else []
        if error == expected(process):
            # What a failure has said may be lost with who followed it, a success's never.
            assert "said" in outcome.output + outcome.errors or (error and noted)
            assert "x\n" == (out / process.process_id).read_text()
        else:
            assert any(error.startswith(words) for words in noted), (error, noted)
    calls = (bad / "calls").read_text().split()
    assert len(calls) <= day.seconds + 2
