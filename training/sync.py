"""Multi-scale syncers: do voice and motion belong together, over a fifth of a second, a word, a phrase? (MS-Sync)

    python -m training.sync train --data data/performance --out runs/sync_v1

A pyramid of small contrastive networks on Motion's frames (lips, face, head): one trunk for the voice and one for the
motion, each halted at three time scales; InfoNCE (van den Oord et al. 2018) pulls together what happens at one time and
pushes apart other times of the same stream and other streams. Kept in training/assets: a loss while training, and a
metric (confidence and offset as SyncNet's: Chung and Zisserman 2016).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F

from engine.audio.logmel import BINS
from engine.clock import FPS, HOPS_PER_FRAME
from engine.motion.frame import ACTION_INDEX, ACTIONS, K
from engine.motion.performer import SILENCE
from exporters import weights
from training.performer_data import Streams, load
from training.run import Plan, Run, console, main

ASSET = Path(__file__).parent / "assets" / "sync_v1.safetensors"
SPEECH = tuple(i for i, name in enumerate(ACTIONS) if name.startswith(("jaw", "mouth", "tongue")))
BROWS = tuple(i for i, name in enumerate(ACTIONS) if name.startswith("brow"))
SEEN = len(SPEECH) + len(BROWS) + 6 + 6  # actions, head, and how fast the head moves
TEMPERATURE = 0.07
SPAN = 15  # frames an offset is searched to either side
SPACING = (3, 8, 20)  # frames between the places one stream is compared at, for each scale


@dataclass(frozen=True, slots=True)
class SyncConfig:
    """Channels of the trunks and size of the embeddings."""

    width: int = 48
    embedding: int = 32


class Trunk(nn.Module):
    """(B, C, T) -> embeddings (B, T, E) of windows of 5, 21 and 85 frames (0.2, 0.8, 3.4 s) around every frame."""

    def __init__(self, inputs: int, config: SyncConfig) -> None:
        super().__init__()
        width = config.width
        self.enter = nn.Conv1d(inputs, width, 1)
        # kernel 5 at dilations 1, 4 and 16: the scales of the pyramid share what is below them
        self.floors = nn.ModuleList(nn.Conv1d(width, width, 5, dilation=d, padding=2 * d) for d in (1, 4, 16))
        self.mix = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in range(3))
        self.out = nn.ModuleList(nn.Conv1d(width, config.embedding, 1) for _ in range(3))

    def forward(self, x: Tensor) -> list[Tensor]:
        x, scales = self.enter(x), []
        for floor, mix, out in zip(self.floors, self.mix, self.out, strict=True):
            x = x + mix(F.gelu(floor(F.gelu(x))))
            scales.append(F.normalize(out(F.gelu(x)), dim=1).transpose(1, 2))
        return scales


class Syncer(nn.Module):
    """The pyramid: voice (B, 4T, BINS) log-mel and motion as :func:`seen` -> embeddings at three scales each."""

    usual: Tensor

    def __init__(self, config: SyncConfig) -> None:
        super().__init__()
        self.config = config
        self.hops = nn.Conv1d(BINS, config.width, HOPS_PER_FRAME, stride=HOPS_PER_FRAME)
        self.voice, self.motion = Trunk(config.width, config), Trunk(SEEN, config)
        self.register_buffer("usual", torch.ones(SEEN))  # deviation of each channel that is seen

    def hear(self, mel: Tensor) -> list[Tensor]:
        """Embeddings (B, T, E) of a voice, scale by scale."""
        heard: list[Tensor] = self.voice(self.hops((mel - SILENCE).transpose(1, 2)))
        return heard

    def see(self, motion: Tensor) -> list[Tensor]:
        """Embeddings (B, T, E) of motion (B, T, SEEN), scale by scale."""
        made: list[Tensor] = self.motion((motion / self.usual).transpose(1, 2))
        return made


def seen(face: Tensor, head: Tensor) -> Tensor:
    """What a syncer looks at: face (B, T, K) as painted (lips and expression) and head (B, T, 6) -> (B, T, SEEN)."""
    rate = F.pad(head.diff(dim=1), (0, 0, 1, 0)) * FPS
    return torch.cat([face[..., SPEECH], face[..., BROWS], head, rate], dim=2)


def painted(lips: Tensor, performance: Tensor) -> Tensor:
    """Face (..., K) of lips and performance together, roughly as the engine composes them while speaking."""
    expression = performance[..., :K].clone()
    expression[..., list(SPEECH)] *= 0.45
    expression[..., ACTION_INDEX["jawOpen"]] = 0.0
    return (lips + expression).clamp(0.0, 1.0)


def contrast(voice: Tensor, motion: Tensor, spacing: int) -> Tensor:
    """InfoNCE both ways among places ``spacing`` frames apart in B streams, embeddings (B, T, E)."""
    a, b = voice[:, ::spacing].flatten(0, 1), motion[:, ::spacing].flatten(0, 1)
    logits = a @ b.T / TEMPERATURE
    own = torch.arange(len(a))
    return 0.5 * (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own))


class SyncLoss(nn.Module):
    """How badly motion fits its voice: minus the log-odds of the true time against shifts of the voice, mean of the
    scales. The syncer is frozen; gradients reach the motion alone."""

    def __init__(self, syncer: Syncer, shifts: tuple[int, ...] = (-12, -8, -5, -3, 3, 5, 8, 12)) -> None:
        super().__init__()
        self.syncer, self.shifts = syncer.eval().requires_grad_(False), shifts

    def forward(self, mel: Tensor, motion: Tensor) -> Tensor:
        """mel (B, 4T, BINS) that belongs to motion (B, T, SEEN)."""
        with torch.no_grad():
            voice = self.syncer.hear(mel)
        losses = []
        for heard, shown in zip(voice, self.syncer.see(motion), strict=True):
            odds = [(heard.roll(shift, 1) * shown).sum(2) for shift in (0, *self.shifts)]
            losses.append(-F.log_softmax(torch.stack(odds, 2) / TEMPERATURE, dim=2)[..., 0].mean())
        return torch.stack(losses).mean()


class Sync(NamedTuple):
    """confidence: best mean cosine minus the median over offsets; offset_ms: how late the motion is."""

    confidence: float
    offset_ms: float


@torch.no_grad()
def judge_sync(syncer: Syncer, mel: Tensor, motion: Tensor, scale: int | None = None) -> Sync:
    """Sync of motion (B, T, SEEN) to a voice (B, 4T, BINS); ``scale`` 0, 1 or 2, or the mean of all three.

    Raises ValueError when there are not more than 2 SPAN frames.
    """
    frames = motion.shape[1]
    if frames <= 2 * SPAN:
        raise ValueError(f"sync is judged on more than {2 * SPAN} frames, got {frames}")
    pairs = list(zip(syncer.hear(mel), syncer.see(motion), strict=True))
    curves = []
    for heard, shown in pairs if scale is None else [pairs[scale]]:
        middle = heard[:, SPAN : frames - SPAN]
        shifts = range(2 * SPAN + 1)
        curves.append([float((middle * shown[:, s : frames - 2 * SPAN + s]).sum(2).mean()) for s in shifts])
    curve = np.mean(curves, axis=0)
    best = int(curve.argmax())
    return Sync(float(curve[best] - np.median(curve)), (best + _vertex(curve, best) - SPAN) * 1000.0 / FPS)


def _vertex(curve: np.ndarray, best: int) -> float:
    """Where between samples a parabola through the best three peaks."""
    if not 0 < best < len(curve) - 1:
        return 0.0
    left, middle, right = curve[best - 1 : best + 2]
    bend = left - 2.0 * middle + right
    return 0.0 if bend == 0.0 else float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5))


def save_syncer(syncer: Syncer, path: Path = ASSET) -> None:
    """Writes the weights in half precision, whole or not at all."""
    weights.save(syncer, asdict(syncer.config), path)


def load_syncer(path: Path = ASSET) -> Syncer:
    """The trained syncer. Raises ValueError when the file is missing or is something else."""
    kind = "a syncer (train one: python -m training.sync train)"
    return weights.load(path, kind, lambda sizes: Syncer(SyncConfig(**sizes)))


def sample(streams: Streams, batch: int, frames: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Random stretches: mel (B, 4T, BINS) and what is seen (B, T, SEEN). Some show the lips alone, some no lips."""
    rows = []
    for which in rng.integers(len(streams), size=batch):
        start = int(rng.integers(streams.frames - frames + 1))
        here = slice(start, start + frames)
        mel = streams.mel[which, start * HOPS_PER_FRAME : (start + frames) * HOPS_PER_FRAME].float()
        performance, lips = streams.performance[which, here].float(), streams.lips[which, here].float()
        kind = rng.random()
        lips = lips * float(kind > 0.35)  # the head and brows alone must do too
        performance = performance * float(kind < 0.8)
        motion = seen(painted(lips, performance)[None], performance[None, :, K + 2 : K + 8])[0]
        rows.append(((mel + float(rng.uniform(-0.3, 0.3))).clamp_min(SILENCE), motion))
    mels, motions = zip(*rows, strict=True)
    return torch.stack(mels), torch.stack(motions)


