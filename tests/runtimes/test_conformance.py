"""The conformance kit: our plugins pass it, and each fault is caught by its case."""

import pytest

from colonies.testing import Conformance, Work, cases
from runtimes.shell.plugin import Shell
from tests.runtimes import wrong


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


class TestRight(Conformance):
    plugin = wrong.Right
    good = Work("good")
    bad = Work("bad")
    endless = Work("wait")
    loud = Work("shout")
    telling = (Work("say"), "hello")
    patience = 0.7
    grace = 0.1

    def left_of(self, process):
        return [one for one in getattr(self.plugin, "left", ()) if one == process.process_id]


@pytest.mark.parametrize(
    ("plugin", "case", "complaint"),
    [
        (wrong.Deaf, cases.heeds_cancel, "has not ended, though it was cancelled, in 0.7 s"),
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
    with pytest.raises(AssertionError, match=complaint):
        await Wrong()._run(case, colonies_database)
