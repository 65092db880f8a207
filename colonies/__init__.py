"""Put other people's machines to work.

What most programs need is here; everything else is in `colonies.client` and `colonies.core`.
"""

from colonies.client import BlockingColonies, Colonies, Keychain, SubmittedProcess, connect
from colonies.client.work import result_of
from colonies.core.errors import (
    ColoniesError,
    Conflict,
    ConnectionLost,
    Failure,
    Forbidden,
    Malformed,
    Misconfigured,
    NotFound,
    NothingToAssign,
)
from colonies.core.identity import PrivateKey
from colonies.core.process import (
    Conditions,
    Process,
    ProcessSpec,
    State,
    decode_argument,
    encode_argument,
)
from colonies.core.runtime import Runtime
from colonies.settings import Settings
from colonies.version import __version__

__all__ = [
    "BlockingColonies",
    "Colonies",
    "ColoniesError",
    "Conditions",
    "Conflict",
    "ConnectionLost",
    "Failure",
    "Forbidden",
    "Keychain",
    "Malformed",
    "Misconfigured",
    "NotFound",
    "NothingToAssign",
    "PrivateKey",
    "Process",
    "ProcessSpec",
    "Runtime",
    "Settings",
    "State",
    "SubmittedProcess",
    "__version__",
    "connect",
    "decode_argument",
    "encode_argument",
    "result_of",
]
