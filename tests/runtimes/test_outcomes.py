"""What is kept on disk, and what becomes of it."""

import os
import stat
import time

import msgspec
import pytest
import structlog

from runtimes import outcomes as module
from runtimes.base import failure, success
from runtimes.outcomes import Kept, Outcomes

RUNTIME = "1" * 64
COLONY = "2" * 64


def kept(process_id="3" * 64, attempt=1, **fields):
    plain = {
        "runtime_id": RUNTIME,
        "colony_id": COLONY,
        "process_id": process_id,
        "attempt": attempt,
        "attempt_token": "token",
        "lease": 7,
        "outcome": success("done"),
    }
    return Kept(**(plain | fields))


@pytest.fixture
def outcomes(tmp_path):
    return Outcomes(tmp_path, RUNTIME, COLONY)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "outcomes" / RUNTIME


def test_what_is_kept_can_be_loaded_until_it_is_dropped(outcomes, folder):
    assert [] == outcomes.load()
    first, second = kept(), kept(attempt=2, outcome=failure("why"))
    outcomes.keep(first)
    os.utime(folder / first.name, (time.time() - 60,) * 2)
    outcomes.keep(second)
    assert [first, second] == outcomes.load()
    outcomes.drop(first)
    outcomes.drop(first)
    assert [second] == outcomes.load()


def test_it_is_for_nobody_else_to_read(outcomes, folder):
    outcomes.keep(kept())
    (file,) = folder.iterdir()  # and no draft is left
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder.parent, folder, file)]
    assert [0o700, 0o700, 0o600] == modes


def test_the_process_of_an_outcome_is_enough_to_renew_and_to_close_it():
    process = kept().process
    assert ("3" * 64, "token", 7) == (
        process.process_id,
        process.attempt_token,
        process.spec.lease,
    )
    assert kept() == Kept.of(process, success("done"))


def test_what_cannot_be_read_or_is_foreign_stays_with_one_warning(outcomes, folder):
    outcomes.keep(kept())
    odd = {
        "broken.json": b"{",
        "newer.json": msgspec.json.encode({"version": 2}),
        kept("4" * 64).name: msgspec.json.encode(kept("4" * 64, runtime_id="5" * 64)),
        kept("6" * 64).name: msgspec.json.encode(kept("6" * 64, colony_id="5" * 64)),
        "renamed.json": msgspec.json.encode(kept()),
    }
    for name, content in odd.items():
        (folder / name).write_bytes(content)
    with structlog.testing.capture_logs() as logs:
        assert [kept()] == outcomes.load()
    assert [("outcomes not read", 5)] == [(log["event"], log["count"]) for log in logs]
    assert odd == {name: (folder / name).read_bytes() for name in odd}


def test_what_is_too_old_is_dropped(outcomes, folder):
    outcomes.keep(kept())
    old = time.time() - module.LONGEST
    os.utime(folder / kept().name, (old, old))
    with structlog.testing.capture_logs() as logs:
        assert [] == outcomes.load()
    assert [("outcomes dropped", 1)] == [(log["event"], log["count"]) for log in logs]
    assert [] == list(folder.iterdir())


def test_of_too_many_the_newest_are_kept(outcomes, folder, monkeypatch):
    monkeypatch.setattr(module, "MOST", 2)
    for attempt in (1, 2, 3):
        outcomes.keep(kept(attempt=attempt))
        os.utime(folder / kept(attempt=attempt).name, (time.time() - 60 + attempt,) * 2)
    assert [2, 3] == [one.attempt for one in outcomes.load()]
    assert 2 == len(list(folder.iterdir()))


def test_an_id_that_is_a_path_is_refused(outcomes, tmp_path):
    with pytest.raises(ValueError, match="no id of a process"):
        outcomes.keep(kept("../../" + "3" * 58))
    assert [] == list(tmp_path.iterdir())
