"""Which emotion is this? A small network that looks at two and a half seconds of Motion (face as painted, and head).

    python -m training.emotion_judge train --data data/performance --out runs/emotion_judge_v1

It learns from choreography alone and is asked about generated motion: what it recognises there is what the generator
really shows. Its weights lie in training/assets.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from engine.motion.emotion import EMOTIONS
from engine.motion.frame import K
from engine.motion.performance import HEAD_AT
from exporters import weights
from training.performer_data import Streams, load
from training.run import Plan, Run, console, main
from training.sync import painted

Array = NDArray[Any]
ASSET = Path(__file__).parent / "assets" / "emotion_judge_v1.safetensors"
LOOK = 64  # frames
CHANNELS = K + 6
NOISE = 0.02  # added while learning, so that it reads the face and not its last digits


class EmotionJudge(nn.Module):
    """(B, LOOK, CHANNELS) of face and head -> logits (B, emotions). Convolutions in time, then the mean and spread."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.width = width
        self.enter = nn.Conv1d(CHANNELS, width, 5, stride=2)
        self.deeper = nn.Conv1d(width, width, 5, stride=2)
        self.out = nn.Linear(2 * width, len(EMOTIONS))

    def forward(self, motion: Tensor) -> Tensor:
        x = F.gelu(self.deeper(F.gelu(self.enter(motion.transpose(1, 2)))))
        logits: Tensor = self.out(torch.cat([x.mean(2), x.std(2)], dim=1))
        return logits


def looks(face: Tensor, head: Tensor, step: int = LOOK // 2) -> Tensor:
    """(n, LOOK, CHANNELS): looks at face (T, K) and head (T, 6), half overlapping."""
    return torch.cat([face, head], dim=1).unfold(0, LOOK, step).transpose(1, 2)


def recognise(judge: EmotionJudge, face: Array, head: Array) -> str:
    """The emotion of a whole stretch of Motion, face (T, K) as painted and head (T, 6): its looks vote.

    Raises ValueError for a stretch shorter than a look.
    """
    if len(face) < LOOK:
        raise ValueError(f"an emotion is judged on {LOOK} frames or more, got {len(face)}")
    with torch.no_grad():
        seen = looks(torch.from_numpy(np.asarray(face, np.float32)), torch.from_numpy(np.asarray(head, np.float32)))
        return EMOTIONS[int(torch.softmax(judge(seen), 1).mean(0).argmax())]


def sample(streams: Streams, batch: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Looks that hold one emotion all through, every emotion as often: (B, LOOK, CHANNELS) and (B,) labels."""
    rows: list[Tensor] = []
    labels: list[int] = []
    while len(rows) < batch:
        which, start = int(rng.integers(len(streams))), int(rng.integers(streams.frames - LOOK))
        here = slice(start, start + LOOK)
        emotion = streams.emotion[which, max(start - 15, 0) : start + LOOK]  # and it has had time to show
        label = int(emotion[-1])
        if bool((emotion != label).any()) or label != len(rows) % len(EMOTIONS):
            continue
        performance, lips = streams.performance[which, here].float(), streams.lips[which, here].float()
        face = painted(lips, performance) if rng.random() < 0.5 else (performance[:, :K] + lips).clamp(0, 1)
        rows.append(torch.cat([face, performance[:, HEAD_AT]], dim=1))
        labels.append(label)
    return torch.stack(rows), torch.tensor(labels)


def accuracy(judge: EmotionJudge, streams: Streams, batches: int = 8) -> tuple[float, Tensor]:
    """Share right, and the confusion (8, 8), truth by row, on looks of ``streams``."""
    rng, confusion = np.random.default_rng(0), torch.zeros(len(EMOTIONS), len(EMOTIONS))
    for _ in range(batches):
        motion, label = sample(streams, 64, rng)
        with torch.no_grad():
            guess = judge(motion).argmax(1)
        confusion.index_put_((label, guess), torch.ones(len(label)), accumulate=True)
    return float(confusion.diag().sum() / confusion.sum()), confusion


def save_judge(judge: EmotionJudge, path: Path = ASSET) -> None:
    """Writes the weights in half precision, whole or not at all."""
    weights.save(judge, {"width": judge.width}, path)


def load_judge(path: Path = ASSET) -> EmotionJudge:
    """The trained judge. Raises ValueError when the file is missing or is something else."""
    kind = "an emotion judge (train one: python -m training.emotion_judge train)"
    return weights.load(path, kind, lambda sizes: EmotionJudge(**sizes))


app = typer.Typer(add_completion=False, help=__doc__, no_args_is_help=True)


@app.callback()
def _commands() -> None:
    """Commands."""


@app.command()
def train(
    data: Annotated[Path, typer.Option(help="performances of training.choreography make")],
    out: Annotated[Path, typer.Option(help="folder of the checkpoint and the log")],
    steps: Annotated[int, typer.Option(min=1)] = 600,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="continue from the checkpoint in --out")] = False,
    asset: Annotated[Path, typer.Option(help="where the weights go")] = ASSET,
) -> None:
    """Trains the judge on choreography and writes its weights."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    streams, held = load(data, "train"), load(data, "validation")
    judge = EmotionJudge()
    run = Run(out, "emotion", judge, Plan(steps, seed, 2e-3), {"width": judge.width})
    run.open(resume)
    for step in run:
        motion, label = sample(streams, 64, np.random.default_rng((seed, step)))
        noise = NOISE * torch.randn(motion.shape, generator=torch.Generator().manual_seed(seed + step))
        run.learn({"loss": F.cross_entropy(judge(motion + noise), label)})
    averaged = run.averaged
    assert isinstance(averaged, EmotionJudge)
    share, confusion = accuracy(averaged, held)
    console.print(f"held-out speakers: {share:.3f} right")
    for name, row in zip(EMOTIONS, confusion / confusion.sum(1, keepdim=True), strict=True):
        console.print(f"{name:10s} " + " ".join(f"{float(value):.2f}" for value in row))
    save_judge(averaged, asset)
    console.print(f"wrote {asset}")


if __name__ == "__main__":
    main(app)
