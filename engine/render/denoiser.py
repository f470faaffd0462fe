"""The neural renderer's network (torch; imported by training and exporters only).

A U-Net on a grid of 8 x 8 pixels, with EDM's preconditioning (Karras et al. 2022) around what is already known of the
picture, a view-guided and a mask-guided mixture of experts in every block, and a mask predictor.
B batch, S picture side, G = S/8 grid, C channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.motion.frame import SIZE
from engine.render.identity import CODE, IdentityEncoder
from engine.render.layers import MASKS, Block, Bytes, Conv, Gate, Mixtures, ViewExperts, add, silu
from kernels.warp import FADE

PATCH: Final = 8  # pixels of a grid cell's side
HI: Final = 10  # planes at full size: lit r g b, opacity, valid, strand, warped previous r g b a
LO: Final = 8  # planes at half size: world normal x y z, facing, depth, gloss, mask class, seen
OPACITY: Final = 3  # row of HI
SOLID: Final = 6.0  # logit of cover at first, where the mesh is solid
KEEP: Final = -2.0  # logit of keep at first
SURE: Final = 4.0  # logits that one unit of the last layer is worth
CLASS, SEEN = 6, 7  # rows of LO
CELL: Final = 4  # pixels of a packed cell's side; two cells are a patch
PACKED: Final = HI * CELL**2 + (LO - 1 + MASKS) * (CELL // 2) ** 2  # values of a cell
RESIDUAL: Final = 3 * CELL**2
SHARES: Final = 2 * CELL**2  # cover and keep of a cell
VIEW: Final = 4  # yaw, pitch, log of distance over the framing's, framing index / 2


@dataclass(frozen=True, slots=True)
class DenoiserConfig:
    """Sizes of the network. ``widths`` at grids G, G/2, G/4; ``depths`` of the way down and of the way up.

    ``view_experts`` 1 and ``mask_experts`` False take a mixture out at equal FLOPs (one kernel for all views; the same
    low-rank layer with all masks equal). ``sigma_data`` is the residual's standard deviation, EDM's scale.
    """

    widths: tuple[int, int, int] = (80, 144, 208)
    depths: tuple[int, int, int] = (1, 2, 2)
    embed: int = 192
    head: int = 40
    view_experts: int = 6
    mask_rank: int = 8
    mask_experts: bool = True
    sigma_data: float = 0.05
    sigma_max: float = 20.0
    sigma_min: float = 0.004

    @property
    def mixtures(self) -> Mixtures:
        """What blocks are told."""
        return Mixtures(self.embed, self.view_experts, self.mask_rank, self.mask_experts)

    @staticmethod
    def from_json(sizes: dict[str, Any]) -> DenoiserConfig:
        """The inverse of ``dataclasses.asdict`` through JSON, where tuples come back as lists."""
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in sizes.items()}
        return DenoiserConfig(**values)


LITE: Final = DenoiserConfig()
BASE: Final = DenoiserConfig(widths=(192, 320, 448), depths=(2, 3, 3), embed=320, head=80, mask_rank=16)
SIZES: Final = {"lite": LITE, "base": BASE}


class Known(NamedTuple):
    """What a frame is painted from. u8 planes hi (B,HI,S,S), lo (B,LO,S/2,S/2); f32 view (B,VIEW), motion (B,SIZE),
    code (B,CODE)."""

    hi: Tensor
    lo: Tensor
    view: Tensor
    motion: Tensor
    code: Tensor


class Conditions(NamedTuple):
    """What does not depend on the noise, computed once a frame however many steps follow.

    solid (B,2G,2G,16) in [-1,1], the mesh's alpha by cell; feature (B,C0,G,G); detail (B,4D,G,G) of the planes;
    shares (B,MASKS,G,G), the mask predictor's logits of how much of a patch each class holds; gates their softmax by
    level, (B,MASKS,G,G) and halved twice; embed (B,E); experts (B,V), the weights of the view experts.
    """

    solid: Tensor
    feature: Tensor
    detail: Tensor
    shares: Tensor
    gates: tuple[Tensor, Tensor, Tensor]
    embed: Tensor
    experts: Tensor


class Noisy(NamedTuple):
    """What the network is told of the noisy picture: feature (B,C0,G,G), detail (B,4D,G,G) and embed (B,E)."""

    feature: Tensor
    detail: Tensor
    embed: Tensor


class Answer(NamedTuple):
    """The network's word on a frame, for each cell's pixels: residual (B,2G,2G,RESIDUAL) r, g, b; shares
    (B,2G,2G,SHARES) in [0, 1]: cover (alpha) and keep (how much of the previous picture stays). gain (B,3,G,G) of the
    lit surface; feature (B,D,2G,2G) that they are made of."""

    residual: Tensor
    shares: Tensor
    gain: Tensor
    feature: Tensor


class Painted(NamedTuple):
    """rgb (B,3,S,S) sRGB, premultiplied, not clipped; alpha (B,1,S,S) in [0, 1]; masks (B,MASKS,S,S) logits."""

    rgb: Tensor
    alpha: Tensor
    masks: Tensor


def pack(hi: Tensor, lo: Tensor) -> Tensor:
    """Planes hi (B,HI,S,S) u8 and lo (B,LO,S/2,S/2) u8 -> patches (B,G,G,4,PACKED) u8: each patch's four cells, row by
    row. The class of lo becomes one plane for each (0 or 255); a cell is 4 x 4 pixels (plane, row, column)."""
    index = torch.arange(MASKS, dtype=torch.uint8, device=lo.device)[:, None, None]
    classes = (lo[:, CLASS : CLASS + 1] == index).to(torch.uint8) * 255
    lo = torch.cat([lo[:, :CLASS], lo[:, SEEN:], classes], 1)
    cells = torch.cat([F.pixel_unshuffle(hi, CELL), F.pixel_unshuffle(lo, CELL // 2)], 1)
    patches = cells.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))  # B, PACKED, G, 2, G, 2
    return patches.permute(0, 2, 4, 3, 5, 1).flatten(3, 4)


def faded(hi: Tensor) -> Tensor:
    """Planes hi (B,HI,S,S) u8 with the previous picture faded toward the lit surface, as kernels.warp.fade does it."""
    was, alpha = hi[:, 6:9].int(), hi[:, 9:].int()
    moved = was + (((hi[:, :3].int() - was) * FADE + 128) >> 8)
    return torch.cat([hi[:, :6], torch.minimum(moved, alpha).to(torch.uint8), hi[:, 9:]], 1)


class Denoiser(nn.Module):
    """D(x; sigma | known): the expected picture behind noise, EDM's preconditioning (Karras et al. 2022, eq. 7) around
    what is already known: the lit surface, regained, and the previous picture.

    The picture is premultiplied sRGB in [0, 1]. As sigma grows, D rests on the known alone.
    """

    keep: Tensor
    solid: Tensor

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.config = config
        near, middle, far = config.widths
        self.know = Bytes(4 * PACKED, near)
        self.gate = Gate(config.view_experts)
        self.from_view, self.from_motion = Conv(VIEW * 4, config.embed, 0), Conv(SIZE, config.embed, 0, bias=True)
        self.from_code = Conv(CODE, config.embed, 0)
        self.mix_embed = Conv(config.embed, config.embed, 0)
        self.stem = Block(near, config.mixtures)
        self.stem_down, self.stem_low = Conv(near, middle, 1), Block(middle, config.mixtures)
        self.stem_up = Conv(middle, near, 1)
        self.to_shares = Conv(near, MASKS, 1, 0.5, bias=True)
        self.to_masks = Conv(config.head, MASKS * CELL**2, 0, 0.5, bias=True)
        # The denoiser proper.
        one, two, three = config.depths
        self.noisy, self.noisy_detail = (Conv(3 * PATCH**2, width, 1) for width in (near, 4 * config.head))
        self.from_sigma = Conv(32, config.embed, 0)
        self.down0, self.down1 = _blocks(near, one - 1, config), _blocks(middle, two - 1, config)
        self.to1, self.to2, self.bottom = Conv(near, middle, 1), Conv(middle, far, 1), _blocks(far, three, config)
        self.up1, self.up0 = _blocks(middle, two, config), _blocks(near, one, config)
        self.from2, self.from1 = Conv(far, middle, 1), Conv(middle, near, 1)
        self.to_gain = Conv(near, 3, 1, 0.0)
        self.to_head = Conv(near, 4 * config.head, 1)
        self.detail = Bytes(PACKED, config.head)
        self.head = Conv(config.head, config.head, 3)
        self.to_residual = Conv(config.head, RESIDUAL, 0, 0.1, bias=True)
        self.to_cover_keep = Conv(config.head, SHARES, 0, 0.1, bias=True)
        # As constants by channel, because cutting channels up and joining them again takes a runtime longer.
        self.register_buffer("keep", KEEP * (torch.arange(SHARES) >= CELL**2), persistent=False)
        self.register_buffer("solid", SOLID * torch.eye(SHARES)[: CELL**2], persistent=False)

    def condition(self, known: Known) -> Conditions:
        """Everything that is the same for every step of a frame; the mask predictor is in it."""
        return self.perceive(pack(known.hi, known.lo), known.view, known.motion, known.code)

    def perceive(self, patches: Tensor, view: Tensor, motion: Tensor, code: Tensor) -> Conditions:
        """:meth:`condition` on packed planes (B,G,G,4,PACKED) u8."""
        return self.see(patches, *self.told(view, motion, code))

    def told(self, view: Tensor, motion: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """What does not depend on the planes: embed (B,E), and the weights of the view experts (B,V)."""
        embed = self.from_view(_angles(view)) + self.from_motion(motion) + self.from_code(code)
        return self.mix_embed(silu(embed / math.sqrt(3.0))), self.gate(view)

    def see(self, patches: Tensor, embed: Tensor, experts: Tensor) -> Conditions:
        """The rest of :meth:`perceive`, in the precision of ``embed``; what needs range is float32 at least."""
        mesh = patches[..., OPACITY * CELL**2 : (OPACITY + 1) * CELL**2].to(embed.dtype) * (2 / 255) - 1
        patches = patches.to(embed.dtype)
        x = _channels(self.know(patches.flatten(3)))
        flat = torch.full_like(x[:1, :MASKS], 1.0 / MASKS)
        x = self.stem(x, silu(embed), experts, flat)
        y = self.stem_low(self.stem_down(_half(x)), silu(embed), experts, flat[:, :, ::2, ::2])
        x = add(x, _double(self.stem_up(y)), 0.5)
        shares = self.to_shares(silu(x))
        share = torch.softmax(shares.float(), 1).to(shares.dtype)
        half = F.avg_pool2d(share, 2)
        detail = _channels(self.detail(patches).transpose(3, 4).flatten(3))
        gates = share, half, F.avg_pool2d(half, 2)
        return Conditions(_by_cell(mesh), x, detail, shares, gates, embed, experts)

    def hear(self, noise: Tensor, sigma: Tensor) -> Noisy:
        """The scaled noisy picture (B,3,S,S) and sigma (B,) as features: at a fixed noise, computed once a session."""
        patches = F.pixel_unshuffle(noise, PATCH)
        return Noisy(self.noisy(patches), self.noisy_detail(patches), self.from_level(sigma))

    def from_level(self, sigma: Tensor) -> Tensor:
        """Noise level (B,) -> its part of the embedding (B,E)."""
        level: Tensor = self.from_sigma(_fourier(sigma))
        return level

    def answer(self, noisy: Noisy, c: Conditions) -> Answer:
        """The network itself: everything between features and the answer by cells."""
        embed = silu(add(c.embed, noisy.embed, 0.5))
        y = add(c.feature, noisy.feature, 0.4)
        g0, g1, g2 = c.gates
        for block in self.down0:
            y = block(y, embed, c.experts, g0)
        skip0, y = y, self.to1(_half(y))
        for block in self.down1:
            y = block(y, embed, c.experts, g1)
        skip1, y = y, self.to2(_half(y))
        for block in self.bottom:
            y = block(y, embed, c.experts, g2)
        y = add(skip1, _double(self.from2(y)), 0.5)
        for block in self.up1:
            y = block(y, embed, c.experts, g1)
        y = add(skip0, _double(self.from1(y)), 0.5)
        for block in self.up0:
            y = block(y, embed, c.experts, g0)
        y = silu(y)
        gain = torch.exp(self.to_gain(y).float())
        near = (self.to_head(y) + c.detail + 0.5 * noisy.detail) / 1.5
        y = silu(self.head(F.pixel_shuffle(near, 2)))
        rows = _rows(y)
        logits = SURE * self.to_cover_keep(rows) + c.solid @ self.solid.to(c.solid.dtype) + self.keep
        return Answer(self.to_residual(rows), torch.sigmoid(logits), gain, y)

    def masks(self, answer: Answer) -> Tensor:
        """The mask predictor at full resolution: logits (B,MASKS,S,S). What is painted does not need it."""
        return F.pixel_shuffle(_channels(self.to_masks(_rows(answer.feature))), CELL)

    def forward(self, x: Tensor, sigma: Tensor, known: Known, c: Conditions) -> Painted:
        """x (B,3,S,S) the noisy picture, sigma (B,), what ``condition`` made of ``known`` -> the picture behind it."""
        data, level = self.config.sigma_data, sigma[:, None, None, None]
        total = (level.square() + data**2).sqrt()
        lit = known.hi[:, :3].float() / 255.0
        answer = self.answer(self.hear(((x - lit) / total).to(c.feature.dtype), sigma), c)
        base, residual, cover = assemble(answer, known.hi)
        share = data**2 / total.square()  # c_skip
        rgb = share * x + (1 - share) * base + (level * data / total) * residual  # c_out F
        return Painted(rgb, cover, self.masks(answer))


def _blocks(width: int, count: int, config: DenoiserConfig) -> nn.ModuleList:
    return nn.ModuleList(Block(width, config.mixtures) for _ in range(count))


def assemble(answer: Answer, hi: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What is known of the picture (B,3,S,S), the residual (B,3,S,S) and cover (B,1,S,S), of an answer and the planes
    hi (B,HI,S,S) u8 that it was given."""
    residual = F.pixel_shuffle(_channels(answer.residual).float(), CELL)
    cover, keep = F.pixel_shuffle(_channels(answer.shares).float(), CELL).chunk(2, 1)
    planes = hi.float() / 255.0
    lit, previous = planes[:, :3], planes[:, 6:10]
    gain = F.interpolate(answer.gain.float(), scale_factor=float(PATCH), mode="bilinear", align_corners=False)
    base = cover * ((1 - keep * previous[:, 3:]) * lit * gain + keep * previous[:, :3])  # previous is premultiplied
    return base, residual, cover


