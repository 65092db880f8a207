"""Every setting, once: its name, meaning, default, flag and environment variable.

A value comes from the first of: flag, environment, configuration file, default. The file is TOML,
``~/.colonies/config.toml`` or what ``COLONIES_CONFIG`` names, with the names below as keys.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, get_type_hints
from urllib.parse import quote

import msgspec

from colonies.core.errors import Misconfigured

CONFIG_VARIABLE = "COLONIES_CONFIG"


class Setting(msgspec.Struct, frozen=True):
    """How people name one setting, and what it means."""

    env: str
    help: str
    secret: bool = False
    flag: str = ""  # where it is not the setting's own name
    may_be_zero: bool = False  # as other numbers are sizes or durations


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of the hub, the client and the runtimes. Durations are seconds."""

    server_host: Annotated[
        str, Setting("COLONIES_SERVERHOST", "Host of the hub", flag="--host")
    ] = "localhost"
    server_port: Annotated[
        int, Setting("COLONIES_SERVERPORT", "Port of the hub", flag="--port", may_be_zero=True)
    ] = 50080
    tls: Annotated[bool, Setting("COLONIES_TLS", "Reach the hub by TLS")] = False
    tls_verify: Annotated[
        bool, Setting("COLONIES_TLS_VERIFY", "Check the certificate of the hub")
    ] = True
    timeout: Annotated[
        float, Setting("COLONIES_TIMEOUT", "Longest wait for an answer, over all tries")
    ] = 30.0
    try_timeout: Annotated[
        float, Setting("COLONIES_TRY_TIMEOUT", "Wait for an answer before a call is sent again")
    ] = 10.0
    keychain: Annotated[str, Setting("COLONIES_KEYCHAIN", "Folder of private keys")] = "~/.colonies"
    passphrase: Annotated[
        str, Setting("COLONIES_PASSPHRASE", "Locks the keys added to the keychain", secret=True)
    ] = ""
    server_id: Annotated[
        str, Setting("COLONIES_SERVERID", "Identity of the hub's owner", flag="--serverid")
    ] = ""
    server_prvkey: Annotated[
        str,
        Setting(
            "COLONIES_SERVERPRVKEY",
            "Private key of the hub's owner",
            secret=True,
            flag="--serverprvkey",
        ),
    ] = ""
    colony_id: Annotated[str, Setting("COLONIES_COLONYID", "The colony", flag="--colonyid")] = ""
    colony_prvkey: Annotated[
        str,
        Setting(
            "COLONIES_COLONYPRVKEY",
            "Private key of the colony's owner",
            secret=True,
            flag="--colonyprvkey",
        ),
    ] = ""
    runtime_id: Annotated[
        str, Setting("COLONIES_RUNTIMEID", "The runtime to act as", flag="--runtimeid")
    ] = ""
    runtime_prvkey: Annotated[
        str,
        Setting(
            "COLONIES_RUNTIMEPRVKEY",
            "Private key of that runtime",
            secret=True,
            flag="--runtimeprvkey",
        ),
    ] = ""
    bind: Annotated[str, Setting("COLONIES_BIND", "Address the hub listens on")] = "0.0.0.0"  # noqa: S104 - a hub is there to be reached
    tls_cert: Annotated[str, Setting("COLONIES_TLSCERT", "Certificate file of the hub (PEM)")] = ""
    tls_key: Annotated[str, Setting("COLONIES_TLSKEY", "Key file of the hub (PEM)")] = ""
    database_url: Annotated[
        str,
        Setting(
            "COLONIES_DATABASE_URL",
            "PostgreSQL to use; without one the hub starts its own",
            secret=True,
        ),
    ] = ""
    database_direct_url: Annotated[
        str,
        Setting(
            "COLONIES_DATABASE_DIRECT_URL",
            "PostgreSQL itself, if the other URL is that of a pooler",
            secret=True,
        ),
    ] = ""
    data_dir: Annotated[
        str,
        Setting(
            "COLONIES_DATA_DIR", "Folder of all the hub keeps (default: the user's data folder)"
        ),
    ] = ""
    postgres_bin: Annotated[
        str, Setting("COLONIES_POSTGRES_BIN", "Folder of PostgreSQL programs for the hub's own")
    ] = ""
    database_connections: Annotated[
        int, Setting("COLONIES_DATABASE_CONNECTIONS", "Connections to PostgreSQL")
    ] = 10
    database_batch: Annotated[
        int,
        Setting("COLONIES_DATABASE_BATCH", "Most rows of a statement that calls share"),
    ] = 200
    workers: Annotated[int, Setting("COLONIES_WORKERS", "Hub processes that share the port")] = 1
    max_message_bytes: Annotated[
        int, Setting("COLONIES_MAX_MESSAGE_BYTES", "Largest message taken")
    ] = 1024 * 1024
    max_in_flight: Annotated[
        int, Setting("COLONIES_MAX_IN_FLIGHT", "Unanswered messages per connection")
    ] = 128
    max_at_once: Annotated[
        int,
        Setting("COLONIES_MAX_AT_ONCE", "Calls worked on at once; of the others, by turns"),
    ] = 128
    max_pushes: Annotated[
        int, Setting("COLONIES_MAX_PUSHES", "Unread messages after which a reader is cut off")
    ] = 1000
    max_pushed_messages: Annotated[
        int, Setting("COLONIES_MAX_PUSHED_MESSAGES", "The same in bytes, as messages of full size")
    ] = 16
    max_subscriptions: Annotated[
        int, Setting("COLONIES_MAX_SUBSCRIPTIONS", "Subscriptions per connection")
    ] = 1000
    max_strangers: Annotated[
        int, Setting("COLONIES_MAX_STRANGERS", "Unauthenticated sockets per address")
    ] = 256
    stranger_timeout: Annotated[
        float, Setting("COLONIES_STRANGER_TIMEOUT", "Time a socket has for its first valid message")
    ] = 5.0
    body_timeout: Annotated[
        float, Setting("COLONIES_BODY_TIMEOUT", "Time a request has for its body")
    ] = 15.0
    max_submits: Annotated[
        float,
        Setting(
            "COLONIES_MAX_SUBMITS",
            "Submits a second by one identity; 0: no limit",
            may_be_zero=True,
        ),
    ] = 0.0
    max_colony_submits: Annotated[
        float,
        Setting(
            "COLONIES_MAX_COLONY_SUBMITS",
            "Submits a second in a colony; 0: no limit",
            may_be_zero=True,
        ),
    ] = 0.0
    max_waiting: Annotated[
        int,
        Setting(
            "COLONIES_MAX_WAITING", "Processes waiting in a colony; 0: no limit", may_be_zero=True
        ),
    ] = 0
    max_identity_waiting: Annotated[
        int,
        Setting(
            "COLONIES_MAX_IDENTITY_WAITING",
            "Processes waiting in a colony that one identity submitted; 0: no limit",
            may_be_zero=True,
        ),
    ] = 0
    max_running: Annotated[
        int,
        Setting(
            "COLONIES_MAX_RUNNING",
            "Processes of a colony that run at once; 0: no limit",
            may_be_zero=True,
        ),
    ] = 0
    max_runtime_running: Annotated[
        int,
        Setting(
            "COLONIES_MAX_RUNTIME_RUNNING",
            "Processes that run at one runtime at once; 0: no limit",
            may_be_zero=True,
        ),
    ] = 0
    tick: Annotated[float, Setting("COLONIES_TICK", "Period of the deadline pass")] = 0.5
    cancel_grace: Annotated[
        float, Setting("COLONIES_CANCEL_GRACE", "Time a runtime has to stop what was cancelled")
    ] = 30.0
    keep_successful: Annotated[
        float,
        Setting(
            "COLONIES_KEEP_SUCCESSFUL",
            "Days that successful processes are kept; 0: for ever",
            may_be_zero=True,
        ),
    ] = 30.0
    keep_failed: Annotated[
        float,
        Setting(
            "COLONIES_KEEP_FAILED",
            "Days that failed processes are kept; 0: for ever",
            may_be_zero=True,
        ),
    ] = 30.0
    keep_cancelled: Annotated[
        float,
        Setting(
            "COLONIES_KEEP_CANCELLED",
            "Days that cancelled processes are kept; 0: for ever",
            may_be_zero=True,
        ),
    ] = 30.0
    max_log_bytes: Annotated[
        int, Setting("COLONIES_MAX_LOG_BYTES", "Bytes kept of the log of a process, the last")
    ] = 4 * 1024 * 1024
    keep_logs: Annotated[
        float,
        Setting(
            "COLONIES_KEEP_LOGS",
            "Days that logs are kept, if their processes are; 0: as long as these",
            may_be_zero=True,
        ),
    ] = 30.0
    verbose: Annotated[bool, Setting("COLONIES_VERBOSE", "Log every call")] = False

    def __repr__(self) -> str:
        shown = {
            name: "***" if setting.secret and getattr(self, name) else getattr(self, name)
            for name, setting in SETTINGS.items()
        }
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


