"""The file of ``colonies-run --config``: what it may say, and what is said of its faults."""

import shutil
import subprocess
import sys

import click
import pytest

from colonies.client import Keychain
from colonies.core.identity import PrivateKey
from runtimes.launcher import Plugins, main
from runtimes.roster import read
from tests.programs import ROOT

COLONY = "a" * 64
DEFAULTS = f'[defaults]\ncolony_id = "{COLONY}"\n'
ONE = '[runtimes.one]\nplugin = "shell"\n'


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """Check a file as a person would; give the exit code and what was said."""
    monkeypatch.setenv("COLONIES_KEYCHAIN", str(tmp_path / "keychain"))

    def run(text):
        (tmp_path / "runtimes.toml").write_text(text)
        with pytest.raises(SystemExit) as ended:
            main(["--config", str(tmp_path / "runtimes.toml"), "--check"])
        said = capsys.readouterr()
        return ended.value.code or 0, (said.out + said.err).replace(f"{tmp_path}/", "")

    return run


def test_it_says_what_would_run_and_makes_nothing(check, tmp_path):
    one = ONE + 'sandbox = "off"\n'
    two = '[runtimes.two]\nplugin = "python"\npath = ["/usr", "/etc"]\nallow = ["c", "d"]\n'
    code, said = check(DEFAULTS + one + two)
    assert 0 == code
    assert said == (
        "one: shell\n  sandbox: turned off\n"
        "two: python\n  modules: c, d\n  path: /usr, /etc\n  sandbox: none\n"
    )
    assert not (tmp_path / "keychain").exists()


def test_all_that_could_not_start_are_named_and_the_others_shown(check, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    two = '[runtimes.two]\nplugin = "shell"\nsandbox = "require"\n'
    three = '[runtimes.three]\nplugin = "container"\n'
    code, said = check(DEFAULTS + ONE + two + three)
    assert 2 == code
    shown, *faults = said.partition("error: ")[0], *said.splitlines()[-2:]
    assert shown.startswith("one: shell\n  sandbox: limits, temporary folder")
    assert "\n  missing: bubblewrap: not installed\n" in shown
    assert "error: runtimes.toml: runtimes.two: sandbox: required, but bubblewrap:" in faults[0]
    assert "error: runtimes.toml: runtimes.three: which images?" in faults[1]


def test_a_table_is_a_command_line(tmp_path, monkeypatch):
    monkeypatch.setenv("COLONIES_KEYCHAIN", str(tmp_path / "keychain"))
    path = tmp_path / "runtimes.toml"
    path.write_text(
        f'[defaults]\ncolony_id = "{COLONY}"\nplugin = "shell"\nslots = 4\nmax_output = 9\n'
        '[runtimes.one]\nslots = 2\ndrain = 1.5\ntype = "big"\noffline = true\nverbose = false\n'
        'write = ["/a b", "-c"]\nlabel = ["rack=7"]\n'
        '[runtimes.two]\nplugin = "python"\nname = "other"\ntls = false\n'
    )
    found = read(path, click.Context(Plugins(name="colonies-run")))
    assert {"one", "two"} == set(found)
    assert "shell" == found["one"].words[0]
    assert {
        "--name=one", "--slots=2", "--drain=1.5", "--type=big", "--offline", "--max-output=9",
        "--write=/a b", "--write=-c", "--label=rack=7", f"--colonyid={COLONY}",
    } == set(found["one"].words[1:])  # fmt: skip
    other = {"--name=other", "--slots=4", "--no-tls", f"--colonyid={COLONY}"}
    assert other == set(found["two"].words[1:])


def test_a_runtime_has_one_identity_before_and_after_its_first_start(tmp_path, monkeypatch):
    monkeypatch.setenv("COLONIES_KEYCHAIN", str(tmp_path / "keychain"))
    path, ctx = tmp_path / "runtimes.toml", click.Context(Plugins(name="colonies-run"))
    path.write_text(DEFAULTS + ONE)
    before = read(path, ctx)
    key = Keychain(tmp_path / "keychain").named(f"one.{COLONY[:16]}")
    assert before == read(path, ctx)
    path.write_text(DEFAULTS + ONE.replace("one", "two") + f'runtime_id = "{key.id}"\n')
    assert before["one"].identity == read(path, ctx)["two"].identity


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x = ", "runtimes.toml: Invalid value (at "),
        ("", "runtimes.toml: nothing to run, expected a table [runtimes.NAME]"),
        ("[runtime.a]\n", "runtime: there is no such key; did you mean runtimes?"),
        ("runtimes = 1\n", "runtimes: expected a table"),
        ("[runtimes]\none = 1\n", "runtimes.one: expected a table"),
        ("[runtimes.one]\n", "runtimes.one.plugin: expected the name of a plugin"),
        ('[runtimes.one]\nplugin = "shel"\n', "one.plugin: no plugin 'shel' is installed; did you"),
        (ONE, "runtimes.one: which colony? Give --colonyid or set COLONIES_COLONYID"),
        (DEFAULTS + ONE + "slot = 1\n", "runtimes.one.slot: there is no such key; did you mean s"),
        (DEFAULTS + ONE + "slots = 0\n", "runtimes.one.slots: 0 is not in the range 1<=x<=10000"),
        (DEFAULTS + "slots = 0\n" + ONE, "toml: defaults.slots: 0 is not in the range"),
        (DEFAULTS + 'slots = "2"\n' + ONE, "toml: defaults.slots: expected a whole number"),
        (DEFAULTS + ONE + "max_output = -5\n", "one.max_output: -5 is not in the range x>=0"),
        (DEFAULTS + ONE + "max_memory = -5\n", "one.max_memory: -5 is not in the range x>=0"),
        (DEFAULTS + ONE + 'slots = "2"\n', "runtimes.one.slots: expected a whole number"),
        (DEFAULTS + ONE + "slots = true\n", "runtimes.one.slots: expected a whole number"),
        (DEFAULTS + ONE + 'drain = "1"\n', "runtimes.one.drain: expected a number"),
        (DEFAULTS + ONE + "cwd = 1\n", "runtimes.one.cwd: expected text"),
        (DEFAULTS + ONE + 'cwd = "\\u0000"\n', "runtimes.one.cwd: expected text without NUL"),
        (DEFAULTS + ONE + "offline = 1\n", "runtimes.one.offline: expected true or false"),
        (DEFAULTS + ONE + 'write = "/a"\n', "runtimes.one.write: expected a list"),
        (DEFAULTS + ONE + 'write = ["/a", 1]\n', "runtimes.one.write[1]: expected text"),
        (DEFAULTS + ONE + 'sandbox = "on"\n', "runtimes.one.sandbox: 'on' is not one of"),
        (DEFAULTS + ONE + 'name = "a b"\n', "runtimes.one: 'a b.aaaaaaaaaaaaaaaa': expected lett"),
        (DEFAULTS + ONE + 'colony_id = "b"\n', "runtimes.one: --colonyid: expected 64 lower-case"),
        (DEFAULTS + ONE + f'runtime_id = "{COLONY}"\n', "runtimes.one: no key of runtime <aaaa"),
        (DEFAULTS + "path = []\n" + ONE, "defaults.path: there is no such key; "),
        (DEFAULTS + ONE + '[runtimes.two]\nplugin = "shell"\nname = "one"\n', "key of runtimes.on"),
    ],
)
def test_a_fault_is_one_line_with_its_place(check, text, complaint):
    code, said = check(text)
    assert (2, 1) == (code, said.count("\n"))
    assert complaint in said


