"""The conformance kit: our plugins pass it, and each fault is caught by its case."""

import importlib.util
import sys
from types import ModuleType

import pytest

from colonies.testing import Conformance, Work, cases, open_world
from runtimes.shell.plugin import Shell
from tests.programs import ROOT
from tests.runtimes import wrong
from tests.runtimes.detached import Detached, Forgetful
from tests.test_docs import blocks


def example(name):
    """Import a plugin of the examples."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples/plugins" / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def of_the_docs():
    """Give what the first plugin of the docs, its test, and the test of one's own define."""
    _, plugin, conformance, own, _ = blocks(ROOT / "docs" / "runtimes.md", "python")
    for name in ("my_package", "my_package.shout"):
        sys.modules[name] = ModuleType(name)
    exec(plugin, vars(sys.modules["my_package.shout"]))
    defined = {"__name__": __name__}
    exec(conformance, defined)
    exec(own, defined)
    return defined


DOCS = of_the_docs()
TestShout = DOCS["TestShout"]
test_it_shouts = DOCS["test_it_shouts"]
Digest = example("digest").Digest


class TestShell(Conformance):
    plugin = Shell
    settings = Shell.Settings(sandbox="off")
    good = Work("echo", "hello")
    bad = Work("false")
    endless = Work("sleep", 1000)
    slow = Work("sleep", 1)
    loud = Work("seq", 1_000_000)
    telling = (Work("echo", "to the log"), "to the log")
    grace = 0.5


class TestDigest(Conformance):
    plugin = Digest
    settings = Digest.Settings(folder="/dev")
    good = Work("digest", "null")
    bad = Work("digest", "no-such-file")
    endless = Work("digest", "zero")
    telling = (Work("digest", "null"), "reading /dev/null")


class TestDetached(Conformance):
    plugin = Detached
    good = Work("nap", 0)
    bad = Work("think")
    endless = Work("nap", 1000)
    slow = Work("nap", 1)

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.folder = tmp_path
        self.settings = self.plugin.Settings(folder=str(tmp_path))

    def starts_of(self, process):
        return len(list(self.folder.glob(f"{process.process_id}.*")))


class TestRight(Conformance):
    plugin = wrong.Right
    good = Work("good")
    bad = Work("bad")
    endless = Work("wait")
    loud = Work("shout")
    telling = (Work("say"), "hello")
    grace = 0.1

    def left_of(self, process):
        return [one for one in getattr(self.plugin, "left", ()) if one == process.process_id]


async def test_a_world_without_a_database_brings_one_along():
    async with open_world() as world:
        (asker,) = await world.owner.get_runtimes(world.colony_id)
    assert "asker" == asker.runtime_type


@pytest.mark.parametrize(
    ("plugin", "case", "complaint"),
    [
        (wrong.Deaf, cases.heeds_cancel, "has not ended, though it was cancelled, in 1.5 s"),
        (wrong.Stubborn, cases.heeds_deadline, "still executes what is over"),
        (wrong.Messy, cases.heeds_cancel, "expected nothing left"),
        (wrong.Cheerful, cases.fails, "expected FAILED, the process is SUCCESS"),
        (wrong.Silent, cases.fails, "expected a reason"),
        (wrong.Greedy, cases.fails, "the slot was not free after a failure"),
        (wrong.Wordy, cases.bounds_output, "expected output that is bounded"),
        (wrong.Tongueless, cases.logs_before_it_closes, "expected 'hello' in the log"),
    ],
)
async def test_what_is_wrong_is_caught(plugin, case, complaint, colonies_database):
    class Wrong(TestRight):
        pass

    Wrong.plugin = plugin
    if plugin in (wrong.Deaf, wrong.Stubborn, wrong.Greedy):
        Wrong.patience = 1.5  # theirs is that something does not come
    with pytest.raises(AssertionError, match=complaint):
        await Wrong()._run(case, colonies_database)


async def test_work_that_is_begun_anew_is_caught(colonies_database, tmp_path):
    class Wrong(TestDetached):
        plugin = Forgetful
        settings = Forgetful.Settings(folder=str(tmp_path))
        folder = tmp_path

    with pytest.raises(AssertionError, match="begun once, it was 2 times"):
        await Wrong()._run(cases.outlives_its_runtime, colonies_database)
