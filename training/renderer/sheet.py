"""Pictures of a training run: what the network paints beside what it should, and its curves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from engine.render.denoiser import Renderer
from training.renderer.score import paint

# Mask classes as colours: none, skin, eyes, mouth, hair, clothes, hands, accessories.
COLOURS = np.array(
    [[16, 16, 16], [230, 180, 150], [90, 160, 240], [220, 60, 80], [120, 80, 40], [90, 150, 90], [250, 210, 60],
     [190, 90, 220]], np.uint8,
)  # fmt: skip
GREY = 0.5


def sheet(net: Renderer, batches: Sequence[dict[str, Tensor]], path: Path, steps: int = 1) -> None:
    """A row a sample: the lit surface it is given, ours, the truth, their difference x 4, our masks. PNG, whole."""
    rows = []
    for batch in batches:
        painted = paint(net, batch, steps)
        truth = batch["target"][:, 0].float() / 255.0
        ours, theirs = (rgb + GREY * (1 - a) for rgb, a in ((painted.rgb, painted.alpha), (truth[:, :3], truth[:, 3:])))
        lit = batch["hi"][:, 0, :3].float() / 255.0
        apart = (GREY + 4 * (ours - theirs)).clamp(0, 1)
        for number in range(len(truth)):
            cells = [_u8(x[number]) for x in (lit, ours.clamp(0, 1), theirs, apart)]
            rows.append(np.concatenate([*cells, COLOURS[painted.masks[number].argmax(0).numpy()]], 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows, 0)).save(path)


def curves(folder: Path, path: Path) -> None:
    """The losses and held-out scores of a run's log, over steps. Raises ValueError when there is no log."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    log = folder / "log.jsonl"
    if not log.exists():
        raise ValueError(f"{log} is not there: train first")
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    names = list(dict.fromkeys(name for row in rows for name in row if name not in ("run", "step")))
    across = 4
    figure, axes = pyplot.subplots(-(-len(names) // across), across, figsize=(16, 2.6 * -(-len(names) // across)))
    for axis, name in zip(np.ravel(axes), names, strict=False):
        for run in dict.fromkeys(row["run"] for row in rows):
            points = [(row["step"], row[name]) for row in rows if row["run"] == run and name in row]
            if points:
                axis.plot(*zip(*points, strict=True), lw=0.8, label=run)
        axis.set_title(name, size=9)
        axis.tick_params(labelsize=7)
    figure.legend(*np.ravel(axes)[0].get_legend_handles_labels(), loc="upper right")
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def _u8(picture: Tensor) -> NDArray[np.uint8]:
    return np.asarray((picture.movedim(0, -1) * 255 + 0.5).to(torch.uint8))
