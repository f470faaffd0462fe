"""What the actors of a cluster are called on Ray."""

from __future__ import annotations

import re
from typing import Final

SPACE: Final = "visavis"  # Ray's namespace
EDGES: Final = "visavis_edge"  # a resource of machines that edges are to be on; without any, they may be anywhere


def director(cluster: str) -> str:
    """The director of ``cluster``."""
    return f"{cluster}-director"


def keeper(cluster: str, number: int) -> str:
    """One of its keepers."""
    return f"{cluster}-keeper-{number}"


def edge(cluster: str, number: int) -> str:
    """One of its edges."""
    return f"{cluster}-edge-{number}"


def worker(cluster: str, name: str) -> str:
    """The worker called ``name``."""
    return f"{cluster}-worker-{name}"


def all_of(cluster: str) -> list[str]:
    """Every actor of ``cluster`` that is there."""
    import ray

    there = ray.util.list_named_actors(all_namespaces=True)
    own = re.compile(rf"{re.escape(cluster)}-(director|(keeper|edge|worker)-[a-z0-9]+)")
    return sorted(found["name"] for found in there if found["namespace"] == SPACE and own.fullmatch(found["name"]))


def workers_of(cluster: str) -> list[str]:
    """All workers' actors that are there."""
    return [name for name in all_of(cluster) if name.startswith(worker(cluster, ""))]
