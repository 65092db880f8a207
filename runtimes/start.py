"""One start of a runtime: what its command line, its file and its environment say, put together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from platformdirs import user_data_path, user_state_path

from colonies import settings
from colonies.core.errors import Misconfigured
from colonies.core.runtime import Runtime as Member
from colonies.core.wire import is_id
from colonies.settings import Settings
from runtimes.daemon import Habits


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """What is the same whatever the plugin is; the names are those of the options."""

    plugin_name: str
    config: Settings
    name: str
    runtime_type: str
    runtime_id: str | None
    label: dict[str, str]
    cores: int
    mem: int
    gpus: int
    cpu: str
    gpu: str
    slots: int
    heartbeat: float
    drain: float
    grace: float
    state_dir: Path | None
    health_port: int | None
    once: bool
    within: float | None
    tied: bool

    @classmethod
    def of(
        cls, plugin_name: str, config: Settings, label: dict[str, str], options: dict[str, Any]
    ) -> Start:
        """Put a start together from what click gives, with the labels as they are to be."""
        ours = {"plugin_name", "config", "label"}
        given = {name: options[name] for name in cls.__struct_fields__ if name not in ours}
        return cls(plugin_name=plugin_name, config=config, label=label, **given)

    @property
    def state_folder(self) -> Path:
        """The folder of what a restart must know."""
        return (self.state_dir or user_state_path("colonies")).expanduser()

    @property
    def private(self) -> tuple[Path, ...]:
        """What belongs to whoever runs runtimes and hubs here, and to no work of anybody's."""
        config = self.config
        keys = {config.keychain, Settings().keychain}
        hub = [config.data_dir or user_data_path("colonies", appauthor=False), config.tls_key]
        state = [self.state_folder / name for name in ("held", "outcomes", "running")]
        places = [*keys, settings.config_path(), *(place for place in hub if place), *state]
        return tuple(Path(place).expanduser().absolute() for place in places)

    @property
    def habits(self) -> Habits:
        """How it works; who takes one process has one slot."""
        return Habits(
            slots=1 if self.once else self.slots,
            heartbeat=self.heartbeat,
            drain=self.drain,
            once=self.once,
            within=self.within,
            plugin_name=self.plugin_name,
        )

    def member(self, runtime_id: str) -> Member:
        """Say what it is to its colony."""
        return Member(
            runtime_id=runtime_id,
            runtime_type=self.runtime_type,
            name=self.name,
            colony_id=self.config.colony_id,
            cores=self.cores,
            mem=self.mem,
            gpus=self.gpus,
            cpu=self.cpu,
            gpu=self.gpu,
            labels=self.label,
        )


def load_config(options: dict[str, Any]) -> Settings:
    """Give the settings with these options; raise Misconfigured unless they name a colony."""
    config = settings.load({key: options.get(key) for key in settings.SETTINGS})
    if not config.colony_id:
        raise Misconfigured("which colony? Give --colonyid or set COLONIES_COLONYID")
    if not is_id(config.colony_id):
        raise Misconfigured("--colonyid: expected 64 lower-case hex characters")
    return config
