"""``visavis cluster``: many workers behind one address, on Ray (extra ``cluster``)."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from engine.config import EngineConfig
    from engine.engine import Engine
    from visavis.config import Config

app = typer.Typer(help="Many workers behind one address, on Ray (extra: cluster).", no_args_is_help=True)
out, err = Console(), Console(stderr=True)

ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", help="A config.toml; the defaults without it.")]
NameOption = Annotated[str | None, typer.Option(help="Which cluster; as configured without.")]
SILENT_S = 1.0


@app.command()
def start(
    config: ConfigOption = None,
    workers: Annotated[int | None, typer.Option(help="Workers at least; as configured without.", min=1)] = None,
    most: Annotated[int | None, typer.Option("--max", help="Workers at most; as configured without.", min=1)] = None,
    host: Annotated[str | None, typer.Option(help="Address the page is served at.")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port of the page.", min=0, max=65535)] = None,
    name: NameOption = None,
) -> None:
    """Start a cluster: on this machine until Ctrl+C, or on the Ray of cluster.address until it is stopped."""
    from streaming.cluster import launch
    from streaming.cluster.blueprint import Blueprint

    settings = _settings(config, name)
    server = replace(
        settings.server, host=host or settings.server.host, port=settings.server.port if port is None else port
    )
    low = workers or settings.cluster.min_workers
    cluster = replace(settings.cluster, min_workers=low, max_workers=most or max(settings.cluster.max_workers, low))
    settings = replace(settings, server=server, cluster=cluster)
    blueprint = Blueprint.of(settings, _maker(settings))
    with _told():
        with err.status("Starting Ray"):
            launch.connect(cluster)
        with err.status("Starting workers (they compile kernels the first time on a machine)"):
            addresses = launch.launch(blueprint)
        for address in addresses:
            out.print(f"Visavis is at {address}", highlight=False, soft_wrap=True)
        if cluster.address:
            return
        out.print("(stop with Ctrl+C; visavis cluster status in another terminal says how it is)", highlight=False)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            launch.stop(cluster.name)


@app.command()
def status(
    config: ConfigOption = None,
    name: NameOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Say who is in a cluster, and how much room is left."""
    told = _ask(_settings(config, name), "status")
    if as_json:
        typer.echo(json.dumps(told))
        return
    out.print(table(told))
    kept = max((kept["sessions"] for kept in told["keepers"]), default=0)
    edges = ", ".join(told["edges"]) or "none"
    about = (
        f"{told['wanted']} wanted, {told['lost']} lost so far; {kept} sessions could go on elsewhere; edges: {edges}"
    )
    out.print(about, highlight=False, soft_wrap=True)
    if told["problem"]:
        out.print(f"[yellow]last problem:[/] {escape(told['problem'])}", highlight=False, soft_wrap=True)


@app.command()
def drain(
    worker: Annotated[str, typer.Argument(help="Its name, as `visavis cluster status` says it.")],
    config: ConfigOption = None,
    name: NameOption = None,
) -> None:
    """Have a worker take no new sessions, and end when those it has are over; another one takes its place."""
    settings = _settings(config, name)
    _ask(settings, "drain", worker)
    minutes = f"{settings.cluster.drain_s / 60:g} min"
    out.print(f"{worker} takes no new sessions, and ends with its last one, or after {minutes}", highlight=False)


@app.command()
def deploy(config: ConfigOption = None, name: NameOption = None) -> None:
    """Replace all workers by such of this configuration (and of the code that is installed), one after the other."""
    from streaming.cluster.blueprint import Blueprint

    settings = _settings(config, name)
    version = _ask(settings, "deploy", Blueprint.of(settings, _maker(settings)))
    out.print(f"workers of version {version} replace the others one by one: visavis cluster status", highlight=False)


@app.command()
def stop(config: ConfigOption = None, name: NameOption = None) -> None:
    """End a cluster, and every session in it."""
    from streaming.cluster import launch

    settings = _settings(config, name)
    with _told():
        launch.connect(settings.cluster, join=True)
        launch.stop(settings.cluster.name)
    out.print("stopped")


def table(told: dict[str, Any]) -> Table:
    """The workers of a status, one a row; process ids and addresses are in its JSON."""
    found = Table("worker", "state", "version", "sessions", "headroom", "node", "avatars")
    for column in (*found.columns[:2], found.columns[5]):
        column.no_wrap = True  # to be copied
    for row in told["workers"]:
        left = f"{100 * row['headroom']:.0f} %" if "headroom" in row else ""
        silent = f", silent {row['heard_s']:.0f} s" if row["heard_s"] >= SILENT_S and row["state"] != "starting" else ""
        found.add_row(
            row["name"], row["state"] + silent, str(row["version"]), str(row.get("sessions", "")), left,
            row.get("node", ""), ", ".join(row.get("avatars", [])),
        )  # fmt: skip
    return found


def make_engine(config: EngineConfig, sessions: int) -> Engine:
    """A worker's engine, on the best that its machine has; called in the worker's process."""
    from visavis.gpu import open_engine

    return open_engine(config, err, sessions=sessions)


def _maker(settings: Config) -> Any:
    engine = settings.engine
    if not settings.cluster.address:  # workers that share this machine share its cores
        engine = replace(engine, schedule=replace(engine.schedule, pin=False))
    return functools.partial(make_engine, engine, settings.server.max_sessions)


def _settings(config: Path | None, name: str | None) -> Config:
    from visavis.config import load

    settings = load(config)
    return replace(settings, cluster=replace(settings.cluster, name=name or settings.cluster.name))


def _ask(settings: Config, what: str, *about: Any) -> Any:
    from streaming.cluster import launch

    with _told():
        launch.connect(settings.cluster, join=True)
        return launch.ask(settings.cluster.name, what, *about)


@contextmanager
def _told() -> Iterator[None]:
    """What goes wrong with a cluster is one line."""
    from streaming.cluster.launch import ClusterError

    try:
        yield
    except ClusterError as problem:
        err.print(f"[red]visavis:[/] {escape(str(problem))}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