def test_an_option_of_a_setting_shows_its_variable(capsys):
    with pytest.raises(SystemExit):
        main(["shell", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "[env var: COLONIES_SERVERHOST]" in said
    assert "[env var: COLONIES_SHELL_CWD]" in said


def test_an_interrupt_is_no_failure(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("runtimes.launcher._plugin_settings", interrupted)
    with pytest.raises(SystemExit) as ended:
        main(["shell"])
    assert (130, "") == (ended.value.code, capsys.readouterr().err.strip())


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            ["--check", "shell"],
            "error: --config and --check do not go before shell\nhelp: colonies-run --help\n",
        ),
        (["--check"], "error: missing the name of a plugin, or --config\n"),
        (["shell", "--within", "1"], "error: --within is for --once\n"),
        (["shell", "--slot", "1"], "error: no such option '--slot'"),
        (["shell", "--slots", "0"], "error: invalid value for '--slots': 0 is not in the range"),
        (["shell", "\udcff"], "error: expected UTF-8, not '\\udcff'\n"),
        (["shell", "--check"], "which colony?"),
    ],
)
def test_what_does_not_go_together_is_said(words, complaint, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert (2, True) == (ended.value.code, complaint in capsys.readouterr().err)


def test_a_file_that_is_not_there(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--config", str(tmp_path / "none.toml"), "--check"])
    assert f"error: {tmp_path}/none.toml: No such file or directory\n" == capsys.readouterr().err


def test_a_key_by_its_id_is_found_and_used_once(check, tmp_path):
    key = PrivateKey.generate()
    Keychain(tmp_path / "keychain").add(key)
    mine = f'runtime_id = "{key.id}"\n'
    assert 0 == check(DEFAULTS + ONE + mine)[0]
    code, said = check(DEFAULTS + ONE + mine + ONE.replace("one", "two") + mine)
    assert (2, True) == (code, "runtimes.two: has the key of runtimes.one" in said)


PAGE = (ROOT / "docs" / "colonies-run.md").read_text()
EXAMPLE = (ROOT / "examples" / "service" / "runtimes.toml").read_text()


@pytest.mark.parametrize("text", [*PAGE.split("```toml\n")[1:], EXAMPLE], ids=["docs", "example"])
def test_the_files_to_begin_with_are_right(check, text):
    code, said = check(text.split("```")[0])
    # Whether all of it is there is this machine's.
    missing = [line for line in said.splitlines() if "error: " in line]
    why = ("required, but", "there is no folder")
    assert (0, []) == (code, missing) or all(any(map(line.__contains__, why)) for line in missing)


def test_the_unit_is_one_that_systemd_takes(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("there is no systemd-analyze")
    text = (ROOT / "examples" / "service" / "colonies-run.service").read_text()
    unit = tmp_path / "colonies-run.service"
    unit.write_text(text.replace("/opt/colonies/bin/colonies-run", sys.executable))
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "colonies-run.service" not in said.stderr
