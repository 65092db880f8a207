"""Take on limits, and become a command: what stands between the `shell` plugin and what it runs.

A program of its own, as limits must be set in the process that they are for, before the command is
there. It needs nothing but the interpreter, and hands on its words as the bytes that they are.

It runs for each command, and most of its time goes into imports: `json`, `pathlib` and `signal`,
which is `_signal` and enumerations, would take twice as long as all of it.
"""

import _signal  # type: ignore[import-not-found]
import os
import resource
import sys

NOT_STARTED = 127


def main() -> None:
    """Do as the first words say, and become the command after them; does not come back."""
    limits, group, has_lc_ctype, is_patient, *command = sys.argv[1:]
    for limit in limits.split():
        name, _, most = limit.partition("=")
        resource.setrlimit(getattr(resource, name), (int(most), int(most)))
    if group:
        with open(f"{group}/cgroup.procs", "w") as processes:  # noqa: PTH123 - see above
            processes.write("0")
    if not has_lc_ctype:
        os.environ.pop("LC_CTYPE", None)  # the interpreter's own doing
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ):  # as well
        _signal.signal(number, _signal.SIG_DFL)
    _signal.signal(_signal.SIGTERM, _signal.SIG_IGN if is_patient else _signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606 - that is what it is for
    except OSError as error:
        print(f"cannot start {command[0]!r}: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(NOT_STARTED)


if __name__ == "__main__":
    main()
