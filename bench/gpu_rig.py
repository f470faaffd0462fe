"""An engine whose sessions are painted on a GPU, or on the emulated one, for the suites `gpu` and `kernels`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console

from engine.backends import tensorrt
from engine.backends.tensorrt_build import find
from engine.clock import VOICE_FRAME
from engine.config import AvatarConfig, EngineConfig, RenderConfig
from engine.engine import Engine
from engine.gpu import tick, wish
from engine.gpu.gpu import Gpu, GpuRenderer
from engine.gpu.networks import Buffer, Networks, Rehearsal
from engine.gpu.session import GpuSession
from engine.gpu.tick import Tick
from engine.motion import lips, perform
from engine.motion.frame import SIZE as MOTION
from engine.motion.manner import Manner
from engine.render import network
from engine.render.composite import Backdrop
from engine.scheduler import Ask
from engine.stages import Stages
from kernels.cells import PACKED, RESIDUAL, SHARES
from kernels.cuda import Device, Stream, emulated
from kernels.nvrtc import CudaError

WHO: Final = ("ada", "omar", "mei", "leo", "maya", "kofi", "nora", "zoe")  # shipped: sessions wear them in turn
BACKENDS: Final = ("tensorrt", "torch-compile", "torch-eager")
GROUPS: Final = {
    "sound": ("logmel", "lips"), "performance": ("performer",), "body": ("act", "bones", "skin"),
    "raster": ("rasterize",), "guidance": ("blend", "guidance"), "network": ("painter",), "picture": ("cells",),
    "moves": ("move",),
}  # fmt: skip


def open_device(rehearse: bool) -> Device:
    """The GPU, or for a rehearsal the emulated one. Raises ValueError, which says what is missing, without either."""
    try:
        return emulated() if rehearse else Device()
    except CudaError as error:
        raise ValueError(
            f"{str(error).rstrip('.')}. Without a GPU nothing is timed; `--rehearse` runs everything once on the "
            "emulated device"
        ) from error


class OnGpu(Engine):
    """As Engine, with sessions of ``gpu``, each of so many ``steps``."""

    def __init__(self, gpu: Gpu, avatar: str = WHO[0], steps: int = 1) -> None:
        height, width = gpu.tick.size
        render = RenderConfig(width=width, height=height, network=str(gpu.network.path), threads=1)
        super().__init__(EngineConfig(AvatarConfig(avatar), render=render))
        self._own, self.steps = gpu, steps

    def renderer(
        self, avatar: str, framing: str | None = None, *, seed: int = 0, backdrop: Backdrop | None = None
    ) -> GpuRenderer:
        """As Engine.renderer."""
        framing = framing or self.config.render.framing
        return GpuRenderer(self._own, self.avatar(avatar), framing, background=backdrop or self.backdrop, seed=seed,
                           steps=self.steps)  # fmt: skip

    def open(
        self, avatar: str | None = None, *, seed: int = 0, framing: str | None = None, manner: Manner | None = None,
        backdrop: Backdrop | None = None,
    ) -> GpuSession:  # fmt: skip
        """As Engine.open."""
        parts = super().open(avatar, seed=seed, framing=framing, manner=manner, backdrop=backdrop).parts
        return GpuSession(parts, seed=seed, manner=manner)


def crowd(engine: OnGpu, count: int, steps: Sequence[int] = (1,)) -> list[GpuSession]:
    """``count`` sessions of different avatars, seeds and framings; ``steps`` in turn."""
    made = []
    for k in range(count):
        engine.steps = steps[k % len(steps)]
        made.append(engine.open(WHO[k % len(WHO)], seed=k, framing=("upper", "head")[k // len(WHO) % 2]))
    return made


def asks(sessions: Sequence[GpuSession], voice: np.ndarray, frame: int) -> list[Ask]:
    """The next frame of every session, each at another place of ``voice``, as a tick takes it."""
    made = []
    for k, session in enumerate(sessions):
        start = (frame + 13 * k) * VOICE_FRAME % (len(voice) - VOICE_FRAME)
        session.push_voice(voice[start : start + VOICE_FRAME])
        heard = session.hear(Stages())
        assert heard is not None
        renderer = session.parts.renderer
        assert isinstance(renderer, GpuRenderer)
        wanted = wish.make(session, heard, session.parts.actor.performer, renderer.noise_shape, renderer.worn)
        made.append(Ask(renderer.seat, wanted, renderer.steps))
    return made


class Still:
    """Networks that answer the same at once, for timing what lies around them: Networks with one step."""

    runs: str = "no networks"
    steps: tuple[int, ...] = (1,)

    def __init__(self, device: Device, size: tuple[int, int], near: int, detail: int) -> None:
        """``near``, ``detail``: channels of the painter's first noise, as its files say."""
        self._device, rows, columns = device, size[0] // 8, size[1] // 8
        f4, u1 = np.dtype(np.float32), np.dtype(np.uint8)
        floats: dict[str, dict[str, tuple[int, ...]]] = {
            "lips": {"mel": (4, 80), "state": (9274,), "gain": (12,)},
            "performer": {
                "mel": (8, 80), "condition": (48,), "noise": (8, 256), "temperature": (1,), "state": (7360,),
            },
            "painter": {
                "noise": (rows, columns, near), "noise_detail": (rows, columns, detail), "view": (4,),
                "motion": (MOTION,), "code": (128,),
            },
        }  # fmt: skip
        self._inputs: dict[str, dict[str, tuple[tuple[int, ...], np.dtype[Any]]]] = {
            name: {key: (shape, f4) for key, shape in kinds.items()} for name, kinds in floats.items()
        }
        self._inputs["painter"]["cells"] = ((rows, columns, 4, PACKED), u1)
        rng = np.random.default_rng(0)
        self._answers: dict[str, dict[str, np.ndarray]] = {
            "lips": {
                "face": np.full((3, 52), 0.1, f4), "contact": np.zeros((3, 2), f4),
                "viseme": np.full((3, 15), 1 / 15, f4), "next_state": np.zeros(9274, f4),
            },
            "performer": {"motion": np.zeros((2, 96), f4), "next_state": np.zeros(7360, f4)},
            "painter": {
                "residual": rng.normal(0, 0.05, (2 * rows, 2 * columns, RESIDUAL)).astype(f4),
                "shares": rng.normal(0, 3, (2 * rows, 2 * columns, SHARES)).astype(f4),
                "gain": np.ones((rows, columns, 3), f4), "mask": np.zeros((rows, columns), u1),
            },
        }  # fmt: skip

    def inputs(self, name: str) -> Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """As Networks.inputs."""
        return self._inputs[name]

    def outputs(self, name: str) -> Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """As Networks.outputs."""
        return {key: (value.shape, value.dtype) for key, value in self._answers[name].items()}

    def bind(self, name: str, batch: int, steps: int, buffers: Mapping[str, Buffer]) -> Callable[[Stream], None]:
        """As Networks.bind: the answers are written now."""
        for key, value in self._answers[name].items():
            rows = np.ascontiguousarray(np.broadcast_to(value, (batch, *value.shape)))
            self._device.check(
                self._device.driver.cuMemcpyHtoD(buffers[key].pointer, rows.ctypes.data, rows.nbytes)
            )  # fmt: skip
        return lambda stream: None

    def capture(self, stream: Stream) -> Any:
        """As Networks.capture."""
        return stream.capture()


