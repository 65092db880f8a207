"""The documentation does what it says: generated parts are current, its code runs."""

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from colonies.core import wire
from colonies.core.envelope import Reply, open_reply
from colonies.core.process import Process, ProcessSpec
from runtimes.inputs import Inputs
from runtimes.python.signatures import describe, values_for
from tests.programs import ROOT, Program, environment, python

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = Path(sys.executable).with_name("colonies-run")


def blocks(page: Path, language: str) -> list[str]:
    """Give the code blocks of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page):
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [] == [target for target in targets if not (page.parent / target).exists()]


def test_generated_tables_are_what_the_code_says():
    pages = [str(page) for page in PAGES if page.parent.name == "docs"]
    cog = [sys.executable, "-m", "cogapp", "--check", "-r", "-I", str(ROOT / "docs"), *pages]
    subprocess.run(cog, check=True, capture_output=True)


def test_make_help_lists_every_target():
    makefile = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert phony.split() == [line.split()[0] for line in shown.stdout.splitlines()]


async def test_the_program_of_the_readme_runs(server, colony, people, tmp_path):
    (program,) = blocks(ROOT / "README.md", "python")
    script = tmp_path / "readme.py"
    script.write_text(program)
    env = {
        **environment(server, colony),
        "COLONIES_COLONYPRVKEY": people.colony_owner.hex,
        "COLONIES_KEYCHAIN": str(tmp_path / "keychain"),
    }
    async with Program(COMMAND, "shell", env=env) as running:
        await running.line_with("runtime ready")
        member = {**env, **environment(server, colony, people.runtime)}
        async with python(script, env=member) as asking:
            assert 0 == await asking.finish()
    assert ["SUCCESS ['hello, colony']"] == asking.lines


def test_the_example_of_a_spec_has_no_unknown_keys():
    text = (ROOT / "examples" / "spec.json").read_text()
    spec = json.loads(wire.encode(wire.decode(text, ProcessSpec)))
    written = json.loads(text)
    assert written == {key: value for key, value in spec.items() if key in written} | {
        "conditions": {key: spec["conditions"][key] for key in written["conditions"]}
    }


async def test_the_request_of_the_protocol_is_answered(server, colony, people, member, tmp_path):
    process = await member.submit("say", "hello", runtime_type="cli")
    assigned = await member.assign_process(timeout=-1)
    await member.close_successful(assigned.process_id, ["hello"])
    (program,) = blocks(ROOT / "docs" / "protocol.md", "python")
    script = tmp_path / "ask.py"
    script.write_text(program)
    async with python(script, env=environment(server, colony, people.runtime)) as asking:
        assert 0 == await asking.finish()
    (request,) = asking.lines
    url = f"http://127.0.0.1:{server.port}/api"
    response = await asyncio.to_thread(urlopen, url, request.encode())
    with response:
        reply = wire.decode(response.read(), Reply)
    assert "7" == reply.id
    assert [process.id] == [one.process_id for one in open_reply(reply, list[Process])]


async def test_the_plugin_of_the_docs_runs(server, colony, people, member, tmp_path):
    _, plugin, *_ = blocks(ROOT / "docs" / "runtimes.md", "python")
    (entry,) = blocks(ROOT / "docs" / "runtimes.md", "toml")
    package = tmp_path / "my_package"
    metadata = tmp_path / "my_package.dist-info"
    package.mkdir()
    metadata.mkdir()
    (package / "__init__.py").touch()
    (package / "shout.py").write_text(plugin)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my_package\nVersion: 1\n")
    line = re.search(r"^shout = \"(.*)\"$", entry, re.MULTILINE)
    (metadata / "entry_points.txt").write_text(f"[colonies.runtimes]\nshout = {line[1]}\n")
    env = {
        **environment(server, colony),
        "COLONIES_COLONYPRVKEY": people.colony_owner.hex,
        "COLONIES_KEYCHAIN": str(tmp_path / "keychain"),
        "PYTHONPATH": str(tmp_path),
    }
    async with Program(COMMAND, "shout", env=env) as running:
        await running.line_with("runtime ready")
        process = await member.submit("say", "hello", runtime_type="shout")
        assert ["HELLO"] == (await process.wait(60)).output


def test_the_function_of_the_docs_is_given_what_it_says():
    function, *_ = blocks(ROOT / "docs" / "runtimes.md", "python")
    module: dict[str, Any] = {}
    exec(function, module)
    args, kwargs = values_for(module["mean"], ["1"], {}, Inputs.read(["1", "2"], {}))
    assert module["mean"](*args, **kwargs) == 1.5
    assert describe("mean", module["mean"]).signature == "mean(digits: int = 2)"


def test_the_complete_plugin_of_the_docs_is_that_of_the_examples():
    *_, plugin = blocks(ROOT / "docs" / "runtimes.md", "python")
    assert plugin == (ROOT / "examples" / "plugins" / "digest.py").read_text()


async def test_the_workflow_of_the_docs_runs(server, colony, people, tmp_path):
    page = ROOT / "docs" / "workflows.md"
    (program,), (file,) = blocks(page, "python"), blocks(page, "json")
    assert file == (ROOT / "examples" / "workflow.json").read_text()
    script = tmp_path / "workflow.py"
    script.write_text(program)
    env = {
        **environment(server, colony),
        "COLONIES_COLONYPRVKEY": people.colony_owner.hex,
        "COLONIES_KEYCHAIN": str(tmp_path / "keychain"),
    }
    async with Program(COMMAND, "shell", env=env) as running:
        await running.line_with("runtime ready")
        asker = {**env, **environment(server, colony, people.runtime)}
        async with python(script, env=asker) as asking:
            assert 0 == await asking.finish()
        assert ["SUCCESS {'c': ['c'], 'b': ['b']}"] == asking.lines
        submit = ["workflow", "submit", "--spec", str(ROOT / "examples" / "workflow.json")]
        cli = (sys.executable, "-m", "colonies.cli", *submit, "--wait")
        ran = await asyncio.create_subprocess_exec(
            *cli, env={**os.environ, **asker}, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await ran.communicate()
    assert b"success: 4 of 4 successful" in out


async def test_the_demo_shows_the_main_job_and_leaves_nothing():
    async with python(ROOT / "examples" / "demo.py") as demo:
        assert 0 == await demo.finish(), "\n".join(demo.lines)
    text = "\n".join(demo.lines)
    assert "fibonacci(90) = 2880067194370816120" in text
    assert "Next:" in text
    command, *shown = blocks(ROOT / "docs" / "tutorial.md", "console")[0].splitlines()
    assert command == "$ make demo"
    assert {*shown} - {"..."} <= {*demo.lines}
