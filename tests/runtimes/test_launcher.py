"""``colonies-run`` as the program that it is, at a real hub."""

import asyncio
import contextlib
import os
import re
import signal
from importlib.metadata import version

import msgspec
import pytest

from colonies.client import Keychain, connect
from colonies.core.process import State
from colonies.core.runtime import Runtime
from colonies.server.app import Server
from tests.programs import ROOT, Program
from tests.runtimes.conftest import COMMAND, passes_until
from tests.server.doors import until
from tests.server.leases import OVER

FUNCTIONS = "tests.runtimes.functions"


async def test_it_lets_itself_in_works_and_leaves_on_sigterm(launch, member):
    async with launch("python", "--path", ROOT, "--slots", "2") as running:
        await running.line_with("runtime ready")
        process = await member.submit(f"{FUNCTIONS}:add", 1, 2, runtime_type="python")
        assert ["3"] == (await process.wait(60)).output
        running.send(signal.SIGTERM)
        assert 0 == await running.finish()


async def test_it_waits_until_the_owner_has_let_it_in(launch, member, client, people, tmp_path):
    async with launch("shell", "--name", "one", owner=False) as running:
        line = await running.line_with("waiting for approval")
        (identity,) = Keychain(tmp_path / "keychain").list()
        assert identity in line
        owner = client.acting_as(people.colony_owner)
        await owner.add_runtime(
            msgspec.structs.replace(
                await owner.get_runtime(people.runtime.id),
                runtime_id=identity,
                runtime_type="shell",
                name="one",
            )
        )
        await owner.approve_runtime(identity)
        await running.line_with("runtime ready")
        assert ["hello"] == (
            await (await member.submit("echo", "hello", runtime_type="shell")).wait(60)
        ).output


async def test_it_says_over_http_how_it_is(launch, client, people, colony, tmp_path):
    async with launch("shell", "--name", "one", "--health-port", "0", owner=False) as running:
        port = int(re.search(r'"port": (\d+)', await running.line_with("health served"))[1])

        async def status(request):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"{request} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            line = (await reader.read()).split(b"\r\n")[0]
            writer.close()
            return int(line.split()[1])

        assert 200 == await status("GET /health")
        assert 503 == await status("GET /ready")
        assert (404, 405) == (await status("GET /"), await status("POST /health"))
        (identity,) = Keychain(tmp_path / "keychain").list()
        owner = client.acting_as(people.colony_owner)
        await owner.add_runtime(
            Runtime(runtime_id=identity, runtime_type="shell", name="one", colony_id=colony)
        )
        await owner.approve_runtime(identity)
        await running.line_with("runtime ready")
        assert 200 == await status("GET /ready")
        async with launch("shell", "--name", "two", "--health-port", str(port)) as second:
            assert 2 == await second.finish()
        assert any("error: --health-port: " in line for line in second.lines)


async def test_it_finds_its_identity_again(launch, tmp_path):
    for _ in range(2):
        async with launch("shell", "--name", "one") as running:
            await running.line_with("runtime ready")
            running.send(signal.SIGTERM)
            assert 0 == await running.finish()
    assert 1 == len(Keychain(tmp_path / "keychain").list())


async def test_it_says_its_labels_anew_at_each_start(launch, member):
    for options, expected in (
        (("--label", "rack=7"), {"rack": "7", "os": "linux", "plugin": "shell"}),
        (("--label", "os="), {"rack": None, "os": None, "plugin": "shell"}),
    ):
        async with launch("shell", "--name", "one", *options, "--mem", "1") as running:
            await running.line_with("runtime ready")
            (known,) = [one for one in await member.get_runtimes() if one.name == "one"]
            labels = {name: known.labels.get(name) for name in expected}
            assert (expected, version("colonies")) == (labels, known.labels["version"])


async def test_it_says_what_it_has_anew_at_each_start_and_its_owner_of_which_type_it_is(
    launch, member
):
    for options, cores in ((("--cores", "3"), 3), (("--cores", "5", "--type", "other"), 5)):
        async with launch("shell", "--name", "one", "--cpu", "fast", *options) as running:
            await running.line_with("runtime ready")
            (known,) = [one for one in await member.get_runtimes() if one.name == "one"]
            assert (cores, "fast", "shell") == (known.cores, known.cpu, known.runtime_type)
    warning = next(line for line in running.lines if "registered as something else" in line)
    assert '"registered": "shell", "wanted": "other"' in warning


