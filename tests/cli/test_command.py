"""What all commands share: settings, keys, errors as one line, ends that are quiet."""

import asyncio
import signal
import sys

import click
import pytest
from click.testing import CliRunner

from colonies.cli import HELPS, cli
from colonies.cli.command import CLIENT
from colonies.cli.status import MEANINGS
from colonies.core.log import Append, NewEntry
from colonies.settings import SETTINGS, flag_of
from colonies.version import __version__
from tests.cli.conftest import Shell, stop


def children(command) -> dict[str, click.Command]:
    if not isinstance(command, click.Group):
        return {}
    context = click.Context(command)
    return {name: command.get_command(context, name) for name in command.list_commands(context)}


def every_command(command=cli, path=()):
    yield path, command
    for name, child in children(command).items():
        yield from every_command(child, (*path, name))


COMMANDS = dict(every_command())
PRINTING = {
    ("colony", "add"), ("colony", "ls"), ("colony", "get"), ("colony", "stats"),
    ("runtime", "add"), ("runtime", "ls"), ("runtime", "get"), ("runtime", "resolve"),
    ("function", "ls"), ("function", "get"),
    ("process", "submit"), ("process", "run"), ("process", "wait"), ("process", "get"),
    ("process", "ls"), ("process", "assign"), ("process", "why"), ("process", "history"),
    ("process", "cancel"), ("process", "logs"),
    ("workflow", "submit"), ("workflow", "get"), ("workflow", "ls"), ("workflow", "wait"),
    ("workflow", "cancel"), ("workflow", "rescue"),
    ("cron", "add"), ("cron", "ls"), ("cron", "get"), ("cron", "run"), ("cron", "next"),
    ("generator", "add"), ("generator", "ls"), ("generator", "get"), ("generator", "resolve"),
    ("attribute", "add"), ("attribute", "get"),
    ("key", "new"), ("key", "id"), ("key", "import"), ("key", "ls"),
    ("server", "status"), ("server", "stats"), ("cluster", "info"), ("doctor",),
}  # fmt: skip
SILENT = {
    ("colony", "rm"), ("runtime", "approve"), ("runtime", "reject"), ("runtime", "rm"),
    ("runtime", "update"),
    ("process", "close"), ("process", "fail"), ("process", "rm"), ("server", "start"),
    ("server", "reset"),
    ("dev",), ("completion",),
    ("workflow", "rm"),
    ("cron", "rm"), ("generator", "pack"), ("generator", "rm"),
}  # fmt: skip


HEAVY = "asyncio coincurve websockets structlog rich Crypto tomllib"
"""What takes long to import, and help has no use for."""


def help_of(*path: str) -> str:
    ran = CliRunner().invoke(cli, [*path, "--help"], terminal_width=200, prog_name="colonies")
    assert ran.exit_code == 0
    return ran.output


def test_these_are_the_commands():
    verbs = {path for path, one in COMMANDS.items() if not isinstance(one, click.Group)}
    assert verbs == PRINTING | SILENT


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(path):
    text = help_of(*path)
    assert COMMANDS[path].help.splitlines()[0][:40] in text
    for name in children(COMMANDS[path]):
        assert f"\n  {name} " in text
    assert ("--json" in text) == (path in PRINTING)


@pytest.mark.parametrize("path", [(), ("process", "ls"), ("colony", "add")], ids=" ".join)
def test_settings_are_in_the_help_with_flag_meaning_and_variable(path):
    text = help_of(*path)
    for name in CLIENT:
        assert flag_of(name) in text
        assert f"{SETTINGS[name].help} [{SETTINGS[name].env}]" in text


@pytest.mark.parametrize(
    ("words", "unwanted"),
    [
        ("--version", f"colonies.client {HEAVY}"),
        ("--help", f"colonies.client colonies.cli.process colonies.cli.server {HEAVY}"),
        ("process --help", "colonies.client colonies.cli.server coincurve structlog rich Crypto"),
        (
            f"process run f --type t --dry-run --colonyid {'a' * 64}",
            "coincurve websockets structlog",
        ),
        ("key ls", "colonies.client.api websockets structlog rich Crypto"),
        ("server status --port 1", "colonies.server structlog rich Crypto"),
    ],
)
async def test_a_command_imports_no_more_than_it_needs(bare, words, unwanted):
    asked = (
        "import sys; from colonies.cli import main\n"
        "try: main()\n"
        "except SystemExit: print(*sys.modules, file=sys.stderr)"
    )
    async with bare.started(*words.split(), argv=(sys.executable, "-c", asked)) as process:
        _, err = await process.communicate()
    assert set() == set(unwanted.split()) & set(err.decode().split())


@pytest.mark.parametrize(
    ("path", "flag"),
    [
        (("process", "run"), "--within SECONDS"),
        (("process", "wait"), "--within SECONDS"),
        (("process", "assign"), "--within SECONDS"),
        (("workflow", "rescue"), "--within SECONDS"),
        (("generator", "add"), "--after SECONDS"),
    ],
    ids=str,
)
def test_a_timeout_is_nothing_but_that_of_an_answer(path, flag):
    assert flag in help_of(*path)
    assert "--timeout" not in help_of(*path)
    assert any("--timeout" in one.opts for one in COMMANDS[path].params)


