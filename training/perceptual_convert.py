"""Takes the perceptual features out of packages that ship them, and shows what they mind.

    python -m training.perceptual_convert convert NSFWJS.tgz
    python -m training.perceptual_convert sheet docs/images/perceptual.png

NSFWJS.tgz is what `npm pack nsfwjs@4.3.0` makes (MIT); the mesh is engine/assets/face_mesh.onnx. Batch norms are folded
into convolutions. The usual length of features is measured on photographs of the studio (--photos).
"""

from __future__ import annotations

import base64
import io
import json
import re
import tarfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch import Tensor

from engine.avatar import REGIONS
from exporters import weights
from training.perceptual import PEOPLE_STAGES, TRUNKS, Perceptual, load, path
from training.run import console
from training.run import main as run_main
from training.studio.shards import Clips

Array = NDArray[Any]
app = typer.Typer(add_completion=False)
MESH = Path(__file__).parents[1] / "engine" / "assets" / "face_mesh.onnx"
MODEL = "package/dist/models/mobilenet_v2/"
NORM_FLOOR = 1e-3  # Keras's epsilon of MobileNetV2's batch norms
SHEET = 224  # pixels of a picture on the sheet
FACED = [REGIONS.index(name) for name in ("face", "eyes", "lips", "brows")]
SHOWN = 40  # photographs the usual lengths are taken from


@app.command()
def convert(
    package: Annotated[Path, typer.Argument(help="nsfwjs-4.3.0.tgz")],
    photos: Annotated[Path, typer.Option(help="A data set of the studio.")] = Path("data/studio/held512"),
) -> None:
    """Writes training/assets/perceptual_*.safetensors."""
    clips = Clips(photos)
    chosen = np.linspace(0, len(clips) - 1, SHOWN).astype(int)
    seen = [clips.frames(int(i), 0, 1).rgb[0] for i in chosen]
    pictures = torch.from_numpy(np.stack(seen)).permute(0, 3, 1, 2).float() / 255.0
    for name, fill in (("mesh", lambda: mesh_weights(MESH)), ("people", lambda: people_weights(package))):
        net = Perceptual(name)
        net.trunk.load_state_dict(fill())
        net.usual.copy_(usual(net, pictures))
        weights.save(net, {"name": name}, path(name), whole="usual")
        count = sum(p.numel() for p in net.trunk.parameters())
        console.print(f"{path(name)}: {count} weights, usual lengths {net.usual.tolist()}")