async def test_a_bad_process_does_not_end_it(launch, member):
    async with launch("python", "--path", ROOT) as running:
        await running.line_with("runtime ready")
        for func in (f"{FUNCTIONS}:leave", "no.such:thing", f"{FUNCTIONS}:unspeakable"):
            done = await (await member.submit(func, runtime_type="python")).wait(60)
            assert State.FAILED is done.state
        good = await member.submit(f"{FUNCTIONS}:add", 1, runtime_type="python")
        assert State.SUCCESS is (await good.wait(60)).state


async def test_what_the_hub_cannot_keep_ends_neither_it_nor_its_slot(launch, member):
    async with launch("python", "--path", ROOT, "--slots", "1") as running:
        await running.line_with("runtime ready")
        half = await member.submit(f"{FUNCTIONS}:half_a_character", runtime_type="python")
        done = await half.wait(60)
        assert (State.SUCCESS, ["?"]) == (done.state, done.output)
        for name, said in (
            ("huge", "was refused"),
            ("fail_hugely", "aaa [1900012 "),
        ):
            process = await member.submit(f"{FUNCTIONS}:{name}", 2_000_000, runtime_type="python")
            done = await process.wait(60)
            assert State.FAILED is done.state
            assert said in done.errors[0]
        good = await member.submit(f"{FUNCTIONS}:add", 1, runtime_type="python")
        assert State.SUCCESS is (await good.wait(60)).state


async def test_what_runs_too_long_is_stopped_here_and_failed_by_the_hub(launch, member, server):
    async with launch("shell") as running:
        await running.line_with("runtime ready")
        process = await member.submit("sleep", 1000, runtime_type="shell", max_exec_time=1)
        await running.line_with("process stopped")
        await server.ticker.run_once()
        done = await process.wait(60)
        assert ["Maximum execution time limit exceeded"] == done.errors
        after = await member.submit("echo", "free again", runtime_type="shell")
        assert ["free again"] == (await after.wait(60)).output


async def test_what_the_hub_takes_away_is_stopped(launch, member):
    async with launch("shell", "--heartbeat", "0.2") as running:
        await running.line_with("runtime ready")
        process = await member.submit("sleep", 1000, runtime_type="shell")
        await running.line_with("process started")
        await member.delete_process(process.id)
        await running.line_with("process stopped", "no longer ours")


async def test_draining_finishes_what_runs_and_takes_nothing_more(launch, member, tmp_path):
    async with launch("shell", "--slots", "1") as running:
        await running.line_with("runtime ready")
        first = await member.submit("sleep", 1, runtime_type="shell")
        second = await member.submit("echo", runtime_type="shell")
        await running.line_with("process started")
        running.send(signal.SIGTERM)
        assert 0 == await running.finish()
        assert State.SUCCESS is (await first.wait(60)).state
        assert State.WAITING is (await member.get_process(second.id)).state


async def test_what_does_not_finish_in_time_is_released_for_others(launch, member):
    async with launch("shell", "--drain", "0") as running:
        await running.line_with("runtime ready")
        process = await member.submit("sleep", 1000, runtime_type="shell")
        await running.line_with("process started")
        running.send(signal.SIGTERM)
        assert 0 == await running.finish()
        assert State.WAITING is (await member.get_process(process.id)).state


async def test_it_outlives_the_hub_and_delivers_when_it_is_back(launch, member, server, people):
    async with launch("shell", COLONIES_SERVERPORT=str(server.port)) as running:
        await running.line_with("runtime ready")
        process = await member.submit("sleep", 2, runtime_type="shell")
        await running.line_with("process started")
        await server.__aexit__(None, None, None)
        again = msgspec.structs.replace(server.settings, server_port=server.port)
        async with Server(again), connect(again, key=people.runtime) as back:
            assert State.SUCCESS is (await back.wait_for(process.id, 20)).state
            more = await back.submit("echo", "again", runtime_type="shell")
            assert ["again"] == (await more.wait(60)).output


