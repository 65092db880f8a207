"""A colony: a set of runtimes that trust each other, named by its owner's identity."""

from __future__ import annotations

from colonies.core.wire import Wire


class Colony(Wire):
    """A colony. Its id is the identity of its owner's key; names need not be unique."""

    colony_id: str = ""
    name: str = ""


class Statistics(Wire):
    """How many there are of everything, in a colony or on the whole hub."""

    colonies: int = 0
    runtimes: int = 0
    waiting_processes: int = 0
    running_processes: int = 0
    successful_processes: int = 0
    failed_processes: int = 0
    waiting_workflows: int = 0
    running_workflows: int = 0
    successful_workflows: int = 0
    failed_workflows: int = 0
    cancelled_processes: int = 0
    cancelled_workflows: int = 0
