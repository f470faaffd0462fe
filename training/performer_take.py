"""Takes: what a trained performer makes of held-out streams, judged and drawn.

python -m training.performer_take judge --run runs/performer_v1 --data data/performance
python -m training.performer_take plot  --run runs/performer_v1 --data data/performance --out takes.png
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch import Tensor

from engine.clock import FPS
from engine.motion.condition import SPEAKING_AT
from engine.motion.emotion import EMOTIONS
from engine.motion.frame import ACTION_INDEX, JOINT_INDEX
from engine.motion.performance import GAZE_AT, HEAD_AT, JOINTS_AT, WINDOW
from engine.motion.performer import HOPS, Performer
from training.emotion_judge import LOOK, EmotionJudge, load_judge, looks
from training.motion_judges import beat_alignment, diversity, naturalness
from training.performer import trained_performer
from training.performer_data import Streams, cut, load
from training.run import console, main
from training.sync import painted

Array = NDArray[Any]
app = typer.Typer(add_completion=False, help=__doc__, no_args_is_help=True)

RunFolder = Annotated[Path, typer.Option(help="folder of training.performer")]
Data = Annotated[Path, typer.Option(help="performances of training.choreography make")]
Split = Annotated[str, typer.Option(help="which streams")]
Heat = Annotated[float, typer.Option(min=0, help="temperature")]
DRAWN = {
    "blink": ACTION_INDEX["eyeBlinkLeft"], "browInnerUp": ACTION_INDEX["browInnerUp"],
    "smile": ACTION_INDEX["mouthSmileLeft"], "gaze yaw": GAZE_AT.start, "gaze pitch": GAZE_AT.start + 1,
    "head pitch": HEAD_AT.start, "head yaw": HEAD_AT.start + 1, "head roll": HEAD_AT.start + 2,
    **{name: JOINTS_AT.start + 3 * JOINT_INDEX[name] for name in ("shoulder_l", "shoulder_r", "elbow_r", "hand_r")},
}  # fmt: skip


@torch.no_grad()
def takes(net: Performer, mel: Tensor, condition: Tensor, seeds: list[int], heat: float = 1.0) -> Array:
    """Performances (S, 2n, 96), one a seed, of mel (8n, 80) and condition (n, 48) as the network is told them."""
    books, codes = net.codec.books, net.config.codec.codes
    luck = [np.random.Generator(np.random.Philox(seed)) for seed in seeds]
    state, parts = net.initial_state(len(seeds)), []
    temperature = torch.full((len(seeds), 1), heat)
    for k, told in enumerate(condition):
        noise = torch.from_numpy(np.stack([rng.random((books, codes), np.float32) for rng in luck]))
        heard = mel[HOPS * k : HOPS * (k + 1)].expand(len(seeds), -1, -1)
        motion, _, _, state = net.step(heard, told.expand(len(seeds), -1), noise, temperature, state)
        parts.append(motion)
    return torch.cat(parts, 1).numpy()


def judged(
    net: Performer, streams: Streams, judge: EmotionJudge, heat: float = 1.0, ahead: int = 2
) -> dict[str, float]:
    """Every judge's verdict on takes of whole streams, with choreography's own beside it as ``truth``."""
    windows, made = streams.frames // WINDOW, []
    for which in range(len(streams)):
        mel, condition, _, _ = cut(streams, which, 0, windows, ahead)
        made.append(takes(net, mel, condition, [0, 1, 2], heat)[:, ahead:])
    frames = made[0].shape[1]
    truth = [streams.performance[which, :frames].float().numpy() for which in range(len(streams))]
    speaking = [streams.condition[which, :frames, SPEAKING_AT].numpy() > 0.5 for which in range(len(streams))]
    stresses = [streams.stresses[streams.stresses[:, 0] == which, 1].numpy() for which in range(len(streams))]
    row = {f"diversity.{k}": v for k, v in _mean([diversity(take) for take in made]).items()}
    parts = {"truth": [truth], "made": [[take[seed] for take in made] for seed in range(len(made[0]))]}
    for name, part in parts.items():
        row[f"emotion.{name}"] = float(np.mean([right for one in part for right in _recognised(judge, streams, one)]))
        every = [performance for one in part for performance in one]
        for moving in ("head", "hands"):
            beat = beat_alignment(every, stresses * len(part), speaking * len(part), moving)
            row |= {f"beat.{moving}.{name}.{k}": v for k, v in beat._asdict().items()}
    row |= {
        f"natural.{k}": v for k, v in _mean([naturalness(a[0], b) for a, b in zip(made, truth, strict=True)]).items()
    }
    return row


def _recognised(judge: EmotionJudge, streams: Streams, performances: list[Array]) -> list[float]:
    """Right or not, for every look in which one emotion lasts."""
    right: list[float] = []
    for which, performance in enumerate(performances):
        lips = streams.lips[which, : len(performance)].float()
        motion = torch.from_numpy(performance)
        seen = looks(painted(lips, motion), motion[:, HEAD_AT])
        with torch.no_grad():
            guess = judge(seen).argmax(1)
        for index, start in enumerate(range(0, len(performance) - LOOK + 1, LOOK // 2)):
            told = streams.emotion[which, max(start - 15, 0) : start + LOOK]
            if bool((told == told[0]).all()):
                right.append(float(guess[index] == told[0]))
    return right


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


@app.command()
def judge(
    run: RunFolder, data: Data, split: Split = "validation", heat: Heat = 1.0,
    limit: Annotated[int, typer.Option(min=1, help="shards")] = 1,
    ahead: Annotated[int, typer.Option(min=0, max=2, help="lookahead in frames")] = 2,
) -> None:  # fmt: skip
    """Prints all verdicts on held-out streams."""
    torch.set_num_threads(1)
    verdict = judged(trained_performer(run), load(data, split, limit), load_judge(), heat, ahead)
    console.print_json(json.dumps({name: round(value, 4) for name, value in verdict.items()}))


@app.command()
def plot(
    run: RunFolder, data: Data, out: Annotated[Path, typer.Option(help="PNG to write")], split: Split = "validation",
    heat: Heat = 1.0, which: Annotated[int, typer.Option(min=0, help="which stream")] = 0,
    start: Annotated[int, typer.Option(min=0, help="first frame drawn")] = 0,
    frames: Annotated[int, typer.Option(min=10)] = 500,
) -> None:  # fmt: skip
    """Draws one stream: choreography, what its codes keep of it, and two takes by different seeds."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    torch.set_num_threads(1)
    net, streams = trained_performer(run), load(data, split, 1)
    mel, condition, truth, lips = cut(streams, which % len(streams), 0, streams.frames // WINDOW, 0)
    with torch.no_grad():
        kept = net.codec.decode(net.codec.encode(truth[None], condition[None])[0], condition[None])[0]
    made = takes(net, mel, condition, [0, 1], heat)
    here, rows = slice(start, start + frames), len(DRAWN) + 1
    figure, axes = plt.subplots(rows, 2, figsize=(26, 1.5 * rows), sharex=True, sharey="row")
    times = np.arange(start, start + frames)[: len(truth) - start] / FPS
    for (left, right), (name, channel) in zip(axes[1:], DRAWN.items(), strict=True):
        left.plot(times, truth[here, channel], "k", lw=1)
        left.plot(times, kept[here, channel], "r", lw=0.8)
        for take, colour in zip(made, ("b", "g"), strict=True):
            right.plot(times, take[here, channel], colour, lw=0.8)
        left.set_ylabel(name)
    emotion = streams.emotion[which % len(streams)].numpy()
    for axis, title in zip(axes[0], ("choreography (black) and its codes (red)", "two takes"), strict=True):
        axis.plot(times, lips[here, ACTION_INDEX["jawOpen"]], "k", lw=0.7)
        axis.set_title(title)
        for frame in range(start, start + len(times)):
            if frame == start or emotion[frame] != emotion[frame - 1]:
                axis.text(frame / FPS, 0.1, EMOTIONS[emotion[frame]])
    plt.tight_layout()
    plt.savefig(out, dpi=60)
    console.print(f"wrote {out}")


if __name__ == "__main__":
    main(app)
