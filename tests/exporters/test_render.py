from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from engine.render.denoiser import Answer, Known, Renderer, assemble, pack
from exporters.render import INPUTS, OUTPUTS, export_encoder, export_frame, load_weights, rounded, save_weights
from tests.engine.render.test_denoiser import drawn, known, noise, stirred


@pytest.fixture(scope="module")
def net() -> Renderer:
    return stirred()


@pytest.fixture(scope="module")
def exported(net: Renderer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "renderer.onnx"
    export_frame(net, path)
    assert sorted(p.name for p in path.parent.iterdir()) == ["renderer.onnx", "renderer_noise.onnx"]
    return path


def run(path: Path, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, feed)


@torch.no_grad()
@pytest.mark.parametrize("seed", [0, 1])
def test_the_exported_frame_equals_eager(net: Renderer, exported: Path, seed: int) -> None:
    given, seen, net = known(1, seed), noise(1), rounded(net)
    conditions = net.denoiser.condition(given)
    painted = drawn(net, given, seen)
    heard = run(exported.with_stem("renderer_noise"), {"normal": seen.numpy()})
    rest = [pack(given.hi, given.lo).numpy(), *heard, *(part.numpy() for part in given[2:])]
    *answer, mask = run(exported, dict(zip(INPUTS, rest, strict=True)))
    rgb, alpha = assembled(given, *answer)
    skipped = (net.denoiser.config.sigma_data / net.denoiser.config.sigma_max) ** 2 * 100  # c_skip x: taken as 0
    assert np.abs(alpha - painted.alpha.numpy()).max() < 1e-4
    assert np.abs(rgb - painted.rgb.numpy()).max() < 1e-4 + skipped
    assert (mask == conditions.gates[0].argmax(1).numpy()).mean() > 0.999
    assert [x.name for x in onnxruntime.InferenceSession(str(exported)).get_outputs()] == OUTPUTS


def assembled(
    given: Known, residual: np.ndarray, shares: np.ndarray, gain: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    rows = torch.from_numpy(residual), torch.from_numpy(shares)
    answer = Answer(*rows, torch.from_numpy(gain).permute(0, 3, 1, 2), torch.empty(0))
    base, residual, cover = assemble(answer, given.hi)
    return (base + residual).numpy(), cover.numpy()


@torch.no_grad()
@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_exported_encoder_equals_eager(net: Renderer, tmp_path: Path, count: int) -> None:
    path = tmp_path / "identity.onnx"
    export_encoder(net, path)
    planes = torch.randn(count, 8, 128, 128)
    planes[:, 7] = 1.0
    code = rounded(net).encoder(planes).numpy()
    assert np.abs(run(path, {"planes": planes.numpy()})[0] - code).max() < 1e-4
    assert np.abs(code - net.encoder(planes).numpy()).max() < 0.02


@torch.no_grad()
@pytest.mark.parametrize("size", [(32, 96), (128, 64)])
def test_one_graph_paints_pictures_of_any_size(net: Renderer, exported: Path, size: tuple[int, int]) -> None:
    height, width = size
    draws = torch.Generator().manual_seed(0)
    hi, lo = (torch.randint(0, 256, (1, count, height // s, width // s), generator=draws, dtype=torch.uint8)
              for count, s in ((10, 1), (8, 2)))  # fmt: skip
    given = known(1)._replace(hi=hi, lo=lo % 8)
    painted = drawn(rounded(net), given, seen := torch.randn(1, 3, height, width, generator=draws))
    heard = run(exported.with_stem("renderer_noise"), {"normal": seen.numpy()})
    rest = [pack(given.hi, given.lo).numpy(), *heard, *(part.numpy() for part in given[2:])]
    rgb, alpha = assembled(given, *run(exported, dict(zip(INPUTS, rest, strict=True)))[:3])
    assert rgb.shape == (1, 3, height, width)
    assert np.abs(alpha - painted.alpha.numpy()).max() < 1e-4
    assert np.abs(rgb - painted.rgb.numpy()).max() < 0.012


@torch.no_grad()
def test_weights_come_back_with_their_sizes(net: Renderer, tmp_path: Path) -> None:
    path = tmp_path / "renderer.safetensors"
    save_weights(net, path)
    again = load_weights(path)
    assert again.denoiser.config == net.denoiser.config
    one, two = (drawn(n, known(1), noise(1)).rgb for n in (net, again))
    assert torch.allclose(one, two, atol=0.02)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match="does not hold a neural renderer"):
        load_weights(path)
