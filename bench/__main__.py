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
from collections.abc import Sequence
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


async def measure_on(url: str, folder: Path, names: Sequence[str], scale: Scale) -> list[Chapter]:
    """Measure some parts on a PostgreSQL that is there; one that fails spoils no other."""
    chapters = []
    async with World(url, folder, scale) as world:
        for name in names:
            started = time.perf_counter()
            try:
                chapters.append(await part(name)(world))
            except Exception as error:  # noqa: BLE001 - told here, and in the report
                traceback.print_exc()
                chapters.append(Chapter(name, f"**Failed**: {error!r}", [], is_whole=False))
            click.echo(f"{name}: {time.perf_counter() - started:.1f} s", err=True)
    return chapters


async def measure(names: Sequence[str], scale: Scale) -> tuple[list[Chapter], str]:
    """Measure some parts on a PostgreSQL of their own; gives also what that is."""
    with tempfile.TemporaryDirectory(prefix="colonies-bench-") as folder:
        async with EmbeddedPostgres(Path(folder) / "data") as server:
            chapters = await measure_on(server.url, Path(folder), names, scale)
            return chapters, await postgres(server.url)


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
    taken = others()
    chapters, server = run(measure(only or PARTS, QUICK if quick else FULL))
    write(chapters, describe(server, taken), output)
    click.echo((output / "report.md").read_text())
    sys.exit(not all(chapter.is_whole for chapter in chapters))


if __name__ == "__main__":
    main()
