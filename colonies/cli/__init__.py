"""Asking the hub from a shell: ``colonies <noun> <verb>``, one group of commands a noun."""

from __future__ import annotations

import sys

import click

from colonies.cli.command import Program
from colonies.cli.status import MEANINGS, status_of
from colonies.complaints import run
from colonies.version import __version__

__all__ = ["main"]

# "\b" keeps click from making a paragraph of the lines.
_EPILOG = "\b\nExit codes:\n" + "\n".join(
    f"  {status.value:<3}  {meaning}" for status, meaning in MEANINGS.items()
)


PLACES = {
    "attribute": "colonies.cli.attribute",
    "cluster": "colonies.cli.cluster",
    "colony": "colonies.cli.colony",
    "completion": "colonies.cli.completion",
    "cron": "colonies.cli.cron",
    "dev": "colonies.cli.server",
    "doctor": "colonies.cli.doctor",
    "function": "colonies.cli.function",
    "generator": "colonies.cli.generator",
    "key": "colonies.cli.key",
    "process": "colonies.cli.process",
    "runtime": "colonies.cli.runtime",
    "server": "colonies.cli.server",
    "workflow": "colonies.cli.workflow",
}
"""The module of each command of the first level."""


@click.group(
    cls=Program,
    places=PLACES,
    epilog=_EPILOG,
    shows_settings=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="colonies")
def cli() -> None:
    """Put other people's machines to work.

    Settings come from flags (before or after the verb), the environment, or
    ~/.colonies/config.toml, in this order. Begin with "colonies dev".
    """


def main() -> None:
    """Run the command line and exit: what goes wrong on purpose is one line, a bug a traceback."""
    sys.exit(run(cli, sys.argv[1:], name="colonies", status_of=status_of))
