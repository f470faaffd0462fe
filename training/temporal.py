"""How a picture changes in time, as features: for a loss that asks for change like the truth's, not only for pictures.

    python -m training.temporal train --data data/renderer/train512 --held data/renderer/held512 [--resume]
    python -m training.temporal report

TREPA (Li et al., LatentSync, 2024) compares features of a video network that learned by itself; none can be downloaded,
so this one learns from the studio's clips to say of three consecutive frames where everything moves (the true flow) and
whether something is wrong with their order or with one of them: what changes wrongly is what it must see.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from exporters import weights
from training.renderer.data import Samples
from training.run import Plan, Run, console
from training.run import main as run_main

ASSET = Path(__file__).parent / "assets" / "temporal_v1.safetensors"
WINDOW: Final = 3  # frames
FAULTS: Final = ("none", "swapped", "held", "boiling", "jumped")  # what may be wrong with a window
FLOOR: Final = 1.0  # as training.perceptual's
GREY: Final = 0.5  # what is behind people
FLOW_UNIT: Final = 2.0  # pixels of flow that count as one
MOVING: Final = 0.5  # pixels
BATCH: Final = 8

app = typer.Typer(add_completion=False, help=__doc__, no_args_is_help=True)


@dataclass(frozen=True, slots=True)
class TemporalConfig:
    """Channels of the first layer; all others follow."""

    width: int = 16


class Seen(NamedTuple):
    """features: at 1/4, 1/8 and 1/16; flow (B,4,h/8,w/8): pixels back, of the second frame and of the third, over
    FLOW_UNIT; fault (B,5) logits of FAULTS."""

    features: list[Tensor]
    flow: Tensor
    fault: Tensor


class TemporalNet(nn.Module):
    """Three frames (B,3,3,h,w) in [0,1] -> Seen. Fully convolutional: any crop does, its side a multiple of 16."""

    usual: Tensor

    def __init__(self, config: TemporalConfig) -> None:
        super().__init__()
        self.config, w = config, config.width
        self.stem = nn.Conv2d(3, w, 5, 2, 2)  # of each frame by itself
        widths = (WINDOW * w, 3 * w, 4 * w, 6 * w)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.GELU(), nn.Conv2d(b, b, 3, 1, 1))
            for a, b in zip(widths, widths[1:], strict=False)
        )
        self.to_flow = nn.Conv2d(widths[2] + widths[3], 4, 3, 1, 1)
        self.to_fault = nn.Linear(2 * widths[3], len(FAULTS))
        self.register_buffer("usual", torch.ones(len(self.stages)))

    def forward(self, frames: Tensor) -> Seen:
        x = F.gelu(self.stem(2.0 * frames.flatten(0, 1) - 1.0)).unflatten(0, (-1, WINDOW)).flatten(1, 2)
        features = []
        for stage in self.stages:
            y = stage(x)
            features.append(y)
            x = F.gelu(y)
        _, near, far = features
        flow = self.to_flow(F.gelu(torch.cat([near, F.interpolate(far, near.shape[2:])], 1)))
        return Seen(features, flow, self.to_fault(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)))

    def unit(self, frames: Tensor) -> list[Tensor]:
        """Features of unit length at every place."""
        return [
            x / (x.square().sum(1, keepdim=True) + (FLOOR * usual) ** 2).sqrt()
            for x, usual in zip(self(frames).features, self.usual, strict=True)
        ]


class TemporalLoss(nn.Module):
    """Distance of how two windows look and change. The network is frozen; gradients reach the painted frames."""

    def __init__(self, net: TemporalNet) -> None:
        super().__init__()
        self.net = net.eval().requires_grad_(False)

    def forward(self, painted: Tensor, truth: Tensor) -> Tensor:
        """painted, truth (B,3,3,h,w) sRGB in [0,1] over the same grey -> distances (B,), 0 for the same."""
        with torch.no_grad():
            wanted = self.net.unit(truth)
        apart = [(a - b).square().sum(1).mean((1, 2)) for a, b in zip(self.net.unit(painted), wanted, strict=True)]
        return torch.stack(apart).mean(0)


def load_temporal(path: Path = ASSET) -> TemporalNet:
    """The trained network. Raises ValueError when the file is missing or is something else."""
    kind = "temporal features (train them: python -m training.temporal train)"
    return weights.load(path, kind, lambda sizes: TemporalNet(TemporalConfig(**sizes)))


def over_grey(target: Tensor) -> Tensor:
    """Premultiplied (..., 4, h, w) u8 -> (..., 3, h, w) in [0,1]."""
    x = target.float() / 255.0
    return x[..., :3, :, :] + GREY * (1 - x[..., 3:, :, :])


class Lesson(NamedTuple):
    """A batch: frames (B,3,3,h,w), flow as in Seen, known (B,2,h/8,w/8) where it is, fault (B,)."""

    frames: Tensor
    flow: Tensor
    known: Tensor
    fault: Tensor


def lesson(batch: dict[str, Tensor], dice: torch.Generator) -> Lesson:
    """Windows of the renderer's samples, half as large, some spoilt; flow is only asked of those that are not."""
    frames = F.avg_pool2d(over_grey(batch["target"]).flatten(0, 1), 2).unflatten(0, (-1, WINDOW))
    consecutive = batch["lo"][:, 1:, 7].flatten(1).amax(1) > 0
    fault = torch.randint(len(FAULTS), (len(frames),), generator=dice) * consecutive
    spoilt = torch.stack([_spoil(x, FAULTS[int(kind)], dice) for x, kind in zip(frames, fault, strict=True)])
    flow = F.avg_pool2d(batch["flow"][:, 1:].flatten(1, 2) / FLOW_UNIT, 8)
    sure = (fault == 0) & consecutive
    known = F.avg_pool2d((batch["lo"][:, 1:, 7] > 0).float(), 8).eq(1.0) & sure[:, None, None, None]
    return Lesson(spoilt, flow, known.float(), fault)


