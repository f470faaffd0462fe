"""The renderer as a GPU runs it: a batch of frames in one, two or four steps, in one type throughout (torch).

exporters/painter.py makes a graph of it; the torch backend runs it as it is. It equals engine.render.sampler, whose
picture kernels/cells ``paint`` assembles from what this answers. B batch, S side, G = S/8, C0 and D of the network.
"""

from __future__ import annotations

import copy
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.render.denoiser import CELL, HI, PATCH, Answer, Noisy, Renderer, assemble
from engine.render.layers import Conv
from engine.render.sampler import MULTISTEP

KINDS: Final = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
# Tiny layers on numbers of which every bit shows: a camera that turns by half a degree must not be rounded.
WHOLE: Final = ("from_view", "from_motion", "from_code", "from_sigma", "mix_embed", "gate")


class Exact(nn.Module):
    """A folded linear layer as sums in single precision: a product of matrices may be rounded to TF32 by default, and
    TensorRT for RTX refuses one in single precision on tensor cores before Ampere's."""

    def __init__(self, layer: Conv) -> None:
        super().__init__()
        assert layer.folded and not layer.kernel
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, x: Tensor) -> Tensor:
        y = (x[:, None] * self.weight).sum(-1)
        return y if self.bias is None else y + self.bias


class Dial(NamedTuple):
    """EDM's numbers of a step (Karras et al. 2022, table 1), each (B,1,1,1) or one for all rows: sigma, and c_in,
    c_skip and c_out; and the level's part of the embedding, (B,E) or (1,E)."""

    sigma: Tensor
    scale: Tensor
    skip: Tensor
    out: Tensor
    level: Tensor


class Painter(nn.Module):
    """Frames of many sessions at once, all on the same network.

    ``net`` is copied, folded and rounded to ``kind``; exp, softmax, what the view, motion and code say, and the picture
    between two steps stay float32. ``steps`` is 1, 2 or 4. Raises ValueError for another number.
    """

    def __init__(self, net: Renderer, steps: int = 1, kind: torch.dtype = torch.float32) -> None:
        super().__init__()
        if steps not in MULTISTEP:
            raise ValueError(f"steps must be one of {', '.join(map(str, MULTISTEP))}; got {steps}")
        own = copy.deepcopy(net).fold().eval().requires_grad_(False)
        self.config, self.steps, self.kind, self.net = net.denoiser.config, steps, kind, own.denoiser
        for step, level in enumerate(self._levels()):
            self.register_buffer(f"dial{step}", level, persistent=False)
        for name, part in list(self.net.named_children()):
            if name not in WHOLE:
                part.to(kind)
            elif isinstance(part, Conv):
                setattr(self.net, name, Exact(part))
        self.net.keep, self.net.solid = self.net.keep.to(kind), self.net.solid.to(kind)

    def forward(
        self, cells: Tensor, noise: Tensor, noise_detail: Tensor, view: Tensor, motion: Tensor, code: Tensor,
        normal: Tensor | None = None, wanted: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        """cells (B,G,G,4,PACKED) u8 of kernels/cells; noise (B,G,G,C0) and noise_detail (B,G,G,4D) of a session's noise
        (exporters.render.FirstNoise); view (B,VIEW), motion (B,SIZE), code (B,CODE), f32; for more than one step also
        the session's noise itself, normal (B,3,S,S) f32, and wanted (B,) int32, each row's own number of steps.

        Returns residual (B,2G,2G,RESIDUAL), the picture without what the other two give; shares (B,2G,2G,SHARES) and
        gain (B,G,G,3), f32; mask (B,G,G) u8, the likeliest class. A row that wants fewer steps has the answer of its
        own last one. c_skip at sigma_max, (sigma_data / sigma_max)^2, is taken as 0, as in exporters.render.Frame.
        """
        # TensorRT turns bytes into half or single precision and nothing else, and back from them alone.
        exact = torch.float32 if self.kind == torch.float32 else torch.float16
        cells = cells.to(exact)
        embed, experts = self.net.told(view, motion, code)
        known = self.net.see(cells, embed.to(self.kind), experts.to(self.kind))
        feature, detail = (x.permute(0, 3, 1, 2).to(self.kind) for x in (noise, noise_detail))
        first = self._dial(0, None)
        answer = self.net.answer(Noisy(feature, detail, first.level.to(self.kind)), known)
        told = _told(answer, first.out * answer.residual.float())
        if self.steps > 1:
            assert normal is not None and wanted is not None, "more than one step needs normal and wanted"
            hi = planes(cells)
            base, residual, _ = assemble(answer, hi)
            picture = base + first.out * residual
            for step in range(1, self.steps):
                dial = self._dial(step, wanted)
                x = picture + dial.sigma * torch.roll(normal, normal.shape[-1] // 2 + PATCH * (step - 1), -1)
                patches = F.pixel_unshuffle(dial.scale * (x - hi[:, :3] / 255), PATCH).to(self.kind)
                noisy = Noisy(self.net.noisy(patches), self.net.noisy_detail(patches), dial.level.to(self.kind))
                answer = self.net.answer(noisy, known)
                base, residual, _ = assemble(answer, hi)
                beside = dial.skip * (x - base) + dial.out * residual  # EDM's D(x; sigma) without its base
                picture = base + beside
                now = _told(answer, F.pixel_unshuffle(beside, CELL).permute(0, 2, 3, 1))
                more = (wanted > step)[:, None, None, None]
                told = tuple(torch.where(more, new, old) for new, old in zip(now, told, strict=True))
        residual, shares, gain = told
        return residual, shares, gain, known.shares.argmax(1).to(exact).to(torch.uint8)

    def _levels(self) -> list[Tensor]:
        """For each step the numbers of a Dial in a row (choices, 4 + E): one choice, or one for two steps in all and
        one for four."""
        data, rows = self.config.sigma_data, []
        for step in range(self.steps):
            sizes = [steps for steps in MULTISTEP if step < steps <= self.steps]
            sigmas = {MULTISTEP[steps][step - 1] for steps in sizes} if step else {self.config.sigma_max}
            sigma = torch.tensor(sorted(sigmas))[:, None]
            total = (sigma.square() + data**2).sqrt()
            numbers = sigma, 1 / total, data**2 / total.square(), sigma * data / total
            rows.append(torch.cat([*numbers, self.net.from_level(sigma[:, 0])], 1))
        return rows

    def _dial(self, step: int, wanted: Tensor | None) -> Dial:
        rows: Tensor = getattr(self, f"dial{step}")
        if len(rows) > 1:  # a row of two steps in all has the lower level
            assert wanted is not None
            rows = rows[(wanted > 2).long()]
        sigma, scale, skip, out = rows[:, :4, None, None, None].unbind(1)
        return Dial(sigma, scale, skip, out, rows[:, 4:])


def planes(cells: Tensor) -> Tensor:
    """The planes of full size (B,HI,S,S), 0 to 255, out of cells (B,G,G,4,PACKED): the inverse of denoiser.pack."""
    cut = cells[..., : HI * CELL**2].float().unflatten(4, (HI, CELL, CELL)).unflatten(3, (2, 2))
    return cut.permute(0, 5, 1, 3, 6, 2, 4, 7).flatten(5, 7).flatten(2, 4)


def _told(answer: Answer, residual: Tensor) -> tuple[Tensor, ...]:
    return residual, answer.shares.float(), answer.gain.permute(0, 2, 3, 1)
