"""Settings of a cluster: ``[cluster]`` of config.toml."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """How many workers there are, what each takes of its machine, and when one is given up. See docs/cluster.md."""

    name: str = "visavis"  # clusters of other names on the same Ray know nothing of each other
    address: str = ""  # of a Ray cluster: "auto" on one of its machines; empty: this machine alone
    min_workers: int = 1
    max_workers: int = 4
    edges: int = 1  # web processes; one a machine, behind a load balancer, when there are more
    cpus: float = 2.0  # cores of each worker, as Ray counts them
    gpus: float = 0.0  # GPUs of each, likewise
    headroom: float = 0.25  # share of the deadline budget that shall be left on average; less, and workers are added
    tail: float = 0.1  # and that shall be left at the worst moment in twenty
    start_s: float = 20.0  # that a worker takes to start: sessions that come meanwhile must find room
    calm_s: float = 300.0  # a worker goes only when it was not needed for so long
    lost_s: float = 2.0  # a worker that has not reported for so long is dead, and replaced
    drain_s: float = 600.0  # a worker that is to go waits so long for its sessions to end
    keep_s: float = 60.0  # for so long a session whose worker died may go on
    keep_mb: int = 512  # memory for that, in each of two places; a session takes 0.1

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", self.name):
            raise ValueError(f'cluster.name takes up to 32 of a-z, 0-9 and "-", got "{self.name}"')
        if not 1 <= self.min_workers <= self.max_workers:
            raise ValueError(
                f"cluster.min_workers must lie in 1..max_workers, got {self.min_workers} and {self.max_workers}"
            )
        for name, low, high in (
            ("edges", 1, 64), ("cpus", 0, 1024), ("gpus", 0, 64), ("headroom", 0, 0.9), ("tail", 0, 0.9),
            ("start_s", 0, 3600), ("calm_s", 0, 86_400), ("lost_s", 0.5, 60), ("drain_s", 0, 86_400),
            ("keep_s", 1, 3600), ("keep_mb", 1, 1 << 20),
        ):  # fmt: skip
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"cluster.{name} must lie in {low:g}..{high:g}, got {getattr(self, name):g}")