def networks_of(
    backend: str, device: Device, weights: Path, size: tuple[int, int], steps: tuple[int, ...], precision: str = "fp16",
    most: int = 64,
) -> Networks:  # fmt: skip
    """The real networks on one of BACKENDS, painting with ``weights`` (.safetensors). Raises ValueError, with what is
    missing, where that backend cannot be had."""
    if backend not in BACKENDS:
        raise ValueError(f"--backend knows {', '.join(BACKENDS)}; got {backend!r}")
    if backend == "tensorrt":
        from engine.gpu.engines import EngineNetworks

        find(None, tensorrt.Gpu.of(device).capability)  # before minutes go into exporting
        built: Networks = EngineNetworks(device, exported(weights, size, steps, precision, most), most=most)
        return built
    try:
        from engine.backends.torch import TorchNetworks
        from exporters.nets import nets
    except ImportError as error:
        raise ValueError(f"{backend} needs torch: pip install 'visavis[gpu]' ({error})") from error
    modules = nets(weights, size=size, steps=steps, precision=precision)
    made: Networks = TorchNetworks(device, modules, backend.removeprefix("torch-"))
    return made


def exported(
    weights: Path, size: tuple[int, int], steps: Sequence[int], precision: str, most: int
) -> dict[str, Path]:  # fmt: skip
    """The ONNX files of a tick's networks: the shipped ones, and the painters of ``weights`` beside it."""
    from exporters.painter import export_painter
    from exporters.render import load_weights

    paths = {"lips": lips.MODEL, "performer": perform.MODEL}
    for count in steps:
        path = weights.with_name(f"{weights.stem}_{size[0]}_{count}_{precision}_{most}.onnx")
        if not path.exists():
            export_painter(load_weights(weights), path, steps=count, size=size, precision=precision, most=most)
        paths[f"painter{count}"] = path
    return paths


@contextmanager
def untrained(size: str = "base") -> Iterator[Path]:
    """Weights nobody trained, of SIZES or "tiny", and the host's files beside them: times are those of trained ones."""
    import torch

    from engine.render.denoiser import SIZES, DenoiserConfig, Renderer
    from exporters.render import export_encoder, export_frame, save_weights

    tiny = DenoiserConfig(widths=(16, 24, 32), depths=(1, 1, 1), embed=24, head=8, view_experts=3, mask_rank=2)
    torch.manual_seed(3)
    net = Renderer(SIZES.get(size, tiny)).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"renderer_{size}.safetensors"
        save_weights(net, path)
        export_frame(net, path.with_suffix(".onnx"))
        export_encoder(net, path.with_name(f"renderer_{size}_identity.onnx"))
        yield path


def rehearsed(device: Device, weights: Path, size: tuple[int, int], steps: Sequence[int]) -> Networks:
    """The networks on the processor, for the emulated device."""
    return Rehearsal(device, exported(weights, size, steps, "fp32", 4))


@contextmanager
def opened(
    device: Device, networks: Networks, size: tuple[int, int], buckets: Sequence[int], weights: Path, log: Console
) -> Iterator[Gpu]:
    """A tick that is readied for these numbers of rows alone, and the thread that runs it."""
    found = network.find(str(weights.with_suffix(".onnx")), 1, "f32")
    all_of_them = tick.BUCKETS
    setattr(tick, "BUCKETS", tuple(buckets))  # noqa: B010  fewer take less of a lent machine's time
    try:
        made = Tick(
            device, networks, size, most=max(buckets), progress=lambda what, share: log.print(what, style="dim")
        )
    finally:
        setattr(tick, "BUCKETS", all_of_them)  # noqa: B010
    if made.reduced:
        log.print(made.reduced)
    gpu = Gpu(made, found)
    try:
        yield gpu
    finally:
        gpu.close()