app = typer.Typer(add_completion=False, help=__doc__, no_args_is_help=True)


@app.callback()
def _commands() -> None:
    """Commands."""


@app.command()
def train(
    data: Annotated[Path, typer.Option(help="performances of training.choreography make")],
    out: Annotated[Path, typer.Option(help="folder of the checkpoint and the log")],
    steps: Annotated[int, typer.Option(min=1)] = 800,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="continue from the checkpoint in --out")] = False,
    asset: Annotated[Path, typer.Option(help="where the weights go")] = ASSET,
) -> None:
    """Trains the pyramid and writes its weights."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    streams, held = load(data, "train"), load(data, "validation")
    net = Syncer(SyncConfig())
    net.usual.copy_(sample(streams, 64, 400, np.random.default_rng(seed))[1].flatten(0, 1).std(0).clamp_min(0.01))
    run = Run(out, "sync", net, Plan(steps, seed, 2e-3), asdict(net.config))
    run.open(resume)
    for step in run:
        mel, motion = sample(streams, 12, 250, np.random.default_rng((seed, step)))
        losses = [contrast(a, b, s) for a, b, s in zip(net.hear(mel), net.see(motion), SPACING, strict=True)]
        names = ("short", "middle", "long")
        run.learn({"loss": torch.stack(losses).mean(), **dict(zip(names, losses, strict=True))})
    averaged = run.averaged
    assert isinstance(averaged, Syncer)
    report(averaged, held)
    save_syncer(averaged, asset)
    console.print(f"wrote {asset}")


def report(syncer: Syncer, held: Streams) -> None:
    """Prints, on held-out speakers, confidence and offset of true and of exchanged motion."""
    mel, motion = sample(held, 24, 500, np.random.default_rng(1))
    for scale, name in enumerate(("0.2 s", "0.8 s", "3.4 s")):
        true = judge_sync(syncer, mel, motion, scale)
        late = judge_sync(syncer, mel, motion.roll(5, 1), scale)
        other = judge_sync(syncer, mel, motion.roll(1, 0), scale)
        console.print(
            f"{name}: true {true.confidence:.3f} at {true.offset_ms:+.0f} ms, 200 ms late {late.offset_ms:+.0f} ms, "
            f"other speaker's {other.confidence:.3f}"
        )


if __name__ == "__main__":
    main(app)
