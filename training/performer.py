"""Trains the performer in two stages, each on performances of training.choreography:

python -m training.performer train-vq    --data data/performance --out runs/performer_v1
python -m training.performer train-prior --data data/performance --out runs/performer_v1
python -m training.performer export      --run runs/performer_v1
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from engine.motion.codec import CodecConfig, PerformanceCodec
from engine.motion.performer import Performer, PerformerConfig
from training.performer_data import Coded, load, stretch
from training.performer_loss import codec_loss, codec_score, prior_loss, prior_score, spread
from training.run import Plan, Run, console, main, restore
from training.sync import SyncLoss, load_syncer

app = typer.Typer(add_completion=False, help=__doc__, no_args_is_help=True)

Data = Annotated[Path, typer.Option(help="performances of training.choreography make")]
Out = Annotated[Path, typer.Option(help="folder of checkpoints and the log")]
Steps = Annotated[int, typer.Option(min=1)]
Seed = Annotated[int, typer.Option(min=0)]
Rate = Annotated[float, typer.Option(min=0, help="peak learning rate")]
Resume = Annotated[bool, typer.Option("--resume", help="continue from the checkpoint in --out")]
Init = Annotated[Path | None, typer.Option(help="folder of an earlier run whose averaged weights to go on from")]
Threads = Annotated[int, typer.Option(min=1, help="torch threads")]
CODEC_BATCH, CODEC_WINDOWS = 16, 75  # 6 s
START = 96  # stretches that the codebooks begin from
PRIOR_BATCH, PRIOR_WINDOWS, BURN_IN = 12, 200, 12  # 16 s, of which 1 s is not counted


@app.command("train-vq")
def train_vq(
    data: Data, out: Out, steps: Steps = 3000, seed: Seed = 0, rate: Rate = 2e-3, resume: Resume = False,
    init: Init = None, threads: Threads = 1, evaluate_every: Annotated[int, typer.Option(min=1)] = 500,
) -> None:  # fmt: skip
    """First stage: codes of two frames each."""
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    streams, held = load(data, "train"), load(data, "validation")
    codec = PerformanceCodec(CodecConfig())
    usual = spread(streams)
    codec.offset.copy_(usual.offset)
    codec.usual.copy_(usual.usual)
    codec.scale.copy_(usual.scale)
    if init:
        codec.load_state_dict(trained_codec(init).state_dict())
    else:
        first = stretch(streams, START, CODEC_WINDOWS, np.random.default_rng(seed))
        codec.start(first.motion, first.condition)
    run = Run(out, "codec", codec, Plan(steps, seed, rate), asdict(codec.config))
    run.open(resume)
    for step in run:
        sample = stretch(streams, CODEC_BATCH, CODEC_WINDOWS, np.random.default_rng((seed, step)))
        run.learn(codec_loss(codec, sample, usual.change, torch.Generator().manual_seed(seed + step)))
        if run.step % evaluate_every == 0 or run.step == steps:
            _report(run, codec_score(_codec(run.averaged), held))


def _codec(net: torch.nn.Module) -> PerformanceCodec:
    assert isinstance(net, PerformanceCodec)
    return net


def _report(run: Run, row: dict[str, float]) -> None:
    run.note({f"validation.{name}": value for name, value in row.items()})
    console.print(f"step {run.step}: " + ", ".join(f"{name} {value:.3f}" for name, value in row.items()))


def trained_codec(run: Path) -> PerformanceCodec:
    """The codec that train-vq left in a folder. Raises ValueError when there is none."""
    state = restore(run / "codec.pt")
    codec = PerformanceCodec(CodecConfig.from_json(state["config"]))
    codec.load_state_dict(state["averaged"])
    return codec.eval().requires_grad_(False)


def trained_performer(run: Path) -> Performer:
    """The performer that train-prior left in a folder. Raises ValueError when there is none."""
    state = restore(run / "prior.pt")
    net = Performer(PerformerConfig.from_json(state["config"]))
    net.load_state_dict(state["averaged"])
    return net.eval()


@app.command("train-prior")
def train_prior(
    data: Data, out: Out, steps: Steps = 1500, seed: Seed = 0, rate: Rate = 1.5e-3, resume: Resume = False,
    init: Init = None, threads: Threads = 1, evaluate_every: Annotated[int, typer.Option(min=1)] = 250,
    sync: Annotated[bool, typer.Option("--sync", help="with the loss of training.sync's syncers")] = False,
) -> None:  # fmt: skip
    """Second stage: which code comes next, given the voice, the condition and what was just done."""
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    streams, held = load(data, "train"), load(data, "validation")
    codec = trained_codec(out)
    coded, seen = Coded.of(streams, codec), Coded.of(held, codec)
    net = Performer(PerformerConfig(codec=codec.config))
    if init:
        net.load_state_dict(trained_performer(init).state_dict())
    net.codec = codec
    judge = SyncLoss(load_syncer()) if sync else None
    run = Run(out, "prior", net, Plan(steps, seed, rate), net.config.to_json())
    run.open(resume)
    for step in run:
        net.codec.eval()
        sample = stretch(streams, PRIOR_BATCH, PRIOR_WINDOWS, np.random.default_rng((seed, step)))
        run.learn(prior_loss(net, sample, coded, BURN_IN, judge))
        if run.step % evaluate_every == 0 or run.step == steps:
            averaged = run.averaged
            assert isinstance(averaged, Performer)
            _report(run, prior_score(averaged, held, seen))


@app.command()
def export(
    run: Annotated[Path, typer.Option(help="folder that train-prior wrote")],
    out: Annotated[Path, typer.Option(help="folder of the runtime weights")] = Path("engine/assets"),
    name: Annotated[str, typer.Option()] = "performer_v1",
) -> None:
    """Writes NAME.onnx and NAME.safetensors (half precision)."""
    from exporters.performer import export_performer, save_performer

    net = trained_performer(run)
    out.mkdir(parents=True, exist_ok=True)
    save_performer(net, out / f"{name}.safetensors")
    export_performer(net, out / f"{name}.onnx")
    console.print(f"wrote {out / name}.onnx and .safetensors")


if __name__ == "__main__":
    main(app)
