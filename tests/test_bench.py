"""The bench still runs: every part, as little of it as possible."""

import pytest
from msgspec.structs import replace

from bench.__main__ import measure_on, write
from bench.crowd import runtimes
from bench.goals import GOALS
from bench.parts import PARTS
from bench.report import Goal, judged
from bench.scale import ALL_WAYS, TINY
from bench.world import World
from colonies.core.identity import PrivateKey

WARM, IDLE = 100, 400
MOST_BYTES = 40_000


@pytest.mark.timeout(300)
async def test_every_part_measures_something(postgres_url, tmp_path):
    chapters = [one async for one in measure_on(postgres_url, tmp_path, PARTS, TINY)]
    assert [chapter.conditions for chapter in chapters if not chapter.is_whole] == []
    assert all(chapter.figures for chapter in chapters)
    write(chapters, "a machine", tmp_path)
    report = (tmp_path / "report.md").read_text()
    assert [one.title for one in chapters if f"## {one.title}\n" not in report] == []


@pytest.mark.slurm
@pytest.mark.timeout(300)
async def test_every_way_to_run_is_measured(postgres_url, tmp_path):
    """Those that are installed: containers and Slurm take longer than the others."""
    scale = replace(TINY, ways=ALL_WAYS, queued=20)
    [chapter] = [one async for one in measure_on(postgres_url, tmp_path, ["runtimes"], scale)]
    assert chapter.is_whole, chapter.conditions
    told = [*(row[0] for table in chapter.tables for row in table.rows), chapter.conditions]
    assert [way for way in ALL_WAYS if not any(way in one for one in told)] == []


def test_a_goal_is_judged_by_the_figures_of_the_run():
    goals = [
        Goal("few", lambda found: found["a"] / found["b"], 2),
        Goal("many", lambda found: found["a"], 8, "/s", is_least=True),
        Goal("not measured", lambda found: found["c"], 1),
    ]
    assert judged(goals, {"a": 8.0, "b": 2.0}).rows == [
        ("few", "≤ 2.00", "4.00", "**no**"),
        ("many", "≥ 8.00 /s", "8.00 /s", "yes"),
    ]


def test_no_two_goals_are_of_one_name():
    assert len({goal.what for goal in GOALS}) == len(GOALS)


async def test_an_idle_runtime_is_small(postgres_url, tmp_path):
    """Half as much again as it is; what the first ones need but once is not counted."""
    async with World(postgres_url, tmp_path, TINY) as world, world.new_hub() as hub:
        keys = [PrivateKey.generate() for _ in range(WARM + IDLE)]
        await hub.add_runtimes(keys)
        async with runtimes(hub, keys[:WARM]):
            before = hub.resident_bytes()
            async with runtimes(hub, keys[WARM:]):
                assert (hub.resident_bytes() - before) / IDLE < MOST_BYTES
