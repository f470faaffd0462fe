"""What every process of a cluster is made from: settings, the engine's maker, and what they keep secret together."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from engine.engine import Engine
from streaming.cluster.config import ClusterConfig
from streaming.config import ServerConfig, Settings
from streaming.guard import check_bind, with_secrets

PUBLIC_IP: Final = "VISAVIS_PUBLIC_IP"  # in a machine's environment: server.public_ip of the workers there


class ClusterSettings(Settings, Protocol):
    """The sections that a cluster needs."""

    @property
    def cluster(self) -> ClusterConfig: ...


@dataclass(frozen=True)
class Blueprint:
    """``make`` opens a worker's engine, in its own process; it and ``settings`` are pickled. ``secret``: what edges
    prove themselves to workers with. ``version`` grows with every deployment."""

    settings: ClusterSettings
    make: Callable[[], Engine]
    version: int = 1
    secret: str = field(default="", repr=False)

    @staticmethod
    def of(settings: ClusterSettings, make: Callable[[], Engine]) -> Blueprint:
        """With the secrets that files hold, and those that nobody gave. Raises ServeError."""
        check_bind(settings.server)
        server = with_secrets(settings.server)
        if not server.token_key:  # a token that one worker made is good at all of them
            server = replace(server, token_key=secrets.token_hex(32))
        return Blueprint(replace(settings, server=server), make, secret=secrets.token_hex(32))  # type: ignore[type-var]

    @property
    def cluster(self) -> ClusterConfig:
        """The section of that name."""
        return self.settings.cluster

    def next(self, settings: ClusterSettings, make: Callable[[], Engine], version: int) -> Blueprint:
        """What is deployed over this one: what is secret stays, for edges and tokens stay too."""
        server = with_secrets(settings.server)
        server = replace(server, token_key=server.token_key or self.settings.server.token_key)
        return Blueprint(replace(settings, server=server), make, version, self.secret)  # type: ignore[type-var]


def worker_server(server: ServerConfig, name: str) -> ServerConfig:
    """``server`` as the worker called ``name`` has it on this machine."""
    public = os.environ.get(PUBLIC_IP, "") or server.public_ip
    return replace(server, worker=name, public_ip=public, tls_cert="", tls_key="", processes="one")


def inner_host(cluster: ClusterConfig, node: str) -> str:
    """Where a worker listens for edges: on loopback where all of them are on one machine, else at its ``node``."""
    return node if cluster.address else "127.0.0.1"
