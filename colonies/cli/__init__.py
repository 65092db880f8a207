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

HELPS = {
    "attribute": "Attributes: keys and values that a process carries.",
    "cluster": "The hubs that serve together, on one database.",
    "colony": "Colonies: sets of runtimes that trust each other.",
    "completion": "Print what makes a shell complete commands, options and ids.",
    "cron": "Crons: workflows that are submitted again and again.",
    "dev": "Run a hub for development until Ctrl-C or SIGTERM.",
    "doctor": "Look for what is wrong, and say what to do about it.",
    "function": "Functions: what runtimes announce that they can run.",
    "generator": "Generators: workflows that are submitted when there are arguments enough.",
    "key": "Keys: who you are.",
    "process": "Processes: what shall be done, and how far it has come.",
    "runtime": "Runtimes: the machines that work.",
    "server": "The hub: started here, or asked how it is.",
    "workflow": "Workflows: processes that wait for each other.",
}
"""What each is for, as its module says at more length."""


@click.group(
    cls=Program,
    places=PLACES,
    helps=HELPS,
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
