"""Brings a cluster up on Ray, finds one that runs, and ends it."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from typing import Any, Final

from streaming.cluster import names
from streaming.cluster.blueprint import Blueprint
from streaming.cluster.config import ClusterConfig
from streaming.cluster.director import Director
from streaming.cluster.keeper import Keeper

KEEPERS: Final = 2  # each has every snapshot
STORE: Final = 100 << 20  # bytes of Ray's object store on this machine: ours holds next to nothing
START_S: Final = 300.0  # the first time on a machine, kernels are compiled
STOP_S: Final = 30.0
REACH_S: Final = 5.0


class ClusterError(RuntimeError):
    """A cluster cannot be started, or there is none; the message says what to do."""


def connect(config: ClusterConfig, *, join: bool = False) -> None:
    """To the Ray of ``config.address``, or to one that is started here and ends with this process; ``join``: to the
    one that runs on this machine. Raises ClusterError."""
    try:
        import ray
    except ImportError:
        raise ClusterError("a cluster needs Ray: pip install 'visavis[cluster]'") from None
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # actors without a GPU see what the machine has
    common: dict[str, Any] = {"namespace": names.SPACE, "logging_level": logging.ERROR}
    try:
        if config.address or join:
            address = config.address or os.environ.get("RAY_ADDRESS") or "auto"
            _reach(address)
            ray.init(address=address, log_to_driver=False, **common)
            return
        common |= {"num_cpus": max(int(config.max_workers * config.cpus + 1), 1), "include_dashboard": False}
        if config.gpus:
            common["num_gpus"] = int(config.max_workers * config.gpus)
        ray.init(address="local", object_store_memory=STORE, **common)
    except (ConnectionError, ValueError, RuntimeError, OSError) as problem:
        where = config.address or (os.environ.get("RAY_ADDRESS", "this machine") if join else "a Ray of its own")
        raise ClusterError(f"no connection to {where}: {str(problem).strip().splitlines()[0][:300]}") from problem


def _reach(address: str) -> None:
    """Raises OSError where nobody listens: Ray itself goes on asking for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), REACH_S).close()


def launch(blueprint: Blueprint, seconds: float = START_S) -> list[str]:
    """Starts a cluster on the Ray that is connected; returns the page's addresses. Raises ClusterError."""
    import ray

    config = blueprint.cluster
    if find(config.name) is not None:
        raise ClusterError(f'a cluster called "{config.name}" is there already: stop it, or deploy to it')
    keepers = [_keeper(config, number) for number in range(KEEPERS)]
    actor: Any = ray.remote(Director)
    director = actor.options(
        name=names.director(config.name), namespace=names.SPACE, lifetime="detached", max_restarts=-1, num_cpus=0,
        max_concurrency=1000,
    ).remote(blueprint, keepers)  # fmt: skip
    try:
        addresses: list[str] = ray.get(director.begin.remote(), timeout=seconds)
    except Exception as problem:  # Ray's own, of many kinds
        cause = getattr(problem, "cause", None) or problem
        stop(config.name)
        raise ClusterError(f"the cluster did not start: {str(cause).strip().splitlines()[0][:300]}") from problem
    return addresses


def _keeper(config: ClusterConfig, number: int) -> Any:
    import ray

    actor: Any = ray.remote(Keeper)
    return actor.options(
        name=names.keeper(config.name, number), namespace=names.SPACE, lifetime="detached", max_restarts=-1,
        num_cpus=0, scheduling_strategy="SPREAD", max_concurrency=1000,
    ).remote(config.keep_mb << 20, config.keep_s)  # fmt: skip


def find(cluster: str) -> Any:
    """The director of the cluster of that name; None when there is none."""
    import ray

    try:
        return ray.get_actor(names.director(cluster), namespace=names.SPACE)
    except ValueError:
        return None


def ask(cluster: str, what: str, *about: Any, seconds: float = 10.0) -> Any:
    """What the director answers to ``what``. Raises ClusterError when there is none, ValueError for a mistake."""
    import ray

    director = find(cluster)
    if director is None:
        raise ClusterError(f'no cluster called "{cluster}" runs here; visavis cluster start')
    try:
        return ray.get(getattr(director, what).remote(*about), timeout=seconds)
    except ray.exceptions.RayTaskError as problem:
        if isinstance(problem.cause, ValueError):
            raise problem.cause from None
        raise


def stop(cluster: str) -> None:
    """Ends everything of the cluster of that name; one that is not there is no mistake."""
    import ray

    director = find(cluster)
    if director is None:
        return
    try:
        ray.get(director.stop.remote(), timeout=STOP_S)
    except Exception:  # ended below, whatever it is
        logging.getLogger(__name__).warning("the director does not answer, and is ended")
    ray.kill(director, no_restart=True)
    for name in names.all_of(cluster):
        with contextlib.suppress(ValueError):  # it has just ended
            ray.kill(ray.get_actor(name, namespace=names.SPACE), no_restart=True)
