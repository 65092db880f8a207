"""The hubs that serve one database together."""

from __future__ import annotations

from colonies.core.wire import ZERO_TIME, Time, Wire


class Node(Wire):
    """One of the hubs; ``api_port`` is where it is reached."""

    name: str = ""
    host: str = ""
    port: int = 0
    peer_port: int = 0
    relay_port: int = 0
    api_port: int = 0
    hub_id: str = ""
    version: str = ""
    started: Time = ZERO_TIME
    last_seen: Time = ZERO_TIME
    is_leader: bool = False


class Cluster(Wire):
    """All of them, the oldest first, the one that leads, and the id of the one that answers."""

    nodes: list[Node] = []
    leader: Node = Node()
    answered_by: str = ""
