"""A painter with the experts' own kernels, run emulated, paints what torch's layers paint."""

from dataclasses import replace

import pytest
import torch

from engine.render import fused as module
from engine.render.fused import NAMES, TOLERANCES, FusedBlock, fused
from engine.render.layers import Block, Mixtures
from engine.render.painter import Painter
from exporters.painter import inputs_of
from kernels.emulator import build
from tests.engine.render.test_denoiser import SMALL, stirred

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="no g++ on this machine")
SIZE = (32, 96)
KINDS = [torch.float16, torch.bfloat16]
FITS = replace(SMALL, widths=(16, 32, 48), depths=(1, 2, 1))


def difference(found, wanted):
    return float((found.float() - wanted.float()).abs().max() / wanted.float().abs().max())


def folded(guided, kind):
    torch.manual_seed(3)
    block = Block(32, Mixtures(embed=24, view_experts=5, mask_rank=2, mask_guided=guided)).eval()
    for layer in (block.conv, block.view, block.mask.inward, block.mask.outward, block.scale):
        if hasattr(layer, "gain"):
            torch.nn.init.constant_(layer.gain, 0.7)
        layer.fold()
    return block.to(kind).requires_grad_(False)


@pytest.mark.parametrize("kind", KINDS, ids=NAMES.get)
@pytest.mark.parametrize("guided, rows_of_gate", [(True, 3), (True, 1), (False, 3)])
def test_a_fused_block_equals_torchs(kind, guided, rows_of_gate):
    block, draw = folded(guided, kind), torch.Generator().manual_seed(4)
    x, embed = torch.randn(3, 32, 5, 7, generator=draw), torch.randn(3, 24, generator=draw)
    experts = torch.softmax(torch.randn(3, 5, generator=draw), 1)
    gate = torch.softmax(2 * torch.randn(rows_of_gate, 8, 5, 7, generator=draw), 1)
    x, embed, gate = (value.to(kind) for value in (x, embed, gate))
    wanted = block(x, embed, experts.to(kind), gate)
    twin = FusedBlock(block, 32, kind)
    before = torch.zeros(5, 32, dtype=kind)  # another block's
    mixed = torch.ops.visavis.mix(experts, torch.cat([before, module._packed(block.view.weight.data)], 1))
    assert difference(twin(x, embed, mixed, gate), wanted) < TOLERANCES[NAMES[kind]]


@pytest.mark.parametrize("kind", KINDS, ids=NAMES.get)
def test_a_fused_painter_is_as_near_to_full_precision_as_torchs(kind):
    net = stirred(FITS)
    painter = Painter(net, 2, kind)
    twin, given = fused(painter, "sm_90"), inputs_of(painter, SIZE, 3)
    given["wanted"][1] = 1
    with torch.no_grad():
        truth, usual, ours = (one(*given.values()) for one in (Painter(net, 2), painter, twin))
    assert not any(isinstance(part, Block) for part in twin.modules())
    assert any(isinstance(part, Block) for part in painter.modules())
    for exact, torchs, own in zip(truth[:3], usual[:3], ours[:3], strict=True):
        assert own.dtype == torchs.dtype and own.shape == torchs.shape
        error = [float((one - exact).square().mean().sqrt()) for one in (own, torchs)]
        assert error[0] <= 1.2 * error[1], error


def test_a_compiler_sees_the_fused_painter_as_one_graph():
    painter = fused(Painter(stirred(FITS), 2, torch.float16), "sm_90")
    given = inputs_of(painter, (32, 32), 1)
    with torch.no_grad():
        wanted = painter(*given.values())
        found = torch.compile(painter, backend="eager", fullgraph=True, dynamic=False)(*given.values())
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_what_the_kernels_do_not_take_is_said_and_the_painter_stays_as_it_is():
    with pytest.raises(ValueError, match="fp16 and bf16, not fp32"):
        fused(Painter(stirred(FITS)), "sm_90")
    with pytest.raises(ValueError, match="Turing"):
        fused(Painter(stirred(FITS), 1, torch.bfloat16), "sm_75")
    with pytest.raises(ValueError, match="24 channels"):
        fused(Painter(stirred(), 1, torch.float16), "sm_90")
