"""Settings of everything that talks to the outside: ``[server]``, ``[limits]``, ``[stream]``, ``[portrait]``,
``[agents]``, ``[outputs]`` and ``[observe]`` of config.toml."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class TokenConfig:
    """A token with a name of its own, for one customer or one service: it reaches only the sessions it opened."""

    name: str  # what logs and limits call it
    secret: str = field(default="", repr=False)  # of 16 characters or more
    file: str = ""  # or the file that holds it
    scopes: tuple[str, ...] = ("open", "watch", "speak", "output", "portrait", "mint")  # what it is good for

    def __post_init__(self) -> None:
        if not self.name or not self.name.isprintable() or len(self.name) > 64:
            raise ValueError("server.tokens: a token needs a name of 1 to 64 characters")
        if bool(self.secret) == bool(self.file):
            raise ValueError(f'server.tokens: "{self.name}" needs either a secret or a file that holds it')


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Who may connect, from where, and how many at once."""

    host: str = "127.0.0.1"  # address to listen on; anything but loopback needs `token` and TLS (or `behind_proxy`)
    port: int = 8765  # TCP port of the page and of signalling; 0 takes any free port
    token: str = field(default="", repr=False)  # asked for by /v1; empty on loopback means open to this machine
    token_file: str = ""  # or the file that holds it: others on this machine must not be able to read that
    tokens: tuple[TokenConfig, ...] = ()  # more tokens, each with a name and scopes
    token_key: str = field(default="", repr=False)  # signs short-lived tokens; empty: a new one each start
    token_key_file: str = ""  # or the file that holds it
    tls_cert: str = ""  # PEM file of the certificate chain; browsers give no microphone to http:// on a LAN
    tls_key: str = ""  # PEM file of its private key
    behind_proxy: bool = False  # true: a reverse proxy in front ends TLS, so plain http is fine here
    trusted_proxies: tuple[str, ...] = ("127.0.0.0/8", "::1")  # whose X-Forwarded-For is believed, behind_proxy
    names: tuple[str, ...] = ()  # host names that are answered; empty: any, and loopback's alone on loopback
    allowed_origins: tuple[str, ...] = ()  # other origins whose pages may open sessions, as "https://host:port"
    embed_origins: tuple[str, ...] = ()  # origins whose pages may show ours in a frame
    stun: tuple[str, ...] = ()  # STUN servers as "stun:host:port"; only needed across a NAT
    turn: tuple[str, ...] = ()  # TURN servers, the best first: "turn:host:3478", "turns:host:443?transport=tcp"
    turn_url: str = ""  # one more of them, in front
    turn_user: str = ""  # of a TURN server with fixed credentials
    turn_credential: str = field(default="", repr=False)
    turn_secret: str = field(default="", repr=False)  # coturn's static-auth-secret: credentials that expire are made
    turn_secret_file: str = ""  # or the file that holds it
    turn_ttl_s: float = 3600.0  # and for so long they are good
    public_ip: str = ""  # behind 1:1 NAT, as in most clouds and in containers: the address that others reach us at
    media_ports: tuple[int, ...] = ()  # first and last UDP port of media, as [40000, 40100]; empty: any
    max_sessions: int = 4  # peers served at once; the next one is told so with a 503
    sessions_per_minute: int = 60  # new sessions one address may ask for in a minute (429 above)
    max_body_kb: int = 128  # largest request body
    max_viewers: int = 16  # of a session at once, who watch by WHEP; each costs an encoder
    connect_timeout_s: float = 10.0  # an offer whose media has not connected after this is dropped
    linger_s: float = 30.0  # a session that neither a viewer, an agent nor an output holds for so long ends
    drain_s: float = 30.0  # told to stop (SIGTERM), sessions have so long to end by themselves; again: at once
    processes: str = "one"  # "one", or "split": page, media and inference each in a process of its own; or "auto"
    standby: bool = True  # "split": another inference process is kept warm, and takes over when one ends
    worker: str = ""  # what this server is called among others behind one edge; its sessions' ids begin with it

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"server.port must be 0..65535, got {self.port}")
        for kind in ("allowed_origins", "embed_origins"):
            for origin in getattr(self, kind):
                if not _is_origin(origin):
                    raise ValueError(f'server.{kind}: "{origin}" is no origin: https://host, or with a port')
        for network in self.trusted_proxies:
            try:
                ipaddress.ip_network(network)
            except ValueError as problem:
                raise ValueError(f"server.trusted_proxies: {problem}") from None
        if len({token.name for token in self.tokens}) < len(self.tokens):
            raise ValueError("server.tokens: two tokens have the same name")
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ValueError("server.tls_cert and server.tls_key must be given together")
        if self.processes not in ("one", "split", "auto"):
            raise ValueError(f'server.processes must be "one", "split" or "auto", got "{self.processes}"')
        if not re.fullmatch(r"[a-z0-9]{0,16}", self.worker):
            raise ValueError(f'server.worker takes up to 16 of a-z and 0-9, got "{self.worker}"')
        if not 0 <= self.drain_s <= 86400:
            raise ValueError(f"server.drain_s must lie in 0..86400, got {self.drain_s}")
        if self.max_sessions < 1:
            raise ValueError(f"server.max_sessions must be at least 1, got {self.max_sessions}")
        self._check_network()

    def _check_network(self) -> None:
        for name, kinds in (("stun", ("stun:", "stuns:")), ("turn", ("turn:", "turns:"))):
            for url in getattr(self, name):
                if not url.startswith(kinds):
                    raise ValueError(f'server.{name} takes "{kinds[0]}host:port", got "{url}"')
        if self.turn_url and not self.turn_url.startswith(("turn:", "turns:")):
            raise ValueError(f'server.turn_url must be "turn:host:port", got "{self.turn_url}"')
        if (self.turn_secret or self.turn_secret_file) and (self.turn_user or self.turn_credential):
            raise ValueError("server.turn_secret makes credentials: leave out server.turn_user and turn_credential")
        if not 60 <= self.turn_ttl_s <= 86_400:
            raise ValueError(f"server.turn_ttl_s must lie in 60..86400, got {self.turn_ttl_s:g}")
        if self.public_ip:
            try:
                ipaddress.ip_address(self.public_ip)
            except ValueError:
                raise ValueError(f'server.public_ip must be an IP address, got "{self.public_ip}"') from None
        ports = self.media_ports
        if ports and (len(ports) != 2 or not 1024 <= ports[0] <= ports[1] <= 65535):
            raise ValueError(f"server.media_ports must be [first, last] within 1024..65535, got {list(ports)}")


