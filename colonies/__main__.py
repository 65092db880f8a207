"""``colonies``, and ``python -m colonies``: the command line, which Ctrl-C may end at any time.

Even while it is being imported, which takes longer than some have patience; so this module
imports nothing itself.
"""

import sys

INTERRUPTED = 130
"""The exit code of what Ctrl-C has ended, as shells have it."""


def main() -> None:
    """Run the command line and exit."""
    try:
        from colonies.cli import main as run  # noqa: PLC0415 - see the module's docstring
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    run()


if __name__ == "__main__":
    main()
