"""Asking the hub: one connection, one method an RPC."""

from colonies.client.api import Colonies, connect
from colonies.client.blocking import BlockingColonies
from colonies.client.keychain import Keychain
from colonies.client.work import SubmittedProcess

__all__ = ["BlockingColonies", "Colonies", "Keychain", "SubmittedProcess", "connect"]
