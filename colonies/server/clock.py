"""The clock of the database, by which everything is timed, as seen from one that is never set."""

from __future__ import annotations

SLACK = 2.0
"""Seconds that a clock may go wrong by from one look to the next, and nobody be told."""


class Steps:
    """Finds out when the clock was set, or stood still, or its server is another."""

    def __init__(self) -> None:
        self._least = float("-inf")
        self._most = float("inf")

    def note(self, clock: float, *, asked: float, answered: float) -> float:
        """Take what it says, and between which times of ours it was asked; all are in seconds.

        Gives by how much it was put forward since the last time, or back if that is below 0; 0 if
        it need not have been.
        """
        least, most = clock - answered, clock - asked
        step = max(0.0, least - self._most) + min(0.0, most - self._least)
        self._least, self._most = least, most
        return step if abs(step) > SLACK else 0.0
