"""The engine's tunables. ``config.toml`` gives them; these are the defaults."""

from __future__ import annotations

from dataclasses import dataclass

from engine.motion.behaviour import BehaviourConfig
from engine.motion.condition import AVERAGE_STYLE
from engine.motion.manner import Manner
from engine.schedule.plan import KINDS, make
from engine.watermark.code import PUBLIC_KEY

RENDERERS = ("geometric", "neural")
PRECISIONS = ("auto", "bf16", "f32")
BACKENDS = ("auto", "tensorrt", "torch", "onnxruntime-cuda", "openvino", "onnxruntime")
STEPS = (1, 2, 4)


@dataclass(frozen=True, slots=True)
class MotionConfig:
    """Voice to motion."""

    lookahead: int = 1  # frames of 40 ms the lips wait for: 0, 1 or 2; the voice is delayed to match


@dataclass(frozen=True, slots=True)
class MannerConfig:
    """How a session begins; page, protocol and command line change it (engine/motion/manner.py)."""

    emotion: str = "neutral"  # neutral happy sad angry surprised fearful disgusted contempt
    intensity: float = 0.65  # of the emotion: mild .35, moderate .65, strong 1
    gaze: str = "free"  # "free" wanders as people do, "viewer" holds the viewer's eyes
    head: float = 1.0  # how far the head moves, 0 to 1.5; 1 as generated
    gesture: float = 1.0  # how far arms and hands move, 0 to 1.5
    style: tuple[float, ...] = AVERAGE_STYLE  # energy, head, brows, gesture: how lively, each in [0, 1]
    temperature: float = 1.0  # how varied, 0 (always the likeliest) to 2

    def __post_init__(self) -> None:
        self.manner()

    def manner(self) -> Manner:
        """The Manner of these values. Raises ValueError, naming the field, for what cannot be done."""
        return Manner(
            self.emotion, self.intensity, self.gaze, self.head, self.gesture, self.style,
            temperature=self.temperature,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ViewConfig:
    """How the camera follows the viewer's hand."""

    half_life: float = 0.03  # seconds after which half the way to a new viewpoint is left
    eye_contact: float = 0.35  # 0: look straight ahead, 1: turn eyes and head fully to a camera that moves aside


@dataclass(frozen=True, slots=True)
class RenderConfig:
    """The picture."""

    width: int = 512  # pixels, even
    height: int = 512
    framing: str = "upper"  # upper | head
    renderer: str = "neural"  # "neural" has a network paint, "geometric" rasterizes and lights
    network: str = "lite"  # of the neural renderer: a shipped one, or the path of your own .onnx file
    backend: str = "auto"  # what runs the network: "auto" (the best that is there), or one of BACKENDS
    precision: str = "auto"  # of the network: "auto" (bf16 where the processor has it, fp16 on a GPU), "bf16" or "f32"
    threads: int = 0  # for the network; 0: all cores but one, and both of two
    background: str = "avatar"  # "avatar" (its own), "blur", "transparent", "#rrggbb", or an image file

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            side = getattr(self, name)
            if side % 2 or not 64 <= side <= 2048:
                raise ValueError(f"{name} must be an even number from 64 to 2048, got {side}")
        if self.renderer not in RENDERERS:
            raise ValueError(f'renderer must be "neural" or "geometric", got "{self.renderer}"')
        if self.backend not in BACKENDS:
            raise ValueError(f'backend must be one of {", ".join(BACKENDS)}, got "{self.backend}"')
        if self.precision not in PRECISIONS:
            raise ValueError(f'precision must be one of {", ".join(PRECISIONS)}, got "{self.precision}"')
        if not 0 <= self.threads <= 256:
            raise ValueError(f"threads must be from 0 (automatic) to 256, got {self.threads}")
        if self.framing not in ("upper", "head"):
            raise ValueError(f'framing must be "upper" or "head", got "{self.framing}"')


@dataclass(frozen=True, slots=True)
class GpuConfig:
    """Painting on a GPU, many sessions at a time; nothing of it matters on a CPU."""

    sessions: int = 16  # painted at a time, at most; some 60 MB each at 512 x 512. Fewer where the memory is full
    steps: int = 1  # of denoising: 1, 2 or 4

    def __post_init__(self) -> None:
        if not 1 <= self.sessions <= 64:
            raise ValueError(f"sessions must be from 1 to 64, got {self.sessions}")
        if self.steps not in STEPS:
            raise ValueError(f"steps must be one of {', '.join(map(str, STEPS))}, got {self.steps}")


@dataclass(frozen=True, slots=True)
class ScheduleConfig:
    """Who is painted next, who is let in, and what is given up so that nobody's frames are late (docs/scale.md)."""

    enabled: bool = True  # false: sessions fight for the machine, and max_sessions alone bounds them
    turns: int = 0  # sessions painted at the same time on a CPU; 0: automatic
    pin: bool = True  # each of them keeps to cores of its own (Linux); false where servers share a machine
    bound: float = 0.7  # share of the turns' time that painting may need; the rest encodes, sends, and takes what comes
    degrade: tuple[str, ...] = (
        KINDS  # what may be given up, in this order: "steps" (on a GPU), "size", "rate" (on a CPU)
    )
    admit: str = "size"  # as far as which of them quality is lowered to let somebody in; "full": not at all
    recover_s: float = 5.0  # lowered quality stays for so long at least

    def __post_init__(self) -> None:
        if not 0 <= self.turns <= 256:
            raise ValueError(f"turns must be from 0 (automatic) to 256, got {self.turns}")
        if not 0.1 <= self.bound <= 1:
            raise ValueError(f"bound must be from 0.1 to 1, got {self.bound}")
        if not 0 <= self.recover_s <= 3600:
            raise ValueError(f"recover_s must be from 0 to 3600, got {self.recover_s}")
        if len(set(self.degrade)) < len(self.degrade):
            raise ValueError("degrade names something twice")
        make(self.degrade, self.admit)


@dataclass(frozen=True, slots=True)
class WatermarkConfig:
    """The invisible mark in every picture (engine/watermark)."""

    enabled: bool = True  # visavis detect-watermark finds it in films and recordings
    key: str = PUBLIC_KEY  # who knows it finds the mark; a word of your own keeps that to you

    def __post_init__(self) -> None:
        if not self.key:
            raise ValueError("key must not be empty; leave it out for the public one, or set enabled = false")


@dataclass(frozen=True, slots=True)
class AvatarConfig:
    """Who can be worn."""

    default: str = "ada"  # id of the avatar a session starts with
    folders: tuple[str, ...] = ()  # folders that hold avatar packs of your own, each pack a folder in it


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Everything the engine reads at start."""

    avatar: AvatarConfig = AvatarConfig()
    motion: MotionConfig = MotionConfig()
    behaviour: BehaviourConfig = BehaviourConfig()
    manner: MannerConfig = MannerConfig()
    view: ViewConfig = ViewConfig()
    render: RenderConfig = RenderConfig()
    gpu: GpuConfig = GpuConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    watermark: WatermarkConfig = WatermarkConfig()
