"""Specs in files: three formats, one meaning, and the path of what is wrong."""

import io
import json
import sys

import pytest

from colonies.cli.spec import read_file, read_spec, read_workflow
from colonies.core.errors import Malformed
from colonies.core.process import Conditions, ProcessSpec

SPEC = ProcessSpec(
    func="f",
    args=["1", "yes"],
    kwargs={"when": "2026-11-24"},
    max_exec_time=60,
    conditions=Conditions(runtime_type="cli", mem=8192),
)

JSON = b"""{"func": "f", "args": ["1", "yes"], "kwargs": {"when": "2026-11-24"},
"maxexectime": 60, "conditions": {"runtimetype": "cli", "mem": 8192, "runtimeids": null}}"""

YAML = b"""
# a comment
func: f
args: ["1", "yes"]
kwargs:
  when: 2026-11-24
maxexectime: 60
conditions:
  runtimetype: cli
  mem: 8192
"""

TOML = b"""
func = "f"
args = ["1", "yes"]
maxexectime = 60
[kwargs]
when = 2026-11-24
[conditions]
runtimetype = "cli"
mem = 8192
"""


BOMB = b"a0: &a0 [x, x]\n" + b"".join(
    b"a%d: &a%d [*a%d, *a%d]\n" % (number, number, number - 1, number - 1)
    for number in range(1, 60)
)
"""YAML of 60 lines that stands for more values than there is room for."""


