"""What confines a command, tried with commands that try."""

import asyncio
import os
import resource
import signal
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from colonies.core.errors import Misconfigured
from runtimes.base import Job
from runtimes.shell.cgroup import Cgroup, Cgroups, NotDelegated, limits_of
from runtimes.shell.place import Place
from runtimes.shell.plugin import Shell
from runtimes.shell.sandbox import Limits, Sandbox
from runtimes.shell.steps import Steps
from tests.runtimes.podman import Heard


def no_group():
    """Say that there are no control groups."""
    raise NotDelegated("not here")


HAS_BWRAP = "bubblewrap" in Sandbox(Limits(), Place()).active
needs_bwrap = pytest.mark.skipif(
    not HAS_BWRAP, reason="bubblewrap is not installed, or may not be used here"
)


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def job(heard):
    return Job(None, heard)


@pytest.fixture(scope="session")
def path_without_bwrap(tmp_path_factory):
    """A PATH on which everything is but bubblewrap."""
    folder = tmp_path_factory.mktemp("bin")
    for place in os.environ["PATH"].split(os.pathsep):
        for program in Path(place).glob("*"):
            link = folder / program.name
            if program.name != "bwrap" and not link.is_symlink():
                link.symlink_to(program)
    return str(folder)


@pytest.fixture(params=["all", "no bwrap", "no prlimit", "no group", "no group, no bwrap"])
def shell(request, tmp_path, monkeypatch, path_without_bwrap):
    """Make an open shell in a folder of its own, in the ways in which commands are confined."""
    lacks = [name.removeprefix("no ") for name in request.param.split(", ")]
    if "bwrap" not in lacks and not HAS_BWRAP:
        pytest.skip("bubblewrap is not installed, or may not be used here")
    if "group" in lacks:
        monkeypatch.setattr("runtimes.shell.sandbox.own_group", no_group)
    if "prlimit" in lacks:
        monkeypatch.setattr(Steps, "_try", lambda _: False)
    if "bwrap" in lacks:
        monkeypatch.setenv("PATH", path_without_bwrap)

    async def make(**settings):
        plugin = Shell(Shell.Settings(**{"cwd": str(tmp_path), **settings}))
        plugin.grace = 1.0
        await plugin.open()
        assert ("bubblewrap" in plugin.sandbox.active) == ("bwrap" not in lacks)
        return plugin

    return make


async def test_words_and_variables_arrive_as_the_bytes_that_they_are(shell, job, process_of):
    script = 'printf "<%s>" "$@" | od -An -c | tr -d " \n"; printf "%s" "$A"'
    words = ["$(id)", "a && b", r'"\udcff"', "-x", "", "two\nlines"]
    process = process_of("sh", "-c", script, "sh", *words, env={"A": "'x\ny", "a.b": "c"})
    outcome = await (await shell()).execute(process, job)
    assert [r"<$(id)><a&&b><377><-x><><two\nlines>'x", "y"] == outcome.output


async def test_a_program_may_have_any_name(shell, job, process_of, tmp_path):
    program = tmp_path / "-A=b \n'c"
    program.write_text('#!/bin/sh\nprintf "%s|" "$A" "$@"\n')
    program.chmod(0o755)
    outcome = await (await shell()).execute(process_of(str(program), "-x", "C=d"), job)
    assert ["|-x|C=d|"] == outcome.output


async def test_nobody_has_more_than_the_runtime_itself(shell, job, process_of):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    plugin = await shell(max_open_files=2 * hard)
    outcome = await plugin.execute(process_of("sh", "-c", "ulimit -Hn; ulimit -n"), job)
    assert [str(hard)] * 2 == outcome.output


async def test_it_sees_no_variable_that_it_was_not_given(shell, job, process_of, monkeypatch):
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.delenv("LC_CTYPE", raising=False)
    outcome = await (await shell()).execute(process_of("env", env={"a.b": "c"}), job)
    names = {line.partition("=")[0] for line in outcome.output}
    assert {"a.b", "TMPDIR", "COLONIES_PROCESSID"} <= names
    assert not {"SECRET", "LC_CTYPE"} & names


async def test_limits_are_those_of_the_command(shell, job, process_of):
    plugin = await shell(max_open_files=33, max_cpu_seconds=7, max_file_size=2)
    outcome = await plugin.execute(process_of("sh", "-c", "ulimit -n; ulimit -t; ulimit -c"), job)
    assert ["33", "7", "0"] == outcome.output
    large = process_of("sh", "-c", "head -c 3000000 /dev/zero > $TMPDIR/x; echo $?")
    outcome = await plugin.execute(large, job)
    assert ["153"] == outcome.output  # SIGXFSZ


