"""Trains the neural renderer.

python -m training.renderer cook --data data/studio/train512 --out data/renderer/train512
python -m training.renderer teach --data data/renderer/train512 --held data/renderer/held512 --out runs/renderer
python -m training.renderer tune  --data data/renderer/train512 --held data/renderer/held512 --out runs/renderer
python -m training.renderer export --run runs/renderer
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from engine.render.denoiser import SIZES, DenoiserConfig, Renderer
from training import perceptual
from training.renderer import data_cli
from training.renderer.data import Samples, held
from training.renderer.everything import ENOUGH, everything, gather
from training.renderer.loss import Weights
from training.renderer.score import score
from training.renderer.steps import Step, gap
from training.run import Plan, Run, console, main, restore

app = typer.Typer(add_completion=False, help=__doc__, no_args_is_help=True)
app.registered_commands += data_cli.app.registered_commands
HALF_LIFE = 200.0  # steps of the averaged network
HELD, HELD_BATCH = 24, 8  # held-out crops that are scored while training, and how many at once
EVERY = 250  # steps between scores
TIMED = 25  # steps after which --minutes first becomes a number of steps

Data = Annotated[Path, typer.Option(help="cooked data set to learn from")]
Held = Annotated[Path, typer.Option("--held", help="cooked data set of held-out people, for the score")]
Init = Annotated[Path | None, typer.Option(help="checkpoint whose averaged weights to begin with")]
Out = Annotated[Path, typer.Option(help="folder of checkpoints, log and sheets")]
Resume = Annotated[bool, typer.Option("--resume", help="go on from the checkpoint in --out")]
Minutes = Annotated[float | None, typer.Option(min=0.1, help="how long it may take; decides the steps")]
Device = Annotated[str, typer.Option(help="cpu or cuda")]
Threads = Annotated[int, typer.Option(min=1, help="torch threads; the loader has a process of its own")]
Clips = Annotated[int, typer.Option(min=1, help="to photograph at most")]
Workers = Annotated[int, typer.Option(min=1, help="processes that photograph")]
Lanes = Annotated[int, typer.Option(min=1, help="data sets made side by side, each with a cook of its own")]
Enough = Annotated[int, typer.Option(min=1, help="cooked clips without which it stops")]
Drop = Annotated[list[str] | None, typer.Option(help="ablation: a loss to leave out, or view_moe, mask_moe")]


@app.command("cook")
def cook_(
    data: Annotated[Path, typer.Option(help="data set of training.studio, pictures of 512")],
    out: Annotated[Path, typer.Option(help="folder of the cooked data set")],
    follow: Annotated[bool, typer.Option("--follow", help="wait for sittings that are still to be made")] = False,
    enrolled: Annotated[bool, typer.Option("--enrolled", help="with packs as one photograph gives them")] = False,
) -> None:
    """Cooks a studio data set: guidance, target and reference of every frame. Stop it at will; the same goes on."""
    from training.renderer import cook as kitchen
    from training.renderer.enrolled import EnrolledKitchen
    from training.studio.shards import StudioError

    try:
        takes, free = kitchen.needed(data, out)
        console.print(f"about {takes / 1e9:.1f} GB to write, {free / 1e9:.1f} GB free")
        columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("clips")
            kitchen.cook(data, out, follow, lambda p: bar.update(
                task, completed=p.clips, total=p.total, description=f"{p.frames} frames {p.waiting}"),
                EnrolledKitchen if enrolled else None)  # fmt: skip
    except StudioError as error:
        raise ValueError(str(error)) from error


@app.command()
def teach(
    data: Data, held_out: Held, out: Out, threads: Threads = 1, drop: Drop = None, resume: Resume = False,
    minutes: Minutes = None, device: Device = "cpu",
    size: Annotated[str, typer.Option(help="lite or base")] = "lite",
    steps: Annotated[int, typer.Option(min=1)] = 20000, batch: Annotated[int, typer.Option(min=1)] = 8,
    rate: Annotated[float, typer.Option(min=0.0, help="peak learning rate")] = 4e-3,
    seed: Annotated[int, typer.Option()] = 0, init: Init = None,
) -> None:  # fmt: skip
    """Trains the many-step teacher: denoising at every noise level, one frame at a time."""
    dropped = tuple(drop or ())
    run = _run(
        out, "teacher", _config(size, dropped), Plan(steps, seed, rate, 200, 0.0, HALF_LIFE), init, threads, device
    )
    step = _step(run, dropped, device)
    _go(run, _batches(data, 1, batch, seed, run, resume, device), held_out, minutes, device, lambda x, _: step.teach(x))


@app.command()
def tune(
    data: Data, held_out: Held, out: Out, threads: Threads = 1, drop: Drop = None, resume: Resume = False,
    minutes: Minutes = None, device: Device = "cpu",
    steps: Annotated[int, typer.Option(min=1)] = 6000, batch: Annotated[int, typer.Option(min=1)] = 4,
    frames: Annotated[int, typer.Option(min=1, max=16, help="of a rollout, at most")] = 8,
    rate: Annotated[float, typer.Option(min=0.0, help="peak learning rate")] = 1.5e-3,
    seed: Annotated[int, typer.Option()] = 1, init: Init = None,
) -> None:  # fmt: skip
    """Distils the teacher (--init, or the one in --out) to one step: consistency tuning on its own pictures."""
    source = init or out / "teacher.pt"
    config = DenoiserConfig.from_json(restore(source)["config"])
    run = _run(out, "student", config, Plan(steps, seed, rate, 100, 0.0, HALF_LIFE), source, threads, device)
    step = _step(run, tuple(drop or ()), device)
    _go(
        run,
        _batches(data, frames, batch, seed, run, resume, device),
        held_out,
        minutes,
        device,
        lambda x, part: step.tune(x, gap(part)),
    )


@app.command()
def export(
    run: Annotated[Path, typer.Option(help="checkpoint (teacher.pt or student.pt)")],
    out: Annotated[Path, typer.Option(help="folder of the runtime weights")] = Path("engine/assets"),
    name: Annotated[str, typer.Option()] = "renderer_lite",
    quantize: Annotated[Path | None, typer.Option(help="cooked data set to quantise NAME.onnx by")] = None,
    samples: Annotated[int, typer.Option(min=1, help="pictures of it to look at")] = 48,
) -> None:
    """Writes NAME.onnx (in half precision, or quantised), NAME_noise.onnx, NAME_identity.onnx and NAME.safetensors."""
    from exporters.render import export_encoder, export_frame, save_weights

    net = averaged(run)
    out.mkdir(parents=True, exist_ok=True)
    export_frame(net, out / f"{name}.onnx")
    export_encoder(net, out / f"{name}_identity.onnx")
    save_weights(net, out / f"{name}.safetensors")
    if quantize is not None:
        from exporters import quantize as integers
        from training.renderer.feeds import feeds

        integers.quantize(out / f"{name}.onnx", out / f"{name}.onnx", feeds(net, quantize, samples, 0))
    console.print(f"wrote {out / name}.onnx and what goes with it")


@app.command("all")
def all_(
    folder: Annotated[Path, typer.Option("--data", help="folder for the data that it makes")], out: Out,
    speech: Annotated[Path, typer.Option(help="corpus of training.speech")] = Path("data/speech"),
    size: Annotated[str, typer.Option(help="lite or base")] = "base", device: Device = "cpu",
    minutes: Annotated[float, typer.Option(min=0.5, help="for all of it")] = 28.0,
    clips: Clips = 2000, workers: Workers = 2, lanes: Lanes = 1, enough: Enough = ENOUGH,
    batch: Annotated[int, typer.Option(min=1)] = 8,
) -> None:  # fmt: skip
    """Makes its own data, teaches, tunes and exports, in a given time."""
    everything(folder, out, speech, size, device, minutes, clips, workers, batch, lanes, enough)


@app.command("gather")
def gather_(
    folder: Annotated[Path, typer.Option("--data", help="folder for the data that it makes")],
    speech: Annotated[Path, typer.Option(help="corpus of training.speech")] = Path("data/speech"),
    minutes: Annotated[float, typer.Option(min=0.1, help="after which it stops")] = 10.0,
    clips: Clips = 2000, workers: Workers = 2, lanes: Lanes = 1, enough: Enough = ENOUGH,
) -> None:  # fmt: skip
    """Photographs and cooks in a given time, the first part of `all`. The same command goes on."""
    gather(folder, speech, 60.0 * minutes, clips, workers, lanes, enough)


@app.command()
def sheet(
    run: Annotated[Path, typer.Option(help="checkpoint (teacher.pt or student.pt)")], held_out: Held,
    out: Annotated[Path, typer.Option(help="PNG to write")], count: Annotated[int, typer.Option(min=1)] = 8,
    steps: Annotated[int, typer.Option(help="1, 2 or 4")] = 1,
    whole: Annotated[bool, typer.Option(help="whole pictures, not crops")] = False,
) -> None:  # fmt: skip
    """Paints held-out samples beside the truth, and the curves of the run beside the sheet (OUT with "_curves")."""
    from training.renderer.sheet import curves
    from training.renderer.sheet import sheet as draw

    samples = held(held_out, count, None if whole else 256, 1)
    draw(averaged(run), [_collated([sample]) for sample in samples], out, steps)
    curves(run.parent, out.with_stem(out.stem + "_curves"))
    console.print(f"wrote {out}")


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="checkpoints; first the one to compare with")],
    held_out: Held,
) -> None:
    """A table of what runs are worth on held-out crops, for ablations (`teach --drop`)."""
    from rich.table import Table

    from training.renderer.compare import figures

    crops = held(held_out, HELD, 256, 0)
    batches = [_collated(crops[i : i + HELD_BATCH]) for i in range(0, len(crops), HELD_BATCH)]
    found = {path.parent.name: figures(averaged(path), batches) for path in runs}
    table = Table("held-out crops", *found)
    for name in next(iter(found.values())):
        table.add_row(name, *(f"{figure[name]:.3f}" for figure in found.values()))
    console.print(table)


def averaged(path: Path) -> Renderer:
    """The averaged network of a checkpoint, ready to run. Raises ValueError."""
    state = restore(path)
    net = Renderer(DenoiserConfig.from_json(state["config"]))
    net.load_state_dict(state["averaged"])
    return net.eval()


def _config(size: str, dropped: tuple[str, ...]) -> DenoiserConfig:
    if size not in SIZES:
        raise ValueError(f"--size must be one of {', '.join(SIZES)}; got {size}")
    config = SIZES[size]
    if "view_moe" in dropped:
        config = replace(config, view_experts=1)
    return replace(config, mask_experts=False) if "mask_moe" in dropped else config


def _keep_memory() -> None:
    """Has glibc keep what is freed for the next step: giving it back and faulting it in again was a fifth of a step.

    GLIBC_TUNABLES=glibc.malloc.hugetlb=1 in the environment makes it a quarter. Does nothing on other systems.
    """
    if sys.platform == "linux":
        allocator = ctypes.CDLL(None)
        if hasattr(allocator, "mallopt"):
            for option in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
                allocator.mallopt(option, 2**30)


def _run(
    out: Path, name: str, config: DenoiserConfig, plan: Plan, init: Path | None, threads: int, device: str
) -> Run:  # fmt: skip
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda needs an NVIDIA GPU and a CUDA build of torch; use --device cpu")
    _keep_memory()
    torch.manual_seed(plan.seed)
    torch.set_num_threads(threads)
    net = Renderer(config)
    if init is not None:
        net.load_state_dict(restore(init)["averaged"])
    net.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Run(out, name, net, plan, asdict(config))


def _step(run: Run, dropped: tuple[str, ...], device: str) -> Step:
    known = {*asdict(Weights()), "view_moe", "mask_moe"}
    if set(dropped) - known:
        raise ValueError(f"--drop knows {', '.join(sorted(known))}; got {', '.join(dropped)}")
    weights = replace(Weights(), **{name: 0.0 for name in dropped if not name.endswith("_moe")})
    noise = torch.Generator(device).manual_seed(run.plan.seed)
    assert isinstance(run.net, Renderer)
    look = perceptual.load().to(device) if weights.perceptual else None
    return Step(run.net, weights, noise, look, torch.device(device))


class _Numbered(Dataset[dict[str, Tensor]]):
    """Samples by number, so that any number of loader processes keeps their order."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        return self.samples.sample(number)


