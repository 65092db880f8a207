"""How slow the machine is: a promise in seconds is one of a machine that gets on with its work.

A program beside the test does the same small piece of work again and again, computing and writing
to the disk, and notes how long it takes. What takes three times as long as it could, as it does
beside the programs of a test on two cores, is usual; where it takes longer, so may the hub.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import time
from bisect import bisect_left
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import mean

from tests.programs import ROOT

USUAL = 3.0
"""Times that a piece of work may take as long as the quickest before the machine counts as slow."""

MOST = 10.0
"""Times that a promise is stretched to at most, however slow the machine is."""

PERIOD = 0.05
"""Seconds between two pieces."""


class Yardstick:
    """What was measured: when each piece of work was begun, and how long it took."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def stretched(self, seconds: float, begin: float, end: float) -> float:
        """Give how long something may take for which a machine that is not slow takes so long.

        ``begin`` and ``end`` say when, by the time of day; shorter than ``seconds`` it never is.
        """
        measured = [tuple(map(float, line.split())) for line in self._lines()]
        quickest = min(took for _, took in measured)
        first = bisect_left(measured, (begin,))
        last = bisect_left(measured, (end,))
        # The one before may have lasted into the time that is asked for.
        there = [took for _, took in measured[max(0, first - 1) : last]] or [quickest]
        return seconds * min(max(1.0, mean(there) / quickest / USUAL), MOST)

    def _lines(self) -> list[str]:
        *whole, _ = self._file.read_text().split("\n")
        return whole


@asynccontextmanager
async def yardstick(folder: Path) -> AsyncIterator[Yardstick]:
    """Measure while the block lasts; it may be asked afterwards as well."""
    argv = (sys.executable, "-m", "tests.faults.yardstick", str(folder))
    process = await asyncio.create_subprocess_exec(*argv, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    await process.stdout.readline()
    try:
        yield Yardstick(folder / "measured")
    finally:
        process.kill()
        await process.wait()
        await process.stdout.read()


def measure(folder: Path) -> None:
    """Measure until killed; say so when there is a first result."""
    with (folder / "measured").open("w") as results, (folder / "written").open("wb") as disk:
        while True:
            time.sleep(PERIOD)
            begin = time.time()
            work(disk.fileno())
            results.write(f"{begin} {time.time() - begin}\n")
            results.flush()
            if results.tell() < 100:
                sys.stdout.write("measured\n")
                sys.stdout.flush()


def work(disk: int) -> None:
    """Do some milliseconds of work."""
    for _ in range(10):
        hashlib.sha3_256(b"x" * 50_000).digest()
    os.pwrite(disk, b"x" * 4096, 0)
    os.fsync(disk)


if __name__ == "__main__":
    measure(Path(sys.argv[1]))
