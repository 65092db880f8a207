"""On what it was measured, and where the table goes."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import click


def machine() -> str:
    """Describe this machine in a few words."""
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


def publish(text: str, output: Path | None) -> None:
    """Print a report, and write it to a file if there is one."""
    click.echo(text)
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text + "\n")
