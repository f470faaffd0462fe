"""Who has to do with a Live: whoever speaks, whoever takes what goes out, and whoever counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from streaming.past import Voice
from streaming.tracks import OutFrame, OutQueue

if TYPE_CHECKING:
    from streaming.live import Live


class Outlet(Protocol):
    """Takes what a Live gives out, on the event loop, and must neither wait nor raise: one that does is removed.

    One that has ``alpha = True`` gets frames with ``stacked``, once the renderer has been told; with ``holds = False``
    it does not keep a session alive that nobody else has a use for. A frame's ``i420`` stays intact for six more frames
    (240 ms): who keeps it longer copies it.
    """

    def frame(self, frame: OutFrame) -> None:
        """One more frame, with the voice that belongs to it."""

    def voice(self, voice: Voice) -> None:
        """(n,) more of the voice that goes out, as it comes in: before the frames that belong to it."""

    def ended(self, why: str) -> None:
        """The session is over: nothing more comes."""


class Source(Protocol):
    """Speech that comes from elsewhere than a microphone, asked for at the pace of time, on the event loop.

    One that says ``announces = True`` calls ``Live.resume`` whenever new speech begins; nothing else ends an
    interruption then, not even a voice after a pause.
    """

    def take(self, count: int, position: int) -> Voice:
        """(count,) 48 kHz samples for the media time that begins at ``position`` (48 kHz samples); silence where there
        is nothing to say."""

    def shown(self, frame: OutFrame) -> None:
        """``frame`` is painted: what was taken for up to its end is being seen and heard."""

    def interrupted(self) -> None:
        """Somebody stopped the avatar: what is still to be said is not said."""


class Watcher:
    """Hears of every Live of a Hub, for figures and logs, on the event loop; must neither wait nor raise."""

    def opened(self, live: Live) -> None:
        """A session began."""

    def loaded(self, live: Live) -> None:
        """It wears the avatar of ``live.opened_as`` now: the first, or another."""

    def frame(self, live: Live, frame: OutFrame) -> None:
        """A frame was painted."""

    def sent(self, live: Live, frame: OutFrame, queue: OutQueue) -> None:
        """A connection of it has put ``frame`` on the wire; ``queue`` is what else waits there."""

    def closed(self, live: Live, why: str) -> None:
        """It is over."""
