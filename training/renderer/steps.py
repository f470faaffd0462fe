"""One learning step of the neural renderer: teacher (denoising) and student (consistency tuning on its own rollouts).

Batch: the dict of tensors of training.renderer.data. Everything here is free of files, clocks and command lines.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from engine.render.denoiser import SEEN, Conditions, Known, Painted, Renderer, faded
from engine.render.sampler import sample
from training.perceptual import Perceptual
from training.renderer import loss as losses
from training.renderer.data import warp_torch
from training.renderer.loss import Weights

Batch = dict[str, Tensor]
LEVEL: Final = (-2.9, 1.4)  # mean and deviation of ln sigma (EDM's P_mean, P_std), for a residual of 0.05
TINT: Final = 0.65  # least share of a colour that a tint leaves
LOOKS: Final = 1 / 3  # share of the teacher's steps with a perceptual loss, which costs as much as all the rest
LOOKED_AT: Final = 2  # pictures of a batch that it sees then
AT_TOP: Final = 0.4  # share of the teacher's samples at sigma_max, where a one-step picture begins
TRUST: Final = (0.7, 0.85)  # previous picture while the teacher learns: true, spoilt up to here, then none
SHARED: Final = 0.7  # share of rollouts whose frames all have one noise, as a session's do (LatentSync's mixed noise)
LEARNT: Final = 2  # frames of a rollout that are learned from; those before only lead there
DRIFTED: Final = 0.3  # share of rollouts that begin with a previous picture as if errors had grown in it for long
DRIFT: Final = (0.25, 0.08)  # deviation of the colours then, in patches of 64 pixels: as a share, and of white
STILL: Final = 0.35  # share of rollouts that stand still first: one frame painted again and again upon itself
STILL_FRAMES: Final = 20  # at most


@dataclass(slots=True)
class Step:
    """What a step needs besides the batch. ``noise`` (on ``device``, as the network) draws everything random."""

    net: Renderer
    weights: Weights
    noise: torch.Generator
    perceptual: Perceptual | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def teach(self, batch: Batch) -> dict[str, Tensor]:
        """Denoising loss of one frame a sample (EDM eq. 2 with its preconditioning), and the mask predictor's."""
        batch = self._tinted(batch)
        with self._cast():
            known, conditions = self._condition(batch, 0, self._spoilt(batch))
            truth = batch["target"][:, 0].float() / 255.0
            weight = losses.importance(batch["region"][:, 0])
            sigma = self._levels(len(truth))
            noisy = truth[:, :3] + sigma[:, None, None, None] * self._normal(truth[:, :3].shape)
            painted = self.net.denoiser(noisy, sigma, known, conditions)
            parts = losses.picture_loss(painted, truth, weight, self._importance(sigma))
            parts["mask"] = losses.mask_loss(painted.masks, conditions.shares, batch["region"][:, 0])
            if self.perceptual is not None and self.weights.perceptual:
                top = (sigma >= self.net.denoiser.config.sigma_max).nonzero()[:LOOKED_AT, 0]
                if len(top) and float(self._uniform(1)) < LOOKS:
                    parts["perceptual"] = self._look(painted, truth, weight, top)
        return losses.total(parts, self.weights)

    def tune(self, batch: Batch, gap: float) -> dict[str, Tensor]:
        """Consistency tuning (Geng et al. 2024, Consistency Models Made Easy, algorithm 1) with one-step rollouts.

        ``gap`` in (0, 1]: how far below its noise level t the target's level r lies, r = t (1 - gap n(t)); 1 is
        denoising, and it shrinks as training goes on. The rollout's frames are painted in one step from the session's
        noise, each on the one before it as the network itself painted it. Up to so many frames lead, without learning,
        to the LEARNT ones that errors which would grow over a session show.
        """
        batch = self._tinted(batch)
        frames, previous, before = batch["target"].shape[1], self._drifted(batch["previous"].float() / 255.0), None
        first = int(float(self._uniform(1)) * (max(frames - LEARNT, 0) + 0.999))
        end = min(first + LEARNT, frames)
        shape = (len(previous), 3, *batch["target"].shape[-2:])
        noise = self._normal(shape)
        parts: list[dict[str, Tensor]] = []
        with self._cast():
            if float(self._uniform(1)) < STILL:
                previous, batch = self._stood_still(batch, previous, noise)
            for frame in range(first):
                with torch.no_grad():
                    known, conditions = self._condition(batch, frame, previous)
                    painted = sample(self.net.denoiser, known, conditions, noise, 1)
                    whole = torch.cat([painted.rgb, painted.alpha], 1)
                    before = whole, batch["target"][:, frame].float() / 255.0
                    previous, noise = self._warped(_settled(whole), batch, frame + 1), self._renewed(noise)
            for frame in range(first, end):
                known, conditions = self._condition(batch, frame, previous)
                truth = batch["target"][:, frame].float() / 255.0
                weight = losses.importance(batch["region"][:, frame])
                painted = sample(self.net.denoiser, known, conditions, noise, 1)
                one = losses.picture_loss(painted, truth, weight, truth.new_ones(len(truth)))
                one["mask"] = losses.mask_loss(painted.masks, conditions.shares, batch["region"][:, frame])
                if self.perceptual is not None and self.weights.perceptual:
                    chosen = torch.arange(frame % LEARNT, len(truth), LEARNT, device=self.device)
                    if len(chosen):  # a batch of one has none in every other frame
                        one["perceptual"] = self._look(painted, truth, weight, chosen)
                if before is not None and self.weights.still:
                    one["still"] = self._still(painted, truth, before, batch, frame, weight)
                parts.append(one)
                if frame == end - 1 and self.weights.consistency:
                    few = slice(0, max(len(truth) // 2, 1))  # the rollout is what a session does
                    one["consistency"] = self._consistency(
                        Known(*(x[few] for x in known)), _rows(conditions, few), truth[few], weight[few], gap
                    )
                if frame < end - 1:
                    whole = torch.cat([painted.rgb, painted.alpha], 1)
                    before = whole, truth
                    previous = self._warped(_settled(whole).detach(), batch, frame + 1)
                    noise = self._renewed(noise)
        mean = {name: torch.stack([p[name] for p in parts if name in p]).mean() for name in _names(parts)}
        return losses.total(mean, self.weights)

    def _tinted(self, batch: Batch) -> Batch:
        """The same people in other light: red, green and blue scaled alike in all that shows them."""
        out = dict(batch)
        gain = TINT + (1 - TINT) * self._uniform(len(batch["view"]), 3, 1, 1)
        for name in ("hi", "previous", "target", "reference"):
            picture = batch[name].clone()
            scale = gain[:, None] if picture.ndim == 5 else gain
            colour = picture[..., :3, :, :].float() * scale
            picture[..., :3, :, :] = colour if picture.is_floating_point() else (colour + 0.5).to(torch.uint8)
            out[name] = picture
        return out

    def _condition(self, batch: Batch, frame: int, previous: Tensor) -> tuple[Known, Conditions]:
        """What is known of a frame, with its conditions, on ``previous`` (B,4,h,w) in [0,1], already warped."""
        warped = (previous.clamp(0, 1) * 255.0 + 0.5).to(torch.uint8)
        hi, code = faded(torch.cat([batch["hi"][:, frame], warped], 1)), self.net.encoder(batch["reference"]).float()
        known = Known(hi, batch["lo"][:, frame], batch["view"][:, frame], batch["motion"][:, frame], code)
        return known, self.net.denoiser.condition(known)

    def _spoilt(self, batch: Batch) -> Tensor:
        """The true previous picture, now and then spoilt as the network's own would be, or not there at all."""
        previous = batch["previous"].float() / 255.0
        count = len(previous)
        draw = self._uniform(count, 1, 1, 1)
        soft = torch.nn.functional.avg_pool2d(previous, 3, 1, 1)
        tint = 1 + 0.06 * self._normal((count, 4, 1, 1))
        spoilt = soft * tint + 0.03 * self._normal(previous.shape) * previous[:, 3:]
        kept = torch.where(draw < TRUST[0], previous, spoilt * (previous[:, 3:] > 0))
        return torch.where(draw < TRUST[1], kept, torch.zeros_like(kept))

    def _drifted(self, previous: Tensor) -> Tensor:
        """``previous`` (B,4,h,w), some of it with colours that are off in large patches, as errors that fed themselves
        for seconds would make it. A rollout in training is too short to get there by itself."""
        count, _, height, width = previous.shape
        coarse = self._normal((count, 6, max(height // 64, 2), max(width // 64, 2)))
        field = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)
        rgb, alpha = previous[:, :3] * (1 + DRIFT[0] * field[:, :3]), previous[:, 3:]
        off = torch.cat([torch.minimum((rgb + DRIFT[1] * field[:, 3:] * alpha).clamp(min=0.0), alpha), alpha], 1)
        return torch.where(self._uniform(count, 1, 1, 1) < DRIFTED, off, previous)

    @torch.no_grad()
    def _stood_still(self, batch: Batch, previous: Tensor, noise: Tensor) -> tuple[Tensor, Batch]:
        """The first frame painted upon itself for up to STILL_FRAMES frames, as when nobody moves: an error that feeds
        itself shows here, and no rollout is as long. Returns the last of these pictures, and the batch in which all of
        it was seen."""
        lo = batch["lo"].clone()
        for turn in range(int(float(self._uniform(1)) * STILL_FRAMES) + 1):
            known, conditions = self._condition({**batch, "lo": lo}, 0, previous)
            painted = sample(self.net.denoiser, known, conditions, noise, 1)
            previous = _settled(torch.cat([painted.rgb, painted.alpha], 1).float())
            if not turn:
                lo[:, 0, SEEN] = 255
        return previous, {**batch, "lo": lo}

    def _renewed(self, noise: Tensor) -> Tensor:
        """The next frame's noise: mostly the same."""
        same = self._uniform(len(noise), 1, 1, 1) < SHARED
        return torch.where(same, noise, self._normal(noise.shape))

    def _warped(self, whole: Tensor, batch: Batch, frame: int) -> Tensor:
        seen = batch["lo"][:, frame, 7:8].float() / 255.0
        return warp_torch(whole, batch["flow"][:, frame], seen)

    def _consistency(self, known: Known, conditions: Conditions, truth: Tensor, weight: Tensor, gap: float) -> Tensor:
        """Distance of D at noise level t from D (without gradient) at the lower level r of the same noise."""
        net, rgb = self.net.denoiser, truth[:, :3]
        high = self._levels(len(truth))
        low = high * (1 - gap * (1 + 8 * torch.sigmoid(-high))).clamp(min=0.0)
        noise = self._normal(rgb.shape)
        ours = net(rgb + high[:, None, None, None] * noise, high, known, conditions)
        with torch.no_grad():
            safe = low.clamp(min=net.config.sigma_min)
            target = net(rgb + safe[:, None, None, None] * noise, safe, known, conditions).rgb
            target = torch.where((low > 0)[:, None, None, None], target, rgb)
        scale = (self._importance(high).sqrt() / (1 - low / high).clamp(min=0.05))[:, None, None, None].clamp(max=8.0)
        return (scale * weight * losses.huber(ours.rgb, target)).mean()

    def _still(
        self, painted: Painted, truth: Tensor, before: tuple[Tensor, Tensor], batch: Batch, frame: int, weight: Tensor
    ) -> Tensor:
        """Change along the flow since the frame before, ours against the truth's."""
        ours, theirs = (self._warped(x, batch, frame)[:, :3] for x in before)
        seen = torch.nn.functional.interpolate(batch["lo"][:, frame, 7:8].float() / 255.0, scale_factor=2.0)
        return (weight * seen * ((painted.rgb - ours) - (truth[:, :3] - theirs)).abs()).mean()

    def _look(self, painted: Painted, truth: Tensor, weight: Tensor, chosen: Tensor) -> Tensor:
        """Perceptual distance of the ``chosen`` pictures over mid-grey."""
        assert self.perceptual is not None
        ours = painted.rgb[chosen] + 0.5 * (1 - painted.alpha[chosen])
        theirs = truth[chosen, :3] + 0.5 * (1 - truth[chosen, 3:])
        with torch.autocast(self.device.type, enabled=False):  # depthwise convolutions are slow in bf16 on a CPU
            return self.perceptual(ours.clamp(0, 1), theirs, weight[chosen]).mean()

    def _levels(self, count: int) -> Tensor:
        config = self.net.denoiser.config
        sigma = torch.exp(LEVEL[0] + LEVEL[1] * self._normal((count,)))
        top = self._uniform(count) < AT_TOP
        return torch.where(
            top, torch.full_like(sigma, config.sigma_max), sigma.clamp(config.sigma_min, config.sigma_max)
        )

    def _importance(self, sigma: Tensor) -> Tensor:
        """EDM's weight lambda(sigma) (table 1) times sigma_data squared: 1 for large sigma."""
        data = self.net.denoiser.config.sigma_data
        return ((sigma.square() + data**2) / sigma.square()).clamp(max=100.0)

    def _normal(self, shape: tuple[int, ...] | torch.Size) -> Tensor:
        return torch.randn(shape, generator=self.noise, device=self.device)

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self.noise, device=self.device)

    def _cast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16)


def gap(part: float, halvings: int = 4) -> float:
    """ECT's schedule: 1 at first, halved ``halvings`` times over the run; ``part`` in [0, 1] is how much is done."""
    return 0.5 ** int(min(part, 0.999) * (halvings + 1))


def _settled(whole: Tensor) -> Tensor:
    """A painted picture (B,4,h,w) as the engine keeps it: colour within alpha."""
    alpha = whole[:, 3:].clamp(0, 1)
    return torch.cat([torch.minimum(whole[:, :3].clamp(min=0.0), alpha), alpha], 1)


def _rows(c: Conditions, rows: slice) -> Conditions:
    """Some samples of a batch's conditions."""
    gates = c.gates[0][rows], c.gates[1][rows], c.gates[2][rows]
    return c._replace(
        **{name: getattr(c, name)[rows] for name in c._fields if name != "gates"}, gates=gates
    )  # fmt: skip


def _names(parts: list[dict[str, Tensor]]) -> list[str]:
    return list(dict.fromkeys(name for part in parts for name in part))
