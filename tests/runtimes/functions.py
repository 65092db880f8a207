"""What the tests let the `python` runtime call."""

import asyncio
import os
import sys
import time
from pathlib import Path


def add(a, b=0):
    sys.stdout.write("printed by add\n")
    return a + b


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


not_callable = 1
