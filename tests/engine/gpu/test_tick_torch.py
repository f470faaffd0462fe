"""The same tick on the torch backend, emulated: its networks are captured in the tick's graph like everybody's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.backends.torch import TorchNetworks
from engine.clock import VOICE_FRAME
from engine.gpu.gpu import Gpu
from engine.gpu.tick import Tick
from engine.render import network
from kernels import cuda
from kernels.emulator import build
from tests.engine.gpu import test_tick as other
from tests.engine.gpu.test_tick import SIZE, engine_of, seated, together, voice

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="no g++ on this machine")
people = other.people
ROUNDED = 2e-3  # the lips' weights are single precision in their ONNX file, and half in what torch reads


@pytest.mark.slow
def test_sessions_get_what_the_cpu_gives_each(people, tmp_path):
    from engine.render.denoiser import DenoiserConfig, Renderer
    from exporters.nets import nets
    from exporters.render import export_encoder, export_frame, save_weights

    torch.manual_seed(3)
    config = DenoiserConfig(widths=(16, 24, 32), depths=(1, 1, 1), embed=24, head=8, view_experts=3, mask_rank=2)
    net = Renderer(config).eval()
    export_frame(net, tmp_path / "small.onnx")
    export_encoder(net, tmp_path / "small_identity.onnx")
    save_weights(net, tmp_path / "small.safetensors")
    device, engine = cuda.emulated(), engine_of(tmp_path, people)
    made = nets(tmp_path / "small.safetensors", size=SIZE, steps=(1,), precision="fp32")
    tick = Tick(device, TorchNetworks(device, made, "eager"), SIZE, most=2, **other.ROOM)
    gpu = Gpu(tick, network.find(str(tmp_path / "small.onnx"), 1, "f32"))
    who = ("one", "two")
    mine = [seated(engine, gpu, avatar, 3 + k) for k, avatar in enumerate(who)]
    theirs = [engine.open(avatar, seed=3 + k) for k, avatar in enumerate(who)]
    for i in range(3):
        for k, pair in enumerate(zip(mine, theirs, strict=True)):
            for session in pair:
                session.push_voice(voice(3, k)[i * VOICE_FRAME : (i + 1) * VOICE_FRAME])
        for one, wanted in zip(together(tick, mine), [session.step() for session in theirs], strict=True):
            np.testing.assert_allclose(one.motion.pack(), wanted.motion.pack(), atol=ROUNDED)
            difference = np.abs(one.i420.astype(int) - wanted.i420)
            assert difference.mean() < other.NEAR and np.percentile(difference, 98) <= 4
    gpu.close()
