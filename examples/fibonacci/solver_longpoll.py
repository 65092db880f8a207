"""The solver for networks that let no WebSocket through: it asks, and waits for the answer.

Acts as the runtime that the environment names (COLONIES_RUNTIMEID), which must be approved.
"""

import asyncio
import sys

from solver import solve

from colonies import ColoniesError, NothingToAssign, connect


async def main() -> None:
    """Take one process at a time, for ever."""
    async with connect(http=True) as colonies:
        print("waiting for work", flush=True)
        while True:
            try:
                process = await colonies.assign_process(timeout=10)
            except NothingToAssign:
                continue
            await solve(colonies, process)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except ColoniesError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("stopped")