def _is_origin(text: str) -> bool:
    """Whether ``text`` is scheme://host[:port] and nothing more (it goes into a header)."""
    try:
        parts = urlsplit(text)
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        return False
    plain = parts.scheme in ("http", "https") and parts.hostname and f"{parts.scheme}://{parts.netloc}" == text
    return bool(plain) and port_fits and "@" not in text and not any(mark in text for mark in " ;,*'\"")


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """What one address, or one token, may take of a server. Nobody is counted on a server for this machine alone."""

    sessions_per_address: int = 8  # at once
    sessions_per_token: int = 8  # at once, of a named or a short-lived token
    viewers_per_address: int = 32  # connections that watch, at once
    requests_per_minute: int = 600  # of one address
    upload_mb_per_hour: float = 200.0  # of one address
    failed_tokens_per_minute: int = 10  # of one address; then tokens it never used before are not looked at
    connections_per_address: int = 128  # TCP, at once
    connections: int = 1024  # TCP, at once, of everybody
    idle_s: float = 20.0  # a connection without a whole request for so long is closed
    body_s: float = 15.0  # a request body that takes longer is refused

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) <= 0:
                raise ValueError(f"limits.{name} must be more than 0, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class StreamConfig:
    """How media is encoded, kept in step and given up on."""

    codec: str = "vp8"  # "vp8" or "h264": tried first; the other stays as what an old browser may fall back to
    bitrate: int = 2_000_000  # bits per second of video on a good line (2 M suits 512 x 512)
    bitrate_start: int = 1_000_000  # what a connection begins with; it grows or falls as the line takes it
    bitrate_floor: int = 150_000  # never below this, however bad the line
    heartbeat_s: float = 5.0  # a page that has not been heard from for so long is gone
    consent_interval_s: float = 1.0  # seconds between ICE consent checks
    consent_failures: int = 4  # intervals without any packet of the client that end the connection
    mic_slack_ms: float = 100.0  # microphone audio later than this is replaced by silence
    max_backlog_ms: float = 240.0  # voice waiting for the engine beyond this is dropped: late lips are worse

    def __post_init__(self) -> None:
        if self.codec not in ("vp8", "h264"):
            raise ValueError(f'stream.codec must be "vp8" or "h264", got "{self.codec}"')
        if not 100_000 <= self.bitrate_floor <= self.bitrate:
            raise ValueError(
                f"stream.bitrate_floor must lie in 100000..stream.bitrate, got {self.bitrate_floor} and {self.bitrate}"
            )
        if self.bitrate_start < self.bitrate_floor:
            raise ValueError(
                f"stream.bitrate_start must be at least stream.bitrate_floor, got {self.bitrate_start} "
                f"and {self.bitrate_floor}"
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
    allowed: tuple[str, ...] = ()  # beginnings of addresses that others may have sessions sent to, as "rtmp://host/app"
    every: bool = False  # every session is recorded, from its first picture to its end
    per_session: int = 4  # outputs of a session at a time
    bitrate: int = 2_500_000  # bits per second of video to media servers, unless asked otherwise
    give_up_s: float = 600.0  # a media server that cannot be reached for so long is given up

    def __post_init__(self) -> None:
        if not 100_000 <= self.bitrate <= 50_000_000:
            raise ValueError(f"outputs.bitrate must lie in 100000..50000000, got {self.bitrate}")
        if self.every and not self.folder:
            raise ValueError("outputs.every needs outputs.folder, where recordings go")
        if self.per_session < 0 or self.give_up_s < 0:
            raise ValueError("outputs.per_session and outputs.give_up_s must not be negative")
        for prefix in self.allowed:
            if not prefix.startswith(("rtmp://", "rtmps://", "rtsp://", "rtsps://", "http://", "https://")):
                raise ValueError(f'outputs.allowed: "{prefix}" must begin with rtmp(s)://, rtsp(s):// or http(s)://')


@dataclass(frozen=True, slots=True)
class ObserveConfig:
    """What the server tells of itself: metrics, health, logs."""

    metrics: bool = True  # /metrics in Prometheus' text format; other machines need a token for it
    log: str = "text"  # lines of "text", or of "json"
    log_level: str = "warning"  # "debug", "info", "warning" or "error"
    access_log: bool = False  # one line a request
    otlp_endpoint: str = ""  # traces go there ("http://host:4318"); needs the extra "otel"
    trace_every: int = 250  # one frame in so many is traced by its stages

    def __post_init__(self) -> None:
        for name, known in (("log", ("text", "json")), ("log_level", ("debug", "info", "warning", "error"))):
            if getattr(self, name) not in known:
                raise ValueError(f'observe.{name} must be one of {", ".join(known)}, got "{getattr(self, name)}"')
        if self.trace_every < 1:
            raise ValueError(f"observe.trace_every must be at least 1, got {self.trace_every}")


class Settings(Protocol):
    """The sections of the configuration that serving needs."""

    @property
    def server(self) -> ServerConfig: ...

    @property
    def limits(self) -> LimitsConfig: ...

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
