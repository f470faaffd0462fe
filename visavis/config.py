"""``config.toml`` -> frozen dataclasses. A key that is not known, or of the wrong kind, is named in the error."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from engine.config import (
    AvatarConfig,
    EngineConfig,
    GpuConfig,
    MannerConfig,
    MotionConfig,
    RenderConfig,
    ScheduleConfig,
    ViewConfig,
    WatermarkConfig,
)
from engine.motion.behaviour import BehaviourConfig
from streaming.cluster.config import ClusterConfig
from streaming.config import (
    AgentsConfig,
    LimitsConfig,
    ObserveConfig,
    OutputsConfig,
    PortraitConfig,
    ServerConfig,
    StreamConfig,
)
from visavis.credentials import ProvenanceConfig

T = TypeVar("T")


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the file and the key."""


@dataclass(frozen=True)
class Config:
    """One dataclass a section of ``config.toml``."""

    avatar: AvatarConfig = AvatarConfig()
    motion: MotionConfig = MotionConfig()
    behaviour: BehaviourConfig = BehaviourConfig()
    manner: MannerConfig = MannerConfig()
    view: ViewConfig = ViewConfig()
    render: RenderConfig = RenderConfig()
    gpu: GpuConfig = GpuConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    watermark: WatermarkConfig = WatermarkConfig()
    server: ServerConfig = ServerConfig()
    limits: LimitsConfig = LimitsConfig()
    stream: StreamConfig = StreamConfig()
    portrait: PortraitConfig = PortraitConfig()
    agents: AgentsConfig = AgentsConfig()
    outputs: OutputsConfig = OutputsConfig()
    observe: ObserveConfig = ObserveConfig()
    provenance: ProvenanceConfig = ProvenanceConfig()
    cluster: ClusterConfig = ClusterConfig()

    @property
    def engine(self) -> EngineConfig:
        """The sections that the engine reads."""
        return EngineConfig(
            self.avatar, self.motion, self.behaviour, self.manner, self.view, self.render, self.gpu, self.schedule,
            self.watermark,
        )  # fmt: skip


def load(path: Path | None) -> Config:
    """Reads ``path``; None gives the defaults. Raises ConfigError, naming the key, for anything it cannot use."""
    if path is None:
        return Config()
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; leave out --config to use the defaults") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply to be read") from None
    return _build(Config, table, str(path), "")


def _build(kind: type[T], table: dict[str, Any], path: str, prefix: str) -> T:
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    hints = get_type_hints(kind)
    values = {}
    for key, value in table.items():
        name = f"{prefix}{key}"
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f'did you mean "{prefix}{close[0]}"?' if close else f"known keys: {', '.join(known)}"
            raise ConfigError(f'{path}: unknown key "{name}"; {hint}')
        try:
            values[key] = _value(hints[key], value, path, name)
        except ConfigError:
            if known[key].repr:
                raise
            raise ConfigError(f'{path}: "{name}" must be {hints[key].__name__}') from None  # a secret is not shown
    missing = [n for n, f in known.items() if n not in values and f.default is MISSING and f.default_factory is MISSING]
    if missing:
        raise ConfigError(f'{path}: "{prefix}{missing[0]}" must be given')
    try:
        return kind(**values)
    except ValueError as error:
        raise ConfigError(f"{path}: [{prefix.rstrip('.')}] {error}") from error


def _value(hint: Any, value: Any, path: str, name: str) -> Any:
    if is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise ConfigError(f'{path}: "{name}" is a section, got {value!r}')
        return _build(hint, value, path, f"{name}.")
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_value(get_args(hint)[0], item, path, f"{name}[{i}]") for i, item in enumerate(value))
    allowed = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if float in allowed and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) not in allowed:
        expected = " or ".join(getattr(kind, "__name__", str(kind)) for kind in allowed)
        raise ConfigError(f'{path}: "{name}" must be {expected}, got {value!r}')
    return value
