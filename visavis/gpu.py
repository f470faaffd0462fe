"""The engine on the best that this machine has: a GPU with TensorRT or torch where there is one, else the processor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from engine.config import EngineConfig

if TYPE_CHECKING:
    from engine.backends.choose import Choice
    from engine.engine import Engine
    from engine.gpu.gpu import Gpu
    from engine.gpu.networks import Networks
    from kernels.cuda import Device

EXTRA: Final = "painting on a GPU needs the extra 'gpu': pip install 'visavis[gpu]'"
PRECISION: Final = {"auto": "fp16", "bf16": "bf16", "f32": "fp32"}  # of the config, as exporters call it
Say = Callable[[str, int, int], None]  # what is being done, steps done, steps in all (0: not known)


def open_engine(config: EngineConfig, console: Console, *, sessions: int | None = None, quiet: bool = False) -> Engine:
    """An engine on the backend that ``config`` asks for, or on the best; says on ``console`` which and why, unless
    ``quiet``. ``sessions``: no more of them are painted at a time, whatever ``config`` says.

    Raises ValueError for a backend that was asked for and cannot be had. An automatic choice that turns out not to work
    says so and goes on with the processor.
    """
    from engine.backends.choose import ON_CPU, choose
    from engine.engine import Engine

    if config.render.renderer != "neural":
        return Engine(config)
    choice = choose(config.render.backend)
    if choice.name not in ("tensorrt", "torch"):
        if not quiet:
            console.print(escape(str(choice)), style="dim", highlight=False, soft_wrap=True)
        return Engine(config, backend=choice.name)
    try:
        gpu = _opened(config, choice, console, sessions or config.gpu.sessions)
    except (ValueError, RuntimeError) as problem:  # CudaError and OutOfMemory are RuntimeErrors
        if config.render.backend != "auto":
            raise ValueError(f"{choice.runs} cannot paint: {problem}") from problem
        console.print(
            escape(f"{choice.runs} cannot paint ({problem}); going on with the processor"),
            style="yellow",
            soft_wrap=True,
        )
        return Engine(config, backend=choose(ON_CPU[0]).name)
    if gpu.tick.reduced:
        console.print(escape(gpu.tick.reduced), style="yellow", soft_wrap=True)
    if not quiet:
        console.print(
            escape(f"painting on {gpu.runs}, because {choice.because}"), style="dim", highlight=False, soft_wrap=True
        )
    return Engine(config, gpu)


def engine_for(config: EngineConfig, sessions: int) -> Engine:
    """The same, said to nobody: for a process of a server that starts and restarts it."""
    return open_engine(config, Console(stderr=True), sessions=sessions, quiet=True)


def on_gpu(config: EngineConfig) -> bool:
    """Whether `open_engine` will try a GPU."""
    from engine.backends.choose import choose

    return config.render.renderer == "neural" and choose(config.render.backend).name in ("tensorrt", "torch")


def _opened(config: EngineConfig, choice: Choice, console: Console, sessions: int) -> Gpu:
    """The GPU, readied for ``config``, with a progress bar: minutes the first time on a machine, then seconds."""
    from engine.gpu.gpu import Gpu
    from engine.gpu.tick import Tick
    from engine.render import network
    from kernels.cuda import Device

    render = config.render
    found = network.find(render.network, render.threads, "f32")
    size, steps = (render.height, render.width), (config.gpu.steps,)
    columns = (TextColumn("[progress.description]{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("Getting the GPU ready", total=None)

        def say(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total or None)

        device = Device()
        precision = PRECISION[render.precision]
        most = config.gpu.sessions  # engines are built once for all commands
        networks = _networks(choice.name, device, weights(found.path), size, steps, precision, most, say)
        tick = Tick(
            device, networks, size, most=min(sessions, most), lookahead=config.motion.lookahead,
            progress=lambda what, share: say(what, int(100 * share), 100),
        )  # fmt: skip
    return Gpu(tick, found)


def weights(network: Path) -> Path:
    """The weights behind a renderer's ONNX file, which lie beside it. Raises ValueError when they do not."""
    path = network.with_suffix(".safetensors")
    if not path.is_file():
        raise ValueError(f"{path}: a GPU paints with a network's weights, which should lie beside {network.name}")
    return path


def _networks(
    name: str, device: Device, path: Path, size: tuple[int, int], steps: tuple[int, ...], precision: str, most: int,
    say: Say,
) -> Networks:  # fmt: skip
    try:
        if name == "tensorrt":
            from exporters import engines

            return engines.networks(
                device, path, size=size, steps=steps, precision=precision, most=most, progress=say
            )  # fmt: skip
        from engine.backends.torch import TorchNetworks
        from exporters.nets import nets
    except ImportError as error:
        raise ValueError(f"{EXTRA} ({error})") from error
    say("loading the networks", 0, 0)
    return TorchNetworks(device, nets(path, size=size, steps=steps, precision=precision), "compile")
