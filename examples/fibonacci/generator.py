"""Submit Fibonacci numbers and print the solutions as they are pushed to us.

Usage: generator.py [COUNT]. It may be started before any solver: the processes wait.
"""

import asyncio
import os
import sys

from colonies import ColoniesError, State, connect


async def main(count: int) -> None:
    """Submit ``count`` processes and wait for all of them."""
    async with connect() as colonies:
        runtime_type = os.environ.get("COLONIES_RUNTIMETYPE", "cli")
        submitted = [
            await colonies.submit("fibonacci", n, runtime_type=runtime_type) for n in range(count)
        ]
        print("submitted", count, flush=True)
        for process in await asyncio.gather(*(one.wait() for one in submitted)):
            number = process.spec.args[0]
            if process.state is State.SUCCESS:
                print(f"fibonacci({number}) = {process.output[0]}", flush=True)
            else:
                print(f"fibonacci({number}) failed: {'; '.join(process.errors)}", flush=True)


if __name__ == "__main__":
    try:
        asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
    except ValueError:
        sys.exit("usage: generator.py [COUNT]")
    except ColoniesError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("stopped; what was submitted waits on")
