"""Measure this checkout against another commit of it, turn by turn in one run.

Usage: python -m bench.compare COMMIT [--rounds N] [--seconds S] [--output FILE]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import click

from bench.machine import machine, publish

HERE = Path(__file__).parents[1]

Figures = dict[str, tuple[float, str]]


def measure(checkout: Path, seconds: float) -> Figures:
    """Run the measurements of a checkout, with its own code, and give its figures by name."""
    argv = [sys.executable, "-m", "bench", "--seconds", str(seconds)]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    out = subprocess.run(
        argv, cwd=checkout, env=environment, check=True, capture_output=True, text=True
    ).stdout
    return dict(read(line) for line in out.splitlines() if line.startswith("|") and "%" in line)


def take_turns(there: Path, seconds: float, *, first: bool) -> tuple[Figures, Figures]:
    """Measure both sides, the other one first every second time."""
    if first:
        old = measure(there, seconds)
        return old, measure(HERE, seconds)
    new = measure(HERE, seconds)
    return measure(there, seconds), new


def read(row: str) -> tuple[str, tuple[float, str]]:
    """Read a row of a table of rates."""
    what, figure, *_ = [cell.strip() for cell in row.strip("|").split("|")]
    number, _, unit = figure.partition(" ")
    return what, (float(number.replace(",", "")), unit)


def report(commit: str, pairs: list[tuple[Figures, Figures]]) -> str:
    """Give the medians of both sides, and the median of the ratios of each round."""
    rows = [f"| what | {commit} | here | here / {commit} |", "|---|---:|---:|---:|"]
    for what, (_, unit) in pairs[0][0].items():
        there = [one[what][0] for one, _ in pairs]
        here = [other[what][0] for _, other in pairs]
        ratio = median(new / old for old, new in zip(there, here, strict=True))
        rows.append(
            f"| {what} | {median(there):,.0f} {unit} | {median(here):,.0f} {unit} | {ratio:.2f} |"
        )
    return "\n".join(rows)


@click.command()
@click.argument("commit")
@click.option("--rounds", default=3, show_default=True, help="Turns of each side.")
@click.option("--seconds", default=5.0, show_default=True, help="Length of each measurement.")
@click.option("--output", type=click.Path(path_type=Path), help="File to write the table to.")
def main(commit: str, rounds: int, seconds: float, output: Path | None) -> None:
    """Measure this checkout against COMMIT and print both."""
    with tempfile.TemporaryDirectory(prefix="colonies-bench-") as folder:
        there = Path(folder) / "there"
        git = ["git", "-C", str(HERE), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(there), commit], check=True)
        try:
            pairs = [take_turns(there, seconds, first=number % 2 == 0) for number in range(rounds)]
        finally:
            subprocess.run([*git, "remove", "--force", str(there)], check=True)
    publish(f"{rounds} rounds, {machine()}.\n\n" + report(commit, pairs), output)


if __name__ == "__main__":
    main()
