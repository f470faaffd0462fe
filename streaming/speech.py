"""Speech that somebody sends faster or slower than it is said: segments, one after the other, at the pace of time.

``Speech`` is a ``live.Source``. It knows no sockets and no clock: the Live asks it for sound and tells it what was
shown, on the event loop; so does everybody else here.

    speech = Speech(live, print, max_queue_s=120)
    live.speak(speech)  # and live.speak(None), then speech.close(), at the end
    speech.begin("1", rate=24_000, text="Hello.", emotion="happy")
    speech.push(pcm)  # bytes of int16, as they come
    speech.end()
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import av
import numpy as np
from numpy.typing import NDArray

from engine.audio import gate
from engine.clock import VOICE_FRAME, VOICE_RATE, VOICE_RATIO
from engine.motion.manner import Manner
from engine.motion.turn import PAUSE
from streaming import protocol
from streaming.tracks import OutFrame

Voice = NDArray[np.float32]
RATES: Final = (8_000, 48_000)  # Hz, of what is pushed
LEAD: Final = VOICE_RATE // 25  # samples that must be there before a segment begins, or goes on after it ran dry
FADE: Final = VOICE_RATE // 200  # samples over which sound fades where it stops or goes on in the middle
FADE_IN: Final = gate.FADE
GAP: Final = int(PAUSE * VOICE_RATE)  # samples of silence between an interruption and new speech: the mouth shuts
MOST_SEGMENTS: Final = 1000  # that may wait


class SpeechError(ValueError):
    """What cannot be said: ``code`` for programs (queue_full, no_segment, bad_segment), the message for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Started:
    """The first frame with sound of segment ``id`` was shown. ``pts``: media time (16 kHz) at which it begins."""

    id: str
    pts: int


@dataclass(frozen=True, slots=True)
class Finished:
    """Segment ``id`` is over: ``position`` seconds of it went out, until media time ``pts`` (16 kHz). Comes once for
    each segment that was begun, in their order; ``interrupted``: not all of it was said."""

    id: str
    position: float
    interrupted: bool
    pts: int


Event = Started | Finished


class Stage(Protocol):
    """Of a Live, what speech needs."""

    state: str  # of protocol.STATES

    def obey(self, message: protocol.Message) -> bool: ...
    def resume(self) -> None: ...


