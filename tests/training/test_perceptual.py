"""The perceptual distances: nothing for the same, more for worse, and what a viewer minds more counts more."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from engine.avatar import find, load
from engine.motion.frame import Motion
from engine.render.geometric import GeometricRenderer
from training import perceptual
from training.perceptual import Perceptual

U8 = NDArray[np.uint8]
SIDE = 192


@pytest.fixture(scope="module", params=list(perceptual.TRUNKS))
def net(request: pytest.FixtureRequest) -> Perceptual:
    return perceptual.load(request.param)


def painted(name: str) -> U8:
    renderer = GeometricRenderer(load(find(name)), (SIDE, SIDE), "head")
    picture, _ = renderer.step(Motion.rest(), renderer.default_viewpoint(), renderer.initial_state())
    return picture.rgb.copy()


@pytest.fixture(scope="module")
def ada() -> U8:
    return painted("ada")


def blurred(picture: U8, radius: float) -> U8:
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius)))


def noisy(picture: U8, deviation: float) -> U8:
    noise = np.random.default_rng(0).normal(0, deviation, picture.shape)
    return np.clip(picture + noise, 0, 255).round().astype(np.uint8)


def squared(a: U8, b: U8) -> float:
    return float(np.mean((a.astype(float) - b) ** 2))


def test_a_picture_is_at_no_distance_from_itself_and_far_from_another_person(net: Perceptual, ada: U8) -> None:
    assert net.between(ada, ada)[0] == 0.0
    other, worst = net.between(ada, painted("omar"))[0], net.between(ada, noisy(ada, 4))[0]
    assert other > worst > 0.0
    assert other > net.between(ada, blurred(ada, 2))[0]


def test_more_of_the_same_fault_is_farther(net: Perceptual, ada: U8) -> None:
    for fault, amounts in ((blurred, (0.7, 1.5, 3.0)), (noisy, (2.0, 5.0, 12.0)), (np.roll, (1, 2, 4))):
        extra = (1,) if fault is np.roll else ()
        far = [net.between(ada, fault(ada, amount, *extra))[0] for amount in amounts]
        assert far == sorted(far) and far[0] > 0.0, fault


def test_blur_is_worse_than_a_dimmer_light_though_squared_errors_say_otherwise(net: Perceptual, ada: U8) -> None:
    dim, soft = (ada * 0.9).astype(np.uint8), blurred(ada, 1.0)
    assert squared(ada, soft) < squared(ada, dim)
    assert net.between(ada, soft)[0] > 2 * net.between(ada, dim)[0]


def test_a_mask_looks_only_where_it_is(net: Perceptual, ada: U8) -> None:
    broken = ada.copy()
    broken[: SIDE // 2] = blurred(ada, 3)[: SIDE // 2]
    masks = [np.zeros((SIDE, SIDE), bool) for _ in range(3)]
    masks[0][: SIDE // 2], masks[1][SIDE * 7 // 8 :] = True, True
    above, below, nowhere = net.between(ada, broken, masks)
    assert above > 5 * below and np.isnan(nowhere)


def test_gradients_reach_the_picture_and_not_the_network(net: Perceptual) -> None:
    made = torch.rand(2, 3, 64, 96, requires_grad=True)
    net(made, torch.rand(2, 3, 64, 96)).sum().backward()
    assert made.grad is not None and bool((made.grad.abs().sum((1, 2, 3)) > 0).all())
    assert all(p.grad is None for p in net.parameters())


def test_torch_and_numpy_say_the_same(net: Perceptual, ada: U8) -> None:
    other, mask = blurred(ada, 1.0), np.random.default_rng(1).random((SIDE, SIDE)) < 0.5
    a, b = (torch.from_numpy(x.copy()).permute(2, 0, 1)[None].float() / 255 for x in (ada, other))
    whole, part = net.between(ada, other, (None, mask))
    assert float(net(a, b)) == pytest.approx(whole, rel=1e-4)
    assert float(net(a, b, torch.from_numpy(mask)[None, None].float())) == pytest.approx(part, rel=1e-4)


def test_what_cannot_be_compared_is_refused(net: Perceptual) -> None:
    with pytest.raises(ValueError, match=r"32 pixels and more"):
        net(torch.rand(1, 3, 16, 64), torch.rand(1, 3, 16, 64))
    with pytest.raises(ValueError, match="mesh or people"):
        Perceptual("vgg")


def test_the_mesh_trunk_says_what_the_detector_says_inside() -> None:
    onnx = pytest.importorskip("onnx")
    import onnxruntime

    model = onnx.load(perceptual.ASSETS.parents[1] / "engine" / "assets" / "face_mesh.onnx")
    names = ["tensor_23", "tensor_53", "tensor_83", "tensor_113"]
    for name in names:
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    picture = torch.rand(1, 3, 192, 192)
    for ours, theirs in zip(
        perceptual.load("mesh").trunk(picture), session.run(names, {"image": picture.numpy()}), strict=True
    ):
        np.testing.assert_allclose(ours.numpy(), theirs, atol=2e-4)