def test_what_is_listed_of_a_noun_is_what_it_says_itself():
    for name, command in children(cli).items():
        assert command.get_short_help_str(78) == HELPS[name]


def test_the_help_explains_exit_codes():
    for status, meaning in MEANINGS.items():
        assert f"{status.value:<3}  {meaning}" in help_of()


async def test_the_version_is_told(bare):
    assert (await bare("--version")).out == f"colonies, version {__version__}\n"


async def test_settings_are_taken_before_and_after_the_verb(shell, server):
    wrong = shell.having(COLONIES_SERVERPORT="1")
    port = str(server.port)
    await wrong("--port", port, "server", "status")
    await wrong("server", "--port", port, "status")
    await wrong("--port", "1", "server", "status", "--port", port)


@pytest.mark.parametrize(
    ("words", "flag", "variable"),
    [
        (("process", "get", "x"), "--runtimeid", "COLONIES_RUNTIMEID"),
        (("runtime", "approve", "x"), "--colonyid", "COLONIES_COLONYID"),
        (("colony", "ls"), "--serverid", "COLONIES_SERVERID"),
        (("server", "start"), "--serverid", "COLONIES_SERVERID"),
    ],
)
async def test_a_missing_setting_is_named_by_flag_and_variable(bare, words, flag, variable):
    line = await bare.refuses(*words, status=2)
    assert flag in line
    assert variable in line


async def test_a_missing_colony_is_named_as_well(shell):
    lost = shell.having(COLONIES_COLONYID=None)
    line = await lost.refuses("process", "run", "f", "--type", "t", status=2)
    assert line.startswith(
        "which colony? Give --colonyid, set COLONIES_COLONYID, or write colony_id"
    )
    assert "/.colonies/config.toml; `colonies dev` prints" in line


async def test_a_wrong_setting_is_named(bare):
    wrong = bare.having(COLONIES_SERVERPORT="many")
    assert await wrong.refuses("colony", "ls", status=2) == (
        "COLONIES_SERVERPORT: expected int, not 'many'"
    )
    assert "'--port'" in (await bare("--port", "many", "key", "ls", status=2)).err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("proces ls", "there is no command 'proces', did you mean 'process'?"),
        ("process lss", "there is no command 'lss', did you mean 'ls'?"),
        ("process unregistr", "there is no command 'unregistr'"),
        ("runtime unregistr", "there is no command 'unregistr', did you mean 'unregister'?"),
        ("process ls --stat waiting", "'--state'"),
        ("process ls --state wating", "'waiting'"),
        ("process run ls -l", "dash goes after a --: -- -l"),
        ("generator pack it -x", "dash goes after a --: -- -x"),
    ],
)
async def test_a_typo_is_told_from_what_was_meant(bare, words, hint):
    ran = await bare(*words.split(), status=2)
    error, advice = ran.err.splitlines()
    assert error.startswith("error: ")
    assert hint in error
    assert advice.startswith("help: colonies ")


async def test_who_may_not_hears_as_whom_they_signed(shell, people, keychain):
    for key in (people.pending, people.stranger):
        keychain.add(key)
    pending = shell.having(COLONIES_RUNTIMEID=people.pending.id)
    line = await pending.refuses("process", "run", "f", "--type", "t", status=3)
    assert f"signed as runtime <{people.pending.id}> (COLONIES_RUNTIMEID), whose key is in" in line
    assert line.endswith(f" {keychain.folder}")

    key = people.stranger
    stranger = shell.having(COLONIES_SERVERID=None, COLONIES_SERVERPRVKEY=key.hex)
    line = await stranger.refuses("colony", "ls", status=3)
    assert f"signed as server <{key.id}>, whose key is from COLONIES_SERVERPRVKEY" in line
    assert key.hex not in line


async def test_a_key_that_is_not_here_is_named(shell, people):
    foreign = shell.having(COLONIES_RUNTIMEID=people.stranger.id)
    line = await foreign.refuses("process", "run", "f", "--type", "t", status=2)
    assert f"no key of runtime <{people.stranger.id}>" in line
    assert line.endswith("; that id is from COLONIES_RUNTIMEID")
    line = await foreign.having(COLONIES_RUNTIMEPRVKEY="no key").refuses("process", "ls", status=2)
    assert "that id is from" not in line


@pytest.mark.parametrize(
    "words", ["runtime ls", "process ls", "process get {}", "colony get", "colony stats"]
)
async def test_the_owner_reads_where_the_runtime_may_not(shell, people, keychain, member, words):
    keychain.add(people.foreigner)
    submitted = await member.submit("f", runtime_type="cli")
    words = words.format(submitted.id).split()
    await shell.having(COLONIES_RUNTIMEID=people.foreigner.id)(*words)


