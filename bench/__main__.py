"""Measure everything in one run on one machine, and write a report.

What is claimed are ratios within the run: to what the parts can do alone, to the same code without
shared statements, to other people's queues. Absolute figures are those of the machine described.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
import traceback
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import click
import structlog

from bench.goals import GOALS
from bench.loop import run
from bench.machine import describe, others, postgres
from bench.parts import PARTS, part
from bench.plot import draw
from bench.report import Chapter, Figures, judged, page
from bench.scale import FULL, QUICK, Scale
from bench.world import World, raise_file_limit
from colonies.server.embedded import EmbeddedPostgres

HERE = Path(__file__).parent
RESULTS = HERE / "results"


async def measure_on(
    url: str, folder: Path, names: Sequence[str], scale: Scale
) -> AsyncIterator[Chapter]:
    """Measure some parts on a PostgreSQL that is there; one that fails spoils no other."""
    async with World(url, folder, scale) as world:
        for name in names:
            started = time.perf_counter()
            try:
                chapter = await part(name)(world)
            except Exception as error:  # noqa: BLE001 - told here, and in the report
                traceback.print_exc()
                chapter = Chapter(name, f"**Failed**: {error!r}", [], is_whole=False)
            click.echo(f"{name}: {time.perf_counter() - started:.1f} s", err=True)
            yield chapter


async def measure(names: Sequence[str], scale: Scale, output: Path) -> bool:
    """Measure some parts on a PostgreSQL of their own, and write the report anew after each.

    Says whether all went well.
    """
    taken = others()
    chapters: list[Chapter] = []
    with tempfile.TemporaryDirectory(prefix="colonies-bench-") as folder:
        async with EmbeddedPostgres(Path(folder) / "data") as server:
            about = describe(await postgres(server.url), taken)
            async for chapter in measure_on(server.url, Path(folder), names, scale):
                chapters.append(chapter)
                write(chapters, about, output)
    return all(chapter.is_whole for chapter in chapters)


def write(chapters: list[Chapter], about: str, folder: Path) -> None:
    """Write the report, its plots, and the figures for programs."""
    figures: Figures = {}
    for chapter in chapters:
        figures |= chapter.figures
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.md").write_text(page(about, judged(GOALS, figures), chapters))
    (folder / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    try:
        draw([plot for chapter in chapters for plot in chapter.plots], folder)
    except ModuleNotFoundError as error:
        click.echo(f"no plots: {error.name} is not installed", err=True)


@click.command()
@click.option("--only", multiple=True, type=click.Choice(PARTS), help="A part; all if none.")
@click.option("--quick", is_flag=True, help="Only a glance at each: not to be published.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=RESULTS,
    help="Folder to write to.",
)
def main(only: tuple[str, ...], output: Path, *, quick: bool) -> None:
    """Measure the hub, and write what was measured."""
    quiet = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(wrapper_class=quiet)
    raise_file_limit()
    is_whole = run(measure(only or PARTS, QUICK if quick else FULL, output))
    click.echo((output / "report.md").read_text())
    sys.exit(not is_whole)


if __name__ == "__main__":
    main()
