"""What the tests let the `python` runtime call."""

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from runtimes import context
from runtimes.inputs import Inputs


def add(a, b=0):
    sys.stdout.write("printed by add\n")
    return a + b


def join(given: Inputs, word: str):
    by_parent = {name: list(values) for name, values in given.by_parent.items()}
    return [word, list(given), by_parent]


def kinds(*values):
    return [type(value).__name__ for value in values]


async def later(value):
    await asyncio.sleep(0)
    return value


def nothing():
    return None


def fail(text):
    raise ValueError(text)


def leave():
    sys.exit(7)


def unspeakable():
    return object()


def half_a_character():
    return "\ud800"


def huge(length):
    return "a" * length


def fail_hugely(length):
    raise ValueError("a" * length)


def read_stdin():
    return sys.stdin.read()


def pid():
    return os.getpid()


def see(name):
    return os.environ.get(name, "")


def sleep_for_ever(fifo):
    Path(fifo).write_text(str(os.getpid()))
    time.sleep(1000)


def tidy(fifo, path):
    """Say that we are here, wait to be interrupted, and clean up."""
    try:
        Path(fifo).write_text(str(os.getpid()))
        time.sleep(1000)
    except KeyboardInterrupt:
        Path(path).write_text("tidy")
        raise


async def tidy_later(fifo, path):
    try:
        Path(fifo).write_text(str(os.getpid()))
        await asyncio.sleep(1000)
    except asyncio.CancelledError:
        Path(path).write_text("tidy")
        raise


def finish(fifo, value):
    with contextlib.suppress(KeyboardInterrupt):
        Path(fifo).write_text(str(os.getpid()))
        time.sleep(1000)
    return value


async def finish_later(fifo, value):
    with contextlib.suppress(asyncio.CancelledError):
        Path(fifo).write_text(str(os.getpid()))
        await asyncio.sleep(1000)
    return value


def stubborn(fifo):
    """Take no notice of interrupts, nor does a child of ours."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    child = subprocess.Popen(["sleep", "1000"])  # inherits what is ignored
    Path(fifo).write_text(f"{os.getpid()} {child.pid}")
    time.sleep(1000)


def stubborn_once(folder):
    """The first time take no notice, until something is in ``go``; be quick after that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        Path(folder, "first").mkdir()
    except FileExistsError:
        return "second"
    return Path(folder, "go").read_text()


not_callable = 1


def talk(count):
    log = logging.getLogger("talk")
    for number in range(count):
        sys.stdout.write(f"line {number}\n")
        log.warning("logged %d", number)
        context.progress(number + 1, count, f"at {number}")
    subprocess.run(["sh", "-c", "echo from a child"], check=True)
    sys.stdout.write("no end")


def environment_at_start():
    """Give all with which this process was started."""
    return Path("/proc/self/environ").read_text()


def deep():
    raise ValueError("deep")


def nested_failure():
    deep()


async def nested_failure_later():
    await asyncio.sleep(0)
    deep()
