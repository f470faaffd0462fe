"""The converted face networks: shipped ones have the contract's shapes; converted equals TensorFlow Lite's own run."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from engine.backends import ort
from exporters.tflite import ROOT, SOURCES, Converter

WHEEL = os.environ.get("VISAVIS_MEDIAPIPE_WHEEL", "")  # path of mediapipe-0.10.21-*.whl


def test_the_shipped_networks_have_the_shapes_that_the_tracker_reads() -> None:
    detector, mesh, mask = (ort.load(ROOT / name, (1,)) for name in SOURCES)
    assert detector.inputs(1)["image"].shape == (1, 3, 128, 128) and mesh.inputs(1)["image"].shape == (1, 3, 192, 192)
    sizes = {name: value.size for name, value in mesh.run(1).items()}
    assert sizes["output_mesh_identity"] == 3 * 468 and sizes["output_lips"] == 160
    assert sizes["output_left_eye"] == sizes["output_right_eye"] == 142 and sizes["output_left_iris"] == 10
    assert detector.run(1)["regressors"].size == 896 * 16
    assert [value.size for value in mask.run(1).values()] == [256 * 256] == [mask.inputs(1)["image"].size // 3]


@pytest.mark.skipif(not WHEEL, reason="VISAVIS_MEDIAPIPE_WHEEL does not name mediapipe's wheel")
def test_converted_equals_the_original(tmp_path: Path) -> None:
    pytest.importorskip("tflite")
    onnx = pytest.importorskip("onnx")
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter
    plain = ("face_detection/face_detection_short_range", "face_landmark/face_landmark")  # no custom operators
    for name in plain:
        with zipfile.ZipFile(WHEEL) as package:
            data = package.read(f"mediapipe/modules/{name}.tflite")
        onnx.save(Converter(data).convert("face"), str(tmp_path / "a.onnx"))
        program = ort.load(tmp_path / "a.onnx", (1,))
        image = program.inputs(1)["image"]
        image[...] = np.random.default_rng(0).uniform(0, 1, image.shape)
        ours = program.run(1)
        theirs = interpreter(model_content=data)
        theirs.allocate_tensors()
        theirs.set_tensor(theirs.get_input_details()[0]["index"], image.transpose(0, 2, 3, 1).copy())
        theirs.invoke()
        for output in theirs.get_output_details():
            np.testing.assert_allclose(
                ours[output["name"]].ravel(), theirs.get_tensor(output["index"]).ravel(), atol=5e-4
            )
