"""The segmenting network as it is trained and exported, and the examples it learns from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.avatar import REGIONS
from engine.backends import ort
from training.portrait import framing
from training.portrait.framing import CLASSES, PLANES, SIDE

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
make_segmenter = pytest.importorskip("training.portrait.make_segmenter")
segment_data = pytest.importorskip("training.portrait.segment_data")
Segmenter = pytest.importorskip("training.portrait.segmenter").Segmenter
Studio, IGNORED = segment_data.Studio, segment_data.IGNORED

SHOT = 320


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two drawn people of discs and squares with landmarks, as `shoot` keeps them."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SHOT, :SHOT]
    for number in range(2):
        region, points = np.zeros((2, SHOT, SHOT), np.uint8), np.zeros((2, 478, 3), np.float32)
        for k in range(2):
            cx, cy, size = rng.uniform(140, 180), rng.uniform(110, 130), rng.uniform(35, 50)
            region[k][(y > cy + 1.4 * size) & (np.abs(x - cx) < 2.4 * size)] = REGIONS.index("torso")
            region[k][np.hypot(x - cx, y - cy + 0.3 * size) < 1.5 * size] = REGIONS.index("hair")
            region[k][np.hypot((x - cx) / 0.9, y - cy - 0.3 * size) < 1.2 * size] = REGIONS.index("face")
            points[k, :, :2] = [cx, cy] + rng.uniform(-0.5, 0.5, (478, 2)) * size
            points[k, [33, 263, 10, 152], :2] = [cx, cy] + size * np.array([(-0.5, 0), (0.5, 0), (0, -0.9), (0, 1.3)])
        rgb = (region[..., None] * np.array([17, 11, 5]) + 40).astype(np.uint8)
        alpha = np.where(region > 0, 255, 0).astype(np.uint8)
        np.savez(tmp_path / f"{number:06d}.npz", rgb=rgb, alpha=alpha, region=region, points=points)
    return tmp_path


def test_examples_are_whole_and_follow_from_the_seed(folder: Path) -> None:
    studio = Studio(segment_data.read(folder))
    for seed in range(12):
        one, again = (studio.draw(np.random.default_rng(seed)) for _ in range(2))
        assert one.rgb.shape == (3, SIDE, SIDE) and one.rgb.dtype == np.float32
        assert one.rgb.min() >= 0 and one.rgb.max() <= 1 and np.isfinite(one.points).all()
        assert set(np.unique(one.label)) <= {*range(len(CLASSES)), IGNORED}
        assert ((one.label == IGNORED) == (one.inside < 0.5)).all()
        assert (one.rgb == again.rgb).all() and (one.label == again.label).all() and (one.person == again.person).all()


def test_plain_examples_are_the_portrait_itself(folder: Path) -> None:
    portraits = segment_data.read(folder)
    one = Studio(portraits[:1], plain=True).draw(np.random.default_rng(0), side=4.0)
    at = framing.out_of(framing.square(portraits[0].points, 4.0), np.argwhere(one.label != IGNORED)[:, ::-1] + 0.5)
    column, row = np.floor(at).astype(int).T
    same = portraits[0].label[row, column] == one.label[one.label != IGNORED]
    assert same.mean() > 0.995


def test_a_folder_without_portraits_says_how_to_make_some(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="make_segmenter shoot"):
        segment_data.read(tmp_path)


def test_training_goes_on_where_it_stopped_and_the_export_equals_eager(folder: Path, tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "out.onnx"
    for steps in (1, 2):
        make_segmenter.train(steps=steps, data=folder, out=run, seed=3, together=2)
        state = torch.load(run / "last.pt", weights_only=True)
        assert state["step"] == steps and state["optimizer"]["state"][0]["step"] == steps
    make_segmenter.export(run=run, out=out)
    examples = [Studio(segment_data.read(folder)).draw(np.random.default_rng(1))]
    x, _, taps = make_segmenter.batch(examples, make_segmenter.Mask())
    with torch.inference_mode():
        wanted = make_segmenter.load(run)(x, *taps).numpy()
    program = ort.load(out, (1,))
    buffers = program.inputs(1)
    buffers["image"][0], buffers["planes"][:] = examples[0].rgb, x.numpy()
    logits = program.run(1)["logits"]
    logits[:] = np.nan
    logits = program.run(1)["logits"]
    assert np.abs(logits - wanted).max() < 0.02 * np.abs(wanted).max()
    assert out.stat().st_size < 4e6


def test_the_loss_ignores_what_lies_beyond_the_picture() -> None:
    logits, label = torch.randn(2, len(CLASSES), 16, 16), torch.randint(0, len(CLASSES), (2, 16, 16))
    label[:, :8] = IGNORED
    other = logits.clone()
    other[:, :, :8] = torch.randn(2, len(CLASSES), 8, 16)
    assert make_segmenter.criterion(logits, label).item() == pytest.approx(
        make_segmenter.criterion(other, label).item()
    )


def test_the_network_answers_at_the_side_it_is_given() -> None:
    net = Segmenter(PLANES, len(CLASSES), (8, 8, 16, 16)).eval()
    taps = [torch.zeros(1, channels, 64 // step, 64 // step) for _, channels, step in make_segmenter.TAPS]
    assert net(torch.zeros(1, PLANES, 64, 64), *taps).shape == (1, len(CLASSES), 64, 64)
