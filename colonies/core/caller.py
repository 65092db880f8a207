"""Who somebody is to a hub, and which hub it is."""

from __future__ import annotations

from colonies.core.runtime import Approval
from colonies.core.wire import Wire


class Membership(Wire):
    """What the caller is in one colony: its owner, or a runtime in some state."""

    colony_id: str
    is_owner: bool = False
    state: Approval = Approval.APPROVED
    name: str = ""


class Caller(Wire):
    """Who the caller is to the hub."""

    id: str
    is_server_owner: bool = False
    memberships: list[Membership] = []


class Version(Wire):
    """Which hub this is; v1 clients look for the ``msgtype``."""

    build_version: str = ""
    build_time: str = ""
    msg_type: str = "versionmsg"
