"""Trains voice-to-lips:  python -m training.motion train --data data/speech --out runs/motion_v2
then                      python -m training.motion export --run runs/motion_v2
"""

from __future__ import annotations

import copy
import json
import math
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.data import DataLoader

from engine.motion.generator import GeneratorConfig, LipGenerator
from training.motion_acoustic import acoustic
from training.motion_data import Streams, is_neural, load, masked, over_a_channel
from training.motion_loss import LossWeights, lip_loss
from training.motion_score import calibrate, calibrate_said, score
from training.run import console, main

app = typer.Typer(add_completion=False, help=__doc__, no_args_is_help=True)
FRAMES, BATCH = 150, 16  # 6 s streams
WEIGHT_DECAY, WARM_UP, CLIP = 0.02, 300, 1.0
EMA_HALF_LIFE = 300  # steps (Karras et al. 2022 count it in images; here every step has the same size)
CHECKPOINT_SECONDS = 150.0
VALIDATION = 8  # sentences of each shard
ECHO = 3  # steps on each batch, masked anew (data echoing, Choi et al. 2019): making one costs more than a step


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up, then half a cosine to zero."""
    return peak * min(1.0, step / WARM_UP) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / steps)))


def save(path: Path, content: dict[str, Any]) -> None:
    """Writes a checkpoint whole or not at all."""
    temporary = path.with_suffix(".tmp")
    torch.save(content, temporary)
    os.replace(temporary, path)


def restore(path: Path) -> dict[str, Any]:
    """Reads a checkpoint. Raises ValueError when it is missing or broken."""
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for a cut-off file
        raise ValueError(f"{path} is not a readable checkpoint: {error}") from error
    return content


def started(config: GeneratorConfig) -> LipGenerator:
    """A new network with the acoustic model in place. Raises MissingPackage without pocketsphinx."""
    net = LipGenerator(config)
    net.acoustic.load_state_dict(acoustic().state_dict())
    return net


def network(checkpoint: dict[str, Any]) -> LipGenerator:
    """The averaged network of a checkpoint, ready to run."""
    net = LipGenerator(GeneratorConfig.from_json(checkpoint["config"]))
    net.load_state_dict(checkpoint["ema"])
    return net.eval()


@app.command()
def train(
    data: Annotated[Path, typer.Option(help="corpus of training.speech")],
    out: Annotated[Path, typer.Option(help="folder of checkpoints and the log")],
    steps: Annotated[int, typer.Option(min=1, help="optimizer steps of 16 streams of 6 s")] = 5000,
    seed: Annotated[int, typer.Option()] = 0,
    rate: Annotated[float, typer.Option(min=0, help="peak learning rate")] = 1.6e-3,
    init: Annotated[Path | None, typer.Option(help="checkpoint whose averaged weights to go on from")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="continue from the checkpoint in --out")] = False,
    threads: Annotated[int, typer.Option(min=1, help="torch threads; one more process makes the data")] = 1,
    evaluate_every: Annotated[int, typer.Option(min=1)] = 500,
) -> None:
    """Trains, and keeps a checkpoint every few minutes; stop it at will and continue with --resume."""
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    latest = out / "checkpoint.pt"
    if latest.exists() and not resume:
        raise typer.BadParameter(f"{latest} exists: continue it with --resume, or choose another --out")

    config = GeneratorConfig()
    net = network(restore(init)) if init else started(config)
    noise = torch.Generator().manual_seed(seed)
    averaged = copy.deepcopy(net).eval()
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=WEIGHT_DECAY, betas=(0.9, 0.98))
    weights, step = LossWeights(), 0
    if resume and latest.exists():
        state = restore(latest)
        net.load_state_dict(state["net"])
        averaged.load_state_dict(state["ema"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]

    validation = {split: load(data, split, limit=VALIDATION) for split in ("sentence", "speaker")}
    streams = Streams(load(data, "train"), FRAMES, seed, first=step // ECHO * BATCH)
    batch: list[Tensor] | None = None
    loader = iter(DataLoader(streams, BATCH, num_workers=1, prefetch_factor=4))
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]

    def checkpoint() -> None:
        save(latest, {"net": net.state_dict(), "ema": averaged.state_dict(), "optimizer": optimizer.state_dict(),
                      "step": step, "steps": steps, "seed": seed, "config": asdict(net.config)})  # fmt: skip

    with Progress(*columns, console=console) as progress, open(out / "log.jsonl", "a", encoding="utf-8") as log:
        bar, saved = progress.add_task("training", total=steps, completed=step), time.monotonic()
        while step < steps:
            if batch is None or step % ECHO == 0:
                batch = next(loader)
            mel, likelihood, *targets = batch
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps, rate)
            net.train()
            with torch.autocast("cpu", torch.bfloat16):
                mouths, _ = net.listen(*masked(mel, likelihood, noise), net.fresh(mel.shape[0]))
            parts = lip_loss(net, mouths, targets, weights)
            optimizer.zero_grad(set_to_none=True)
            parts["loss"].backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(net.parameters(), CLIP)
            optimizer.step()
            step += 1
            follow(averaged, net, step)
            progress.update(bar, completed=step, description=f"loss {float(parts['loss'].detach()):.3f}")
            if step % 50 == 0:
                log.write(
                    json.dumps({"step": step, **{k: round(float(v.detach()), 4) for k, v in parts.items()}}) + "\n"
                )
                log.flush()
            if step % evaluate_every == 0 or step == steps:
                row = {f"{split}.{k}": v for split, u in validation.items() for k, v in score(averaged, u).items()}
                log.write(json.dumps({"step": step, **row}) + "\n")
                console.print(f"step {step}: " + ", ".join(f"{k} {v:.3f}" for k, v in row.items()))
            if time.monotonic() - saved > CHECKPOINT_SECONDS or step == steps:
                checkpoint()
                saved = time.monotonic()


@torch.no_grad()
def follow(averaged: LipGenerator, net: LipGenerator, step: int) -> None:
    """Exponential moving average of the weights; its half-life grows with the run, as in EDM (appendix F.2)."""
    decay = 0.5 ** (1.0 / min(EMA_HALF_LIFE, max(step * 0.05, 1e-3)))
    for ours, theirs in zip(averaged.parameters(), net.parameters(), strict=True):
        ours.lerp_(theirs, 1.0 - decay)


@app.command()
def export(
    run: Annotated[Path, typer.Option(help="folder that train wrote")],
    data: Annotated[Path, typer.Option(help="corpus, to set the contact thresholds on its validation")],
    out: Annotated[Path, typer.Option(help="folder of the runtime weights")] = Path("engine/assets"),
    name: Annotated[str, typer.Option()] = "motion_v2",
) -> None:
    """Sets contacts and said closures on validation, then writes NAME.onnx and NAME.safetensors (half precision)."""
    from exporters.onnx import export_lips, save_weights

    net = network(restore(run / "checkpoint.pt"))
    utterances = [u for split in ("sentence", "speaker") for u in load(data, split, limit=VALIDATION)]
    console.print(calibrate(net, utterances))
    natural = [u for u in load(data, "speaker") if is_neural(u.voice)] or utterances
    console.print(calibrate_said(net, natural + [over_a_channel(u, n) for n, u in enumerate(natural)]))
    out.mkdir(parents=True, exist_ok=True)
    save_weights(net, out / f"{name}.safetensors")
    export_lips(net, out / f"{name}.onnx")
    console.print(f"wrote {out / name}.onnx and .safetensors")


@app.command()
def plot(
    run: Annotated[Path, typer.Option(help="folder that train wrote")],
    data: Annotated[Path, typer.Option(help="corpus")],
    out: Annotated[Path, typer.Option(help="PNG to write")],
    number: Annotated[int, typer.Option(min=0, help="which held-out sentence")] = 0,
) -> None:
    """Draws one held-out sentence: its target and what the network makes of it."""
    from training.motion_plot import plot as draw

    utterances = load(data, "sentence")
    draw(utterances[number % len(utterances)], out, network(restore(run / "checkpoint.pt")))


if __name__ == "__main__":
    main(app)
