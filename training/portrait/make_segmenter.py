"""Makes training/portrait/assets/segments.onnx: python -m training.portrait.make_segmenter COMMAND.

shoot    portraits of studio people with their regions, and frames of data sets made by training.studio
train    a Segmenter on crops of them (training/portrait/segment_data.py); goes on where it was stopped
export   the trained network and the person mask's own, as one file
score    share of pixels told rightly, by class, on people it never saw
sheet    what it says of photographs, as a picture
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional as F

from exporters.tflite import ROOT
from training.portrait import framing, segment_data
from training.portrait.face import NOSE, Found, find
from training.portrait.framing import CLASSES, PLANES, SIDE
from training.portrait.matte import matte
from training.portrait.segment import ASSET, segments, warnings
from training.portrait.segment_data import IGNORED, Example, Studio
from training.portrait.segmenter import TAPS, Segmenter

Array = NDArray[Any]
app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)
console = Console(stderr=True)
DATA: Final = Path("data/studio/portraits")
RUN: Final = Path("data/runs/segmenter")
MASK: Final = ROOT / "training" / "assets" / "person_mask.onnx"
SETS: Final = ("data/studio/train512", "data/studio/train512b")
BATCH: Final = 8
RATE: Final = 2e-3
SLOW: Final = 0.997  # of the weights that are kept: an average over some hundred steps
WEIGHT: Final = (0.7, 0.8, 1.5, 1.3, 1.0, 1.2, 5.0, 4.0)  # of the classes: the rare count more
EVERY: Final = 200  # steps between checkpoints
FRAMES: Final = 3  # taken of each clip


@app.command()
def shoot(
    first: Annotated[int, typer.Option(help="Number of the first person.")] = 1200,
    count: Annotated[int, typer.Option(help="People to photograph.")] = 150,
    sets: Annotated[str, typer.Option(help="Folders of training.studio data sets, separated by commas.")] = "",
    out: Annotated[Path, typer.Option(help="Folder for one .npz a person and clip.")] = DATA / "train",
) -> None:
    """Portraits of people, or frames of data sets, with the landmarks that the detector finds."""
    out.mkdir(parents=True, exist_ok=True)
    work = _clips([Path(name) for name in sets.split(",")]) if sets else _sittings(range(first, first + count))
    for name, make in work:
        path = out / f"{name}.npz"
        if path.exists():
            continue
        rows = make()
        if rows:
            partial = path.with_name(f".{path.stem}.{os.getpid()}.npz")
            rgb, alpha, region, points = (np.stack(column) for column in zip(*rows, strict=True))
            np.savez(partial, rgb=rgb, alpha=alpha, region=region, points=points.astype(np.float32))
            partial.replace(path)
        console.print(f"{name}: {len(rows)}")


def _sittings(people: range) -> Iterator[tuple[str, Any]]:
    from engine.tracking.face import Crop
    from training.portrait.face import LOOKS, look
    from training.portrait.sitting import SIZE, sit
    from training.studio.photograph import Photographer

    photographer = Photographer((SIZE, SIZE))

    def taken(person: int) -> list[tuple[Array, Array, Array, Array]]:
        yaws = np.random.default_rng([person, 77]).uniform(-0.6, 0.6, 3)
        shots = sit(photographer, person) + sit(photographer, person, tuple(yaws))
        faces = [look(one.rgb, Crop(0.5 * SIZE, 0.5 * SIZE, 0.6 * SIZE, 0.0), LOOKS[:2]) for one in shots]
        both = zip(shots, faces, strict=True)
        return [(one.rgb, one.alpha, one.region, face.points) for one, face in both if face is not None]

    for person in people:
        yield f"{person:06d}", lambda person=person: taken(person)


def _clips(folders: list[Path]) -> Iterator[tuple[str, Any]]:
    from training.portrait.face import LOOKS, everybody, look
    from training.studio.shards import Clips

    def taken(clips: Clips, index: int) -> list[tuple[Array, Array, Array, Array]]:
        rows, last = [], int(clips.rows[index]["frames"]) - 1
        for frame in sorted({round(share * last) for share in np.linspace(0.1, 0.9, FRAMES)}):
            one = clips.frames(index, frame, 1)
            boxes = everybody(one.rgb[0])
            face = look(one.rgb[0], boxes[0], LOOKS[:2]) if boxes else None
            if face is not None:
                rows.append((one.rgb[0], one.alpha[0], one.region[0], face.points))
        return rows

    for folder in folders:
        clips = Clips(folder)
        for index in range(len(clips)):
            yield f"c-{folder.name}-{index:04d}", lambda clips=clips, index=index: taken(clips, index)


@app.command()
def train(
    steps: Annotated[int, typer.Option(help="Steps in all.")] = 2600,
    data: Annotated[Path, typer.Option(help="Folder with portraits.")] = DATA / "train",
    out: Annotated[Path, typer.Option(help="Folder for checkpoints.")] = RUN,
    seed: Annotated[int, typer.Option(help="Of weights and examples.")] = 0,
    together: Annotated[int, typer.Option(help="Examples a step.")] = BATCH,
) -> None:
    """Trains from where the checkpoint in OUT stands. Every step's examples follow from seed and step alone."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    studio, mask = Studio(segment_data.read(data)), Mask()
    net = Segmenter(PLANES, len(CLASSES)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    slow = Segmenter(PLANES, len(CLASSES))
    slow.load_state_dict(net.state_dict())
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=1e-3)
    out.mkdir(parents=True, exist_ok=True)
    kept, start = out / "last.pt", 0
    if kept.exists():
        state = torch.load(kept, weights_only=True)
        net.load_state_dict(state["net"])
        slow.load_state_dict(state["slow"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["step"]
    began, total = time.perf_counter(), 0.0
    for step in range(start, steps):
        rng = np.random.default_rng([seed, step])
        examples = [studio.draw(rng) for _ in range(together)]
        share = step / steps
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 100) * (0.5 + 0.5 * float(np.cos(np.pi * share))) + 1e-6
        x, label, taps = batch(examples, mask)
        with torch.autocast("cpu", torch.bfloat16):
            y = net(x, *taps)
        loss = criterion(y.float(), label)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        follow(slow, net, min(SLOW, (step + 1) / (step + 10)))
        total += loss.item()
        if (step + 1) % 20 == 0:
            pace = (time.perf_counter() - began) / 20
            console.print(f"{step + 1}/{steps} loss {total / 20:.4f} {pace:.2f} s a step")
            began, total = time.perf_counter(), 0.0
        if (step + 1) % EVERY == 0 or step + 1 == steps:
            partial = out / "last.partial"
            torch.save(
                {"net": net.state_dict(), "slow": slow.state_dict(), "optimizer": optimizer.state_dict(),
                 "step": step + 1}, partial,
            )  # fmt: skip
            partial.replace(kept)


class Mask:
    """The person mask's network: feature maps of TAPS."""

    def __init__(self) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        model = _tapped()
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, pictures: list[Array]) -> list[Tensor]:
        """Of pictures (3, SIDE, SIDE) in [0, 1]: (B, channels, SIDE / step, SIDE / step) each."""
        names = [name for name, _, _ in TAPS]
        rows = [self._session.run(names, {"image": picture[None]}) for picture in pictures]
        return [torch.from_numpy(np.concatenate(column)) for column in zip(*rows, strict=True)]


