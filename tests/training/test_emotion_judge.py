from pathlib import Path

import numpy as np
import pytest
import torch

from engine.motion.emotion import EMOTIONS, expression
from training.emotion_judge import ASSET, LOOK, EmotionJudge, load_judge, looks, recognise, save_judge


def still(emotion: str, intensity: float, frames: int = 2 * LOOK) -> tuple[np.ndarray, np.ndarray]:
    """A face that only shows ``emotion``, and a head that does not move."""
    return np.tile(expression(emotion, intensity), (frames, 1)), np.zeros((frames, 6))


@pytest.mark.parametrize("emotion", ["neutral", "happy", "angry", "surprised", "fearful", "disgusted", "contempt"])
def test_the_trained_judge_knows_the_prototypes(emotion: str) -> None:
    assert recognise(load_judge(), *still(emotion, 0.65)) == emotion


def test_a_look_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="64 frames or more, got 63"):
        recognise(EmotionJudge(), np.zeros((63, 52)), np.zeros((63, 6)))


def test_looks_overlap_by_half() -> None:
    seen = looks(torch.arange(200.0)[:, None].expand(-1, 52), torch.zeros(200, 6))
    assert seen.shape == (5, LOOK, 58)
    assert seen[1, 0, 0] == LOOK // 2


def test_weights_read_back_and_a_broken_file_says_what_to_do(tmp_path: Path) -> None:
    judge = EmotionJudge(8)
    save_judge(judge, tmp_path / "j.safetensors")
    again, motion = load_judge(tmp_path / "j.safetensors"), torch.rand(2, LOOK, 58)
    assert again(motion).shape == (2, len(EMOTIONS))
    assert torch.allclose(again(motion), judge(motion), atol=1e-2)
    (tmp_path / "bad.safetensors").write_bytes(ASSET.read_bytes()[:100])
    with pytest.raises(ValueError, match="training.emotion_judge"):
        load_judge(tmp_path / "bad.safetensors")