def named(name: str, content: bytes) -> io.BytesIO:
    file = io.BytesIO(content)
    file.name = name
    return file


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", JSON),
        ("a.yaml", YAML),
        ("a.YML", YAML),
        ("a.yaml", JSON),
        ("a.toml", TOML),
        ("<stdin>", JSON),
        ("a.json", b"\xef\xbb\xbf" + JSON),
        ("a.toml", b"\xef\xbb\xbf" + TOML),
        ("<stdin>", YAML),
    ],
)
def test_a_spec_is_the_same_in_every_format(name, content):
    assert read_file(named(name, content), ProcessSpec) == SPEC


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.yaml", b"args: [yes]", 'args[0]: expected str, got bool true; write "true"'),
        ("a.yaml", b"a: [1", "expected YAML: while parsing"),
        ("a.yaml", b"!!python/object:os.system x", "expected YAML: could not determine"),
        ("a.yaml", b"", "expected a spec, but there is nothing in it"),
        ("a.yaml", b"1: 2", "1: there is no such field"),
        ("a.toml", b"a = ", "expected TOML: Invalid value"),
        ("a.toml", b"conditions.men = 1", "conditions.men: there is no such field, did you mean"),
        ("a.toml", b'[conditions]\nmem = "8G"', 'conditions.mem: expected int, got str "8G"'),
        ("a.toml", b"priority = 1.5", "priority: expected int, got float 1.5"),
        ("a.json", b"a: 1", "expected JSON: expecting value (at column 1)"),
        ("a.json", b'{"a": 1\n 2}', "expected JSON: expecting ',' delimiter (at line 2, column 2)"),
        ("a.json", b'{"func": "f', "expected JSON: unterminated string starting at (at column 10"),
        ("a.json", b'{"func": "\xff"}', "expected UTF-8, but byte 10 is none"),
        ("a.json", b'{"args": [null, "\\ud800"]}', "args[1]: expected text that UTF-8 can write"),
        ("a.json", b'{"env": {"\\udfff": "1"}}', "env: expected text that UTF-8 can write"),
        ("a.yaml", b'args: ["\\ud800"]', "args[0]: expected text that UTF-8 can write"),
        ("a.json", b'{"func": "a\\u0000"}', "func: expected text without NUL"),
        ("a.json", b'{"env": {"a": "1", "b": "2", "a": "3"}}', "env.a: expected once, it is there"),
        ("-", b'{"func": "f", "func": "f"}', "func: expected once"),
        ("a.yaml", b"func: f\nfunc: f", "expected YAML: expected func once, it is there twice"),
        ("a.toml", b"func = 'f'\nfunc = 'f'", "expected TOML: Cannot overwrite a value"),
        ("a.json", b'{"priority": 1e400}', "priority: expected a number in the range of JSON"),
        ("a.yaml", b"priority: .inf", "priority: expected a number in the range of JSON"),
        ("a.toml", b"conditions.mem = nan", "conditions.mem: expected a number in the range"),
        ("a.json", "{}".encode("utf-16"), "expected UTF-8, this is UTF-16"),
        ("a.yaml", BOMB, "expected at most 1000000 values: its aliases stand for more"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_its_path(name, content, expected):
    with pytest.raises(Malformed) as caught:
        read_file(named(name, content), ProcessSpec)
    assert str(caught.value).startswith(f"{name}: {expected}")


def test_in_a_list_the_path_begins_with_the_place_in_it():
    specs = json.dumps([{"func": "f"}, {"func": "g", "conditions": {"gpu": 1}}]).encode()
    with pytest.raises(Malformed, match=r"a.json: \[1\].conditions.gpu: .* did you mean gpus\?"):
        read_file(named("a.json", specs), list[ProcessSpec])


WITHOUT_EXTRA = """
import sys
for name in ("yaml", "rich"):
    sys.modules[name] = None
from colonies.cli import main
main()
"""


async def test_yaml_is_an_extra(bare, tmp_path):
    argv = (sys.executable, "-c", WITHOUT_EXTRA)
    (tmp_path / "spec.yaml").write_bytes(YAML)
    words = ("process", "submit", "--dry-run", "--colonyid", "a" * 64, "--spec")
    async with bare.started(*words, str(tmp_path / "spec.yaml"), argv=argv) as process:
        _, err = await process.communicate()
    assert process.returncode == 2
    assert b"pip install 'colonies[cli]'" in err
    (tmp_path / "spec.toml").write_bytes(TOML)
    async with bare.started(*words, str(tmp_path / "spec.toml"), argv=argv) as process:
        out, _ = await process.communicate()
    assert (process.returncode, b"conditions.runtimetype  cli" in out) == (0, True)


@pytest.mark.parametrize("text", ["[" * 3000 + "]" * 3000, "args: &a [*a]", '{"a":' * 100_000])
def test_what_has_no_end_is_refused(text):
    file = io.BytesIO(text.encode())
    file.name = "-"
    with pytest.raises(Malformed, match="depth"):
        read_spec(None, None, file)


@pytest.mark.parametrize("name", ["it.json", "it.yaml", "it.toml", "-"])
def test_an_empty_file_is_called_that(name):
    file = io.BytesIO(b" \n")
    file.name = name
    with pytest.raises(Malformed, match="nothing in it"):
        read_spec(None, None, file)


def test_a_file_of_another_kind_says_which_command_takes_it():
    for read, text, hint in (
        (read_spec, b'{"processspecs": []}', "colonies workflow submit"),
        (read_workflow, b'{"func": "echo"}', "colonies process submit"),
    ):
        file = io.BytesIO(text)
        file.name = "it.json"
        with pytest.raises(Malformed, match=hint):
            read(None, None, file)


def test_what_becomes_of_the_rest_is_one_of_few_words():
    file = named("it.json", b'{"processspecs": [], "onfailure": "stop"}')
    expected = 'onfailure: expected one of continue, cancel, got "stop"'
    with pytest.raises(Malformed, match=expected):
        read_workflow(None, None, file)


def test_aliases_in_moderation_are_fine():
    text = b"processspecs: [{name: a, func: f, args: &x [y]}, {name: b, func: f, args: *x}]"
    a, b = read_workflow(None, None, named("it.yaml", text)).process_specs
    assert a.args == b.args == ["y"]


@pytest.mark.parametrize("content", [b"[null]", b'{"priority": null, "kwargs": {"a": [1]}}'])
def test_what_was_got_is_said_once(content):
    with pytest.raises(Malformed) as caught:
        read_file(named("a.json", content), list[str] if content[:1] == b"[" else ProcessSpec)
    assert "null null" not in str(caught.value)


async def test_a_spec_that_is_no_utf8_is_refused_in_one_line(bare, tmp_path):
    file = tmp_path / "spec.json"
    file.write_text('{"func": "f", "args": ["\\ud800"], "conditions": {"runtimetype": "t"}}')
    words = ("process", "submit", "--dry-run", "--colonyid", "a" * 64, "--spec", str(file))
    line = await bare.refuses(*words, status=2)
    assert line == f'{file}: args[0]: expected text that UTF-8 can write, got "\\ud800"'
