import json
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save

from engine import snapshot
from engine.clock import FRAME, VOICE_FRAME
from engine.config import BehaviourConfig, EngineConfig, MotionConfig, RenderConfig
from engine.engine import Engine
from engine.motion.manner import Manner
from engine.session import Frame, Session
from engine.snapshot import SnapshotError
from engine.viewpoint import Viewpoint
from tests.engine.test_session import voice

SMALL = RenderConfig(width=64, height=64, renderer="geometric")
MANNER = Manner(emotion="happy", gaze=(0.2, -0.1), actions=(("browInnerUp", 0.5),), temperature=1.2, thinking=True)


def engine_of(lookahead: int = 1, performer: str = "learned", render: RenderConfig = SMALL) -> Engine:
    return Engine(
        EngineConfig(motion=MotionConfig(lookahead), render=render, behaviour=BehaviourConfig(performer=performer))
    )


@pytest.fixture(scope="module")
def engine() -> Engine:
    return engine_of()


def play(session: Session, samples: np.ndarray, chunk: int) -> list[Frame]:
    frames = []
    for start in range(0, len(samples), chunk):
        session.push_voice(samples[start : start + chunk])
        while (frame := session.step()) is not None:
            frames.append(frame)
    return frames


def same(a: list[Frame], b: list[Frame]) -> bool:
    return len(a) == len(b) and all(
        x.pts == y.pts and np.array_equal(x.motion.pack(), y.motion.pack()) and np.array_equal(x.voice, y.voice)
        and x.viewpoint == y.viewpoint and x.speaking == y.speaking and x.interrupted == y.interrupted
        and x.control_seq == y.control_seq and np.array_equal(x.viseme, y.viseme)
        for x, y in zip(a, b, strict=True)
    )  # fmt: skip


@pytest.mark.parametrize("performer", ["learned", "rules"])
@pytest.mark.parametrize(("lookahead", "chunk"), [(0, 960), (1, 1111), (2, 4801)])
def test_a_restored_session_goes_on_bit_for_bit(performer: str, lookahead: int, chunk: int) -> None:
    engine, samples = engine_of(lookahead, performer), voice(34)
    cut = 17 * chunk if chunk < VOICE_FRAME else 4 * chunk  # not always where a frame ends
    whole, first = engine.open(seed=5), engine.open(seed=5)
    for session in (whole, first):
        session.control(replace(session.controls, viewpoint=Viewpoint(yaw=0.3), seq=7, manner=MANNER))
    play(whole, samples[:cut], chunk)
    play(first, samples[:cut], chunk)
    second = engine.open(seed=99)
    restored = snapshot.restore(second, snapshot.take(first))
    rest = play(whole, samples[cut:], chunk)
    assert rest and same(play(second, samples[cut:], chunk), rest)
    assert restored.pts == rest[0].pts


def test_an_interruption_lasts_through_a_snapshot(engine: Engine) -> None:
    samples = voice(40)
    whole, first, second = (engine.open(seed=seed) for seed in (3, 3, 4))
    for session in (whole, first):
        play(session, samples[: 12 * VOICE_FRAME], 960)
        session.interrupt()
        play(session, samples[12 * VOICE_FRAME : 14 * VOICE_FRAME], 960)
    snapshot.restore(second, snapshot.take(first))
    pause = np.zeros(10 * VOICE_FRAME, np.float32)
    for piece in (samples[14 * VOICE_FRAME : 20 * VOICE_FRAME], pause, samples[20 * VOICE_FRAME :]):
        expected = play(whole, piece, 960)
        assert expected[0].interrupted and same(play(second, piece, 960), expected)


def test_voice_that_waits_is_not_lost(engine: Engine) -> None:
    first, second = engine.open(seed=1), engine.open(seed=1)
    samples = voice(9)
    first.push_voice(samples)
    first.step()
    waiting = first.inbox.available
    snapshot.restore(second, snapshot.take(first))
    assert second.inbox.available == first.inbox.available == waiting
    assert same(play(second, samples[:1], 1), play(first, samples[:1], 1))


def test_taking_a_snapshot_changes_nothing(engine: Engine) -> None:
    samples = voice(20)
    watched, alone = engine.open(seed=2), engine.open(seed=2)
    frames = []
    for start in range(0, len(samples), 700):
        frames += play(watched, samples[start : start + 700], 700)
        snapshot.take(watched)
    assert same(frames, play(alone, samples, 700))


def test_a_session_goes_on_in_another_picture_size_and_avatar(engine: Engine) -> None:
    other = engine_of(render=replace(SMALL, width=96, height=80))
    first, samples = engine.open(seed=1), voice(12)
    play(first, samples, 960)
    second = other.open("leo", seed=1)
    snapshot.restore(second, snapshot.take(first, {"avatar": "leo", "seed": 1}))
    frame = play(second, samples, 960)[0]
    assert frame.i420.shape == (120, 96) and frame.pts == 11 * FRAME


