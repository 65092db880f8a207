"""The generator over ``POST /api``: it looks again and again until each process has ended.

Usage: generator_longpoll.py [COUNT].
"""

import os
import sys

from colonies import BlockingColonies, ColoniesError


def main(count: int) -> None:
    """Submit ``count`` processes and wait for each."""
    with BlockingColonies(http=True) as colonies:
        runtime_type = os.environ.get("COLONIES_RUNTIMETYPE", "cli")
        submitted = [
            colonies.submit("fibonacci", n, runtime_type=runtime_type) for n in range(count)
        ]
        print("submitted", count, flush=True)
        for process in submitted:
            done = process.wait()
            result = done.output[0] if done.output else "; ".join(done.errors)
            print(f"fibonacci({done.spec.args[0]}) = {result}", flush=True)


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
    except ValueError:
        sys.exit("usage: generator_longpoll.py [COUNT]")
    except ColoniesError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("stopped; what was submitted waits on")
