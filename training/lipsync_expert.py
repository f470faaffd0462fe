"""Lip-sync expert: do these five pictures of a mouth belong to this fifth of a second of voice? (SyncNet's question)

    python -m training.lipsync_expert gather            # mouths and voices out of the studio's clips, and painted ones
    python -m training.lipsync_expert train [--resume]
    python -m training.lipsync_expert report            # accuracy on held-out people and voices

Two encoders after Chung and Zisserman (2016): 5 crops of 96 x 96 and 0.2 s of log-mel, to one space. They learn by
InfoNCE both ways (van den Oord et al. 2018) among other times of the same clip and other clips. The expert sees pixels,
so it judges what is rendered, whoever renders it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.progress import Progress
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from engine.audio.logmel import BINS
from engine.clock import FPS
from engine.motion.performer import SILENCE
from exporters import weights
from training import lipsync_data
from training.lipsync_data import Mouths
from training.run import Plan, Run, console, restore
from training.run import main as run_main

ASSET = Path(__file__).parent / "assets" / "lipsync_v1.safetensors"
SPAN = 5  # frames of a window
TEMPERATURE = 0.07
LATE = 15  # frames an offset is searched to either side
BATCH, TIMES = 10, 5  # clips of a batch, and windows of each
APART = 3  # frames between windows of a clip, at least
SPOKEN = 0.2  # of the windows that are judged the loudest count: there is nothing to see in silence
LATENTSYNC = 0.94  # accuracy of LatentSync's SyncNet on its own data (Li et al. 2024)
LONG = 16  # frames that LatentSync's SyncNet sees at a time
SHIFTED = (5, 25)  # frames that a false pair is moved by, either way

app = typer.Typer(add_completion=False, help=__doc__, no_args_is_help=True)


@dataclass(frozen=True, slots=True)
class ExpertConfig:
    """Channels of the first layer and size of the embeddings."""

    width: int = 16
    embedding: int = 96


class Expert(nn.Module):
    """The pair of encoders."""

    def __init__(self, config: ExpertConfig) -> None:
        super().__init__()
        self.config, w = config, config.width
        widths = (w, 2 * w, 4 * w, 5 * w, 6 * w)
        layers: list[nn.Module] = [nn.Conv2d(3 * SPAN, w, 5, 2, 2), nn.GELU()]
        for a, b in zip(widths, widths[1:], strict=False):
            layers += [nn.GroupNorm(4, a), nn.Conv2d(a, b, 3, 2, 1), nn.GELU()]
        self.look = nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * 9, config.embedding))
        sounds = (1, w, 2 * w, 4 * w, 4 * w)
        layers = []
        for number, (a, b) in enumerate(zip(sounds, sounds[1:], strict=False)):
            layers += [nn.Conv2d(a, b, 3, (1 if number == 0 else 2, 2), 1), nn.GELU(), nn.GroupNorm(4, b)]
        self.listen = nn.Sequential(*layers, nn.Flatten(), nn.Linear(sounds[-1] * 15, config.embedding))

    def see(self, crops: Tensor) -> Tensor:
        """Windows (B, SPAN, 96, 96, 3) in [0, 1] -> unit embeddings (B, E)."""
        x = crops.permute(0, 1, 4, 2, 3).flatten(1, 2)
        return F.normalize(self.look(4.0 * (x - x.mean((2, 3), keepdim=True).mean(1, keepdim=True))), dim=1)

    def hear(self, mel: Tensor) -> Tensor:
        """Windows (B, SPAN * 4, 80) log-mel -> unit embeddings (B, E)."""
        x = (mel - SILENCE) / 4.0
        return F.normalize(self.listen(x[:, None]), dim=1)


def contrast(seen: Tensor, heard: Tensor) -> Tensor:
    """InfoNCE both ways: row i belongs to row i."""
    logits, own = seen @ heard.T / TEMPERATURE, torch.arange(len(seen))
    return 0.5 * (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own))


class Sync(NamedTuple):
    """confidence: best mean cosine minus the median over offsets; offset_ms: how late the lips are; fit: the mean
    cosine at offset 0."""

    confidence: float
    offset_ms: float
    fit: float


@torch.no_grad()
def curve(expert: Expert, crops: NDArray[np.uint8], mel: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean cosine (2 late + 1,) of pictures (T,96,96,3) with the voice (T,4,80) moved by -late..late frames; positive:
    lips late. late is LATE, or less in a short clip. Raises ValueError below 3 windows."""
    count = len(crops) - SPAN + 1
    if count < 3 or len(mel) != len(crops):
        raise ValueError(
            f"sync is judged on {SPAN + 2} frames and more, with as much voice; got {len(crops)}, {len(mel)}"
        )
    seen = torch.cat([expert.see(x) for x in _windows(torch.from_numpy(crops), 1).float().div(255).split(64)])
    voice = torch.from_numpy(np.asarray(mel, np.float32))
    heard = torch.cat([expert.hear(x) for x in _windows(voice, 1).flatten(1, 2).split(256)])
    loud = voice.mean((1, 2)).unfold(0, SPAN, 1).mean(1)
    late = min(LATE, (count - 1) // 2)
    out = []
    for shift in range(-late, late + 1):
        there = torch.arange(max(0, -shift), min(count, count - shift))  # frames of the voice
        weight = torch.sigmoid(4.0 * (loud[there] - loud.max() + 3.0))
        out.append(float(((heard[there] * seen[there + shift]).sum(1) * weight).sum() / weight.sum()))
    return np.array(out)


def judge(expert: Expert, crops: NDArray[np.uint8], mel: NDArray[np.floating]) -> Sync:
    """Sync of one clip, see :func:`curve`."""
    found = curve(expert, crops, mel)
    best, middle = int(found.argmax()), len(found) // 2
    shift = best - middle + vertex(found, best)
    return Sync(float(found[best] - np.median(found)), 1000.0 * shift / FPS, float(found[middle]))


def vertex(values: NDArray[np.float64], best: int) -> float:
    """Where between samples a parabola through the best three peaks."""
    if not 0 < best < len(values) - 1:
        return 0.0
    left, middle, right = values[best - 1 : best + 2]
    bend = left - 2.0 * middle + right
    return 0.0 if bend == 0.0 else float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5))