@app.command()
def sheet(
    png: Annotated[Path, typer.Argument(help="Picture to write.")],
    photos: Annotated[Path, typer.Option(help="A data set of the studio.")] = Path("data/studio/held512"),
    clip: Annotated[int, typer.Option(help="Which of its clips.")] = 0,
) -> None:
    """One photograph with ten faults, in the order of how much the judge minds them."""
    from PIL import Image, ImageDraw

    frames = Clips(photos).frames(clip, 0, 1)
    rows, columns = np.nonzero(np.isin(frames.region[0], FACED))
    top, left = (int(np.clip(x.mean() - SHEET // 2, 0, frames.rgb.shape[1] - SHEET)) for x in (rows, columns))
    truth = np.ascontiguousarray(frames.rgb[0, top : top + SHEET, left : left + SHEET])
    nets, tiles = {name: load(name) for name in TRUNKS}, []
    for name, spoilt in faults(truth).items():
        square = float(np.mean((spoilt.astype(np.float32) - truth) ** 2))
        far = {net: found.between(spoilt, truth)[0] for net, found in nets.items()}
        tile = Image.new("RGB", (SHEET, SHEET + 30), (20, 20, 20))
        tile.paste(Image.fromarray(spoilt), (0, 0))
        decibels = 10 * np.log10(255**2 / max(square, 0.1))
        said = f"{name}\n{decibels:.1f} dB  mesh {far['mesh']:.3f}  people {far['people']:.3f}"
        ImageDraw.Draw(tile).multiline_text((3, SHEET + 1), said, fill=(235, 235, 235))
        tiles.append((far["people"], np.asarray(tile)))
    ordered = [tile for _, tile in sorted(tiles, key=lambda pair: pair[0])]
    half = len(ordered) // 2
    picture = np.concatenate([np.concatenate(ordered[:half], 1), np.concatenate(ordered[half : 2 * half], 1)])
    png.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).quantize(200).save(png, optimize=True)


def faults(picture: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
    """A picture (H, W, 3) u8 and what may be wrong with it."""
    from PIL import Image, ImageFilter

    image, noise = Image.fromarray(picture), np.random.default_rng(0).normal(0, 1, picture.shape)
    small = image.resize((image.width // 2, image.height // 2), Image.Resampling.NEAREST)
    packed = io.BytesIO()
    image.save(packed, "JPEG", quality=25)
    return {
        "the photograph": picture,
        "5 % darker": (picture * 0.95).astype(np.uint8),
        "warmer by 5 %": np.clip(picture * [1.05, 1.0, 0.95], 0, 255).astype(np.uint8),
        "blur 0.7": np.asarray(image.filter(ImageFilter.GaussianBlur(0.7))),
        "blur 2": np.asarray(image.filter(ImageFilter.GaussianBlur(2.0))),
        "noise 4": np.clip(picture + 4 * noise, 0, 255).astype(np.uint8),
        "noise 12": np.clip(picture + 12 * noise, 0, 255).astype(np.uint8),
        "1 pixel aside": np.roll(picture, 1, 1),
        "every second pixel": np.asarray(small.resize(image.size, Image.Resampling.NEAREST)),
        "JPEG, quality 25": np.asarray(Image.open(packed)),
        "mirrored": np.ascontiguousarray(picture[:, ::-1]),
        "upside down": np.ascontiguousarray(picture[::-1]),
    }


@torch.no_grad()
def usual(net: Perceptual, pictures: Tensor) -> Tensor:
    """Root mean square length of features, layer by layer."""
    squares = [torch.stack([x.square().sum(1).mean() for x in net.trunk(one[None])]) for one in pictures]
    return torch.stack(squares).mean(0).sqrt()


def mesh_weights(file: Path) -> dict[str, Tensor]:
    """The first stages of the face mesh: its convolutions and slopes, in the order of the graph."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(file).graph
    values = {i.name: numpy_helper.to_array(i).astype(np.float32) for i in graph.initializer}
    for node in graph.node:
        if node.op_type == "Cast" and node.input[0] in values:
            values[node.output[0]] = values[node.input[0]]
    found = [
        (node.op_type, [values[name] for name in node.input[1:]])
        for node in graph.node
        if node.op_type in ("Conv", "PRelu") and all(name in values for name in node.input[1:])
    ]
    state: dict[str, Tensor] = {}
    names = iter(_mesh_names())
    for kind, arrays in found:
        name = next(names, None)
        if name is None:
            break
        if (kind == "PRelu") != name.endswith("bend"):
            raise ValueError(f"{file}: {kind} where {name} was expected; is it the attention mesh of 0.10.21?")
        state[f"{name}.weight"] = torch.from_numpy(arrays[0].reshape(-1) if kind == "PRelu" else arrays[0])
        if kind == "Conv":
            state[f"{name}.bias"] = torch.from_numpy(arrays[1])
    return state


def _mesh_names() -> list[str]:
    names = ["enter", "bend"]
    for stage in range(4):
        for block in range(2 if stage == 0 else 3):
            names += [f"stages.{stage}.{block}.{part}" for part in ("across", "mix", "bend")]
    return names


def people_weights(package: Path) -> dict[str, Tensor]:
    """MobileNetV2's first stages with batch norms folded in. Raises ValueError when the package is something else."""
    held = _tensors(package)
    state: dict[str, Tensor] = {}

    def put(name: str, conv: str, norm: str) -> None:
        key = f"{conv}/depthwise_kernel" if f"{conv}/depthwise_kernel" in held else f"{conv}/kernel"
        kernel = held[key]
        kernel = kernel.transpose(2, 3, 0, 1) if key.endswith("depthwise_kernel") else kernel.transpose(3, 2, 0, 1)
        gain = held[f"{norm}/gamma"] / np.sqrt(held[f"{norm}/moving_variance"] + NORM_FLOOR)
        state[f"{name}.weight"] = torch.from_numpy(np.ascontiguousarray(kernel * gain[:, None, None, None]))
        state[f"{name}.bias"] = torch.from_numpy(held[f"{norm}/beta"] - held[f"{norm}/moving_mean"] * gain)

    put("enter", "Conv1", "bn_Conv1")
    number = 0
    for stage, (expansion, _, blocks, _) in enumerate(PEOPLE_STAGES):
        for block in range(blocks):
            theirs = f"block_{number}_" if number else "expanded_conv_"
            parts = {"across": "depthwise", "narrow": "project"} | ({"wide": "expand"} if expansion > 1 else {})
            for mine, part in parts.items():
                put(f"stages.{stage}.{block}.{mine}", theirs + part, f"{theirs}{part}_BN")
            number += 1
    return state


def _tensors(package: Path) -> dict[str, Array]:
    """Every weight of the package's MobileNetV2, out of its 8-bit numbers, which it keeps as text in JavaScript."""
    try:
        with tarfile.open(package) as tar:
            texts = {
                name: tar.extractfile(MODEL + name).read().decode()  # type: ignore[union-attr]
                for name in ("model.min.js", "group1-shard1of1.min.js")
            }
    except (OSError, KeyError, tarfile.TarError) as error:
        raise ValueError(f"{package}: not nsfwjs's package ({error}); npm pack nsfwjs@4.3.0") from error
    rows = re.findall(r'\{name:"([^"]+)",shape:\[([\d,]*)\],dtype:"float32"(?:,quantization:\{([^}]*)\})?\}',
                      texts["model.min.js"])  # fmt: skip
    data = base64.b64decode(max(re.findall(r'"([A-Za-z0-9+/=]+)"', texts["group1-shard1of1.min.js"]), key=len))
    out, place = {}, 0
    for name, shape, packing in rows:
        size = tuple(int(n) for n in shape.split(",")) if shape else ()
        count = int(np.prod(size))
        if packing:
            number = json.loads(
                "{" + re.sub(r"(\w+):", r'"\1":', packing).replace(":.", ":0.").replace(":-.", ":-0.") + "}"
            )
            values = np.frombuffer(data, np.uint8, count, place) * number["scale"] + number["min"]
            place += count
        else:
            values = np.frombuffer(data, "<f4", count, place)
            place += 4 * count
        out[name] = values.astype(np.float32).reshape(size)
    if place != len(data) or "block_12_project/kernel" not in out:
        raise ValueError(f"{package}: {place} of {len(data)} bytes are understood; is it nsfwjs 4.3.0?")
    return out


if __name__ == "__main__":
    run_main(app)
