"""A stand-in for the engine with its API: cheap pictures whose mouth follows the voice, no models, no avatars."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from engine.avatar import AvatarError, Meta
from engine.clock import VOICE_FRAME, VOICE_RATE, frame_pts
from engine.config import EngineConfig, RenderConfig
from engine.engine import HIDDEN_ID
from engine.motion.frame import Motion
from engine.render.composite import Backdrop
from engine.ring import FrameRing, SampleRing
from engine.schedule.plan import FULL
from engine.schedule.room import Room
from engine.schedule.turns import Clock, Free, Place, Turn
from engine.session import Controls, Frame
from engine.viewpoint import Viewpoint

from .picture import png

NAMES = ("ada", "ben")


@dataclass
class DoubleRenderer:
    avatar: str
    framing: str
    side: int
    backdrop: Backdrop = field(default_factory=Backdrop)

    def show(self, backdrop: Backdrop) -> None:
        self.backdrop = backdrop

    @property
    def size(self) -> tuple[int, int]:
        return self.side, self.side

    def default_viewpoint(self) -> Viewpoint:
        return Viewpoint(distance=1.6 if self.framing == "upper" else 1.05)


class DoubleSession:
    """Paints a head-shaped disc; yaw moves it sideways, distance scales it, loud voice opens its mouth."""

    def __init__(self, renderer: DoubleRenderer, cost_s: float) -> None:
        self.parts = SimpleNamespace(renderer=renderer, lookahead=0)
        self.inbox = SampleRing(2 * VOICE_RATE)
        self.frames = FrameRing(8, renderer.side, renderer.side)
        self.controls = Controls(renderer.default_viewpoint())
        self.painted = self.phase = 0
        self.quality, self.resting = FULL, False
        self.cost_s = cost_s
        self.fail = self.hushed = self.paused = False
        self.interrupts = 0
        rng = np.random.default_rng(3)
        self._grain = rng.integers(0, 6, (renderer.side, renderer.side), np.uint8)

    @property
    def ready(self) -> bool:
        return self.inbox.available >= VOICE_FRAME

    def push_voice(self, samples: np.ndarray) -> None:
        self.inbox.write(np.asarray(samples, np.float32))

    def control(self, controls: Controls) -> None:
        self.controls = controls

    def wear(self, renderer: DoubleRenderer, mark: None = None) -> None:
        self.parts.renderer = renderer

    def show(self, backdrop: Backdrop) -> None:
        self.parts.renderer.show(backdrop)

    def adapt(self, turn: Turn) -> None:
        pass

    def step(self, paint: bool = True) -> Frame | None:
        if self.inbox.available < VOICE_FRAME:
            return None
        if self.fail:
            raise RuntimeError("out of paint")
        start = time.perf_counter()
        count = self.controls.manner.interrupts
        if count != self.interrupts:  # what waits goes with an interruption, as in the real one
            self.inbox.skip((self.inbox.available // VOICE_FRAME - 1) * VOICE_FRAME)
        voice = self.inbox.read(VOICE_FRAME)
        loud = float(np.abs(voice).max()) > 0.05
        if count != self.interrupts:
            self.interrupts, self.hushed, self.paused = count, True, False
        self.paused = self.paused or not loud
        resumed = self.controls.manner.resumed  # until new speech begins, as the real one
        self.hushed = self.hushed and not (self.paused and loud if resumed is None else resumed >= count)
        view, renderer, side = self.controls.viewpoint, self.parts.renderer, self.parts.renderer.side
        picture = self.frames.claim()
        luma = picture[:side]
        y, x = np.ogrid[:side, :side]
        cx, cy, r = side * (0.5 + 0.3 * view.yaw), side * (0.55 - 0.3 * view.pitch), side * 0.36 / view.distance
        head = (x - cx) ** 2 + ((y - cy) * 0.8) ** 2 < r * r
        clear = renderer.backdrop.transparent
        luma[:] = 16 if clear else 40 + self._grain
        luma[head] = (150 if renderer.avatar == "ada" else 110) + self._grain[head]
        half = int(r * (0.04 + min(float(np.sqrt(np.mean(voice**2))) * 3, 0.4)))
        top, left = int(cy + r * 0.45), int(cx - r * 0.3)
        luma[max(top - half, 0) : top + half, max(left, 0) : left + int(r * 0.6)] = 60
        picture[side:] = 128 if clear else 118
        cutout = np.dstack([luma] * 3 + [head.astype(np.uint8) * 255]) if clear else None
        time.sleep(max(self.cost_s - (time.perf_counter() - start), 0))
        took = (time.perf_counter() - start) * 1e3
        pts, self.painted = frame_pts(self.painted), self.painted + 1
        stages = {
            "mel": 0.2,
            "vad": 0.3,
            "motion": 1.0,
            "body": 0.5,
            "raster": 0.3 * took,
            "shade": 0.6 * took,
            "yuv": 0.4,
        }
        motion, viseme, seq = Motion.rest(), np.zeros(15, np.float32), self.controls.seq
        return Frame(pts, picture, voice, motion, view, 0.0, viseme, seq, stages, self.hushed, cutout)


@dataclass
class DoubleEngine:
    """``cost_s`` is how long a frame takes; ``fail_open`` makes every session die at once."""

    folder: Path
    side: int = 256
    cost_s: float = 0.005
    fail_open: bool = False
    opened: list[DoubleSession] = field(default_factory=list)
    opening: threading.Lock = field(default_factory=threading.Lock)

    default_avatar: str = "ada"
    lanes: int = 0
    backdrop: Backdrop = field(default_factory=Backdrop)

    hidden: Path | None = None
    forgotten: list[str] = field(default_factory=list)

    def hide(self, folder: Path) -> None:
        self.hidden = folder

    def forget(self, avatar: str) -> None:
        self.forgotten.append(avatar)

    def meta(self, avatar: str) -> Meta:
        """Unlisted packs here are an avatar.toml that holds a name."""
        known = {meta.id: meta for meta in self.avatars()}
        if avatar in known:
            return known[avatar]
        named = self.hidden is not None and HIDDEN_ID.fullmatch(avatar)
        if self.hidden is None or not named or not (self.hidden / avatar / "avatar.toml").is_file():
            raise AvatarError(f'no avatar "{avatar}"; there are: {", ".join(known)}')
        path = self.hidden / avatar
        name = (path / "avatar.toml").read_text(encoding="utf-8")
        return Meta(avatar, name, "1", "private", "tests", "given", "made here", "a disc", {}, path)

    def avatar(self, name: str) -> Meta:
        if self.meta(name).name == "broken":
            raise AvatarError(f"{self.meta(name).path}: body.safetensors: broken")
        return self.meta(name)

    def mark(self, avatar: str, seed: int = 0) -> None:
        return None

    def avatars(self) -> list[Meta]:
        found = []
        for name in NAMES:
            path = self.folder / name
            if not path.is_dir():  # once, and whole: others may be reading it
                self.folder.mkdir(parents=True, exist_ok=True)
                made = Path(tempfile.mkdtemp(dir=self.folder))
                (made / "preview.png").write_bytes(png(150 if name == "ada" else 90))
                with contextlib.suppress(OSError):  # another thread was first
                    made.rename(path)
            found.append(Meta(name, name.title(), "1", "CC0-1.0", "tests", "none", "made here", "a disc", {}, path))
        return found

    def renderer(
        self, avatar: str, framing: str | None = None, *, seed: int = 0, backdrop: Backdrop | None = None
    ) -> DoubleRenderer:
        self.meta(avatar)
        return DoubleRenderer(avatar, framing or "upper", self.side, backdrop or self.backdrop)

    def behind(self, backdrop: Backdrop, avatar: str) -> np.ndarray:
        return np.full((self.side, self.side, 3), backdrop.colour if backdrop.kind == "colour" else 40, np.uint8)

    def open(self, avatar: str = "ada", *, seed: int = 0, framing: str | None = None) -> DoubleSession:
        if self.fail_open:
            raise AvatarError("this engine never opens")
        session = DoubleSession(self.renderer(avatar, framing), self.cost_s)
        with self.opening:  # sessions open on threads of their own
            self.opened = [*self.opened[-3:], session]
        return session

    @property
    def config(self) -> EngineConfig:
        return EngineConfig(render=RenderConfig(width=self.side, height=self.side))

    def join(self, clock: Clock) -> Place:
        return Free()

    def room(self) -> Room:
        return Room(len(self.opened))

    def close(self) -> None:
        pass

    def meaning(self, text: str) -> tuple[float, ...]:
        if text == "no words":
            raise ValueError("a text needs words")
        return (1.0,) + (0.0,) * 31

    def warm_up(self) -> None:
        pass

    def warm_up_company(self) -> None:
        pass
