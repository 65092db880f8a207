"""Solve Fibonacci numbers as they are pushed to us; stop with Ctrl-C.

Acts as the runtime that the environment names (COLONIES_RUNTIMEID), which must be approved.
"""

import asyncio
import sys

from functions import fibonacci

from colonies import Colonies, ColoniesError, Process, connect, decode_argument


async def main() -> None:
    """Take one process at a time, for ever."""
    async with connect() as colonies, await colonies.subscribe_assignments(credit=1) as work:
        print("waiting for work", flush=True)
        async for process in work:
            await solve(colonies, process)


async def solve(colonies: Colonies, process: Process) -> None:
    """Solve one process, or say why not."""
    id_, token = process.process_id, process.attempt_token
    try:
        number = fibonacci(decode_argument(process.spec.args[0]))
    except (IndexError, TypeError, ValueError) as error:
        await colonies.close_failed(id_, [f"expected one number: {error}"], attempt_token=token)
    else:
        await colonies.close_successful(id_, [str(number)], attempt_token=token)
        print("solved", process.spec.args[0], flush=True)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except ColoniesError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("stopped")
