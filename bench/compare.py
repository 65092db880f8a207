"""Measure this checkout against another commit of it, turn by turn in one run.

Both sides run their own code under this bench, which must know how to start the other's hub.

Usage: python -m bench.compare COMMIT [--only PART]... [--quick] [--rounds N] [--output FILE]
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import click

from bench.machine import machine, others
from bench.parts import PARTS
from bench.report import Figures, Table, number

HERE = Path(__file__).parents[1]


def measure(checkout: Path, options: tuple[str, ...]) -> Figures:
    """Run some parts of the bench on a checkout, with its own code, and give the figures."""
    with tempfile.TemporaryDirectory(prefix="colonies-bench-") as folder:
        argv = [sys.executable, "-m", "bench", *options, "--output", folder]
        environment = {**os.environ, "PYTHONPATH": str(checkout)}
        subprocess.run(argv, cwd=checkout, env=environment, check=True, stdout=subprocess.DEVNULL)
        figures: Figures = json.loads((Path(folder) / "figures.json").read_text())
        return figures


def take_turns(there: Path, options: tuple[str, ...], *, first: bool) -> tuple[Figures, Figures]:
    """Measure both sides, the other one first every second time."""
    if first:
        old = measure(there, options)
        return old, measure(HERE, options)
    new = measure(HERE, options)
    return measure(there, options), new


def table(commit: str, pairs: list[tuple[Figures, Figures]]) -> Table:
    """Give the medians of both sides, and the median of the ratios of each round."""
    rows = []
    for name in pairs[0][0]:
        old = [one[name] for one, _ in pairs]
        new = [other[name] for _, other in pairs]
        ratio = median(here / there for there, here in zip(old, new, strict=True))
        rows.append((name, *(number(one) for one in (median(old), median(new), ratio))))
    return Table(("figure", commit, "here", f"here / {commit}"), rows)


@click.command()
@click.argument("commit")
@click.option("--only", multiple=True, type=click.Choice(PARTS), default=("cycles",))
@click.option("--quick", is_flag=True, help="Only a glance at each.")
@click.option("--rounds", default=3, show_default=True, help="Turns of each side.")
@click.option("--output", type=click.Path(path_type=Path), help="File to write the table to.")
def main(
    commit: str, only: tuple[str, ...], rounds: int, output: Path | None, *, quick: bool
) -> None:
    """Measure this checkout against COMMIT and print both."""
    options = (*(word for name in only for word in ("--only", name)), *("--quick",) * quick)
    taken = others()
    with tempfile.TemporaryDirectory(prefix="colonies-bench-") as folder:
        there = Path(folder) / "there"
        git = ["git", "-C", str(HERE), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(there), commit], check=True)
        try:
            shutil.rmtree(there / "bench", ignore_errors=True)
            shutil.copytree(HERE / "bench", there / "bench")
            pairs = [take_turns(there, options, first=turn % 2 == 0) for turn in range(rounds)]
        finally:
            subprocess.run([*git, "remove", "--force", str(there)], check=True)
    text = f"{rounds} rounds; {machine()}; others took {taken:.0%}.\n\n{table(commit, pairs)}\n"
    click.echo(text)
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text)


if __name__ == "__main__":
    main()