def test_what_the_taker_says_comes_back(engine: Engine) -> None:
    about = {"avatar": "ada", "seed": 3, "left_out": 1920, "marker": False, "when": 0.5, "nothing": None}
    read = snapshot.read(snapshot.take(engine.open(seed=3), about))
    assert read.about == about and read.pts == -FRAME


def test_snapshots_are_small(engine: Engine) -> None:
    session = engine.open()
    play(session, voice(10), 960)
    assert len(snapshot.take(session)) < 100_000


def untouched(session: Session, data: bytes, match: str) -> None:
    """``data`` is refused in words that ``match``, and ``session`` is as it was."""
    before, state = snapshot.read(snapshot.take(session)), session.state
    with pytest.raises(SnapshotError, match=match):
        snapshot.restore(session, data)
    after = snapshot.read(snapshot.take(session))
    assert session.state is state and after.values == before.values
    assert all(np.array_equal(after.arrays[name], array) for name, array in before.arrays.items())


@pytest.fixture
def data(engine: Engine) -> bytes:
    session = engine.open(seed=1)
    play(session, voice(6), 960)
    return snapshot.take(session)


def test_damaged_bytes_are_refused(engine: Engine, data: bytes) -> None:
    session = engine.open(seed=8)
    for length in (0, 5, 15, 16, 17, 24, 4000, len(data) - 1):
        untouched(session, data[:length], "snapshot")
    for place in (0, 9, 13, 17, 30, len(data) // 2, len(data) - 1):
        flipped = bytearray(data)
        flipped[place] ^= 0x10
        untouched(session, bytes(flipped), "snapshot")
    untouched(session, b"PK\x03\x04" + bytes(400), "no snapshot")
    untouched(session, data + b"x", "damaged")
    untouched(session, bytes(8 << 20), "bytes")


def test_a_newer_version_is_named(engine: Engine, data: bytes) -> None:
    newer = bytearray(data)
    newer[8:10] = struct.pack("<H", 2)
    untouched(engine.open(), bytes(newer), "version 2, this engine reads version 1")


def test_another_configuration_is_refused_by_name(data: bytes) -> None:
    untouched(engine_of(lookahead=2).open(), data, "lookahead 1, and this one has 2")
    untouched(engine_of(performer="rules").open(), data, "performer learned, and this one has rules")


def forged(data: bytes, path: str, value: object) -> bytes:
    """``data`` with one value or array changed (None: left out), sealed as if it were whole."""
    read, made_by = snapshot._read(data)
    values, arrays = dict(read.values), dict(read.arrays)
    if value is None:
        del values[path]
    elif isinstance(value, np.ndarray):
        arrays[path] = value
    else:
        values[path] = value
    body = save(arrays, {"snapshot": json.dumps({"pts": read.pts, "about": {}, "print": made_by, "values": values})})
    return snapshot.HEADER.pack(snapshot.MAGIC, snapshot.VERSION, zlib.crc32(body)) + body


@pytest.mark.parametrize(
    ("path", "value", "match"),
    [
        ("state.heard", "6", "state.heard"),
        ("state.heard", 7, "what time"),
        ("state.painted", -1, "what time"),
        ("state.gate", 1, "state.gate"),
        ("state.speech", float("nan"), "state.speech"),
        ("state.heard", None, "no state.heard"),
        ("state.extra", 1, "state.extra"),
        ("state.lips.memory", np.zeros((1, 3), np.float32), "state.lips.memory"),
        ("state.logmel.tail", np.zeros((1, 240), np.float64), "float64"),
        ("state.vad.hidden", np.full((2, 1, 128), np.inf, np.float32), "not finite"),
        ("state.vad.pending", np.zeros((1, 512), np.float32), "vad.pending"),
        ("state.vad.pending", np.zeros((2, 100), np.float32), "vad.pending"),
        ("state.actor.performer.rng", [5, 0, 0], "random stream"),
        ("state.actor.performer.rng", np.zeros(3, np.uint64), "random stream"),
        ("controls.manner.emotion", "furious", "controls.manner"),
        ("controls.manner.gaze", [1.0, "up"], "controls.manner.gaze"),
        ("controls.viewpoint.yaw", float("inf"), "viewpoint.yaw"),
        ("inbox", np.zeros(100_000, np.float32), "voice that waits"),
        ("inbox", np.full(10, np.nan, np.float32), "voice that waits"),
    ],
)
def test_forged_content_is_refused(engine: Engine, data: bytes, path: str, value: object, match: str) -> None:
    untouched(engine.open(seed=8), forged(data, path, value), match)
