"""Take on limits, and become a command: what stands between the `shell` plugin and what it runs.

A program of its own, as limits must be set in the process that they are for, before the command is
there. It needs nothing but the interpreter, and hands on its words as the bytes that they are.
"""

import json
import os
import resource
import signal
import sys
from pathlib import Path

NOT_STARTED = 127


def main() -> None:
    """Read the limits as JSON, then the command; does not come back."""
    limits = json.loads(sys.argv[1])
    for name, most in limits["limits"].items():
        kind = getattr(resource, name)
        _, hard = resource.getrlimit(kind)
        if hard != resource.RLIM_INFINITY:
            most = min(most, hard)  # noqa: PLW2901 - nobody may have more than we have
        resource.setrlimit(kind, (most, most))
    if limits["cgroup"]:
        Path(limits["cgroup"], "cgroup.procs").write_text("0")
    if not limits["has_lc_ctype"]:
        os.environ.pop("LC_CTYPE", None)  # the interpreter's own doing
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # as well
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_IGN if limits["is_patient"] else signal.SIG_DFL)
    command = sys.argv[2:]
    try:
        os.execvp(command[0], command)  # noqa: S606 - that is what it is for
    except OSError as error:
        print(f"cannot start {command[0]!r}: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(NOT_STARTED)


if __name__ == "__main__":
    main()