async def test_the_temporary_folder_is_removed_with_all_that_is_in_it(
    shell, job, process_of, tmp_path, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    script = "mkdir $TMPDIR/a; touch $TMPDIR/a/b; chmod 0 $TMPDIR/a; ls $TMPDIR | grep a"
    outcome = await (await shell()).execute(process_of("sh", "-c", script), job)
    assert ["a"] == outcome.output
    assert [] == list(tmp_path.glob("colonies-shell-*"))


async def test_a_program_that_is_not_there_cannot_be_started(shell, job, process_of):
    outcome = await (await shell()).execute(process_of("no-such-program"), job)
    assert ["cannot start 'no-such-program': no such program: 'no-such-program'"] == outcome.errors


async def test_who_is_cancelled_is_asked_to_end(shell, job, heard, process_of, tmp_path):
    script = "trap 'echo asked >&2; touch asked; exit 0' TERM; echo up; while :; do sleep 0.1; done"
    plugin = await shell()
    task = asyncio.create_task(plugin.execute(process_of("sh", "-c", script), job))
    await heard.until(b"up")
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert (tmp_path / "asked").exists()


@needs_bwrap
async def test_bubblewrap_shows_files_to_be_read_and_no_other_processes(job, process_of, tmp_path):
    """Who leaves the group is ended too, with the namespace."""
    (tmp_path / "open").mkdir()
    cwd = tmp_path / "cwd"
    cwd.mkdir()
    plugin = Shell(Shell.Settings(cwd=str(cwd), write=[str(tmp_path / "open")], offline=True))
    await plugin.open()
    script = (
        f"touch here {tmp_path}/open/x {tmp_path}/x;"
        "touch /usr/x 2>/dev/null || echo closed;"
        "echo /proc/[0-9]* | wc -w; ls /sys/class/net | wc -w; setsid sleep 987654 & pwd"
    )
    outcome = await plugin.execute(process_of("sh", "-c", script), job)
    assert "closed" == outcome.output[0]
    assert int(outcome.output[1]) < 10
    assert str(cwd) == outcome.output[-1]
    assert ["here"] == [path.name for path in cwd.iterdir()]
    assert not (tmp_path / "x").exists()  # it was in its own temporary folder
    assert ["x"] == [path.name for path in (tmp_path / "open").iterdir()]
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if _says(path, b"987654")]


@needs_bwrap
@pytest.mark.parametrize("kept_in", ["home", "elsewhere"])
async def test_keys_and_state_of_the_owner_are_hidden_wherever_it_works(
    job, process_of, tmp_path_factory, kept_in
):
    home = Path("/var/tmp" if os.access("/var/tmp", os.W_OK) else "/")
    with tempfile.TemporaryDirectory(dir=home) as name:
        home = Path(name)
        keys, config, work = home / "keys", home / "config.toml", home / "keys" / "work"
        work.mkdir(parents=True)
        config.write_text("secret")
        (keys / "key").write_text("secret")
        plugin = Shell(
            Shell.Settings(
                cwd=str(home) if kept_in == "home" else str(tmp_path_factory.mktemp("cwd")),
                write=[str(work)],
            )
        )
        plugin.private = (keys, config, home / "not-there", keys / "key")
        await plugin.open()
        script = (
            f"ls {keys}; cat {config} {keys}/key 2>/dev/null; touch {keys}/x {home}/x 2>/dev/null;"
            f"mv {keys} {keys}2 2>/dev/null; touch {work}/x && echo written"
        )
        outcome = await plugin.execute(process_of("sh", "-c", script), job)
        assert ["work", "written"] == outcome.output
        assert ["key", "work"] == sorted(path.name for path in keys.iterdir())
        assert ["x"] == [path.name for path in work.iterdir()]
        assert (home / "x").exists() == (kept_in == "home")


@needs_bwrap
@pytest.mark.parametrize("setting", ["cwd", "write"])
async def test_a_folder_of_keys_is_no_place_to_work(tmp_path, setting):
    value = str(tmp_path) if setting == "cwd" else [str(tmp_path)]
    plugin = Shell(Shell.Settings(**{setting: value}))
    plugin.private = (tmp_path,)
    for ask in (plugin.check, plugin.open):
        with pytest.raises(Misconfigured, match=f"^{setting}: .* has keys or state of the runtime"):
            await ask()


