"""What the machine itself brings: packages, models, speed, memory, disk, clock, devices."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

import numpy as np

from engine.clock import FPS, VOICE_FRAME, VOICE_RATE
from visavis.config import Config
from visavis.doctor import Finding

NEEDED: Final = ("numpy", "numba", "onnxruntime", "openvino", "safetensors", "av", "aiortc", "aioice", "aiohttp")
LEAST_MEMORY_MB: Final = 700  # a process that is ready to paint 512 x 512 took 650, each session of it 42
A_SESSION_MB: Final = 60
LEAST_DISK_GB: Final = 2.0
FRAMES, WARM, LONGEST_S = 60, 10, 8.0  # frames that are timed after so many that are not, and when to stop
TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronised
STRUCT_TIMEX: Final = 208  # bytes, 64-bit Linux


def packages(config: Config) -> Iterator[Finding]:
    """What a server cannot do without."""
    version = platform.python_version()
    yield Finding("Python", "ok", f"{version} on {platform.system()} {platform.machine()}")
    found, missing = [], []
    for name in NEEDED:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        yield Finding("packages", "bad", f"missing: {', '.join(missing)}", "pip install visavis, into this Python")
    from streaming import patches

    try:
        patches.install(config.stream, config.server)
    except ImportError as problem:
        yield Finding("packages", "bad", str(problem), 'pip install "aiortc>=1.16,<1.17"')
        return
    if not missing:
        yield Finding("packages", "ok", ", ".join(found))


def models(config: Config) -> Iterator[Finding]:
    """The networks and avatars that a session begins with."""
    from engine import avatar as packs

    folders = tuple(Path(folder) for folder in config.avatar.folders)
    for folder in folders:
        if not folder.is_dir():
            yield Finding("models", "bad", f'avatar.folders: "{folder}" is no folder', "make it, or take it out")
            return
    listed = packs.available(folders)
    chosen = [meta for meta in listed if meta.id == config.avatar.default]
    if not chosen:
        names = ", ".join(meta.id for meta in listed) or "none"
        yield Finding("models", "bad", f'no avatar "{config.avatar.default}"', f"avatar.default must be of: {names}")
        return
    assert chosen[0].path is not None
    problems = packs.check(chosen[0].path)
    if problems:
        yield Finding("models", "bad", f"avatar {chosen[0].id}: {problems[0]}", "install Visavis again")
        return
    yield Finding("models", "ok", f"{len(listed)} avatars; {chosen[0].id} is whole")


def speed(config: Config) -> Iterator[Finding]:
    """Paints a few seconds, as a session would."""
    from rich.console import Console

    from visavis.gpu import open_engine

    engine = open_engine(config.engine, Console(file=sys.stderr), sessions=1, quiet=True)
    try:
        engine.warm_up()
        session = engine.open()
        voice = 0.1 * np.sin(np.arange(VOICE_FRAME) * 2 * np.pi * 220 / VOICE_RATE).astype(np.float32)
        took: list[float] = []
        started = time.monotonic()
        while len(took) < WARM + FRAMES and (len(took) < WARM + 5 or time.monotonic() - started < LONGEST_S):
            session.push_voice(voice)
            begun = time.perf_counter()
            session.step()
            took.append(1e3 * (time.perf_counter() - begun))
    finally:
        engine.close()
    typical, slow = np.percentile(took[WARM:], (50, 95))
    size = f"{config.render.width} x {config.render.height}"
    what = f"a frame of {size} takes {typical:.1f} ms (95 of 100: {slow:.1f} ms); {1000 / FPS:.0f} ms are there"
    many = int(0.8 * 1000 / FPS / typical)
    load, cores = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0, os.cpu_count() or 1
    if slow > 1000 / FPS and load > cores:
        what += f"; {load:.0f} programs want {cores} processors now"
        yield Finding("speed", "bad" if typical > 1000 / FPS else "note", what, "look again when they have ended")
    elif typical > 1000 / FPS:
        do = "make pictures smaller (render.width, render.height), or set render.renderer to geometric"
        yield Finding("speed", "bad", what, do)
    elif slow > 1000 / FPS:
        yield Finding("speed", "note", what, "something else uses this machine: pictures will be late at times")
    elif many < config.server.max_sessions and engine.gpu is None:
        do = f"server.max_sessions = {max(many, 1)}, smaller pictures, or a GPU: more would be late"
        yield Finding("speed", "note", f"{what}: about {max(many, 1)} sessions at a time", do)
    else:
        yield Finding("speed", "ok", what)


def gpu(config: Config) -> Iterator[Finding]:
    """Who paints."""
    from engine.backends.choose import choose
    from visavis.devices import gpu_names

    if config.render.renderer == "neural":
        yield Finding("painter", "ok", str(choose(config.render.backend)))
    names = gpu_names()
    yield Finding("GPU", "ok", ", ".join(names) or "no NVIDIA GPU: the processor paints")


def memory(config: Config) -> Iterator[Finding]:
    """Free memory, beside what sessions take."""
    info = Path("/proc/meminfo")
    if not info.exists():
        return
    words = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
    free = int(words["MemAvailable"].split()[0]) / 1024
    wanted = LEAST_MEMORY_MB + A_SESSION_MB * config.server.max_sessions
    what = f"{free:.0f} MB free; {config.server.max_sessions} sessions take about {wanted:.0f}"
    if free < wanted:
        yield Finding("memory", "bad", what, "end other programs, or lower server.max_sessions")
    else:
        yield Finding("memory", "ok", what)


def disk(config: Config) -> Iterator[Finding]:
    """Room for what is written: recordings, avatars of photographs."""
    for key, folder in (("outputs.folder", config.outputs.folder), ("portrait.folder", config.portrait.folder)):
        if not folder:
            continue
        path = Path(folder)
        if not path.is_dir():
            yield Finding("disk", "bad", f"{key}: {path} is no folder", f"mkdir -p {path}, for the server's user")
            continue
        free = shutil.disk_usage(path).free / 1e9
        if free < LEAST_DISK_GB:
            yield Finding("disk", "bad", f"{key}: {free:.1f} GB are free", "make room, or choose another folder")
        else:
            yield Finding("disk", "ok", f"{key}: {free:.0f} GB are free")


def clock(config: Config) -> Iterator[Finding]:
    """Credentials that expire, tokens and certificates all go by it."""
    if platform.system() != "Linux":
        return
    wrong = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(STRUCT_TIMEX)) == TIME_ERROR
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    if wrong:
        do = "have it set by NTP (timedatectl set-ntp true): TURN credentials and tokens expire by it"
        yield Finding("clock", "note", f"{now}; nothing keeps it right, as far as the kernel knows", do)
    else:
        yield Finding("clock", "ok", now)


def devices(config: Config) -> Iterator[Finding]:
    """Microphones and cameras of this machine; a browser brings its own."""
    from visavis.devices import report
    from visavis.portaudio import quiet

    with quiet():
        told = report()
    for title, rows, hint in told:
        if title in ("Compute", "Inference"):
            continue
        yield Finding(title, "ok", "; ".join(" ".join(row) for row in rows) or "none", hint)