def _declared() -> dict[str, Setting]:
    hints = get_type_hints(Settings, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items()}


SETTINGS = _declared()
"""What is declared about each setting, by its name."""

KINDS: dict[str, type] = get_type_hints(Settings)
"""The type of each setting, by its name."""


def load(
    flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Read all settings; a flag that is None was not given.

    Raises Misconfigured naming the setting, where its value came from and what was expected.
    """
    values = _values(flags, environ)
    return Settings(
        **{name: _convert(name, value, source) for name, (value, source) in values.items()}
    )


def sources(
    flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Say where each setting comes from that is not its default: flag, variable or file."""
    return {name: source for name, (_, source) in _values(flags, environ).items()}


def config_path(environ: Mapping[str, str] | None = None) -> Path:
    """Give the configuration file, which need not be there."""
    environ = os.environ if environ is None else environ
    return Path(environ.get(CONFIG_VARIABLE) or "~/.colonies/config.toml").expanduser()


def _values(
    flags: Mapping[str, Any] | None, environ: Mapping[str, str] | None
) -> dict[str, tuple[Any, str]]:
    environ = os.environ if environ is None else environ
    values = {**_from_file(environ), **_from_environment(environ)}
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    return values | {name: (value, flag_of(name)) for name, value in given.items()}


def load_table(name: str, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Give a table of the configuration file, such as what a runtime plugin is set to."""
    content, _ = _read_file(os.environ if environ is None else environ)
    table = content.get(name, {})
    return table if isinstance(table, dict) else {}


def _read_file(environ: Mapping[str, str]) -> tuple[dict[str, Any], Path]:
    path = config_path(environ)
    try:
        text = path.read_text()
        import tomllib  # noqa: PLC0415 - most have no such file

        return tomllib.loads(text), path
    except FileNotFoundError:
        if CONFIG_VARIABLE in environ:
            raise Misconfigured(f"{CONFIG_VARIABLE}: there is no file {path}") from None
        return {}, path
    except (OSError, ValueError) as error:
        raise Misconfigured(f"{path}: {error}") from error


def _from_file(environ: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    content, path = _read_file(environ)
    values = {name: value for name, value in content.items() if not isinstance(value, dict)}
    for name in values:
        if name not in SETTINGS:
            near = get_close_matches(name, SETTINGS, 1)
            hint = f", did you mean {near[0]}?" if near else ""
            raise Misconfigured(f"{path}: there is no setting {name}{hint}")
    return {name: (value, f"{name} in {path}") for name, value in values.items()}


def _from_environment(environ: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    values = {
        name: (environ[setting.env], setting.env)
        for name, setting in SETTINGS.items()
        if environ.get(setting.env)
    }
    if "database_url" not in values and environ.get("COLONIES_DBHOST"):
        values["database_url"] = (_database_url(environ), "COLONIES_DBHOST")
    return values


def _database_url(environ: Mapping[str, str]) -> str:
    """Give the URL that the reference's four variables mean."""
    user = quote(environ.get("COLONIES_DBUSER", "postgres"), safe="")
    password = quote(environ.get("COLONIES_DBPASSWORD", ""), safe="")
    port = environ.get("COLONIES_DBPORT") or "5432"
    return f"postgresql://{user}:{password}@{environ['COLONIES_DBHOST']}:{port}/postgres"


def _convert(name: str, value: Any, source: str) -> Any:
    kind = KINDS[name]
    if isinstance(value, str) and kind is bool:
        value = value.lower()
    shown = "***" if SETTINGS[name].secret else repr(value)
    try:
        converted: Any = msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        raise Misconfigured(f"{source}: expected {kind.__name__}, not {shown}") from error
    if kind in (int, float):
        _check_range(name, converted, source)
    return converted


def _check_range(name: str, number: float, source: str) -> None:
    if number == 0 and SETTINGS[name].may_be_zero:
        return
    if not 0 < number < math.inf:
        least = "0 or a number above" if SETTINGS[name].may_be_zero else "a number above 0"
        raise Misconfigured(f"{source}: expected {least}, not {number!r}")


def flag_of(name: str) -> str:
    """Give the flag of a setting, as programs offer it."""
    return SETTINGS[name].flag or "--" + name.replace("_", "-")