class SyncLoss(nn.Module):
    """One minus the cosine of painted mouths with their voice. The expert is frozen; gradients reach the pictures."""

    def __init__(self, expert: Expert) -> None:
        super().__init__()
        self.expert = expert.eval().requires_grad_(False)

    def forward(self, crops: Tensor, mel: Tensor) -> Tensor:
        """crops (B, SPAN, 96, 96, 3) in [0, 1] and their mel (B, SPAN * 4, 80)."""
        with torch.no_grad():
            heard = self.expert.hear(mel)
        return (1.0 - (self.expert.see(crops) * heard).sum(1)).mean()


def load_expert(path: Path = ASSET) -> Expert:
    """The trained expert. Raises ValueError when the file is missing or is something else."""
    kind = "a lip-sync expert (train one: python -m training.lipsync_expert train)"
    return weights.load(path, kind, lambda sizes: Expert(ExpertConfig(**sizes)))


def _windows(x: Tensor, step: int) -> Tensor:
    """(T, ...) -> (T - SPAN + 1, SPAN, ...)."""
    return x.unfold(0, SPAN, step).movedim(-1, 1)


def sample(sources: list[Mouths], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A batch: crops (BATCH * TIMES, SPAN, 96, 96, 3) in [0, 1] and mel, in another light and grain every clip."""
    pictures, voices = [], []
    for _ in range(BATCH):
        held = sources[int(rng.integers(len(sources)))]
        spans = held.spans()
        first, last = spans[int(rng.integers(len(spans)))]
        places = np.arange(first, last - SPAN + 1)
        room = max(1, len(places) // TIMES)
        starts = [
            places[min(int(rng.integers(room)) // APART * APART + k * room, len(places) - 1)] for k in range(TIMES)
        ]
        shown = np.stack([held.crops[s : s + SPAN] for s in starts]).astype(np.float32) / 255.0
        pictures.append(_spoilt(shown, rng))
        mel = np.stack([held.mel[s : s + SPAN].reshape(-1, BINS) for s in starts]).astype(np.float32)
        voices.append(np.maximum(mel + rng.uniform(-0.5, 0.3), SILENCE))
    return torch.from_numpy(np.concatenate(pictures)), torch.from_numpy(np.concatenate(voices).astype(np.float32))


def _spoilt(x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Windows (..., 96, 96, 3) of a clip: moved by some pixels, perhaps mirrored, in another light, blurred, grainy."""
    x = np.roll(x, tuple(int(n) for n in rng.integers(-5, 6, 2)), (2, 3))
    if rng.random() < 0.5:
        x = x[:, :, :, ::-1]
    curve = np.linspace(0, 1, 256, dtype=np.float32) ** np.float32(rng.uniform(0.7, 1.4))
    x = curve[(x * 255).astype(np.uint8)] * rng.uniform(0.6, 1.2, 3).astype(np.float32)
    if rng.random() < 0.4:
        x = 0.5 * (x + np.roll(x, 1, 2))
        x = 0.5 * (x + np.roll(x, 1, 3))
    if rng.random() < 0.5:
        x = x + np.float32(rng.uniform(0.0, 0.03)) * rng.standard_normal(x.shape, np.float32)
    return np.ascontiguousarray(np.clip(x, 0, 1), np.float32)


@app.command()
def gather(
    data: Annotated[Path, typer.Option(help="Clips of training people.")] = Path("data/studio/train512"),
    held: Annotated[Path, typer.Option(help="Clips of held-out people and voices.")] = Path("data/studio/held512"),
    speech: Annotated[Path, typer.Option(help="Folder of training.speech.")] = Path("data/speech"),
    out: Annotated[Path, typer.Option()] = Path("data/lipsync"),
    painted: Annotated[int, typer.Option(min=0, help="Clips to paint besides; 0: leave those that are there.")] = 240,
) -> None:
    """Cuts out mouths. What is there is made anew but for painted clips when --painted is 0."""
    with Progress(console=console) as bar:
        for name, make in (
            ("held", lambda report: lipsync_data.photographed(held, report)),
            ("photographed", lambda report: lipsync_data.photographed(data, report)),
            ("painted", lambda report: lipsync_data.painted(speech, painted, report)),
        ):
            if name == "painted" and not painted:
                continue
            task = bar.add_task(name)
            mouths = lipsync_data.gathered(make(lambda done, of, task=task: bar.update(task, completed=done, total=of)))
            mouths.save(out / f"{name}.npz")
            bar.update(task, completed=1, total=1)
            console.print(f"{name}: {len(mouths.clip)} frames of {len(mouths.person)} clips")


@app.command()
def train(
    data: Annotated[Path, typer.Option()] = Path("data/lipsync"),
    out: Annotated[Path, typer.Option()] = Path("runs/lipsync_v1"),
    steps: Annotated[int, typer.Option(min=1)] = 1100,
    rate: Annotated[float, typer.Option(min=0.0)] = 2e-3,
    seed: int = 0,
    resume: bool = False,
) -> None:
    """Trains; every step draws by (seed, step), so a run that is resumed learns what it would have learnt."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    sources = [Mouths.load(data / f"{name}.npz") for name in ("photographed", "painted")]
    config = ExpertConfig()
    run = Run(out, "lipsync", Expert(config), Plan(steps, seed, rate), asdict(config))
    run.open(resume)
    for step in run:
        crops, mel = sample(sources, np.random.default_rng((seed, step)))
        run.learn({"loss": contrast(run.net.see(crops), run.net.hear(mel))})  # type: ignore[operator]
    weights.save(run.averaged, asdict(config), ASSET)
    console.print(f"{ASSET}: {sum(p.numel() for p in run.net.parameters())} weights")


@app.command()
def keep(out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/lipsync_v1")) -> None:
    """Keeps the averaged weights of a run that is not over."""
    state = restore(out / "lipsync.pt")
    expert = Expert(ExpertConfig(**state["config"]))
    expert.load_state_dict(state["averaged"])
    weights.save(expert, state["config"], ASSET)
    console.print(f"{ASSET}: step {state['step']}")


@app.command()
def report(data: Annotated[Path, typer.Option()] = Path("data/lipsync")) -> None:
    """Prints the accuracy on held-out people, voices and sentences."""
    table = Table("figure", "value", title="held-out people and voices")
    for name, value in accuracy(load_expert(), Mouths.load(data / "held.npz")).items():
        table.add_row(name, f"{value:.3f}")
    console.print(table)


@torch.no_grad()
def accuracy(expert: Expert, held: Mouths, seed: int = 0) -> dict[str, float]:
    """How often the expert is right: telling a pair from one moved by SHIFTED frames (better of the two; and by one
    threshold for all, as SyncNets are scored), on 0.2 s and on 16 frames; and offsets found within a frame."""
    rng = np.random.default_rng(seed)
    true: dict[int, list[float]] = {SPAN: [], LONG: []}
    false: dict[int, list[float]] = {SPAN: [], LONG: []}
    offsets = []
    for first, last in held.spans():
        frames = last - first
        if frames < LONG + SHIFTED[0]:
            continue
        shown, mel = held.crops[first:last], held.mel[first:last].astype(np.float32)
        seen = torch.cat([expert.see(x) for x in _windows(torch.from_numpy(shown), 1).float().div(255).split(64)])
        heard = expert.hear(_windows(torch.from_numpy(mel), 1).flatten(1, 2))
        cosine = (seen @ heard.T).numpy()
        for span in true:
            run = span - SPAN + 1
            for start in range(0, len(seen) - run + 1, APART):
                moves = [m for m in range(-SHIFTED[1], SHIFTED[1] + 1)
                         if abs(m) >= SHIFTED[0] and 0 <= start + m <= len(seen) - run]  # fmt: skip
                if moves:
                    along, moved = np.arange(start, start + run), int(rng.choice(moves))
                    true[span].append(float(cosine[along, along].mean()))
                    false[span].append(float(cosine[along, along + moved].mean()))
        if frames > 2 * LONG:
            offsets.append(judge(expert, shown, mel).offset_ms)
    out = {}
    for span in true:
        right, wrong = np.array(true[span]), np.array(false[span])
        limit = np.sort(np.concatenate([right, wrong]))
        best = max(float(((right > x).mean() + (wrong <= x).mean()) / 2) for x in limit[:: max(1, len(limit) // 200)])
        out[f"{span} frames: better of two"] = float((right > wrong).mean())
        out[f"{span} frames: one threshold"] = best
        out[f"{span} frames: pairs"] = float(len(right))
    out["offset within a frame"] = float(np.mean(np.abs(offsets) <= 1000 / FPS + 1e-6))
    out["offset, median absolute ms"] = float(np.median(np.abs(offsets)))
    out["LatentSync's SyncNet on its own data"] = LATENTSYNC
    return out


if __name__ == "__main__":
    run_main(app)
