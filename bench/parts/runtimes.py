"""What a runtime adds to a process that does nothing, and what holding a thousand jobs costs it."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median

import msgspec
import psutil

from bench.load import per_second
from bench.report import Chapter, Figures, Table, ms, number, rate
from bench.ways import AT_ONCE, WAYS, Way, cluster, run, runtime
from bench.world import Hub, World, cpu_seconds, stopwatch
from colonies import Colonies, connect
from colonies.core.process import Conditions, ProcessSpec, State
from tests.programs import NotHere
from tests.runtimes.slurm_cluster import Cluster

PATIENCE = 120.0
"""Seconds that a process may take that does nothing."""

FEWEST = 3
"""Turns that are taken, however long they last."""

LEASE = 600
"""Seconds that a runtime has to say that it still holds a job."""

SETTLED_AFTER = 5.0
"""Seconds after which a runtime has seen each of its jobs."""

CONDITIONS = f"""\
Processes that do nothing, by `colonies-run`: from before the submitter signs until it knows of the
end. Beside it the same by hand: the program, a new Python that calls the function, `podman run
--rm`, `sbatch` and then `squeue` until the job is gone. Medians, in turns; *at once* are {AT_ONCE}
at a time, and what one of them took of the whole. *shell* has all of the sandbox that works on this
machine; the python runtime keeps its interpreters. Podman and Slurm (one node) are real, and were
started for this. Kubernetes is not measured: there is no cluster of it here."""


class Held(msgspec.Struct, frozen=True):
    """What a runtime takes that holds jobs which wait."""

    count: int
    submitted: float
    """Jobs a second, from the hub to the queue."""
    own: float
    """Share of a core, without the commands that it runs."""
    family: float
    """Share of a core, with them."""
    empty: int
    """Bytes resident without jobs."""
    full: int

    def figures(self) -> Figures:
        """Give them by name."""
        return {
            "runtimes/held/submitted": self.submitted,
            "runtimes/held/processor": self.family,
            "runtimes/held/bytes": (self.full - self.empty) / self.count,
        }

    def table(self) -> Table:
        """Give them as they are read."""
        rows = [
            ("jobs brought from the hub into the queue", rate(self.submitted)),
            ("processor while they wait, of a core", f"{self.own:.1%}"),
            ("the same with the `squeue` that it runs", f"{self.family:.1%}"),
            ("memory before", f"{self.empty / 1e6:.1f} MB"),
            ("memory with all of them", f"{self.full / 1e6:.1f} MB"),
        ]
        return Table((f"one runtime, {self.count:,} jobs in the queue of Slurm", "figure"), rows)


async def measure(world: World) -> Chapter:
    """Measure each way that works on this machine, and what waits in Slurm's queue."""
    figures: Figures = {}
    absent: list[str] = []
    rows = []
    tables = [Table(HEAD, rows)]
    seconds = world.scale.seconds
    async with world.hub() as hub:
        for name in world.scale.ways:
            with noted(absent, name):
                async with WAYS[name]() as way, working(hub, way) as live:
                    found = await compared(live, way.by_hand, seconds / 4)
                figures |= {f"runtimes/{name}/{one}": took for one, took in found.items()}
                rows.append((name, *cells(*found.values())))
        if world.scale.queued:
            with noted(absent, "What waits in a queue"):
                async with cluster() as slurm:
                    held = await holding(hub, slurm, world.scale.queued, seconds * 2)
                figures |= held.figures()
                tables.append(held.table())
    return Chapter("Runtimes", "\n".join([CONDITIONS, *absent]), tables, figures=figures)


@contextmanager
def noted(absent: list[str], name: str) -> Iterator[None]:
    """Leave out what this machine has not, and say why."""
    try:
        yield
    except NotHere as why:
        absent.append(f"{name} is not measured: {why}.")


HEAD = (
    "a process that does nothing",
    "by hand",
    "by the runtime",
    "overhead",
    "ratio",
    "at once, by hand",
    "by the runtime",
    "ratio",
)


