"""What is fuzzed by calling it: parsers of messages, tokens, files, sounds, photographs, and the queue of speech."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import tempfile
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]


@dataclass
class Target:
    """``answer`` returns whether an input was taken (False: refused in words); whatever else it raises is a crash, and
    so is what ``left`` raises when all is over."""

    seeds: list[bytes]
    answer: Callable[[bytes], Awaitable[bool]]
    words: tuple[bytes, ...] = ()
    left: Callable[[], Awaitable[None]] | None = None
    at_once: Callable[[bytes], bool] | None = None  # ``answer`` where there is nothing to wait for


def called(
    seeds: list[bytes], words: tuple[bytes, ...], call: Callable[[bytes], object], *refusals: type[Exception]
) -> Target:
    """What is fuzzed by a plain call; the exceptions are its refusals."""

    def at_once(data: bytes) -> bool:
        try:
            call(data)
        except refusals:
            return False
        return True

    async def answer(data: bytes) -> bool:
        return at_once(data)

    return Target(seeds, answer, words, at_once=at_once)


def message_seeds() -> list[bytes]:
    """One message of each kind that a client may send, as docs/protocol.md has them."""
    fields: list[dict[str, Any]] = [
        {"type": "hello", "client": "fuzz"}, {"type": "ping", "t": 1.5}, {"type": "bye"}, {"type": "interrupt"},
        {"type": "viewpoint", "yaw": 0.2, "pitch": -0.1, "distance": 1.2, "pan": [0.1, 0], "seq": 4, "t": 3},
        {"type": "avatar", "id": "ben"}, {"type": "framing", "name": "head"}, {"type": "background", "show": "#102030"},
        {"type": "emotion", "name": "happy", "intensity": 0.5}, {"type": "gaze", "at": [0.1, 0.2]},
        {"type": "gaze", "at": "viewer"}, {"type": "strength", "head": 1.2, "gesture": 0},
        {"type": "mute", "on": False},
        {"type": "style", "energy": 0.2}, {"type": "chance", "seed": 5, "temperature": 1.0},
        {"type": "actions", "weights": {"jawOpen": 0.5}}, {"type": "text", "text": "what is said"},
        {"type": "listening", "on": True}, {"type": "state", "name": "thinking"}, {"type": "listen", "on": True},
        {"type": "quality", "height": 384, "fps": 12.5, "bitrate": 800000},
        {"type": "speech.begin", "id": "1", "rate": 24000, "channels": 1, "text": "hello", "emotion": "sad"},
        {"type": "speech.end"},
    ]  # fmt: skip
    return [json.dumps({"v": 1, **one}).encode() for one in fields]


@contextlib.asynccontextmanager
async def message() -> AsyncIterator[Target]:
    """Control messages, as text and as bytes."""
    from streaming import protocol

    def parse(data: bytes) -> None:
        for raw in (data, data.decode("utf-8", "replace")):
            try:
                protocol.parse(raw)
            except protocol.ProtocolError as problem:
                protocol.error(problem).encode()  # the reply can be sent
                raise

    words = tuple(f'"{word}"'.encode() for word in ("v", "type", "yaw", "weights", "seed", "show", "name", "on"))
    yield called(message_seeds(), words, parse, protocol.ProtocolError)


@contextlib.asynccontextmanager
async def token() -> AsyncIterator[Target]:
    """Tokens, signed and not."""
    from streaming.config import ServerConfig
    from streaming.guard import Refusal
    from streaming.tokens import Asker, Keyring

    keys = Keyring(ServerConfig(token="a-token-of-the-server", token_key="k" * 40))
    signed, _ = keys.sign(Asker(name="server"), 3600, ("open",), "abc")

    def ask(data: bytes) -> None:
        keys.open(data.decode("utf-8", "surrogateescape"), "203.0.113.1")

    seeds = [signed.encode(), b"a-token-of-the-server", b"eyJhbGciOiJub25lIn0.e30."]
    yield called(seeds, (b".", b"eyJ", b"=="), ask, Refusal)


@contextlib.asynccontextmanager
async def config() -> AsyncIterator[Target]:
    """Configuration files."""
    from visavis.config import ConfigError, load

    text = (ROOT / "config.toml").read_bytes()
    sections = [b"[" + part for part in text.split(b"\n[")[1:]]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "config.toml")

        def read(data: bytes) -> None:
            path.write_bytes(data)
            load(path)

        yield called([text, *sections], (b"inf", b"-nan", b"[[server.tokens]]"), read, ConfigError)


@contextlib.asynccontextmanager
async def tape() -> AsyncIterator[Target]:
    """Recorded motion (.vmotion)."""
    from engine.motion import tape as tapes
    from engine.motion.frame import SIZE

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.vmotion")
        times = np.arange(4, dtype=np.int64) * 640
        tapes.save(path, tapes.Tape(np.zeros((4, SIZE), np.float32), times, {"source": "fuzz"}))
        seed = path.read_bytes()

        def read(data: bytes) -> None:
            path.write_bytes(data)
            found = tapes.read(path)
            for k in range(3):
                found.at(k)

        yield called([seed, seed[:200]], (b'"F32"', b'"shape":', b"data_offsets"), read, tapes.TapeError)


@contextlib.asynccontextmanager
async def pack() -> AsyncIterator[Target]:
    """Avatar packs: one file of six is not what it was."""
    from engine import avatar

    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder, "fuzz")
        shutil.copytree(avatar.find("ada"), own)
        names = sorted(path.name for path in own.iterdir())
        whole = {name: (own / name).read_bytes() for name in names}
        edges = [bytes([k]) + whole[name][:4000] for k, name in enumerate(names)]

        def read(data: bytes) -> None:
            name = names[data[0] % len(names)] if data else names[0]
            changed = data[1:] + whole[name][len(data[1:]) :]  # only its head is other, or all of a short one
            (own / name).write_bytes(changed)
            try:
                avatar.load(own)
            finally:
                (own / name).write_bytes(whole[name])

        yield called(edges, (b'"F32"', b'"shape":', b"data_offsets", b"version = 9"), read, avatar.AvatarError)


def tone(rate: int = 16_000, seconds: float = 0.1) -> bytes:
    """A short WAV file."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        time = np.arange(int(rate * seconds)) / rate
        file.writeframes((8000 * np.sin(2 * np.pi * 300 * time)).astype("<i2").tobytes())
    return out.getvalue()