def _by_cell(patches: Tensor) -> Tensor:
    """(B,G,G,4,C) -> (B,2G,2G,C): the four cells of each patch in their places."""
    cells = patches.unflatten(3, (2, 2)).transpose(2, 3)
    return cells.flatten(3, 4).flatten(1, 2)


def _rows(x: Tensor) -> Tensor:
    """(B,C,H,W) -> (B,H,W,C)."""
    return x.permute(0, 2, 3, 1)


def _channels(x: Tensor) -> Tensor:
    """(B,H,W,C) -> (B,C,H,W)."""
    return x.permute(0, 3, 1, 2)


def _half(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2) * 1.6


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def _angles(view: Tensor) -> Tensor:
    """(B, VIEW) -> (B, 4 VIEW): sines and cosines of it and of twice it."""
    return torch.cat([view.sin(), view.cos(), (2 * view).sin(), (2 * view).cos()], 1)


def _fourier(sigma: Tensor) -> Tensor:
    """(B,) -> (B, 32): c_noise = ln(sigma) / 4 (EDM eq. 7, table 1) as sines and cosines."""
    rates = torch.exp(torch.linspace(math.log(0.5), math.log(16.0), 16, device=sigma.device, dtype=sigma.dtype))
    phase = (sigma.log() / 4)[:, None] * rates
    return torch.cat([phase.sin(), phase.cos()], 1) * math.sqrt(2.0)


class Renderer(nn.Module):
    """Identity encoder and denoiser, trained together."""

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.encoder, self.denoiser = IdentityEncoder(), Denoiser(config)

    def fold(self) -> Renderer:
        """Folds every normalisation into its weights, in place. What it computes stays the same."""
        for module in self.modules():
            if isinstance(module, Conv | ViewExperts):
                module.fold()
        return self
