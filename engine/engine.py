"""Engine: what all sessions share. Loads avatars once, warms everything up, opens sessions."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from engine import avatar as packs
from engine.audio.delay import DelayLine
from engine.audio.logmel import LogMel
from engine.audio.resample import Decimator
from engine.audio.vad import Vad
from engine.avatar import Avatar, AvatarError, Meta
from engine.backends import openvino
from engine.clock import VOICE_FRAME
from engine.config import EngineConfig
from engine.motion.actor import Actor
from engine.motion.lips import LipSync
from engine.motion.manner import Manner
from engine.motion.perform import LearnedPerformer, Performer, RulesPerformer
from engine.parts import Parts
from engine.render import composite, network, neural
from engine.render.composite import Backdrop
from engine.render.geometric import GeometricRenderer
from engine.render.picture import Renderer
from engine.schedule import plan
from engine.schedule.core import Core
from engine.schedule.plan import Plan
from engine.schedule.review import Rules
from engine.schedule.room import Room
from engine.schedule.turns import Clock, Free, Place, Report, Turns
from engine.session import Session
from engine.viewpoint import ViewSpring
from engine.watermark import Mark, Payload
from kernels.yuv import to_i420

if TYPE_CHECKING:
    from engine.gpu.gpu import Gpu
    from engine.motion.semantics import SemanticEncoder
    from engine.scheduler import Scheduler

HIDDEN_ID: Final = re.compile(r"[a-z]+-[0-9a-f]{32}")  # of avatars that are found by their id alone
SIDE: Final = network.SIDE  # of which smaller pictures' sides are multiples, whoever paints them
HIDDEN_KEPT: Final = 4  # unlisted avatars kept in memory: anybody may bring one, and each takes some 40 MB


class Engine:
    """Thread-safe: sessions may be opened from any thread; each is then stepped by one.

    ``gpu``: where all of them are painted, together, when there is one; else each is painted on the processor. The
    engine closes it. ``backend``: what runs the renderer's network on the host, one of `network.BACKENDS`.
    """

    def __init__(self, config: EngineConfig | None = None, gpu: Gpu | None = None, backend: str = "openvino") -> None:
        self.config, self.gpu, self._backend = config or EngineConfig(), gpu, backend
        self._folders = tuple(Path(folder) for folder in self.config.avatar.folders)
        for folder in self._folders:
            if not folder.is_dir():
                raise ValueError(f'avatar.folders: "{folder}" is not a folder; make it, or take it out of the list')
        self._hidden: Path | None = None
        self.backdrop = composite.parse(self.config.render.background)  # what sessions begin with
        self._loaded: dict[Path, Avatar] = {}
        self._encoder: SemanticEncoder | None = None
        self._lock = threading.Lock()
        self._turns: Turns | Scheduler | None = None  # once the first session joined
        self._seating = threading.Lock()
        self._picture_ms = 0.0  # what one takes, once that is known

    @property
    def default_avatar(self) -> str:
        """Id of the avatar a session starts with when none is asked for."""
        return self.config.avatar.default

    def avatars(self) -> list[Meta]:
        """Every avatar pack that can be worn, shipped ones first."""
        return packs.available(self._folders)

    def avatar(self, name: str) -> Avatar:
        """The avatar called ``name`` (an id or a path), loaded once. Raises AvatarError when it cannot be."""
        path = self._unlisted(name) or packs.find(name, self._folders)
        with self._lock:
            if path not in self._loaded:
                self._loaded[path] = packs.load(path)
                unlisted = [known for known in self._loaded if known.parent == self._hidden]
                for old in unlisted[:-HIDDEN_KEPT]:
                    del self._loaded[old]
            return self._loaded[path]

    def hide(self, folder: Path) -> None:
        """From now on the avatars in ``folder`` are found too, each by its id alone: ``avatars`` tells of none."""
        self._hidden = folder

    def meta(self, avatar: str) -> Meta:
        """Who the avatar with this id is, listed or not. Raises AvatarError; a path is no id."""
        path = self._unlisted(avatar)
        if path is not None:
            return packs.describe(path)
        listed = {meta.id: meta for meta in self.avatars()}
        if avatar not in listed:
            raise AvatarError(f'no avatar "{avatar[:60]}"; there are: {", ".join(listed) or "none"}')
        return listed[avatar]

    def forget(self, avatar: str) -> None:
        """Drops an unlisted avatar from memory, as far as no session wears it."""
        with self._lock:
            if self._hidden is not None:
                self._loaded.pop(self._hidden / avatar, None)

    def _unlisted(self, name: str) -> Path | None:
        """The folder of an avatar that is found by its id alone."""
        if self._hidden is None or not HIDDEN_ID.fullmatch(name):
            return None
        path = self._hidden / name
        return path if (path / "avatar.toml").is_file() else None

    def meaning(self, text: str) -> tuple[float, ...]:
        """What ``text`` means, for ``Manner.meaning``; slow, so not for the thread that steps a session.

        Raises ValueError for a text without words, and when the extra ``text`` is not installed.
        """
        from engine.motion.semantics import SemanticEncoder

        with self._lock:
            if self._encoder is None:
                self._encoder = SemanticEncoder()
            return tuple(float(value) for value in self._encoder.encode(text))

    def renderer(
        self, avatar: str, framing: str | None = None, *, seed: int = 0, backdrop: Backdrop | None = None
    ) -> Renderer:
        """The configured renderer for ``avatar``, with buffers of its own. ``seed`` draws a neural renderer's noise."""
        render = self.config.render
        return self._renderer(avatar, framing, seed, backdrop, (render.height, render.width))

    def _renderer(
        self, avatar: str, framing: str | None, seed: int, backdrop: Backdrop | None, size: tuple[int, int]
    ) -> Renderer:
        render, worn = self.config.render, self.avatar(avatar)
        framing, backdrop = framing or render.framing, backdrop or self.backdrop
        if self.gpu is not None:
            return self.gpu.renderer(worn, framing, background=backdrop, seed=seed, steps=self.config.gpu.steps)
        if render.renderer == "geometric":
            return GeometricRenderer(worn, size, framing, background=backdrop)
        shared = self.places if self.config.schedule.enabled and not render.threads else 1
        found = network.find(render.network, render.threads, render.precision, self._backend, shared)
        return neural.NeuralRenderer(worn, found, size, framing, background=backdrop, seed=seed)

    def mark(self, avatar: str, seed: int = 0) -> Mark | None:
        """The watermark of a session of ``avatar`` with this seed, for pictures of the configured size; None when
        watermarks are switched off."""
        if not self.config.watermark.enabled:
            return None
        render, payload = self.config.render, Payload.of(self.avatar(avatar).meta.id, seed)
        return Mark(payload, render.height, render.width, self.config.watermark.key)

    def behind(self, backdrop: Backdrop, avatar: str) -> NDArray[np.uint8]:
        """The picture that ``backdrop`` puts behind ``avatar``, (H,W,3) of the configured size."""
        return composite.behind(backdrop, self.avatar(avatar), (self.config.render.height, self.config.render.width))

    def open(
        self, avatar: str | None = None, *, seed: int = 0, framing: str | None = None, manner: Manner | None = None,
        backdrop: Backdrop | None = None,
    ) -> Session:  # fmt: skip
        """A new session of ``avatar``, or of the default one, beginning in ``manner`` and before ``backdrop``, or as
        configured.

        The same audio, controls and seed give the same Motion, bit for bit.
        """
        config = self.config
        parts = Parts(
            Decimator(),
            LogMel(),
            Vad(),
            LipSync(lookahead=config.motion.lookahead),
            DelayLine(config.motion.lookahead * VOICE_FRAME),
            Actor(self._performer(), config.motion.lookahead),
            ViewSpring(config.view.half_life),
            self.renderer(avatar or self.default_avatar, framing, seed=seed, backdrop=backdrop),
            to_i420,
            config.view.eye_contact,
            self.mark(avatar or self.default_avatar, seed),
        )
        manner = manner or config.manner.manner()
        return Session(parts, seed=seed, manner=manner) if self.gpu is None else self.gpu.session(parts, seed, manner)

    # Many sessions at once.

    @property
    def places(self) -> int:
        """Sessions that are painted at the same time on a processor. Two keep two cores busy; where there are more,
        each is painted by two, because a large picture takes one core longer than a frame lasts."""
        cores = openvino.cores()
        return self.config.schedule.turns or (cores if cores <= 2 else max(cores // 2, 2))

    @property
    def lanes(self) -> int:
        """How many lanes the cores are to be shared out in, for those that are painted at the same time; 0: they are
        not."""
        return self.places if self.gpu is None and self.config.schedule.enabled and self.config.schedule.pin else 0

    def plan(self) -> Plan:
        """What is given up when frames would be late, as far as this engine can."""
        config = self.config.schedule
        if self.gpu is not None:
            steps = sorted((one for one in self.gpu.tick.steps if one <= self.config.gpu.steps), reverse=True)
            return plan.make(config.degrade, config.admit, steps=steps, scales=(), rate=False)
        full = (self.config.render.height, self.config.render.width)
        sizes = {scale: _scaled(full, scale) for scale in plan.SCALES}
        scales = [scale for k, scale in enumerate(plan.SCALES) if sizes[scale] not in (full, *list(sizes.values())[:k])]
        return plan.make(config.degrade, config.admit, scales=scales)

    def join(self, clock: Clock) -> Place:
        """A place for one more session among those that share this machine, from now until it leaves; ``clock``: the
        time in milliseconds. Cheap; from any thread."""
        config = self.config.schedule
        if not config.enabled:
            return Free()
        with self._seating:
            if self._turns is None:
                rules = Rules(config.bound, config.bound - plan.MARGIN, 1e3 * config.recover_s)
                if self.gpu is not None:
                    self._turns = self.gpu.scheduler
                    self.gpu.scheduler.arrange(clock, self.plan(), rules)
                else:
                    self._turns = Turns(
                        Core(self.plan(), self.places, capacity=self.places, typical=self._picture_ms), clock, rules
                    )
            return self._turns.join()

    def room(self) -> Room:
        """Who is there, what is left, and whether another session fits. Cheap; from any thread."""
        return Room() if self._turns is None else self._turns.room()

    def report(self) -> Report:
        """How the sessions fare that share this machine."""
        return Report() if self._turns is None else self._turns.report()

    def smaller(
        self, scale: float, avatar: str, framing: str | None = None, *, seed: int = 0, backdrop: Backdrop | None = None
    ) -> Renderer:
        """As ``renderer``, for pictures of ``scale`` times the size, as near as it can be; not on a GPU."""
        render = self.config.render
        return self._renderer(avatar, framing, seed, backdrop, _scaled((render.height, render.width), scale))

    def _performer(self) -> Performer:
        learned = self.config.behaviour.performer == "learned"
        return LearnedPerformer() if learned else RulesPerformer(self.config.behaviour)

    def close(self) -> None:
        """Gives the GPU back. Sessions that go on after that end with an error."""
        if self.gpu is not None:
            self.gpu.close()

    def warm_up(self) -> None:
        """Compiles the kernels and runs every network once, so that no viewer waits for it."""
        session, took = self.open(), list[float]()
        for _ in range(3 + self.config.motion.lookahead):
            session.push_voice(np.zeros(VOICE_FRAME, np.float32))
            frame = session.step()
            if frame is not None:
                took.append(sum(frame.stages.values()))
        self._picture_ms = min(took)  # the first ones compile

    def warm_up_company(self) -> None:
        """Likewise what sessions are painted with when there are several: else the first that is lowered would compile,
        at the worst time. Nothing on a GPU, whose ticks are ready for every batch."""
        if self.gpu is not None or not self.config.schedule.enabled:
            return
        session = self.open()
        for rung in self.plan().rungs:
            if rung.scale != 1.0 and rung.every == 1:
                session.fit(rung.scale, self.smaller(rung.scale, self.default_avatar))
            session.quality, session.easel.lane = rung, 0
            for _ in range(2 + self.config.motion.lookahead):
                session.push_voice(np.zeros(VOICE_FRAME, np.float32))
                session.step()


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """``size`` (H, W) times ``scale``, in sides that every renderer paints."""
    height, width = (min(max(round(side * scale / SIDE), 1) * SIDE, side) for side in size)
    return height, width