async def test_nobody_stands_in_for_a_runtime_named_by_a_flag(shell, people, keychain):
    words = ("runtime", "ls", "--runtimeid", people.foreigner.id)
    assert "no key of runtime" in await shell.refuses(*words, status=2)
    keychain.add(people.foreigner)
    assert "signed as runtime" in await shell.refuses(*words, status=3)


@pytest.mark.parametrize("given", ["flag", "variable"])
async def test_nobody_stands_in_for_a_runtime_whose_key_is_given(shell, people, given):
    def having(key: str) -> tuple[Shell, list[str]]:
        if given == "flag":
            return shell, ["process", "ls", "--runtimeprvkey", key]
        return shell.having(COLONIES_RUNTIMEPRVKEY=key), ["process", "ls"]

    there, words = having("nonsense")
    assert "hex characters" in (await there(*words, status=2)).err
    there, words = having(people.foreigner.hex)
    assert f"of runtime <{people.runtime.id}>" in (await there(*words, status=2)).err
    there = there.having(COLONIES_RUNTIMEID=None)
    assert f"signed as runtime <{people.foreigner.id}>" in (await there(*words, status=3)).err


async def test_no_hub_is_one_line(shell, silent):
    port, _ = silent
    line = await shell.refuses("--port", "1", "server", "status", status=5)
    assert line.startswith("no hub at ws://127.0.0.1:1/ws")
    assert line.endswith("host from COLONIES_SERVERHOST and port from --port; try: colonies doctor")
    line = await shell.refuses("--timeout", "0.2", "--port", str(port), "process", "ls", status=5)
    assert "0.2 s" in line


async def test_ctrl_c_is_quiet(shell, silent):
    port, came = silent
    async with shell.started("--port", str(port), "colony", "ls") as process:
        async with asyncio.timeout(60):
            await came.wait()
        ran = await stop(process, signal.SIGINT)
    assert (ran.status, ran.out, ran.err) == (130, "", "")


INTERRUPTED_IMPORT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "click":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from {package}.__main__ import main
main()
"""


@pytest.mark.parametrize("package", ["colonies", "runtimes"])
async def test_ctrl_c_is_quiet_from_the_first_moment(bare, package):
    argv = (sys.executable, "-c", INTERRUPTED_IMPORT.format(package=package))
    async with bare.started("--help", argv=argv) as process:
        out, err = await process.communicate()
    assert (process.returncode, out, err) == (130, b"", b"")


async def test_nobody_reading_is_quiet(shell):
    line = 'set -o pipefail; "$@" | true'
    argv = ("bash", "-c", line, "bash", sys.executable, "-m", "colonies.cli")
    async with shell.started("colony", "ls", argv=argv) as process:
        _, err = await process.communicate()
    assert (process.returncode, err) == (141, b"")


@pytest.mark.parametrize(
    ("reader", "words"),
    [
        ("head -1", "process ls --watch=0.5"),
        ("head -1", "process logs {} --follow"),
        ("true", "process wait {}"),
        ("true", "process run f --type t --wait"),
        ("true", "process run f --type t --wait --count 3"),
    ],
)
async def test_nobody_reading_ends_what_waits(shell, member, reader, words):
    submitted = await member.submit("f", runtime_type="cli")
    running = await member.assign_process()
    entry = NewEntry(stream="stdout", offset=0, size=2, text="a\n")
    append = Append(
        process_id=running.process_id,
        attempt_token=running.attempt_token,
        number=1,
        entries=[entry],
    )
    await member.add_logs([append])
    line = f'set -o pipefail; "$@" | {reader}'
    argv = ("bash", "-c", line, "bash", sys.executable, "-m", "colonies.cli")
    async with asyncio.timeout(60):
        async with shell.started(*words.format(submitted.id).split(), argv=argv) as process:
            _, err = await process.communicate()
    assert (process.returncode, b"error" in err) == (141, False)


async def test_words_that_are_no_text_are_refused(shell):
    argv = ("bash", "-c", """exec "$@" $'\\xff'""", "bash", sys.executable, "-m", "colonies.cli")
    async with shell.started("process", "get", argv=argv) as process:
        _, err = await process.communicate()
    assert process.returncode == 2
    assert b"expected UTF-8" in err
    assert b"Traceback" not in err


@pytest.mark.parametrize("verbose", [False, True])
async def test_a_warning_is_said_as_all_else_unless_events_are_asked_for(bare, verbose):
    warned = f"""if True:
        import logging, colonies.logs
        colonies.logs.configure(verbose={verbose}, quiet=True)
        logging.getLogger("colonies.client").warning("lost %s", "the hub")"""
    async with bare.started(argv=(sys.executable, "-c", warned)) as process:
        _, said = await process.communicate()
    assert said.startswith(b"{") if verbose else said == b"warning: lost the hub\n"


async def test_clients_log_nothing_unless_asked(shell):
    assert (await shell("process", "ls")).err == ""
