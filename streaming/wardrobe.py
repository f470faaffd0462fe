"""What a session wears and stands before, changed while it goes on: loaded on another thread, put on between two
frames."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.engine import Engine
from engine.render.composite import Backdrop
from engine.render.picture import Renderer
from engine.session import Frame, Session
from engine.watermark import Mark
from kernels.yuv import to_i420
from streaming.alpha import over, stack
from streaming.lanes import anywhere

log = logging.getLogger(__name__)
OPENERS: Final = ThreadPoolExecutor(
    1, thread_name_prefix="open", initializer=anywhere
)  # loads avatars and opens sessions, one at a time
U8 = NDArray[np.uint8]
Job = Callable[[Session], None]


class Wearer(Protocol):
    """Whose clothes they are."""

    def ask(self, kind: str, job: Job) -> None:
        """Has the session's thread do ``job``, and nothing of the same ``kind`` that it has not come to."""
        ...

    def worn(self, session: Session) -> None:
        """Something new is put on, on that thread."""
        ...

    def refused(self, about: str, problem: Exception) -> None:
        """It could not be."""
        ...

    @property
    def over(self) -> bool:
        """Whether the session ends: nothing need be prepared any more."""
        ...


class Wardrobe:
    """Of one session: ``avatar`` and ``framing`` it wears now. ``change``, ``see_through`` and ``shrink`` return at
    once."""

    def __init__(self, engine: Engine, avatar: str, framing: str, seed: int, wearer: Wearer) -> None:
        self._engine, self._wearer, self._seed = engine, wearer, seed
        self.avatar, self.framing = avatar, framing
        self._coming = (avatar, framing)  # what is being put on
        self._clear = False  # whether pictures are painted with nothing behind them
        self._backdrop = engine.backdrop
        self._shown: Backdrop | None = None  # what renderers were told to show since they were made
        self._behind: U8 | None = None  # I420: laid behind pictures that are painted without it
        self._asked: dict[str, int] = {}  # changes so far, by what they are about: only the last is prepared
        self._smaller: set[float] = set()  # scales whose renderers are made, or being made

    def change(
        self, about: str, avatar: str | None = None, framing: str | None = None, backdrop: Backdrop | None = None
    ) -> None:
        """Changes who is seen, how much of them, or what is behind them, once loaded; the wearer hears when that cannot
        be. One that is asked for again before its turn came is passed over: loading is everybody's turn."""
        number = self._asked[about] = self._asked.get(about, 0) + 1
        OPENERS.submit(self._prepare, about, number, avatar, framing, backdrop)

    def see_through(self, on: bool) -> None:
        """From some frame on, pictures also come with their transparency, or do not any more."""
        OPENERS.submit(self._prepare_clear, on)

    def shrink(self, scale: float) -> None:
        """Has pictures of ``scale`` times the size made possible (`Session.fit`); on the session's thread."""
        if scale not in self._smaller and not self._clear:
            self._smaller.add(scale)
            OPENERS.submit(self._prepare_smaller, scale, self.avatar, self.framing)

    def dress(self, frame: Frame) -> tuple[U8, U8 | None]:
        """The picture before its background, and the same with its transparency where it was painted without one."""
        if frame.cutout is None:
            return frame.i420, None
        alpha = np.ascontiguousarray(frame.cutout[..., 3])
        i420 = frame.i420 if self._behind is None else over(frame.i420, alpha, self._behind)
        return i420, stack(frame.i420, alpha)

    def _prepare(
        self, about: str, number: int, avatar: str | None, framing: str | None, backdrop: Backdrop | None
    ) -> None:
        """Loads on another thread while the old picture goes on, then has the session put it on."""
        if self._wearer.over or number != self._asked[about]:
            return
        try:
            if backdrop is not None:
                self._prepare_backdrop(backdrop)
            else:
                self._prepare_renderer(avatar or self._coming[0], framing or self._coming[1])
        except Exception as problem:  # the edge of the thread: whatever it was, the client must hear of it
            if not isinstance(problem, ValueError | OSError):
                log.exception("a change of %s", about)
            self._wearer.refused(about, problem)

    def _prepare_renderer(self, avatar: str, framing: str) -> None:
        self._engine.meta(avatar)  # ids alone: a client must not be able to name a folder of this machine
        renderer = self._engine.renderer(avatar, framing, seed=self._seed, backdrop=self._backdrop)
        mark = self._engine.mark(avatar, self._seed)
        picture = self._engine.behind(self._backdrop, avatar)
        self._coming = (avatar, framing)
        self._wearer.ask("wear", lambda session: self._wear(session, renderer, mark, avatar, framing, picture))

    def _prepare_backdrop(self, backdrop: Backdrop) -> None:
        """Avatars that come later get it too."""
        picture = self._engine.behind(backdrop, self._coming[0])
        self._backdrop = backdrop
        self._wearer.ask("show", lambda session: self._show(session, picture))

    def _prepare_clear(self, on: bool) -> None:
        """The background is painted by the renderer, or laid behind its cutout here."""
        if self._wearer.over:
            return
        try:
            picture = self._engine.behind(self._backdrop, self._coming[0])
        except Exception:  # the edge of the thread
            log.exception("transparency of %s", self._coming[0])
            return
        self._clear = on
        self._wearer.ask("show", lambda session: self._show(session, picture))

    def _prepare_smaller(self, scale: float, avatar: str, framing: str) -> None:
        """Without it the session goes on at its full size."""
        if self._wearer.over:
            return
        try:
            renderer = self._engine.smaller(scale, avatar, framing, seed=self._seed, backdrop=self._backdrop)
        except Exception:  # the edge of the thread
            log.exception("smaller pictures of %s", avatar)
            return
        self._wearer.ask(f"fit {scale}", lambda session: self._fit(session, scale, renderer, (avatar, framing)))

    def _show(self, session: Session, picture: U8) -> None:
        """Puts ``picture`` (H,W,3) behind the avatar from the next frame on."""
        renderer = session.parts.renderer
        self._behind = to_i420(picture, np.empty((renderer.size[0] * 3 // 2, renderer.size[1]), np.uint8))
        self._shown = Backdrop("transparent") if self._clear else Backdrop("image", picture=picture)
        session.show(self._shown)

    def _wear(
        self, session: Session, renderer: Renderer, mark: Mark | None, avatar: str, framing: str, picture: U8
    ) -> None:
        session.wear(renderer, mark)
        self._smaller.clear()
        self._shown = None
        if self._clear:
            self._show(session, picture)
        if framing != self.framing:
            session.control(replace(session.controls, viewpoint=renderer.default_viewpoint()))
        self.avatar, self.framing = avatar, framing
        self._wearer.worn(session)

    def _fit(self, session: Session, scale: float, renderer: Renderer, of: tuple[str, str]) -> None:
        if of != (self.avatar, self.framing):
            return  # somebody else is seen by now
        if self._shown is not None:
            renderer.show(self._shown)
        session.fit(scale, renderer)