def _batches(
    data: Path, frames: int, batch: int, seed: int, run: Run, resume: bool, device: str
) -> Iterator[dict[str, Tensor]]:  # fmt: skip
    run.open(resume)
    workers = 1 if device == "cpu" else max(1, (os.cpu_count() or 2) - 2)
    order = range(run.step * batch, sys.maxsize)
    loader = DataLoader(
        _Numbered(Samples(data, frames, seed)), batch, sampler=order, num_workers=workers, prefetch_factor=4
    )
    return ({name: value.to(device, non_blocking=True) for name, value in rows.items()} for rows in loader)


def _go(
    run: Run, batches: Iterator[dict[str, Tensor]], held_out: Path, minutes: float | None, device: str,
    learn: Callable[[dict[str, Tensor], float], dict[str, Tensor]],
) -> None:  # fmt: skip
    crops = held(held_out, HELD, 256, 0)
    groups = [_collated(crops[i : i + HELD_BATCH]) for i in range(0, len(crops), HELD_BATCH)]
    scored = [{name: value.to(device) for name, value in group.items()} for group in groups]
    began, first = time.monotonic(), run.step
    for step in run:
        run.learn(learn(next(batches), step / run.plan.steps))
        done = run.step - first
        if minutes is not None and done in (TIMED, 4 * TIMED, 16 * TIMED):
            fits = int(done * minutes * 60.0 / (time.monotonic() - began))
            run.plan = replace(run.plan, steps=max(first + fits, run.step))
        if run.step % EVERY == 0 or run.step == run.plan.steps:
            assert isinstance(run.averaged, Renderer)
            row = score(run.averaged, scored)
            run.note({f"held.{name}": value for name, value in row.items()})
            console.print(f"step {run.step}: " + ", ".join(f"{name} {value:.3f}" for name, value in row.items()))


def _collated(samples: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}


if __name__ == "__main__":
    main(app)