class Speech:
    """Segments of speech, said one after the other. ``tell`` hears of their events. The stage's state becomes
    "speaking" when one begins, and "idle" again after the last, unless somebody said otherwise meanwhile."""

    announces: Final = True  # new speech, to the Live

    def __init__(self, stage: Stage, tell: Callable[[Event], None], max_queue_s: float = 120.0) -> None:
        self._stage, self._tell = stage, tell
        self._most = int(max_queue_s * VOICE_RATE)
        self._waiting: deque[_Segment] = deque()  # not all of it taken; the last one may be open
        self._taken: deque[_Segment] = deque()  # all of it taken, not all of it shown
        self._open: _Segment | None = None  # takes what is pushed
        self._stale = False  # what is pushed belongs to a segment that was interrupted
        self._queued = 0  # samples that wait
        self._shown = -1  # media time up to which frames were shown; -1: there was none yet
        self._edge = 0  # media time up to which sound was taken
        self._hush_until: int | None = None  # after an interruption: no sooner does new speech begin
        self._known = False  # the text of the last segment
        self._tail = np.zeros(0, np.float32)  # of what was interrupted, so that it ends without a click

    # What is to be said.

    def begin(
        self,
        id: str,
        rate: int,
        channels: int = 1,
        *,
        text: str = "",
        emotion: str | None = None,
        intensity: float = 0.65,
    ) -> None:
        """Opens the next segment: its PCM comes at ``rate`` Hz with ``channels`` interleaved. When it is said, the
        avatar knows its ``text`` and takes on ``emotion``. Raises SpeechError, also while another one is open."""
        if not RATES[0] <= rate <= RATES[1]:
            raise SpeechError("bad_segment", f"a segment's rate must be {RATES[0]}..{RATES[1]} Hz, got {rate}")
        if channels not in (1, 2):
            raise SpeechError("bad_segment", f"a segment has 1 or 2 channels, got {channels}")
        if self._open is not None:
            raise SpeechError("bad_segment", f'segment "{self._open.id}" is still open: end it before the next')
        if len(self._waiting) >= MOST_SEGMENTS:
            raise SpeechError("queue_full", f"{MOST_SEGMENTS} segments wait; begin the next when some were said")
        if any(segment.id == id for segment in (*self._waiting, *self._taken)):
            raise SpeechError("bad_segment", f'there is a segment "{id[:40]}" already: each has an id of its own')
        changes: dict[str, Any] = {}
        if emotion is not None:
            changes = {"emotion": emotion, "intensity": intensity}
            try:
                Manner(**changes)
            except ValueError as problem:
                raise SpeechError("bad_segment", str(problem)) from None
        self._open = _Segment(id, Resampler(rate, channels), text, changes)
        self._waiting.append(self._open)
        self._stale = False

    def push(self, pcm: bytes | bytearray | memoryview) -> None:
        """More of the open segment: little-endian int16, any number of bytes. Raises SpeechError when it does not fit;
        nothing of it is taken then. What comes late for an interrupted segment is dropped without a word."""
        if self._stale:
            return
        if self._open is None:
            raise SpeechError("no_segment", "there is no open segment: begin one before its sound")
        coming = self._open.resampler.expected(len(pcm))
        if self._queued + coming > self._most:
            raise SpeechError(
                "queue_full",
                f"{self._queued / VOICE_RATE:.1f} s of speech wait and {self.free_ms / 1000:.1f} s more fit: "
                f"send the next {coming / VOICE_RATE:.1f} s later (agents.max_queue_s)",
            )
        self._add(self._open, self._open.resampler.push(bytes(pcm)))

    def end(self) -> None:
        """The open segment is whole. Without one, and after an interruption, nothing happens."""
        self._stale = False
        if self._open is not None:
            self._add(self._open, self._open.resampler.flush())
            self._open.ended = True
            self._open = None

    def _add(self, segment: _Segment, sound: Voice) -> None:
        if len(sound):
            segment.sound.append(sound)
            segment.left += len(sound)
            self._queued += len(sound)

    @property
    def queued_ms(self) -> float:
        """Milliseconds of sound that wait to be said."""
        return self._queued * 1000 / VOICE_RATE

    @property
    def free_ms(self) -> float:
        """Milliseconds that may still be pushed."""
        return max(self._most - self._queued, 0) * 1000 / VOICE_RATE

    @property
    def active(self) -> bool:
        """Whether anything is being said, or waits to be."""
        return bool(self._waiting or self._taken)

    # A Source of the Live.

    def take(self, count: int, position: int) -> Voice:
        """(count,) samples for the media time from ``position`` (48 kHz) on."""
        out = np.zeros(count, np.float32)
        self._edge = position + count
        at = min(len(self._tail), count)
        out[:at], self._tail = self._tail[:at], self._tail[at:]
        if self._shown < 0 or not self._may_begin(position):  # nobody would see its first words
            return out
        if self._hush_until is not None:  # the voice that goes out opens with a fade of its own
            at = max(at, min(FADE_IN, count))
        while at < count and self._waiting:
            segment = self._waiting[0]
            if not segment.flowing and not self._flow(segment, position + at):
                break
            at += self._fill(segment, out[at:])
            if segment.left or not segment.ended:
                break
            self._waiting.popleft()
            segment.ends_at = position + at
            self._taken.append(segment)
        return out

    def _may_begin(self, position: int) -> bool:
        if self._hush_until is None:
            return True
        if self._hush_until < 0:  # the first that is asked for after an interruption
            self._hush_until = position + GAP
        return position >= self._hush_until

    def _flow(self, segment: _Segment, position: int) -> bool:
        """Whether the segment can begin, or go on after it ran dry; if so it does, at ``position``."""
        if segment.left < LEAD and not segment.ended:
            return False
        segment.flowing = True
        if segment.begins_at is None:
            segment.begins_at = position
            if segment.left:
                self._hush_until = None
                self._announce(segment)
        return True

    def _announce(self, segment: _Segment) -> None:
        self._stage.resume()
        self._stage.obey(protocol.SetState("speaking"))
        if segment.text or self._known:  # a text is its segment's own
            self._stage.obey(protocol.SetText(segment.text, hint=True))
        self._known = bool(segment.text)
        if segment.manner:
            self._stage.obey(protocol.SetManner("speech.begin", segment.manner))

    def _fill(self, segment: _Segment, out: Voice) -> int:
        """Fills ``out`` with what there is of a segment that flows; how many samples that was."""
        dry = not segment.ended and segment.left < len(out) + FADE
        piece = segment.read(min(len(out), segment.left))
        self._queued -= len(piece)
        if segment.dry:  # it goes on in the middle of a sound
            _fade(piece[:FADE], rising=True)
            segment.dry = False
        if dry:
            _fade(piece[-FADE:], rising=False)
            segment.flowing, segment.dry = False, True
        out[: len(piece)] = piece
        return len(piece)

    def shown(self, frame: OutFrame) -> None:
        """``frame`` was painted: events of what it carries are told."""
        self._shown = max(self._shown, frame.pts * VOICE_RATIO + VOICE_FRAME)
        self._tell_shown()

    def _tell_shown(self) -> None:
        while self._taken:
            segment = self._taken[0]
            self._tell_started(segment)
            assert segment.ends_at is not None
            if self._shown < segment.ends_at:
                return
            self._taken.popleft()
            self._tell(Finished(segment.id, segment.said / VOICE_RATE, False, segment.ends_at // VOICE_RATIO))
            self._rest()
        if self._waiting:
            self._tell_started(self._waiting[0])

    def _tell_started(self, segment: _Segment) -> None:
        begins = segment.begins_at
        if not segment.told and segment.said and begins is not None and self._shown > begins:
            segment.told = True
            self._tell(Started(segment.id, begins // VOICE_RATIO))

    def _rest(self) -> None:
        if not self.active and self._stage.state == "speaking":
            self._stage.obey(protocol.SetState("idle"))

    def interrupted(self) -> None:
        """Somebody stopped the avatar: all that waits is dropped, and told as finished."""
        if self._waiting and self._waiting[0].flowing:
            self._tail = self._waiting[0].read(min(FADE, self._waiting[0].left))
            _fade(self._tail, rising=False)
        self._stale = self._stale or self._open is not None
        self._hush_until = -1
        self._drop()

    def close(self) -> None:
        """Nothing more will be said: all that waits is dropped, and told as finished."""
        self._drop()

    def _drop(self) -> None:
        dropped = [*self._taken, *self._waiting]
        self._taken.clear()
        self._waiting.clear()
        self._open, self._queued = None, 0
        for segment in dropped:
            if segment.said and not segment.told:
                assert segment.begins_at is not None
                self._tell(Started(segment.id, segment.begins_at // VOICE_RATIO))
            whole = segment.ends_at is not None
            end = segment.ends_at if segment.ends_at is not None else self._edge
            self._tell(Finished(segment.id, segment.said / VOICE_RATE, not whole, end // VOICE_RATIO))
        self._rest()


@dataclass(slots=True)
class _Segment:
    """Counts are samples at 48 kHz; ``begins_at`` and ``ends_at`` media time, likewise."""

    id: str
    resampler: Resampler
    text: str
    manner: dict[str, Any]
    sound: deque[Voice] = field(default_factory=deque)
    left: int = 0  # of it that waits
    said: int = 0  # of it that was taken
    ended: bool = False  # nothing more is pushed
    flowing: bool = False  # it is being said and has not run dry
    dry: bool = False  # it ran dry
    begins_at: int | None = None
    ends_at: int | None = None
    told: bool = False  # that it started

    def read(self, count: int) -> Voice:
        """The next ``count`` samples; there must be so many."""
        out = np.empty(count, np.float32)
        at = 0
        while at < count:
            piece = self.sound.popleft()
            n = min(len(piece), count - at)
            out[at : at + n] = piece[:n]
            if n < len(piece):
                self.sound.appendleft(piece[n:])
            at += n
        self.left -= count
        self.said += count
        return out


class Resampler:
    """int16 PCM at any rate, mono or stereo, in pieces of any number of bytes, to 48 kHz mono float32."""

    def __init__(self, rate: int, channels: int) -> None:
        self._rate, self._channels = rate, channels
        self._odd = b""  # of a sample that is not whole yet
        self._pts = 0
        self._swr = None if rate == VOICE_RATE else av.AudioResampler(format="flt", layout="mono", rate=VOICE_RATE)

    def expected(self, size: int) -> int:
        """Samples at 48 kHz that ``size`` bytes are, within one."""
        return -(-size * VOICE_RATE // (2 * self._channels * self._rate))

    def push(self, pcm: bytes) -> Voice:
        """(n,) more samples."""
        pcm = self._odd + pcm
        whole = len(pcm) // (2 * self._channels) * (2 * self._channels)
        self._odd = pcm[whole:]
        samples = np.frombuffer(pcm[:whole], "<i2").reshape(-1, self._channels)
        mono = samples.astype(np.float32).mean(1) / np.float32(32768.0)
        if self._swr is None or not len(mono):
            return mono
        frame = av.AudioFrame.from_ndarray(mono[None], format="flt", layout="mono")
        frame.sample_rate, frame.pts = self._rate, self._pts
        self._pts += len(mono)
        return _joined(self._swr.resample(frame))

    def flush(self) -> Voice:
        """What the filter still holds back."""
        if self._swr is None or not self._pts:
            return np.zeros(0, np.float32)
        return _joined(self._swr.resample(None))


def _joined(frames: list[av.AudioFrame]) -> Voice:
    pieces = [frame.to_ndarray().ravel().astype(np.float32) for frame in frames]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


def _fade(sound: Voice, rising: bool) -> None:
    """Fades ``sound`` in place."""
    ramp = np.linspace(0.0, 1.0, len(sound) + 2, dtype=np.float32)[1:-1]
    sound *= ramp if rising else ramp[::-1]
