"""``colonies-run --new NAME``: a package with a plugin that works, as a beginning."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import click

from colonies.core.errors import Misconfigured
from colonies.version import __version__

C = TypeVar("C", bound=Callable[..., Any] | click.Command)

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", re.ASCII)
_LONGEST_NAME = 40

_PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.25"]
build-backend = "hatchling.build"

[project]
name = "NAME"
version = "0.1.0"
description = "A runtime of Colonies."
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["colonies>=VERSION"]

[project.optional-dependencies]
test = ["colonies[testing]"]

[project.entry-points."colonies.runtimes"]
NAME = "MODULE.plugin:CLASS"

[tool.hatch.build.targets.wheel]
packages = ["MODULE"]

[tool.pytest.ini_options]
pythonpath = ["."]
testpaths = ["tests"]
"""

_PLUGIN = '''\
"""Run a process: func says what is done, args with what."""

from __future__ import annotations

import asyncio
from typing import Annotated

from colonies.core.process import Process, decode_argument
from runtimes.base import Help, Job, Outcome, Runtime, failure, success


class CLASS(Runtime):
    """Greets, and waits."""

    runtime_type = "NAME"

    class Settings(Runtime.Settings, frozen=True):
        """What the owner may set: --greeting, or COLONIES_UPPER_GREETING."""

        greeting: Annotated[str, Help("What is said first")] = "hello"

    settings: Settings

    async def execute(self, process: Process, job: Job) -> Outcome:
        """Do what the process says; whatever is raised here is a failure with its text."""
        match process.spec.func, [decode_argument(text) for text in process.spec.args]:
            case "greet", [str(name)]:
                await job.log(f"greeting {name}\\n")
                return success(f"{self.settings.greeting}, {name}")
            case "wait", [int() | float() as seconds]:
                await asyncio.sleep(seconds)
                return success()
        return failure("expected greet NAME or wait SECONDS")
'''

_TEST = '''\
"""The plugin does what all plugins must, and what it is for."""

import asyncio

from colonies.testing import Conformance, Work, open_world
from MODULE.plugin import CLASS


class TestCLASS(Conformance):
    plugin = CLASS
    good = Work("greet", "you")
    bad = Work("greet")
    endless = Work("wait", 1000)
    slow = Work("wait", 1)
    telling = (Work("greet", "you"), "greeting you")


def test_it_greets(colonies_database):
    async def greet():
        async with open_world(colonies_database) as world:
            async with world.running(CLASS(CLASS.Settings(greeting="good day"))):
                process = await world.submit("greet", "you", runtime_type="NAME")
                return await world.ended(process.id)

    assert asyncio.run(greet()).output == ["good day, you"]
'''

_README = """\
# NAME

A runtime of Colonies; `MODULE/plugin.py` says what it does.

```console
$ pip install -e '.[test]'
$ pytest
$ colonies-run NAME
$ colonies process run greet you --type NAME --wait
```
"""


def write_package(name: str, parent: Path) -> Path:
    """Write the package of a plugin into a new folder, which is given.

    Raises Misconfigured for a name that cannot be that of a plugin and a package, or is taken, and
    for a folder that is there already or cannot be written.
    """
    _check(name)
    module = name.replace("-", "_")
    words = {
        "VERSION": __version__,
        "MODULE": module,
        "CLASS": "".join(word.capitalize() for word in name.split("-")),
        "UPPER": module.upper(),
        "NAME": name,
    }
    files = {
        "pyproject.toml": _PYPROJECT,
        "README.md": _README,
        f"{module}/__init__.py": f'"""The plugin {name} of Colonies."""\n',
        f"{module}/plugin.py": _PLUGIN,
        f"tests/test_{module}.py": _TEST,
    }
    folder = parent / name
    try:
        folder.mkdir()
        for path, text in files.items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(_fill(text, words))
    except FileExistsError as error:
        raise Misconfigured(f"--new: {folder} is there already, and is left as it is") from error
    except OSError as error:
        raise Misconfigured(f"--new: cannot write {folder}: {error.strerror}") from error
    return folder


def option(command: C) -> C:
    """Add ``--new`` to a command."""

    def write(ctx: click.Context, _: click.Parameter, name: str | None) -> None:
        if name is None or ctx.resilient_parsing:
            return
        folder = write_package(name, Path())
        click.echo(f"written: {folder}/; its README.md says how to go on")
        ctx.exit()

    return click.option(
        "--new",
        metavar="NAME",
        is_eager=True,
        expose_value=False,
        callback=write,
        help="Write the package of a plugin of your own into ./NAME, as a beginning, and exit.",
    )(command)


def _check(name: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise Misconfigured(
            f"--new: expected up to {_LONGEST_NAME} lower-case letters, digits and single "
            f"hyphens, a letter first, got {name[:80]!r}"
        )
    module = name.replace("-", "_")
    if entry_points(group="colonies.runtimes", name=name):
        raise Misconfigured(f"--new: a plugin {name} is installed already, expected another name")
    if keyword.iskeyword(module) or module == "tests" or find_spec(module):
        raise Misconfigured(f"--new: {module} means something to Python, expected another name")


def _fill(text: str, words: dict[str, str]) -> str:
    return re.sub("|".join(words), lambda found: words[found[0]], text)