def _spoil(frames: Tensor, fault: str, dice: torch.Generator) -> Tensor:
    """A window (3,3,h,w) with something wrong with it."""
    which = int(torch.randint(1, WINDOW, (1,), generator=dice))
    out = frames.clone()
    if fault == "swapped":
        out[[which - 1, which]] = frames[[which, which - 1]]
    elif fault == "held":
        out[which] = frames[which - 1]
    elif fault == "boiling":  # texture that is not the previous frame's: coarse noise, or softness that comes and goes
        coarse = torch.randn(1, 1, frames.shape[2] // 2, frames.shape[3] // 2, generator=dice)
        strength = 0.02 + 0.06 * float(torch.rand(1, generator=dice))
        soft = F.avg_pool2d(frames[which], 3, 1, 1)
        out[which] = soft if which == 1 else (frames[which] + strength * F.interpolate(coarse, scale_factor=2.0)[0])
    elif fault == "jumped":
        shift = torch.randint(2, 6, (2,), generator=dice) * (2 * torch.randint(2, (2,), generator=dice) - 1)
        out[which] = frames[which].roll(tuple(shift.tolist()), (1, 2))
    return out


def learning(seen: Seen, asked: Lesson) -> dict[str, Tensor]:
    """Losses: absolute error of the flow where it is known, cross-entropy of the fault."""
    # Most of a picture hardly moves: what does counts more, or "nothing moves" would be a good answer.
    both = asked.known.repeat_interleave(2, 1) * (0.1 + asked.flow.abs().clamp(max=2.0))
    flow = ((seen.flow - asked.flow).abs().clamp(max=4.0) * both).sum() / both.sum().clamp(min=1e-3)
    fault = F.cross_entropy(seen.fault, asked.fault)
    return {"loss": flow + 0.5 * fault, "flow": flow, "fault": fault}


@torch.no_grad()
def examined(net: TemporalNet, folder: Path, batches: int = 12) -> dict[str, float]:
    """On held-out people, where something moves by MOVING pixels: flow error beside that of "nothing moves", in pixels;
    how often the fault is named, and how often it is known whether there is one."""
    dice, error, still, places = torch.Generator().manual_seed(9), 0.0, 0.0, 0.0
    right = noticed = count = 0
    for _, batch in zip(range(batches), _batches(folder, 7, 0), strict=False):
        asked = lesson(batch, dice)
        seen = net(asked.frames)
        both = asked.known.repeat_interleave(2, 1) * (asked.flow.abs() * FLOW_UNIT > MOVING)
        error += FLOW_UNIT * float(((seen.flow - asked.flow).abs() * both).sum())
        still += FLOW_UNIT * float((asked.flow.abs() * both).sum())
        places += float(both.sum())
        named = seen.fault.argmax(1)
        right += int((named == asked.fault).sum())
        noticed += int(((named > 0) == (asked.fault > 0)).sum())
        count += len(asked.fault)
    moved = max(places, 1.0)
    return {"flow_px": error / moved, "flow_px_if_still": still / moved, "fault_named": right / count,
            "fault_noticed": noticed / count}  # fmt: skip


def _batches(folder: Path, seed: int, first: int) -> Iterator[dict[str, Tensor]]:
    samples = Samples(folder, WINDOW, seed, first * BATCH)
    batches: Iterator[dict[str, Tensor]] = iter(DataLoader(samples, BATCH))
    return batches


@app.command()
def train(
    data: Annotated[Path, typer.Option(help="Cooked clips of the renderer.")] = Path("data/renderer/train512"),
    held: Annotated[Path, typer.Option(help="Cooked clips of held-out people.")] = Path("data/renderer/held512"),
    out: Annotated[Path, typer.Option()] = Path("runs/temporal_v1"),
    steps: Annotated[int, typer.Option(min=1)] = 1200,
    rate: Annotated[float, typer.Option(min=0.0)] = 2e-3,
    seed: int = 0,
    resume: bool = False,
) -> None:
    """Trains; every step draws by (seed, step), so a run that is resumed learns what it would have learnt."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    config = TemporalConfig()
    run = Run(out, "temporal", TemporalNet(config), Plan(steps, seed, rate), asdict(config))
    run.open(resume)
    batches = _batches(data, seed, run.step)
    for step in run:
        asked = lesson(next(batches), torch.Generator().manual_seed(seed * 1_000_003 + step))
        run.learn(learning(run.net(asked.frames), asked))
    net = run.averaged
    assert isinstance(net, TemporalNet)
    with torch.no_grad():
        squares = []
        for _, batch in zip(range(4), _batches(held, 3, 0), strict=False):
            frames = F.avg_pool2d(over_grey(batch["target"]).flatten(0, 1), 2).unflatten(0, (-1, WINDOW))
            squares.append(torch.stack([x.square().sum(1).mean() for x in net(frames).features]))
        net.usual.copy_(torch.stack(squares).mean(0).sqrt())
    weights.save(net, asdict(config), ASSET, whole="usual")
    console.print(f"{ASSET}: {sum(p.numel() for p in net.parameters())} weights, {examined(net, held)}")


@app.command()
def report(
    held: Annotated[Path, typer.Option(help="Cooked clips of held-out people.")] = Path("data/renderer/held512"),
) -> None:
    """Prints how well the kept features do on held-out people."""
    for name, value in examined(load_temporal(), held).items():
        console.print(f"{name:<18}{value:.3f}")


if __name__ == "__main__":
    run_main(app)
