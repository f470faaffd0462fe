from dataclasses import replace

import pytest
import torch
from torch import Tensor

from engine.motion.frame import SIZE
from engine.render.denoiser import (
    HI,
    LITE,
    LO,
    PACKED,
    RESIDUAL,
    SHARES,
    VIEW,
    Answer,
    DenoiserConfig,
    Known,
    Painted,
    Renderer,
    assemble,
    faded,
    pack,
)
from engine.render.identity import CODE
from engine.render.layers import MASKS
from engine.render.sampler import sample, solve
from kernels.warp import FADE, reference

SMALL = replace(LITE, widths=(24, 32, 40), embed=48, head=16, mask_rank=2)
SIDE = 64


def known(batch: int, seed: int = 0) -> Known:
    draw = torch.Generator().manual_seed(seed)
    hi = torch.randint(0, 256, (batch, HI, SIDE, SIDE), generator=draw, dtype=torch.uint8)
    lo = torch.randint(0, 256, (batch, LO, SIDE // 2, SIDE // 2), generator=draw, dtype=torch.uint8)
    lo[:, 6] %= MASKS
    view, motion, code = (torch.randn(batch, n, generator=draw) * 0.4 for n in (VIEW, SIZE, CODE))
    return Known(hi, lo, view, motion, code)


def stirred(config: DenoiserConfig = SMALL) -> Renderer:
    """A network none of whose outputs is trivially constant."""
    torch.manual_seed(1)
    net = Renderer(config).eval()
    for name, parameter in net.named_parameters():
        if name.endswith("gain"):
            torch.nn.init.uniform_(parameter, 0.3, 1.0)
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1)
    return net


def drawn(net: Renderer, what: Known, normal: Tensor, steps: int = 1) -> Painted:
    return sample(net.denoiser, what, net.denoiser.condition(what), normal, steps)


@pytest.fixture(scope="module")
def net() -> Renderer:
    return stirred()


def noise(batch: int) -> Tensor:
    return torch.randn(batch, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(3))


def test_patches_hold_every_plane_where_the_contract_says() -> None:
    hi = torch.randint(0, 256, (1, HI, 16, 16), dtype=torch.uint8)
    lo = torch.randint(0, 8, (1, LO, 8, 8), dtype=torch.uint8)
    patches = pack(hi, lo)
    assert patches.shape == (1, 2, 2, 4, PACKED)
    for plane, row, column in (
        (0, 0, 0),
        (3, 1, 2),
        (9, 3, 3),
    ):  # of the upper right patch's lower left cell
        assert patches[0, 0, 1, 2, plane * 16 + row * 4 + column] == hi[0, plane, 4 + row, 8 + column]
    for place, row in enumerate([0, 1, 2, 3, 4, 5, 7]):
        assert patches[0, 1, 0, 1, 160 + place * 4 + 1] == lo[0, row, 4, 3]
    for name in range(MASKS):
        assert patches[0, 1, 1, 3, 160 + (7 + name) * 4 + 2] == 255 * int(lo[0, 6, 7, 6] == name)


@torch.no_grad()
def test_folded_weights_paint_the_same_picture() -> None:
    before = stirred()
    first = drawn(before, known(2), noise(2))
    after = before.fold()
    second = drawn(after, known(2), noise(2))
    assert torch.allclose(first.rgb, second.rgb, atol=1e-5)
    assert torch.allclose(first.alpha, second.alpha, atol=1e-5)


@torch.no_grad()
def test_a_picture_does_not_depend_on_its_neighbours_in_the_batch(net: Renderer) -> None:
    many, one = known(3), known(3)
    whole = drawn(net, many, noise(3))
    row = Known(*(part[1:2] for part in one))
    alone = drawn(net, row, noise(3)[1:2])
    assert torch.allclose(whole.rgb[1:2], alone.rgb, atol=1e-4)


@torch.no_grad()
def test_without_noise_the_picture_is_left_as_it_is(net: Renderer) -> None:
    clean = torch.rand(1, 3, SIDE, SIDE)
    painted = net.denoiser(clean, torch.tensor([1e-4]), known(1), net.denoiser.condition(known(1)))
    assert torch.allclose(painted.rgb, clean, atol=2e-3)  # EDM: c_skip(0) = 1, c_out(0) = 0


@torch.no_grad()
def test_the_viewpoint_mixes_the_view_experts(net: Renderer) -> None:
    front, side = known(1), known(1)
    front.view[:, 0], side.view[:, 0] = 0.0, 1.2
    gates = [net.denoiser.gate(k.view) for k in (front, side)]
    assert torch.allclose(gates[0].sum(), torch.tensor(1.0)) and (gates[0] - gates[1]).abs().max() > 0.3


@torch.no_grad()
@pytest.mark.parametrize("change", [{"view_experts": 1}, {"mask_experts": False}])
def test_an_ablation_has_the_same_flops_as_the_whole(change: dict[str, int]) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    counts = []
    for config in (SMALL, replace(SMALL, **change)):
        less = Renderer(config).eval()
        with FlopCounterMode(display=False) as counter:
            drawn(less, known(1), noise(1))
        counts.append(counter.get_total_flops())
    assert counts[1] == pytest.approx(counts[0], rel=0.01)


@torch.no_grad()
def test_the_mask_gate_decides_which_experts_a_pixel_gets(net: Renderer) -> None:
    block = net.denoiser.stem
    x = torch.randn(1, 24, 8, 8)
    gates = [torch.zeros(1, MASKS, 8, 8) for _ in range(2)]
    gates[0][:, 1], gates[1][:, 4] = 1.0, 1.0
    assert (block.mask(x, gates[0]) - block.mask(x, gates[1])).abs().max() > 0.05


@torch.no_grad()
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_sampling_is_the_same_for_the_same_noise(net: Renderer, steps: int) -> None:
    first, again = (drawn(net, known(1), noise(1), steps).rgb for _ in range(2))
    assert torch.equal(first, again) and bool(first.isfinite().all())


def test_steps_that_were_not_trained_are_refused(net: Renderer) -> None:
    with pytest.raises(ValueError, match="1, 2, 4"):
        drawn(net, known(1), noise(1), 3)


@torch.no_grad()
def test_the_solver_ends_where_noise_ends(net: Renderer) -> None:
    painted = solve(net.denoiser, known(1), net.denoiser.condition(known(1)), noise(1), 6)
    assert painted.rgb.shape == (1, 3, SIDE, SIDE) and bool(painted.rgb.isfinite().all())


@torch.no_grad()
def test_an_absent_photograph_does_not_change_the_code(net: Renderer) -> None:
    planes = torch.randn(2, 3, 8, 128, 128)
    planes[:, :, 7] = 1.0
    planes[:, 2] = 0.0
    junk = planes.clone()
    junk[:, 2, :7] = 9.0
    assert torch.allclose(net.encoder(planes), net.encoder(junk), atol=1e-5)
    assert net.encoder(planes).shape == (2, CODE)


def test_the_previous_picture_fades_as_the_engine_has_it() -> None:
    hi = torch.randint(0, 256, (2, HI, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    hi[:, 6:9] = torch.minimum(hi[:, 6:9], hi[:, 9:])
    for ours, given in zip(faded(hi).numpy(), hi.numpy(), strict=True):
        assert (ours[:6] == given[:6]).all()
        assert (ours[6:] == reference.fade(given[6:], given[:3], FADE)).all()


def test_the_answer_is_laid_together_pixel_by_pixel() -> None:
    hi = torch.zeros(1, HI, 8, 8, dtype=torch.uint8)
    hi[:, :3], hi[:, 3], hi[:, 6:9], hi[:, 9] = 102, 255, 51, 255  # a lit surface of 0.4, a previous picture of 0.2
    shares, residual = torch.zeros(1, 2, 2, SHARES), torch.zeros(1, 2, 2, RESIDUAL)
    shares[..., :16] = 1.0  # covered
    shares[0, 1, 0, 16 + 5] = 1.0  # nothing kept but the pixel of row 1, column 1 of the lower left cell
    residual[0, 0, 1, 16 + 2] = 0.25  # green of row 0, column 2 of the upper right cell
    gain = torch.full((1, 3, 1, 1), 1.5)
    known, residual, cover = assemble(Answer(residual, shares, gain, torch.empty(0)), hi)
    assert torch.allclose(cover, torch.ones_like(cover))
    expected = torch.full((1, 3, 8, 8), 0.6)
    expected[0, :, 5, 1] = 0.2
    assert torch.allclose(known, expected, atol=1e-5)
    assert residual.nonzero().tolist() == [[0, 1, 0, 6]]
