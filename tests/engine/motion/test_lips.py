from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.audio.logmel import LogMel
from engine.clock import FRAME, SAMPLE_RATE
from engine.motion.emotion import LIP_ACTIONS
from engine.motion.frame import ACTION_INDEX, ACTIONS, K
from engine.motion.lips import MODEL, REST_GAP_MM, VISEMES, LipSync, lip_gap

LEARNED = [ACTION_INDEX[name] for name in LIP_ACTIONS]
LIPS = {lookahead: LipSync(lookahead, batches=(1, 2, 3)) for lookahead in (0, 1, 2)}


def mel_of(pcm: np.ndarray) -> np.ndarray:
    log_mel = LogMel()
    mel, _ = log_mel.step(pcm.astype(np.float32), log_mel.initial_state(pcm.shape[0]))
    return mel.reshape(pcm.shape[0], -1, 4, 80)


def run(lips: LipSync, mel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    state, faces, visemes = lips.initial_state(mel.shape[0]), [], []
    for t in range(mel.shape[1]):
        frame, state = lips.step(mel[:, t], state)
        faces.append(frame.face.copy())
        visemes.append(frame.viseme.copy())
    return np.stack(faces, 1), np.stack(visemes, 1)


def voice_like(rows: int, frames: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    time = np.arange(frames * FRAME) / SAMPLE_RATE
    pitch = 120 + 40 * rng.random((rows, 1))
    sound = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 20))
    return 0.2 * sound * (np.sin(2 * np.pi * 3 * time) > -0.3)


@pytest.mark.parametrize("lookahead", [0, 1, 2])
def test_output_is_a_face_and_a_distribution(lookahead: int) -> None:
    face, viseme = run(LIPS[lookahead], mel_of(voice_like(2, 30)))
    assert face.shape == (2, 30, K) and viseme.shape == (2, 30, len(VISEMES))
    assert face.min() >= 0.0 and face.max() <= 1.0 and np.allclose(viseme.sum(2), 1, atol=1e-5)
    for name in ("browInnerUp", "eyeBlinkLeft", "eyeLookUpRight", "noseSneerLeft"):
        assert not face[..., ACTION_INDEX[name]].any()
    assert face[..., ACTION_INDEX["jawOpen"]].max() > 0.02


def test_rows_of_a_batch_do_not_mix() -> None:
    mel = mel_of(voice_like(3, 20))
    together = run(LIPS[0], mel)[0]
    alone = np.concatenate([run(LIPS[0], mel[i : i + 1])[0] for i in range(3)])
    assert np.allclose(together, alone, atol=1e-5)


@settings(deadline=None, max_examples=10)
@given(st.lists(st.booleans(), min_size=3, max_size=3), st.integers(1, 15))
def test_reset_forgets_the_chosen_rows_only(mask: list[bool], frames: int) -> None:
    lips, mel = LIPS[0], mel_of(voice_like(3, frames + 1))
    state, fresh = lips.initial_state(3), lips.initial_state(3)
    for t in range(frames):
        _, state = lips.step(mel[:, t], state)
    kept = state.memory.copy()
    state.reset(np.array(mask))
    for row, cleared in enumerate(mask):
        assert np.array_equal(state.memory[row], fresh.memory[row] if cleared else kept[row])


@pytest.mark.parametrize("level", [0.0, 10 ** (-50 / 20), 10 ** (-30 / 20)])
def test_a_steady_room_leaves_the_mouth_still(level: float) -> None:
    """But for a flinch or two; what of it is painted, the VAD decides (tests/engine/test_bad_sound.py)."""
    room = level * np.random.default_rng(0).normal(size=(1, 100 * FRAME))
    moved = np.abs(lip_gap(run(LIPS[0], mel_of(room))[0][0])[12:] - REST_GAP_MM)
    assert (moved > 1.0).sum() <= 2 and moved.max() < 4.0


def test_a_gain_scales_the_open_mouth_and_leaves_the_contacts() -> None:
    mel, lips = mel_of(voice_like(1, 30)), LIPS[1]
    plain, wide = lips.initial_state(), lips.initial_state()
    for t in range(mel.shape[1]):
        frame, plain = lips.step(mel[:, t], plain)
        face, contact = frame.face.copy(), frame.contact.copy()
        frame, wide = lips.step(mel[:, t], wide, gain=np.float32(0.5))
        assert np.array_equal(frame.contact, contact) and np.array_equal(plain.memory, wide.memory)
        assert frame.hop_viseme.shape == (1, 4, 15) and np.allclose(frame.hop_viseme.mean(1), frame.viseme, atol=1e-6)
        if contact.max() < 0.01:
            assert np.allclose(frame.face[0, LEARNED], 0.5 * face[0, LEARNED], atol=0.02)


def test_the_same_sound_gives_the_same_bits() -> None:
    mel = mel_of(voice_like(1, 25))
    assert np.array_equal(run(LIPS[0], mel)[0], run(LipSync(0), mel)[0])


def test_a_wrong_shape_is_an_error_with_what_was_expected() -> None:
    lips = LIPS[0]
    with pytest.raises(ValueError, match=r"\(1, 4, 80\), got \(1, 3, 80\)"):
        lips.step(np.zeros((1, 3, 80), np.float32), lips.initial_state())
    with pytest.raises(ValueError, match=r"\(1, 4, 80\), got \(2, 4, 80\)"):
        lips.step(np.zeros((2, 4, 80), np.float32), lips.initial_state())


def test_a_missing_broken_or_foreign_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no lip network"):
        LipSync(path=tmp_path / "none.onnx")
    (tmp_path / "broken.onnx").write_bytes(MODEL.read_bytes()[:5000])
    with pytest.raises(ValueError, match="broken.onnx"):
        LipSync(path=tmp_path / "broken.onnx")
    with pytest.raises(ValueError, match="lookahead of 9"):
        LipSync(lookahead=9)


def test_the_gap_is_what_the_actions_leave() -> None:
    face = np.zeros((3, K), np.float32)
    face[1, ACTION_INDEX["jawOpen"]] = 0.3
    face[2, ACTION_INDEX["jawOpen"]] = face[2, ACTION_INDEX["mouthClose"]] = 0.3
    gap = lip_gap(face)
    assert gap[0] == pytest.approx(REST_GAP_MM) and gap[1] > 9 and abs(gap[2]) < 0.5
    assert len(ACTIONS) == K
