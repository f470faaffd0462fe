from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.render.denoiser import HI, Answer, Known, Renderer, assemble, pack
from engine.render.painter import KINDS, Painter, planes
from exporters.render import FirstNoise
from tests.engine.render.test_denoiser import SIDE, drawn, known, noise, stirred

SKIPPED = 1e-3  # c_skip x at sigma_max, which is taken as 0


@pytest.fixture(scope="module")
def net() -> Renderer:
    return stirred()


def given(net: Renderer, what: Known, normal: Tensor, steps: int, wanted: list[int] | None = None) -> list[Tensor]:
    """Inputs of a Painter."""
    first = [pack(what.hi, what.lo), *FirstNoise(net)(normal), what.view, what.motion, what.code]
    return first if steps == 1 else [*first, normal, torch.tensor(wanted or [steps] * len(normal), dtype=torch.int32)]


def picture(what: Known, answer: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """What kernels/cells paints of an answer, before it is clipped: rgb and alpha."""
    residual, shares, gain, _ = answer
    base, beside, cover = assemble(Answer(residual, shares, gain.permute(0, 3, 1, 2), torch.empty(0)), what.hi)
    return base + beside, cover


def row(what: Known, index: int) -> Known:
    return Known(*(x[index : index + 1] for x in what))


@torch.no_grad()
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_it_paints_what_the_sampler_paints(net: Renderer, steps: int) -> None:
    what, normal = known(3, 1), noise(3)
    painted = drawn(net, what, normal, steps)
    *answer, mask = Painter(net, steps)(*given(net, what, normal, steps))
    rgb, cover = picture(what, (*answer, mask))
    assert (rgb - painted.rgb).abs().max() < (SKIPPED if steps < 4 else 1e-4)
    assert (cover - painted.alpha).abs().max() < (5e-4 if steps == 2 else 1e-4)
    assert torch.equal(mask, net.denoiser.condition(what).gates[0].argmax(1).to(torch.uint8))
    assert [x.dtype for x in (*answer, mask)] == [torch.float32] * 3 + [torch.uint8]


@torch.no_grad()
def test_each_row_has_the_answer_of_its_own_last_step(net: Renderer) -> None:
    what, normal, wanted = known(4, 2), noise(4), [2, 1, 4, 2]
    answer = Painter(net, 4)(*given(net, what, normal, 4, wanted))
    rgb, cover = picture(what, answer)
    for index, steps in enumerate(wanted):
        painted = drawn(net, row(what, index), normal[index : index + 1], steps)
        assert (rgb[index] - painted.rgb[0]).abs().max() < SKIPPED
        assert (cover[index] - painted.alpha[0]).abs().max() < 5e-4


@torch.no_grad()
@pytest.mark.parametrize("steps", [1, 2])
def test_a_batch_equals_its_rows(net: Renderer, steps: int) -> None:
    what, normal, painter = known(3, 3), noise(3), Painter(net, steps)
    wanted = [2, 1, 2]
    whole = painter(*given(net, what, normal, steps, wanted))
    for index in range(3):
        alone = painter(*given(net, row(what, index), normal[index : index + 1], steps, wanted[index : index + 1]))
        for one, other in zip(alone, whole, strict=True):
            assert (one[0].float() - other[index].float()).abs().max() < 1e-5


@torch.no_grad()
@pytest.mark.parametrize(("kind", "most"), [("fp16", 0.005), ("bf16", 0.04)])
def test_half_precision_paints_nearly_the_same(net: Renderer, kind: str, most: float) -> None:
    what, normal = known(2, 4), noise(2)
    asked = given(net, what, normal, 4, [1, 4])
    exact, _ = picture(what, Painter(net, 4)(*asked))
    painter = Painter(net, 4, KINDS[kind])
    close, _ = picture(what, painter(*asked))
    assert 0.0 < (close - exact).abs().max() < most
    # In half precision there is nothing left in single but what says how the frame is seen and how noisy it is.
    whole = {name.split(".")[1] for name, p in painter.named_parameters() if p.dtype == torch.float32}
    assert whole == {"from_view", "from_motion", "from_code", "from_sigma", "mix_embed", "gate"}


def test_planes_come_back_out_of_cells() -> None:
    what = known(2, 5)
    assert torch.equal(planes(pack(what.hi, what.lo)), what.hi.float()) and what.hi.shape[1:] == (HI, SIDE, SIDE)


def test_the_network_it_is_made_of_stays_as_it_was(net: Renderer) -> None:
    before = {name: value.clone() for name, value in net.state_dict().items()}
    Painter(net, 2, torch.float16)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_other_numbers_of_steps_are_refused(net: Renderer) -> None:
    with pytest.raises(ValueError, match="steps must be one of 1, 2, 4; got 3"):
        Painter(net, 3)
