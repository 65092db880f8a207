"""Containers at a real podman and a real docker; for apptainer, the command lines as lists."""

import asyncio
import json
import os
import shutil
import signal
import stat

import pytest
from msgspec.structs import replace

from colonies.core.errors import Misconfigured
from colonies.core.process import Conditions, encode_argument
from runtimes.base import Job
from runtimes.container import life
from runtimes.container.engine import apptainer_argv, apptainer_environment
from runtimes.container.life import is_alive, this_keeper
from runtimes.container.plugin import Container
from runtimes.container.terms import Refused
from tests.runtimes.podman import IMAGE, Heard
from tests.server.doors import LONG

RUNTIME = "2" * 64


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def job(heard):
    return Job(None, heard)


@pytest.fixture(params=["podman", "docker"])
def engine(request):
    """An engine of our own; of those that are not here, the tests are skipped."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def container(engine, monkeypatch):
    """Make an open plugin; afterwards no container is there."""
    monkeypatch.setenv("CONTAINERS_CONF", str(engine.conf))
    made = []

    async def make(runtime_id=RUNTIME, **settings):
        usual = {"engine": engine.kind, "engine_option": engine.options, "image": [IMAGE]}
        plugin = Container(Container.Settings(**{**usual, "max_memory": 256, **settings}))
        plugin.runtime_id, plugin.grace = runtime_id, 1.0
        await plugin.open()
        plugin.containers.look_period = plugin.containers.gone_after = 0.5
        made.append(plugin)
        return plugin

    yield make
    assert [] == engine.names()


async def test_standard_output_is_the_output_and_both_streams_are_told(
    container, job, heard, process_of
):
    process = process_of("sh", "-c", "echo one; echo two; echo three >&2")
    outcome = await (await container()).execute(process, job)
    assert (True, ["one", "two"]) == (outcome.is_success, outcome.output)
    assert {"stdout": b"one\ntwo\n", "stderr": b"three\n"} == heard.said


async def test_words_and_variables_arrive_as_they_were_sent(container, job, process_of):
    words = ["$(id)", "a && b", 'it\'s "so"', "two\nlines", "--privileged", "", "ü", "1", "{}", "*"]
    args = [encode_argument(word) for word in words]
    script = 'for word; do printf "<%s>" "$word"; done; printf "%s|%s" "$A" "$B"'
    process = process_of("sh", "-c", script, "sh", *args, env={"A": "x\ny $(id)", "B": "'\"`"})
    outcome = await (await container()).execute(process, job)
    said = "".join(f"<{word}>" for word in words) + "x\ny $(id)|'\"`"
    assert said == "\n".join(outcome.output)


@pytest.mark.parametrize("word", [r'"\udcff"', r'"\u0000"'])
async def test_what_an_engine_would_change_is_refused(container, job, process_of, word):
    outcome = await (await container()).execute(process_of("echo", word), job)
    assert outcome.errors[0].startswith("refused: args[0]: expected ")


async def test_it_has_no_privileges_and_no_network(container, job, process_of):
    script = (
        "id -u; cat /proc/self/status;"
        "echo $(ls /sys/class/net); touch /x; touch /tmp/x && echo tmp;"
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max"
    )
    process = process_of("sh", "-c", script)
    outcome = await (await container(max_memory=64)).execute(process, job)
    said = outcome.errors + outcome.output
    assert {"65534", "NoNewPrivs:\t1", "CapBnd:\t0000000000000000", "tmp", "67108864"} <= set(said)
    assert "lo" in said
    assert any("Read-only file system" in line for line in said)


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("exit 3", "exit code 3"),
        ("exit 125", "exit code 125"),
        ("kill -9 $$; exec sleep 0", None),
        ("tail -c 90000000 /dev/zero; exit 7", "out of memory: over 32 MiB, exit code 7"),
    ],
)
async def test_an_exit_code_is_told_from_too_much_memory(container, job, process_of, script, error):
    plugin = await container(max_memory=32)
    outcome = await plugin.execute(process_of("sh", "-c", script), job)
    assert error == (outcome.errors[0] if outcome.errors else None)


async def test_what_is_itself_killed_for_its_memory_is_out_of_it(container, job, process_of):
    plugin = await container(max_memory=32)
    outcome = await plugin.execute(process_of("tail", "-c", "90000000", "/dev/zero"), job)
    assert "out of memory: over 32 MiB, exit code 137 (signal 9)" == outcome.errors[0]


async def test_a_program_that_is_not_in_the_image_is_not_started(container, job, process_of):
    outcome = await (await container()).execute(process_of("no-such-program"), job)
    assert outcome.errors[0].startswith("not started: ")
    assert any("no-such-program" in line for line in outcome.errors)


async def test_an_image_that_is_not_here_is_not_fetched_unless_allowed(container, job, process_of):
    plugin = await container(image=["localhost/*"], pull="never")
    process = process_of("true", kwargs={"image": "localhost/other:1"})
    outcome = await plugin.execute(process, job)
    assert ["not started: image localhost/other:1 is not here, and none is fetched"] == (
        outcome.errors
    )


async def test_a_mount_is_seen_and_written_to_only_if_asked_for(
    container, job, process_of, tmp_path
):
    tmp_path.chmod(0o777)
    (tmp_path / "there").write_text("this")
    plugin = await container(mount=[f"{tmp_path}:rw"])
    script = "cat /in/there; touch /in/x; touch /out/y"
    mounts = json.dumps([f"{tmp_path}:/in", f"{tmp_path}:/out:rw"])
    process = process_of("sh", "-c", script, kwargs={"mounts": mounts})
    outcome = await plugin.execute(process, job)
    assert ["this"] == outcome.output
    assert {"there", "y"} == {path.name for path in tmp_path.iterdir()}


REFUSED = [
    ({"image": "docker.io/x"}, {}, "kwargs.image: 'docker.io/x' is not allowed, allowed: " + IMAGE),
    ({"image": "--privileged"}, {}, "kwargs.image: '--privileged' is no name of an image"),
    ({"image": "localhost/../x"}, {}, "kwargs.image: 'localhost/../x' is no name of an image"),
    ({"mounts": "/etc:/x"}, {}, "kwargs.mounts: '/etc' is not allowed, allowed: /data, /out:rw"),
    ({"mounts": "/data:/x:rw"}, {}, "kwargs.mounts: '/data:rw' is not allowed, allowed: "),
    ({"mounts": "/data/../etc:/x"}, {}, "kwargs.mounts: expected source:target[:rw], not "),
    ({"mounts": '["/data:/x,bind-propagation=shared"]'}, {}, "kwargs.mounts: expected source"),
    ({"mounts": "[1]"}, {}, "kwargs.mounts: expected a list of source:target"),
    ({"network": "host"}, {}, "kwargs.network: 'host' is not allowed, allowed: none, mine"),
    ({"workdir": "x"}, {}, "kwargs.workdir: expected an absolute path, not 'x'"),
    ({"privileged": "true"}, {}, "kwargs.privileged: expected one of image, mounts, network, "),
    ({}, {"cores": 3}, "conditions.cores: 3 is not allowed, at most 2"),
    ({}, {"mem": 300}, "conditions.mem: 300 MiB is not allowed, at most 256"),
    ({}, {"gpus": 1}, "conditions.gpus: 1 is not allowed, at most 0"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case[2][:30])
async def test_what_is_not_allowed_is_refused_with_what_is(container, job, process_of, case):
    kwargs, conditions, reason = case
    plugin = await container(network=["mine"], max_cores=2, mount=["/data", "/out:rw"])
    process = process_of("true", kwargs=kwargs)
    spec = replace(process.spec, conditions=Conditions(colony_id="3" * 64, **conditions))
    process = replace(process, spec=spec)
    outcome = await plugin.execute(process, job)
    assert [f"refused: {reason}"] == [
        error[: len(f"refused: {reason}")] for error in outcome.errors
    ]


async def test_cancelling_leaves_no_container(container, engine, job, heard, process_of):
    plugin = await container()
    script = "trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.1; done"
    task = asyncio.create_task(plugin.execute(process_of("sh", "-c", script), job))
    await heard.until(b"up")
    assert 1 == len(engine.names())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [] == engine.names()


async def test_a_container_that_somebody_else_removes_has_vanished(
    container, engine, job, heard, process_of
):
    plugin = await container()
    task = asyncio.create_task(plugin.execute(process_of("sh", "-c", "echo up; sleep 99"), job))
    await heard.until(b"up")
    engine.run("rm", "--force", *engine.names())
    outcome = await task
    assert not outcome.is_success
    assert outcome.errors[0].startswith("vanished: ")


def kept_by(engine, keeper, runtime_id=RUNTIME):
    labels = [f"--label=colonies.runtime={runtime_id}", f"--label=colonies.keeper={keeper}"]
    engine.run("create", *labels, "--network=none", IMAGE, "sleep", "99")


async def test_what_an_earlier_start_has_left_is_removed_and_nothing_else(container, engine):
    parent = life._keeper(os.getppid())
    kept_by(engine, this_keeper().replace(f" {os.getpid()} ", " 4194305 "))
    kept_by(engine, parent)  # a start of this runtime that still runs
    kept_by(engine, this_keeper(), "another")
    await container()
    assert 2 == len(engine.names())
    engine.run("rm", "--force", *engine.names())


def test_who_is_named_by_another_boot_is_not_alive():
    assert is_alive(this_keeper())
    assert not is_alive("another-boot" + this_keeper()[12:])
    assert not is_alive("")


@pytest.fixture
def lying(engine, tmp_path, monkeypatch):
    """Put an engine on the path that does what a script says for one of its verbs.

    Everything else is done by the real one. Unlike a real fault, it comes every time.
    """

    def make(verb, script):
        fake = tmp_path / "bin" / engine.kind
        fake.parent.mkdir()
        real = f'exec {path_of(engine)} "$@"'
        fake.write_text(f'#!/bin/sh\ncase " $* " in *" {verb} "*) {script};; esac\n{real}\n')
        fake.chmod(stat.S_IRWXU)
        monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")

    return make


def path_of(engine):
    return shutil.which(engine.kind, path="/usr/bin:/usr/local/bin:/bin")


FAULTS = [
    ("create", "exec sleep 99", "not started: "),  # hangs
    ("create", '{real} "$@"; kill -9 $$', None),  # has done it, and was killed
    ("create", '{real} "$@"; echo unexpected EOF >&2; exit 1', None),  # has done it
    ("create", "echo no >&2; exit 125", "not started: no"),
    ("create", "exit 0", "vanished: "),  # lies
    ("start", "kill -9 $$", "not started: "),
    ("start", "exit 0", "not started: "),  # lies
    ("start", '{real} "$@"; kill -9 $$', "vanished: it succeeded, but"),  # what else was said?
    ("start", '{real} "$@" >/dev/null 2>&1 & exit 0', ("vanished: ", "not started: ")),  # goes away
    ("start", "exec sleep 99", "not started: "),  # hangs
    ("inspect", "exec sleep 99", "vanished: "),
    ("inspect", "echo nonsense; exit 0", "vanished: "),
    ("inspect", "echo '{\"name\": 1}'", None),  # beside what can be understood
    ("inspect", "echo no answer >&2; exit 125", "vanished: no answer"),
    ("rm", '[ -e "$0.once" ] || { : > "$0.once"; exit 1; }', None),
]


@pytest.mark.parametrize("case", FAULTS, ids=lambda case: f"{case[0]} {case[1][-12:]}")
async def test_no_fault_of_an_engine_leaves_a_container(
    *, container, engine, lying, job, process_of, case
):
    verb, script, error = case
    script = script.replace("{real}", path_of(engine))
    lying(verb, script)
    plugin = await container(patience=1.0 if "99" in script else LONG)
    process = process_of("sleep", "99" if "&" in script.replace(">&", "") else "0")
    outcome = await plugin.execute(process, job)
    assert (error is None) == outcome.is_success
    assert error is None or outcome.errors[0].startswith(error)


async def test_without_an_image_or_an_engine_it_does_not_start(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Misconfigured, match="which images"):
        await Container(Container.Settings()).open()
    with pytest.raises(Misconfigured, match="no podman or docker or apptainer found"):
        await Container(Container.Settings(image=["*"])).open()


async def test_a_check_says_what_containers_are_kept_from_and_leaves_nothing(engine, monkeypatch):
    monkeypatch.setenv("CONTAINERS_CONF", str(engine.conf))
    settings = {"engine": engine.kind, "engine_option": engine.options, "image": [IMAGE]}
    said = await Container(Container.Settings(**settings, network=["net"], max_memory=64)).check()
    assert "network: none, or of net" in said
    assert any(line.startswith("limits: ") and ", 64 MiB, 512 " in line for line in said)
    assert said[-1].startswith("closed: read only, user 65534:65534, no capabilities")
    assert [] == engine.names()


async def test_an_engine_that_does_not_work_is_said_by_a_check(monkeypatch, tmp_path):
    engine = tmp_path / "docker"
    engine.write_text("#!/bin/sh\necho 'Cannot connect to the daemon' >&2; exit 1\n")
    engine.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    plugin = Container(Container.Settings(engine="docker", image=["*"]))
    with pytest.raises(Misconfigured, match="docker does not work here: Cannot connect"):
        await plugin.check()


async def test_a_restarted_runtime_removes_what_it_was_running_when_it_was_killed(
    launch, member, engine
):
    """The whole way: from a submit to a container, SIGKILL, and a second start."""
    options = [f"--engine-option={option}" for option in engine.options]
    options += [f"--engine={engine.kind}", f"--image={IMAGE}", "--max-memory=256"]
    words = ["container", *options]
    async with launch(*words, CONTAINERS_CONF=str(engine.conf)) as running:
        await running.line_with("runtime ready")
        await member.submit("sleep", "99", runtime_type="container")
        async with asyncio.timeout(60):
            while not engine.running():
                await asyncio.sleep(0)
        running.send(signal.SIGKILL)
        await running.finish()
    assert 1 == len(engine.names())
    async with launch(*words, CONTAINERS_CONF=str(engine.conf)) as running:
        await running.line_with("runtime ready")
        assert [] == engine.names()
        done = await (await member.submit("echo", "a", runtime_type="container")).wait(60)
        assert ["a"] == done.output
    assert [] == engine.names()


PROCESS = {"image": "docker.io/library/alpine:3", "network": "net", "workdir": "/w"}
SETTINGS = {
    "image": ["docker.io/*"],
    "network": ["net"],
    "mount": ["/data"],
    "max_cores": 2,
    "max_memory": 512,
    "container_option": ["--gpus=1"],
}


def test_the_command_line_of_docker(process_of, tmp_path, monkeypatch):
    plugin = found("docker", tmp_path, monkeypatch, engine_option=["--context=far"])
    process = process_of(
        "sh", "-c", "a && $(b)", env={"A": "x y"}, kwargs={**PROCESS, "mounts": "/data:/in"}
    )
    wanted = plugin._wanted(process)
    assert [
        f"{tmp_path}/docker",
        "--context=far",
        "create",
        f"--name=colonies-{'1' * 64}-0",
        f"--label=colonies.runtime={RUNTIME}",
        f"--label=colonies.keeper={this_keeper()}",
        f"--label=colonies.process={'1' * 64}",
        "--label=colonies.attempt=0",
        "--pull=never",
        "--log-driver=none",
        "--no-healthcheck",
        "--stop-timeout=0",
        "--network=net",
        "--cap-drop=all",
        "--security-opt=no-new-privileges",
        "--user=65534:65534",
        "--read-only",
        "--memory=512m",
        "--memory-swap=512m",
        "--cpus=2",
        "--pids-limit=512",
        "--tmpfs=/tmp:rw,nosuid,nodev,mode=1777,size=64m",
        "--mount=type=bind,source=/data,target=/in,readonly",
        "--env=A=x y",
        f"--env=COLONIES_COLONYID={'3' * 64}",
        f"--env=COLONIES_PROCESSID={'1' * 64}",
        f"--env=COLONIES_RUNTIMEID={RUNTIME}",
        "--workdir=/w",
        "--gpus=1",
        "--entrypoint=sh",
        "docker.io/library/alpine:3",
        "-c",
        "a && $(b)",
    ] == plugin._engine.create(wanted, plugin._house)


def test_the_command_line_of_apptainer(process_of, tmp_path, monkeypatch):
    plugin = found("apptainer", tmp_path, monkeypatch, image=["docker://*"])
    kwargs = {**PROCESS, "image": "docker://alpine", "mounts": "/data:/in"}
    process = process_of("sh", "-c", r'"\udcff $(b)"', env={"A": "x, $(y)"}, kwargs=kwargs)
    wanted = plugin._wanted(process)
    assert [
        f"{tmp_path}/apptainer",
        "exec",
        "--containall",
        "--cleanenv",
        "--no-eval",
        "--no-privs",
        "--net",
        "--network=net",
        "--memory=512M",
        "--memory-swap=512M",
        "--cpus=2",
        "--pids-limit=512",
        "--bind=/data:/in:ro",
        "--pwd=/w",
        "--gpus=1",
        "docker://alpine",
        "sh",
        "-c",
        "\udcff $(b)",
    ] == apptainer_argv(plugin._engine.command, wanted, plugin._house)
    assert "x, $(y)" == apptainer_environment(wanted)["APPTAINERENV_A"]


@pytest.mark.parametrize("name", ["a;b", "a b", "1a"])
def test_a_variable_that_apptainer_cannot_set_is_refused(process_of, tmp_path, monkeypatch, name):
    plugin = found("apptainer", tmp_path, monkeypatch, image=["x.sif"])
    with pytest.raises(Refused, match="apptainer cannot set"):
        plugin._wanted(process_of("true", env={name: "x"}))


async def test_apptainer_is_the_container_and_ends_with_it(job, process_of, tmp_path, monkeypatch):
    """The apptainer here only shows what it is given: it confines nothing."""
    plugin = found("apptainer", tmp_path, monkeypatch, image=["x.sif"])
    script = '#!/bin/sh\nprintf "%s\\n" "$APPTAINERENV_A" "$@"\nexit ${APPTAINERENV_CODE:-0}\n'
    (tmp_path / "apptainer").write_text(script)
    outcome = await plugin.execute(process_of("echo", "$(a)", env={"A": "b"}), job)
    assert ["b", "exec", "x.sif", "echo", "$(a)"] == [*outcome.output[:2], *outcome.output[-3:]]
    outcome = await plugin.execute(process_of("", env={"CODE": "3"}), job)
    assert "exit code 3" == outcome.errors[0]
    assert "run" == outcome.errors[2]


def found(kind, folder, monkeypatch, **settings):
    """Give a plugin that has found an engine, which is not asked anything."""
    (folder / kind).write_text("#!/bin/sh\n")
    (folder / kind).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{folder}:/bin")
    plugin = Container(Container.Settings(**{"engine": kind, **SETTINGS, **settings}))
    plugin.runtime_id = RUNTIME
    plugin.prepare()
    return plugin