def coded(kind: str, codec: str) -> bytes:
    """The same in another container."""
    import av

    out = io.BytesIO()
    with av.open(io.BytesIO(tone(48_000, 0.2)), "r") as source, av.open(out, "w", format=kind) as target:
        stream: Any = target.add_stream(codec, rate=48_000)
        for frame in source.decode(audio=0):
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return out.getvalue()


@contextlib.asynccontextmanager
async def sound() -> AsyncIterator[Target]:
    """Sound files: WAV, Ogg, FLAC, MP4, Matroska."""
    from visavis.sound import SoundError, read_voice

    kinds = (("ogg", "libopus"), ("flac", "flac"), ("mov", "aac"), ("matroska", "libopus"))
    seeds = [tone(), tone(48_000), *(coded(*kind) for kind in kinds)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.wav")

        def read(data: bytes) -> None:
            path.write_bytes(data)
            for samples in read_voice(path, max_seconds=5.0):
                assert np.isfinite(samples).all()

        yield called(seeds, (b"RIFF", b"fmt ", b"data", b"OggS", b"fLaC"), read, SoundError)


@contextlib.asynccontextmanager
async def photo() -> AsyncIterator[Target]:
    """Photographs, decoded in this process: what the worker's decoder would only say is broken must not break here."""
    from PIL import Image

    from training.portrait import photo as photos

    y, x = np.mgrid[:140, :160]
    picture = Image.fromarray(np.stack([x, y, x ^ y], -1).astype(np.uint8))
    seeds = []
    for kind in photos.FORMATS:
        out = io.BytesIO()
        exif = Image.Exif()
        exif[0x0112] = 6
        picture.save(out, kind, **({"exif": exif} if kind in ("JPEG", "PNG", "WEBP", "TIFF") else {}))
        seeds.append(out.getvalue())
    os.environ.setdefault("PYTHONWARNINGS", "ignore")

    def read(data: bytes) -> None:
        if not any(data.startswith(mark) for mark, _ in photos.MARKS):
            raise photos.PhotoError("refused before anything is decoded")
        photos.decode(data)

    words = (b"IHDR", b"IDAT", b"Exif\x00\x00", b"VP8X", b"iCCP", b"\xff\xda", b"\xff\xc0")
    yield called(seeds, words, read, photos.PhotoError)


class Stage:
    """A Live as far as speech sees it."""

    state = "idle"

    def obey(self, message: object) -> bool:
        return True

    def resume(self) -> None:
        pass


@contextlib.asynccontextmanager
async def speech() -> AsyncIterator[Target]:
    """Speech: each input is a row of begin, push, end, interrupt and take."""
    from streaming.speech import Speech, SpeechError

    def play(data: bytes) -> None:
        told: list[object] = []
        spoken, edge, begun = Speech(Stage(), told.append, max_queue_s=3.0), 0, 0
        while data:
            kind, size, data = data[0] % 6, data[1] if len(data) > 1 else 0, data[2:]
            piece, data = data[: size * 8], data[size * 8 :]
            try:
                if kind == 0:
                    rate = int.from_bytes(piece[:2], "little")
                    text = piece[3:40].decode("utf-8", "replace")
                    spoken.begin(str(size), rate, piece[2] % 4 if len(piece) > 2 else 1, text=text)
                    begun += 1
                elif kind == 1:
                    spoken.push(piece)
                elif kind == 2:
                    spoken.end()
                elif kind == 3:
                    spoken.interrupted()
                else:
                    count = 960 * (1 + size % 4)
                    said = spoken.take(count, edge)
                    edge += count
                    assert said.shape == (count,) and np.isfinite(said).all() and np.abs(said).max() <= 1.01
            except SpeechError:
                pass
        spoken.close()
        finished = sum(type(event).__name__ == "Finished" for event in told)
        assert finished == begun, f"{begun} segments were begun, and {finished} finished"

    rate = (16_000).to_bytes(2, "little")
    row = b"\x00\x02" + rate + b"\x01hello there" + b"\x01\x40" + bytes(range(256)) * 2 + b"\x04\x03" * 3 + b"\x02\x00"
    yield called([row, row + b"\x03\x00" + row], (b"\x00\x01\x80\xbb\x01", b"\x03\x00"), play)