@pytest.fixture
def once(tmp_path):
    """A program that gets stuck the first time, until it is told to go on, and is quick after."""
    program = tmp_path / "once"
    program.write_text(
        "#!/bin/sh\n"
        'cd "$(dirname "$0")" || exit\n'
        "if mkdir first; then\n"
        "  echo $$ > pid.new; mv pid.new pid; read line < go; echo late\n"
        "else echo done; fi\n"
    )
    program.chmod(0o755)
    os.mkfifo(tmp_path / "go")
    yield program
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


@pytest.mark.settings(tick=0.1)
async def test_what_a_killed_runtime_was_running_goes_to_another(launch, member, server, once):
    async with launch("shell", "--name", "one") as killed:
        await killed.line_with("runtime ready")
        process = await member.submit(str(once), runtime_type="shell", lease=1, max_retries=-1)
        await killed.line_with("process started")
        async with launch("shell", "--name", "two") as other:
            await other.line_with("runtime ready")
            await until(once.with_name("pid").exists)
            killed.send(signal.SIGKILL)

            async def is_done():
                return (await member.get_process(process.id)).state.is_final

            await passes_until(server, is_done)
    done = await member.get_process(process.id)
    assert (State.SUCCESS, ["done"]) == (done.state, done.output)
    assert done.retries >= 1
    assert done.attempt == done.retries + 1


LOST = f"UPDATE processes SET leased_until = {OVER} WHERE state = 1 AND attempt = 1"


async def test_who_was_stopped_beyond_the_lease_is_told_to_stop_and_lives_on(
    launch, member, server, once, db
):
    """Its lease ends when we say so: until it is stopped, it has the process."""
    async with contextlib.AsyncExitStack() as stack:
        one = launch("shell", "--name", "one", "--heartbeat", "3600")
        stopped = await stack.enter_async_context(one)
        identity = re.search(r"[0-9a-f]{64}", await stopped.line_with("runtime ready"))[0]
        process = await member.submit(str(once), runtime_type="shell", max_retries=-1)
        await stopped.line_with("process started")
        other = await stack.enter_async_context(launch("shell", "--name", "two"))
        await other.line_with("runtime ready")
        await until(once.with_name("pid").exists)
        stopped.send(signal.SIGSTOP)

        async def is_done():
            async with db.transaction() as tx:  # what it said before it was stopped may renew it
                await tx.run_script(LOST)
            return (await member.get_process(process.id)).state.is_final

        await passes_until(server, is_done)
        stopped.send(signal.SIGCONT)
        await stopped.line_with("process stopped", "no longer ours")
        done = await member.get_process(process.id)
        assert (State.SUCCESS, ["done"]) == (done.state, done.output)
        assert done.assigned_runtime_id != identity
        after = await member.submit("echo", "alive", runtime_ids=[identity])
        assert ["alive"] == (await after.wait(60)).output


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["nonsense"], "error: no plugin 'nonsense' is installed; there are "),
        (["shel"], "error: no plugin 'shel' is installed; did you mean 'shell'?"),
        (["shell", "--slots", "0"], "--slots"),
        (["shell", "--port", "many"], "--port"),
        (["shell", "--label", "rack"], "'--label': expected NAME=VALUE, not 'rack'"),
        (["shell", "--label", "a=1", "--label", "a=2"], "'--label': a is there twice"),
        (["shell", "--label", "a b=1"], "not 'a b'"),
    ],
)
async def test_wrong_usage_is_one_clear_message(launch, options, complaint):
    async with launch(*options) as running:
        assert 2 == await running.finish()
    assert any(complaint in line for line in running.lines)
    assert not any("Traceback" in line for line in running.lines)


async def test_without_a_colony_it_says_which_setting_is_missing():
    async with Program(COMMAND, "shell") as running:
        assert 2 == await running.finish()
    assert ["error: which colony? Give --colonyid or set COLONIES_COLONYID"] == running.lines


async def test_help_shows_the_settings_of_the_plugin(launch):
    async with launch("shell", "--help") as running:
        assert 0 == await running.finish()
    text = "\n".join(running.lines)
    assert "--allow-shell" in text
    assert "COLONIES_SHELL_ALLOW_SHELL" in text
    assert "--colonyid" in text


