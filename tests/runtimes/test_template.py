"""``colonies-run --new``: what is written works, and nothing is overwritten."""

import sys
import tomllib

import pytest

from colonies.core.errors import Misconfigured
from runtimes.launcher import main
from runtimes.template import write_package
from tests.programs import ROOT, Program
from tests.runtimes.conftest import COMMAND


async def test_the_tests_of_what_is_written_pass(tmp_path):
    folder = write_package("my-plugin", tmp_path)
    # Nothing of ours configures it: neither our pyproject.toml nor our conftest.py.
    tests = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly")
    async with Program(*tests, "--rootdir", folder, "-c", folder / "pyproject.toml", folder) as run:
        code = await run.finish()
    assert 0 == code, "\n".join(run.lines)
    assert any("9 passed, 3 skipped" in line for line in run.lines)


def test_it_says_where_it_has_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        main(["--new", "mine"])
    assert 0 == exit_.value.code
    assert "written: mine/; its README.md says how to go on\n" == capsys.readouterr().out
    assert ["README.md", "mine", "pyproject.toml", "tests"] == sorted(
        path.name for path in (tmp_path / "mine").iterdir()
    )


def test_its_entry_point_leads_to_the_plugin(tmp_path):
    folder = write_package("my-plugin", tmp_path)
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert {"my-plugin": "my_plugin.plugin:MyPlugin"} == project["entry-points"][
        "colonies.runtimes"
    ]


async def test_it_runs_beside_ours(launch, member, tmp_path):
    folder = write_package("my-plugin", tmp_path)
    metadata = folder / "my_plugin.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-plugin\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(
        "[colonies.runtimes]\nmy-plugin = my_plugin.plugin:MyPlugin\n"
    )
    async with launch("my-plugin", "--greeting", "hi", PYTHONPATH=str(folder)) as running:
        await running.line_with("runtime ready")
        process = await member.submit("greet", "you", runtime_type="my-plugin")
        assert ["hi, you"] == (await process.wait(60)).output


def test_what_is_there_is_left_as_it_is(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("mine")
    with pytest.raises(Misconfigured, match="is there already"):
        write_package("mine", tmp_path)
    assert ["README.md"] == [path.name for path in (tmp_path / "mine").iterdir()]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("", "expected up to 40 lower-case letters"),
        ("Mine", "expected up to 40"),
        ("../mine", "expected up to 40"),
        ("my--plugin", "expected up to 40"),
        ("x" * 41, "expected up to 40"),
        ("class", "means something to Python"),
        ("json", "means something to Python"),
        ("tests", "means something to Python"),
        ("runtimes", "means something to Python"),
        ("shell", "a plugin shell is installed already"),
    ],
)
def test_a_name_that_will_not_do_is_refused(tmp_path, name, complaint):
    with pytest.raises(Misconfigured, match=complaint):
        write_package(name, tmp_path)
    assert [] == list(tmp_path.iterdir())


async def test_a_wrong_name_is_one_line():
    async with Program(COMMAND, "--new", "shell") as running:
        assert 2 == await running.finish()
    assert ["error: --new: a plugin shell is installed already, expected another name"] == (
        running.lines
    )
    assert not (ROOT / "shell").exists()
