"""How Colonies v1 spells things: each word is understood, and none is in the help."""

import json

import click
import pytest

from colonies.cli import aliases, cli
from colonies.core.identity import PrivateKey
from colonies.core.process import State
from tests.cli.conftest import stop
from tests.cli.test_command import COMMANDS, help_of

OPTIONS = [(path, name) for path, names in aliases.OPTIONS.items() for name in names]
FLAGS = {aliases.NOTHING, "--output", "--no-tls-verify"}


@pytest.mark.parametrize("spelling", aliases.VERBS)
def test_a_verb_means_one_of_ours_and_is_not_in_the_help(spelling):
    noun, verb = spelling.split()
    ours, *options = aliases.command(noun, [verb])
    command = COMMANDS[noun, ours]
    assert command.make_context(ours, [*options, "--help"], resilient_parsing=True)
    assert f"  {verb} " not in help_of(noun)


@pytest.mark.parametrize("spelling", aliases.NOUNS)
def test_a_noun_is_one_of_ours_and_is_not_in_the_help(spelling):
    context = click.Context(cli)
    assert cli.get_command(context, spelling) is COMMANDS[aliases.NOUNS[spelling],]
    assert f"  {spelling} " not in help_of()


@pytest.mark.parametrize(("path", "name"), OPTIONS)
def test_an_option_means_one_of_ours_and_is_not_in_the_help(path, name):
    target = aliases.OPTIONS[path][name]
    path = path or "process run"
    read = aliases.translate(path, [name] if target in FLAGS else [name, "x", "--", "y"])
    if target == aliases.HERE:
        assert read.words == ["--", "x", "y"]
    elif target.startswith("$"):
        assert read.variables == {target[1:]: "x"}
    elif target in (aliases.NOTHING, aliases.NOTHING_WITH_VALUE):
        assert (len(read.remarks), set(read.words) - {"--", "y"}) == (1, set())
    else:
        spelled = {flag for one in COMMANDS[*path.split(),].params for flag in
                   (*one.opts, *one.secondary_opts)}  # fmt: skip
        assert (read.words[0], target in spelled) == (target, True)
    assert f" {name} " not in help_of(*path.split()).replace(target, "")


@pytest.mark.parametrize("spelling", aliases.GONE)
async def test_what_is_gone_says_what_there_is_instead(bare, spelling):
    ran = await bare(*spelling.split(), status=2)
    assert aliases.GONE[spelling] in ran.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--func f --args a,b --targettype t", "--type t -- f a b"),
        ("--args=a --func=f --env k=v,l=w", "--env k=v --env l=w -- f a"),
        ("--func f -- --args", "-- f --args"),
        ("f --env k=v,w --type t", "f --env k=v,w --type t"),
        ("f -- --args x", "f -- --args x"),
    ],
)
def test_lists_are_split_where_the_spelling_is_the_references(words, expected):
    assert aliases.translate("process run", words.split()).words == expected.split()


async def test_a_process_is_run_listed_shown_and_deleted_as_in_v1(shell, member):
    run = "process run --func f --args a,b --env k=v,l=w --targettype cli --maxexectime 7"
    process_id = (await shell(*run.split())).out.strip()
    process = await member.get_process(process_id)
    spec = process.spec
    assert (spec.func, spec.args, spec.env) == ("f", ["a", "b"], {"k": "v", "l": "w"})
    assert (spec.conditions.runtime_type, spec.max_exec_time) == ("cli", 7)
    (listed,) = (await shell("process", "psw", "--count", "5", "--json")).answer
    assert listed["processid"] == process_id
    await member.assign_process()
    assert len((await shell("process", "ps", "--json")).answer) == 1
    await shell("process", "close", "-p", process_id, "--out", "x,y")
    assert (await shell("process", "get", "--processid", process_id, "--out")).out == "x\ny\n"
    assert process_id in (await shell("process", "pss")).out
    assert process_id not in (await shell("process", "psf")).out
    await shell("process", "delete", "--processid", process_id)
    await member.submit("f", runtime_type="cli")
    await shell("process", "deleteall", stdin=b"YES\n")
    assert await member.get_processes(State.WAITING) == []


async def test_who_belongs_to_a_colony_is_registered_as_in_v1(shell, tmp_path, keychain):
    file = tmp_path / "spec.json"
    file.write_text(json.dumps({"name": "new"}))
    colony_id = (await shell("colony", "register", "--spec", str(file))).out.strip()
    shell = shell.having(COLONIES_COLONYID=colony_id)
    file.write_text(json.dumps({"name": "box", "runtimetype": "cli", "cores": 4}))
    key = PrivateKey.generate()
    words = ("runtime", "register", "--spec", str(file), "--runtimeprvkey", key.hex)
    runtime_id = (await shell(*words)).out.strip()
    assert (runtime_id, keychain.get(runtime_id).hex) == (key.id, key.hex)
    words = ("--runtimeid", runtime_id, "--colonyprvkey", keychain.get(colony_id).hex)
    ran = await shell("runtime", "approve", *words)
    assert ran.err == "--colonyprvkey: others here can see it; better set COLONIES_COLONYPRVKEY\n"
    assert (await shell("runtime", "resolve", "--targetname", "box")).out.strip() == runtime_id
    (listed,) = (await shell("runtime", "ls", "--full", "--json")).answer
    assert (listed["cores"], listed["state"]) == (4, 1)
    await shell("runtime", "unregister", "--runtimeid", runtime_id)
    await shell("colony", "unregister", "--colonyid", colony_id, stdin=b"yes\n")
    assert colony_id not in (await shell("colony", "ls")).out


async def test_a_keychain_is_kept_as_in_v1(bare, keychain):
    key, other = PrivateKey.generate(), PrivateKey.generate()
    words = ("keychain", "add", "--prvkey", key.hex, "--id")
    assert f"<{key.id}>" in (await bare(*words, other.id, status=2)).err
    assert keychain.list() == []
    await bare(*words, key.id)
    assert (await bare("keychain", "get", "--id", key.id)).out == f"{key.id}\n"
    assert keychain.get((await bare("keychain", "generate")).out.strip())


async def test_a_worker_runs_commands_by_the_shell(shell, member, keychain, tmp_path):
    shell = shell.having(COLONIES_RUNTIMENAME="w", COLONIES_RUNTIMETYPE="cli2")
    state = shell.having(COLONIES_STATE_DIR=str(tmp_path))
    registered = (await shell("worker", "register")).out.strip()
    async with state.started("worker", "start", "--timeout", "1", "--cores", "2") as worker:
        submitted = await member.submit("echo $COLONIES_PROCESSID", "|", "cat", runtime_type="cli2")
        process = await submitted.wait(30)
        assert (process.output, process.assigned_runtime_id) == ([submitted.id], registered)
        assert (await stop(worker)).status == 0
    await shell("worker", "unregister")
    assert registered not in (await shell("runtime", "ls")).out
