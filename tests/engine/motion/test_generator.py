import copy

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.motion.frame import ACTION_INDEX, K
from engine.motion.generator import Compose, GeneratorConfig, LipGenerator
from engine.motion.lips import lip_gap

NET = LipGenerator(GeneratorConfig(stem=8, width=12, dilations=(1, 2, 4), lookaheads=(0, 1))).eval()
for parameter in NET.parameters():
    torch.nn.init.normal_(parameter, std=0.2)


def whole(mel: torch.Tensor, net: LipGenerator = NET) -> torch.Tensor:
    mouths, _ = net(mel, net.initial_state(mel.shape[0]).to(mel.dtype))
    return torch.cat([torch.cat([net.face(m, i), m.viseme.flatten(2)], 2) for i, m in enumerate(mouths)], 2)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(1, 3))
@torch.no_grad()
def test_chunked_equals_whole(chunks: list[int], batch: int) -> None:
    mel = torch.randn(batch, 4 * sum(chunks), 80, generator=torch.Generator().manual_seed(sum(chunks)))
    state, parts, start = NET.initial_state(batch), [], 0
    for frames in chunks:
        mouths, state = NET(mel[:, start : start + 4 * frames], state)
        parts.append(torch.cat([torch.cat([NET.face(m, i), m.viseme.flatten(2)], 2) for i, m in enumerate(mouths)], 2))
        start += 4 * frames
    assert torch.allclose(torch.cat(parts, 1), whole(mel), atol=1e-5)


@torch.no_grad()
def test_the_future_changes_nothing() -> None:
    mel = torch.randn(1, 40, 80)
    other = mel.clone()
    other[:, 20:] += 5.0
    assert torch.equal(whole(mel)[:, :5], whole(other)[:, :5])
    assert not torch.allclose(whole(mel)[:, 5:], whole(other)[:, 5:])


@torch.no_grad()
def test_the_past_is_forgotten_after_the_receptive_field() -> None:
    # the two convolutions at 100 Hz, the down-sampling, two taps back a dilation, and the frame a contact carries over;
    # an empty acoustic model hears nothing, so its slow running mean is not in it
    frames = 1 + 2 + 2 * sum(NET.config.dilations) + 1
    net = copy.deepcopy(NET).double()  # float64: what is left of the past shows clear of rounding
    mel = torch.randn(1, 4 * (frames + 3), 80, generator=torch.Generator().manual_seed(0)).double()
    other = mel.clone()
    other[:, :4] += 5.0
    change = (whole(mel, net) - whole(other, net)).abs().amax(dim=(0, 2))
    assert change[frames:].max() < 1e-12 < change[frames - 2 : frames].max()


def test_a_closure_meets_the_lips_for_any_pose() -> None:
    rng = torch.Generator().manual_seed(0)
    pose = torch.rand(500, K, generator=rng) * 0.6
    for name in ("mouthClose", "mouthShrugUpper", "mouthShrugLower", "jawForward", "cheekPuff", "mouthFunnel"):
        pose[:, ACTION_INDEX[name]] *= 0.3
    face = Compose()(pose, torch.ones(500), torch.zeros(500)).numpy()
    assert lip_gap(face).max() < 0.0 and face.min() >= 0.0 and face.max() <= 1.0
    untouched = Compose()(pose, torch.zeros(500), torch.zeros(500))
    assert torch.equal(untouched, pose)


def test_teeth_meet_the_lower_lip() -> None:
    pose = torch.zeros(1, K)
    pose[0, ACTION_INDEX["jawOpen"]] = 0.3
    face = Compose()(pose, torch.zeros(1), torch.ones(1)).numpy()[0]
    assert face[ACTION_INDEX["mouthRollLower"]] > 0.5 and face[ACTION_INDEX["jawOpen"]] < 0.15
    assert np.count_nonzero(face) >= 4