@needs_bwrap
async def test_a_place_that_cannot_be_shown_does_not_turn_the_sandbox_off(monkeypatch, tmp_path):
    """What bubblewrap cannot do for these folders, it could do for others."""
    false = tmp_path / "bin" / "bwrap"
    false.parent.mkdir()
    false.write_text(f'#!/bin/sh\ncase "$*" in *{tmp_path}*) exit 1; esac\n')
    false.chmod(0o755)
    monkeypatch.setenv("PATH", f"{false.parent}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(Misconfigured, match="cwd or write: bubblewrap cannot show them: exit"):
        await Shell(Shell.Settings(write=[str(tmp_path)])).open()


@needs_bwrap
async def test_a_runtime_in_the_root_does_not_open_all_of_it(job, process_of):
    plugin = Shell(Shell.Settings(cwd="/"))
    await plugin.open()
    outcome = await plugin.execute(process_of("sh", "-c", "touch /usr/x || ls /proc/self/fd"), job)
    assert "2" in outcome.output
    assert not Path("/usr/x").exists()


async def test_a_protection_that_is_missing_is_a_warning(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with capture_logs() as said:
        await Shell(Shell.Settings()).open()
    (missing,) = [one for one in said if one.get("protection") == "bubblewrap"]
    assert ("warning", "not installed") == (missing["log_level"], missing["error"])


def _says(path, word):
    with suppress(OSError):
        return word in path.read_bytes()
    return False


async def test_what_is_required_and_not_there_is_said_at_the_start(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Misconfigured, match="sandbox: required, but bubblewrap: not installed"):
        await Shell(Shell.Settings(sandbox="require")).open()


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"offline": True}, "offline: needs bubblewrap, but not installed"),
        ({"offline": True, "sandbox": "off"}, "offline: needs the sandbox, which is turned off"),
        ({"write": ["/no/such"]}, "write: there is no folder '/no/such'"),
        ({"write": ["/no/such"], "sandbox": "off"}, "write: there is no folder '/no/such'"),
        ({"cwd": "/no/such/folder"}, "cwd: there is no folder '/no/such/folder'"),
    ],
)
async def test_what_cannot_be_kept_is_not_promised(monkeypatch, tmp_path, settings, complaint):
    monkeypatch.setenv("PATH", str(tmp_path))
    plugin = Shell(Shell.Settings(**settings))
    for ask in (plugin.check, plugin.open):
        with pytest.raises(Misconfigured, match=f"^{complaint}$"):
            await ask()


async def test_a_check_says_what_protects(tmp_path):
    settings = {"cwd": str(tmp_path), "max_memory": 64, "max_cores": 1.5, "offline": HAS_BWRAP}
    said = await Shell(Shell.Settings(**settings)).check()
    assert said[0].startswith("sandbox: limits, temporary folder")
    assert "limits: max_memory 64, max_cores 1.5" in said
    assert said[-1] == f"network: {'none' if HAS_BWRAP else 'that of the machine'}"


async def test_without_a_sandbox_nothing_is_changed(job, process_of):
    plugin = Shell(Shell.Settings(sandbox="off"))
    await plugin.open()
    outcome = await plugin.execute(process_of("sh", "-c", "echo $TMPDIR"), job)
    assert [os.environ.get("TMPDIR", "")] == outcome.output


def test_limits_of_a_group():
    assert {
        "memory.max": "67108864",
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "cpu.max": "150000 100000",
        "pids.max": "9",
    } == limits_of(64, 1.5, 9)
    assert {} == limits_of(0, 0, 0)


def test_who_was_killed_for_memory_is_told_apart(tmp_path):
    (tmp_path / "memory.events").write_text("low 0\nmax 3\noom 1\noom_kill 0\n")
    assert not Cgroup(tmp_path).is_out_of_memory
    (tmp_path / "memory.events").write_text("low 0\nmax 3\noom 1\noom_kill 2\n")
    assert Cgroup(tmp_path).is_out_of_memory


async def test_ending_a_group_ends_who_has_left_the_session():
    """In the group of all processes, as it is the one that can be had everywhere."""
    roots = [Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")]
    root = next((root for root in roots if (root / "cgroup.controllers").exists()), None)
    if root is None or not os.access(root, os.W_OK):
        pytest.skip("no control groups of version 2 that can be written to")
    try:
        group = Cgroups(root).make(f"colonies-test-{os.getpid()}", {})
    except (NotDelegated, OSError) as error:
        pytest.skip(str(error))
    script = f"echo 0 > {group.folder}/cgroup.procs; setsid sh -c 'echo in; exec sleep 99' & wait"
    child = await asyncio.create_subprocess_exec("sh", "-c", script, stdout=asyncio.subprocess.PIPE)
    assert b"in\n" == await child.stdout.readline()
    await group.end()
    assert not group.folder.exists()
    assert b"" == await child.stdout.read()
    assert -signal.SIGKILL == await child.wait()