def _tapped() -> Any:
    import onnx

    model = onnx.load(str(MASK))
    del model.graph.output[:]
    for name, channels, step in TAPS:
        shape = [1, channels, SIDE // step, SIDE // step]
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    return onnx.utils.Extractor(model).extract_model(["image"], [name for name, _, _ in TAPS])


def batch(examples: list[Example], mask: Mask) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Planes (B, PLANES, S, S), labels (B, S, S) and the mask's maps."""
    shown = [framing.planes(e.rgb.transpose(1, 2, 0), e.inside, e.person, e.points) for e in examples]
    label = torch.from_numpy(np.stack([e.label for e in examples]).astype(np.int64))
    return torch.from_numpy(np.stack(shown)), label, mask([e.rgb for e in examples])


def criterion(logits: Tensor, label: Tensor) -> Tensor:
    """Cross entropy by pixel, and overlap by class (Milletari et al. 2016), so that small parts count."""
    weight = torch.tensor(WEIGHT)
    plain = F.cross_entropy(logits, label, weight, ignore_index=IGNORED, label_smoothing=0.02)
    known = (label != IGNORED)[:, None]
    truth = F.one_hot(label.clamp(0, len(CLASSES) - 1), len(CLASSES)).permute(0, 3, 1, 2) * known
    guess = logits.softmax(1) * known
    both, either = (guess * truth).sum((0, 2, 3)), (guess + truth).sum((0, 2, 3))
    return plain + 0.4 * (1 - (2 * both + 50) / (either + 50)).mean()


def follow(slow: nn.Module, net: nn.Module, keep: float) -> None:
    """Moves an average of the weights along."""
    with torch.no_grad():
        for own, other in zip(slow.state_dict().values(), net.state_dict().values(), strict=True):
            if own.dtype.is_floating_point:
                own.lerp_(other, 1 - keep)
            else:
                own.copy_(other)


@app.command()
def export(
    run: Annotated[Path, typer.Option(help="Folder with the checkpoint.")] = RUN,
    out: Annotated[Path, typer.Option(help="Where to.")] = ASSET,
) -> None:
    """Writes the network with the person mask's in front, weights in half precision, whole or not at all."""
    import onnx
    from onnx import compose, numpy_helper

    net, partial = load(run), out.with_suffix(".partial")
    out.parent.mkdir(parents=True, exist_ok=True)
    taps = [torch.zeros(1, channels, SIDE // step, SIDE // step) for _, channels, step in TAPS]
    names = [f"tap_{name}" for name, _, _ in TAPS]
    torch.onnx.export(
        net, (torch.zeros(1, PLANES, SIDE, SIDE), *taps), str(partial), input_names=["planes", *names],
        output_names=["logits"], opset_version=17, dynamo=False,
    )  # fmt: skip
    own = onnx.load(str(partial))
    first = compose.add_prefix(_tapped(), "mask_")
    own.ir_version = first.ir_version = min(own.ir_version, first.ir_version)
    links = [(f"mask_{name}", f"tap_{name}") for name, _, _ in TAPS]
    del first.opset_import[:], own.opset_import[1:]
    first.opset_import.extend(own.opset_import)
    model = compose.merge_models(first, own, links)
    for node in model.graph.node:
        node.input[:] = ["image" if name == "mask_image" else name for name in node.input]
    next(value for value in model.graph.input if value.name == "mask_image").name = "image"
    for tensor in list(model.graph.initializer):
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 4:
            half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{tensor.name}_half")
            cast = onnx.helper.make_node("Cast", [half.name], [tensor.name], to=onnx.TensorProto.FLOAT)
            model.graph.initializer.remove(tensor)
            model.graph.initializer.append(half)
            model.graph.node.insert(0, cast)
    onnx.checker.check_model(model)
    onnx.save(model, str(partial))
    partial.replace(out)
    console.print(f"{out}: {out.stat().st_size / 1e6:.2f} MB")


def load(run: Path) -> Segmenter:
    """The averaged network of a run, to be evaluated, with the odds of the classes that the loss counted more put right
    again. Raises FileNotFoundError before the first checkpoint."""
    net = Segmenter(PLANES, len(CLASSES))
    net.load_state_dict(torch.load(run / "last.pt", weights_only=True)["slow"])
    assert net.head.bias is not None
    with torch.no_grad():
        net.head.bias -= torch.tensor(WEIGHT).log().repeat_interleave(4)  # four pixels of each class
    return net.eval()


@app.command()
def score(
    run: Annotated[Path, typer.Option(help="Folder with the checkpoint.")] = RUN,
    data: Annotated[Path, typer.Option(help="Folder with portraits of people it never saw.")] = DATA / "held",
    count: Annotated[int, typer.Option(help="Examples of each kind.")] = 200,
) -> None:
    """Intersection over union by class: of plain crops, of spoilt ones, and of whole pictures by the shipped asset."""
    torch.set_num_threads(1)
    net, mask, portraits, many = load(run), Mask(), segment_data.read(data), len(CLASSES)
    for kind in ("plain", "spoilt"):
        studio, rng, counts = Studio(portraits, kind == "plain"), np.random.default_rng(7), np.zeros((many, many), int)
        for _ in range(count):
            x, label, taps = batch([studio.draw(rng)], mask)
            with torch.inference_mode():
                counts = counts + confusion(label[0].numpy(), net(x, *taps)[0].argmax(0).numpy())
        _report(kind, counts)
    _report("whole pictures", np.sum([_whole(one) for one in portraits[:: -(-len(portraits) // count)]], 0))


def confusion(truth: Array, guess: Array) -> Array:
    """(classes, classes) pixels by what they are and what they are taken for."""
    known, many = truth != IGNORED, len(CLASSES)
    return np.bincount(truth[known] * many + guess[known], minlength=many * many).reshape(many, many)


def _whole(one: segment_data.Portrait) -> Array:
    found = Found(one.points.astype(np.float64), np.zeros(len(one.points)), 1.0, 0.0, 0.0, 0.0)
    x, y = (int(v) for v in one.points[NOSE, :2])
    regions = segments(one.rgb, found, matte(one.rgb, (y, x))).regions
    return confusion(one.label.astype(np.int64), framing.table()[regions].astype(np.int64))


def _report(kind: str, counts: Array) -> None:
    both = np.diag(counts)
    share = both / np.maximum(counts.sum(0) + counts.sum(1) - both, 1)
    rows = ", ".join(f"{name} {value:.3f}" for name, value in zip(CLASSES, share, strict=True))
    console.print(f"{kind}: mean {share.mean():.3f}; {rows}")


COLOURS: Final = np.array(
    [(0, 0, 0), (240, 190, 160), (220, 50, 90), (120, 20, 40), (255, 255, 255), (200, 90, 120), (60, 220, 255),
     (90, 50, 20), (40, 20, 10), (150, 90, 30), (250, 130, 110), (40, 90, 210), (30, 180, 200), (250, 220, 60),
     (220, 40, 220)], np.uint8,
)  # fmt: skip


@app.command()
def sheet(
    photos: Annotated[list[Path], typer.Argument(help="Photographs.")],
    out: Annotated[Path, typer.Option(help="The picture to write.")] = Path("segments.png"),
    rows: Annotated[int, typer.Option(help="Height of a row in pixels.")] = 360,
) -> None:
    """Each photograph, its regions, and both laid over each other."""
    from PIL import Image

    from training.portrait import photo

    strips = []
    for path in photos:
        try:
            taken = photo.read(path).rgb
            found = find(taken)
            nose = found.points[NOSE, :2].astype(int)
            alpha = matte(taken, (int(nose[1]), int(nose[0])))
            began = time.perf_counter()
            done = segments(taken, found, alpha)
        except ValueError as error:
            console.print(f"{path}: {error}")
            continue
        seconds = time.perf_counter() - began
        console.print(f"{path}: {taken.shape[1]} x {taken.shape[0]}, {seconds:.2f} s, {warnings(found, done.regions)}")
        painted = COLOURS[done.regions]
        cut = np.repeat(done.alpha[..., None], 3, -1)
        over = (0.5 * taken + 0.5 * painted).astype(np.uint8)
        strip = Image.fromarray(np.concatenate([taken, cut, painted, over], 1))
        strips.append(strip.resize((round(strip.width * rows / strip.height), rows), Image.Resampling.LANCZOS))
    whole = Image.new("RGB", (max(s.width for s in strips), rows * len(strips)))
    for index, strip in enumerate(strips):
        whole.paste(strip, (0, rows * index))
    whole.save(out)


if __name__ == "__main__":
    app()