SHOUT = """
class Plugin(Runtime):
    'Shouts.'
    runtime_type = 'shout'
    async def execute(self, process, job):
        await job.attribute('volume', '11')
        return success(process.spec.args[0].upper())
"""
WRONG = """
class Plugin(Runtime):
    'Gives no outcome.'
    runtime_type = 'wrong'
    async def execute(self, process, job):
        return 'just text'
"""
STUCK = """
class Plugin(Runtime):
    'Cannot start.'
    runtime_type = 'stuck'
    async def open(self):
        raise RuntimeError('no licence')
    async def execute(self, process, job):
        return success()
"""


async def test_a_plugin_of_somebody_else_comes_in_by_the_same_door(launch, member, site):
    async with launch("shout", **site(shout=SHOUT)) as running:
        await running.line_with("runtime ready")
        done = await (await member.submit("say", "hello", runtime_type="shout")).wait(60)
        assert ["HELLO"] == done.output
        assert [("volume", "11")] == [(one.key, one.value) for one in done.attributes]


async def test_a_plugin_that_gives_no_outcome_fails_the_process_alone(launch, member, site):
    async with launch("wrong", **site(wrong=WRONG)) as running:
        await running.line_with("runtime ready")
        for _ in range(2):
            done = await (await member.submit("any", runtime_type="wrong")).wait(60)
            assert ["the plugin gave str, expected an Outcome"] == done.errors


async def test_a_plugin_that_cannot_start_says_why_in_one_line(launch, site):
    async with launch("stuck", **site(stuck=STUCK)) as running:
        assert 2 == await running.finish()
    assert "error: plugin stuck cannot start: no licence" == running.lines[-1]


async def test_a_broken_plugin_is_no_bother_to_the_others(site):
    broken = {
        "nothing": "",
        "untyped": "class Plugin(Runtime):\n    async def execute(self, process, job): ...\n",
        "empty": "class Plugin(Runtime):\n    runtime_type = 'empty'\n",
        "lost": "import no_such_module\n",
        "other": "Plugin = 1\n",
    }
    env = site(shout=SHOUT, **broken)
    async with Program(COMMAND, "--help", env=env) as listing:
        assert 0 == await listing.finish()
    assert any("Shouts." in line for line in listing.lines)
    assert 5 == sum("cannot be loaded" in line for line in listing.lines)
    for name in broken:
        async with Program(COMMAND, name, env=env) as running:
            assert 2 == await running.finish()
        assert running.lines[-1].startswith(f"error: plugin {name} cannot be loaded")


async def test_a_key_that_no_plugin_knows_is_refused(launch, tmp_path):
    (tmp_path / "config.toml").write_text("[shell]\nmax_outpt = 1\n")
    async with launch("shell", COLONIES_CONFIG=str(tmp_path / "config.toml")) as running:
        assert 2 == await running.finish()
    assert "did you mean max_output?" in running.lines[-1]


@pytest.mark.parametrize(("command", "code"), [("echo", 0), ("false", 1)])
async def test_once_is_one_process_and_its_outcome_the_exit_code(launch, member, command, code):
    first = await member.submit(command, runtime_type="shell")
    second = await member.submit("echo", runtime_type="shell")
    async with launch("shell", "--once", "--slots", "9", "--drain", "0") as running:
        assert code == await running.finish()
    assert (await member.get_process(first.id)).state.is_final
    assert State.WAITING is (await member.get_process(second.id)).state


async def test_once_within_some_time_or_not_at_all(launch):
    async with launch("shell", "--once", "--within", "0.1") as running:
        assert 4 == await running.finish()


async def test_once_fails_when_the_process_is_cancelled(launch, member):
    async with launch("shell", "--once", "--heartbeat", "0.2") as running:
        await running.line_with("runtime ready")
        process = await member.submit("sleep", 1000, runtime_type="shell")
        await running.line_with("process started")
        await member.cancel_process(process.id)
        assert 1 == await running.finish()


async def test_without_a_hub_it_says_so_and_goes_on_trying(launch):
    async with launch("shell", COLONIES_SERVERPORT="1", COLONIES_TIMEOUT="1") as running:
        await running.line_with("hub away, trying again", "no hub at")
        running.send(signal.SIGTERM)
        assert 0 == await running.finish()