def cells(hand: float, took: float, hand_of_many: float, of_many: float) -> tuple[str, ...]:
    """Give the times of one and of one of many, each with its ratio."""
    one = ms(hand), ms(took), ms(took - hand), number(took / hand)
    return *one, ms(hand_of_many), ms(of_many), number(of_many / hand_of_many)


@asynccontextmanager
async def working(hub: Hub, way: Way) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Have a runtime; gives what has it do nothing once."""
    with tempfile.TemporaryDirectory(prefix="colonies-runtime-") as folder:
        async with (
            connect(hub.settings, key=hub.people.runtime) as member,
            runtime(hub, way, Path(folder), "--slots", str(AT_ONCE)),
        ):

            async def live() -> None:
                process = await member.submit(way.func, runtime_type=way.plugin)
                ended = await process.wait(PATIENCE)
                if ended.state is not State.SUCCESS:
                    raise RuntimeError(f"{way.plugin}: {ended.errors}")

            await asyncio.gather(*(live() for _ in range(AT_ONCE)))  # what is kept is there now
            yield live


async def compared(
    live: Callable[[], Awaitable[None]], by_hand: Callable[[], Awaitable[None]], seconds: float
) -> Figures:
    """Give the milliseconds of one by hand, of one by a runtime, and of one of many of each."""
    hand: list[float] = []
    took: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(took) < FEWEST:
        with stopwatch(hand):
            await by_hand()
        with stopwatch(took):
            await live()
    many = [
        1000 / await per_second(AT_ONCE, seconds, lambda _number, one=one: one())
        for one in (by_hand, live)
    ]
    times = (median(hand), median(took), *many)
    return dict(zip(("hand", "runtime", "hand/many", "runtime/many"), times, strict=True))


async def holding(hub: Hub, slurm: Cluster, count: int, seconds: float) -> Held:
    """Have a runtime hold jobs for a node that is not there, and weigh it for so long."""
    way = Way("slurm", slurm.start, options=PARTITIONS, env=slurm.env)
    with tempfile.TemporaryDirectory(prefix="colonies-runtime-") as folder:
        async with (
            connect(hub.settings, key=hub.people.runtime) as member,
            runtime(hub, way, Path(folder), "--max-pending", str(count)) as program,
        ):
            await (await member.submit("true", runtime_type="slurm")).wait(PATIENCE)
            empty = program.memory_info().rss
            started = time.perf_counter()
            await submit(member, count)
            await until_queued(slurm, count)
            submitted = count / (time.perf_counter() - started)
            await asyncio.sleep(SETTLED_AFTER)
            own, family = await used(program, seconds)
            return Held(count, submitted, own, family, empty, program.memory_info().rss)


PARTITIONS = ("--allow-partition", "debug", "--allow-partition", "other")


async def submit(member: Colonies, count: int) -> None:
    """Submit jobs that wait until they are no more."""
    spec = ProcessSpec(
        func="true",
        kwargs={"partition": "other"},
        lease=LEASE,
        conditions=Conditions(runtime_type="slurm"),
    )
    await member.submit_processes([spec] * count)


async def until_queued(slurm: Cluster, count: int) -> None:
    """Wait until so many jobs are in the queue; looked at twice a second."""
    waiting = ("squeue", "--noheader", "--states=PENDING")
    async with asyncio.timeout(PATIENCE):
        while (await run(*waiting, **slurm.env)).count("\n") < count:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.5)


async def used(program: psutil.Process, seconds: float) -> tuple[float, float]:
    """Give the share of a core that a program takes by itself, and with what it starts."""
    before, all_before = own_seconds(program), cpu_seconds(program)
    started = time.perf_counter()
    await asyncio.sleep(seconds)
    took = time.perf_counter() - started
    own, family = own_seconds(program) - before, cpu_seconds(program) - all_before
    return own / took, family / took


def own_seconds(program: psutil.Process) -> float:
    """Give the processor time of a program alone."""
    times = program.cpu_times()
    return times.user + times.system
