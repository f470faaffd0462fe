"""Settings of everything that talks to the outside: ``[server]``, ``[stream]``, ``[portrait]``, ``[agents]``,
``[outputs]`` and ``[observe]`` of config.toml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Who may connect, from where, and how many at once."""

    host: str = "127.0.0.1"  # address to listen on; anything but loopback needs `token` and TLS (or `behind_proxy`)
    port: int = 8765  # TCP port of the page and of signalling; 0 takes any free port
    token: str = ""  # shared secret asked for by /v1; empty on loopback means open to this machine
    tls_cert: str = ""  # PEM file of the certificate chain; browsers give no microphone to http:// on a LAN
    tls_key: str = ""  # PEM file of its private key
    behind_proxy: bool = False  # true: a reverse proxy in front ends TLS, so plain http is fine here
    allowed_origins: tuple[str, ...] = ()  # other origins whose pages may open sessions, as "https://host:port"
    stun: tuple[str, ...] = ()  # STUN servers as "stun:host:port"; only needed across a NAT
    turn_url: str = ""  # TURN server as "turn:host:port?transport=udp"
    turn_user: str = ""
    turn_credential: str = ""
    max_sessions: int = 4  # peers served at once; the next one is told so with a 503
    sessions_per_minute: int = 60  # new sessions one address may ask for in a minute (429 above)
    max_body_kb: int = 128  # largest request body
    connect_timeout_s: float = 10.0  # an offer whose media has not connected after this is dropped
    linger_s: float = 30.0  # a session that neither a viewer, an agent nor an output holds for so long ends

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"server.port must be 0..65535, got {self.port}")
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ValueError("server.tls_cert and server.tls_key must be given together")
        if self.max_sessions < 1:
            raise ValueError(f"server.max_sessions must be at least 1, got {self.max_sessions}")


@dataclass(frozen=True, slots=True)
class StreamConfig:
    """How media is encoded, kept in step and given up on."""

    codec: str = "vp8"  # "vp8" or "h264": tried first; the other stays as what an old browser may fall back to
    bitrate: int = 2_000_000  # bits per second of video on a good line (2 M suits 512 x 512)
    bitrate_floor: int = 600_000  # never below this, however bad the line
    heartbeat_s: float = 5.0  # a page that has not been heard from for so long is gone
    consent_interval_s: float = 1.0  # seconds between ICE consent checks (aiortc: 5)
    consent_failures: int = 4  # checks lost in a row that end the connection (aiortc: 6)
    mic_slack_ms: float = 100.0  # microphone audio later than this is replaced by silence
    max_backlog_ms: float = 240.0  # voice waiting for the engine beyond this is dropped: late lips are worse

    def __post_init__(self) -> None:
        if self.codec not in ("vp8", "h264"):
            raise ValueError(f'stream.codec must be "vp8" or "h264", got "{self.codec}"')
        if not 100_000 <= self.bitrate_floor <= self.bitrate:
            raise ValueError(
                f"stream.bitrate_floor must lie in 100000..stream.bitrate, got {self.bitrate_floor} and {self.bitrate}"
            )
        if not 80 <= self.max_backlog_ms <= 1500:
            raise ValueError(f"stream.max_backlog_ms must lie in 80..1500, got {self.max_backlog_ms}")
        if self.heartbeat_s < 2:
            raise ValueError(
                f"stream.heartbeat_s must be 2 or more: a page speaks once a second; got {self.heartbeat_s}"
            )


@dataclass(frozen=True, slots=True)
class PortraitConfig:
    """Avatars that people at the page make from a photograph of themselves; needs the extra ``portrait``."""

    enabled: bool = True  # whether the page offers it
    public: bool = False  # also on a server that others reach: they leave photographs of people on this machine
    folder: str = ""  # where such avatars are kept; empty: this user's data folder
    keep_hours: float = 720.0  # one that nobody has worn for so long is removed; 0 keeps it for ever
    max_mb: float = 15.0  # largest photograph
    timeout_s: float = 240.0  # an enrolment that takes longer is stopped
    at_once: int = 1  # enrolments at a time: each takes a core for a minute
    queue: int = 3  # people who may wait; the next one is told so with a 503
    per_hour: int = 20  # photographs one address may send in an hour (429 above)

    def __post_init__(self) -> None:
        for name, low, high in (("max_mb", 0.1, 40), ("timeout_s", 1, 3600), ("keep_hours", 0, 1e6)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"portrait.{name} must lie in {low}..{high:g}, got {getattr(self, name)}")
        for name, least in (("at_once", 1), ("queue", 0), ("per_hour", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"portrait.{name} must be at least {least}, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class AgentsConfig:
    """Agents that speak through an avatar over a WebSocket."""

    max_queue_s: float = 120.0  # speech that may wait to be said; more is refused until some of it was

    def __post_init__(self) -> None:
        if not 1 <= self.max_queue_s <= 3600:
            raise ValueError(f"agents.max_queue_s must lie in 1..3600, got {self.max_queue_s}")


@dataclass(frozen=True, slots=True)
class OutputsConfig:
    """Where pictures and voice of a session may go besides its viewers: files, media servers."""

    folder: str = ""  # recordings are written here alone; empty: none are taken


@dataclass(frozen=True, slots=True)
class ObserveConfig:
    """What the server tells of itself: metrics, health, logs."""

    metrics: bool = True  # /metrics in Prometheus' text format


class Settings(Protocol):
    """The sections of the configuration that serving needs."""

    @property
    def server(self) -> ServerConfig: ...

    @property
    def stream(self) -> StreamConfig: ...

    @property
    def portrait(self) -> PortraitConfig: ...

    @property
    def agents(self) -> AgentsConfig: ...

    @property
    def outputs(self) -> OutputsConfig: ...

    @property
    def observe(self) -> ObserveConfig: ...
