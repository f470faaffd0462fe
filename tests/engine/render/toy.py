"""A stand-in for the neural renderer's networks: ONNX files with its inputs and outputs, and a foreseeable answer.

What it paints: the lit surface with the mesh's own opacity; half of the previous picture stays; the noise and the code
show as faint tints, and every Motion reaches the residual, so that one which is not finite would be seen.
"""

from __future__ import annotations

import numpy as np
import pytest

from engine.motion.frame import SIZE
from kernels.cells import PACKED

KEEP = 0.5
CHANNELS, DETAIL = 3, 4


def save(folder, size=(64, 64), name="toy", **renamed):
    """Writes NAME.onnx, NAME_noise.onnx and NAME_identity.onnx for pictures of ``size``; returns the first's path.

    ``renamed`` gives inputs another name than they should have.
    """
    pytest.importorskip("onnx", reason="the extra 'train' is not installed")
    path = folder / f"{name}.onnx"
    height, width = size[0] // 8, size[1] // 8
    _frame(path, height, width, renamed)
    _noise(path.with_stem(f"{name}_noise"), size, height, width)
    _identity(path.with_stem(f"{name}_identity"))
    return path


def _frame(path, height, width, renamed):
    cells = (2 * height, 2 * width)
    inputs = {"cells": (1, height, width, 4, PACKED), "noise": (1, height, width, CHANNELS),
              "noise_detail": (1, height, width, DETAIL), "view": (1, 4), "motion": (1, SIZE),
              "code": (1, 128)}  # fmt: skip
    inputs = {renamed.get(key, key): shape for key, shape in inputs.items()}
    use = {key: renamed.get(key, key) for key in ("cells", "noise", "noise_detail", "view", "motion", "code")}
    constants = {
        "opaque_from": np.array([48]), "opaque_to": np.array([64]), "last": np.array([4]), "byte": np.float32(1 / 255),
        "split": np.array([1, height, width, 2, 2, 16]), "whole": np.array([1, *cells, 16]), "nil": np.float32(0),
        "keep": np.full((1, *cells, 16), KEEP, np.float32), "zero": np.zeros((1, *cells, 48), np.float32),
        "faint": np.float32(0.02), "one": np.ones((1, height, width, 3), np.float32),
        "axes": np.array([1]), "all": np.array([1, 2, 3]),
    }  # fmt: skip
    nodes = [
        ("Slice", [use["cells"], "opaque_from", "opaque_to", "last"], "opaque", {}),
        ("Cast", ["opaque"], "opaque_f", {"to": 1}),
        ("Mul", ["opaque_f", "byte"], "share", {}),
        ("Reshape", ["share", "split"], "apart", {}),
        ("Transpose", ["apart"], "ordered", {"perm": [0, 1, 3, 2, 4, 5]}),
        ("Reshape", ["ordered", "whole"], "cover", {}),
        ("ReduceSum", [use["motion"], "axes"], "moved", {"keepdims": 0}), ("Mul", ["moved", "nil"], "unmoved", {}),
        ("ReduceMean", [use["noise"]], "heard", {"axes": [1, 2, 3], "keepdims": 0}),
        ("Mul", ["heard", "faint"], "tint", {}),
        ("Add", ["zero", "unmoved"], "residual_0", {}), ("Add", ["residual_0", "tint"], "residual", {}),
        ("Concat", ["cover", "keep"], "shares", {"axis": 3}),
        ("ReduceMean", [use["code"]], "who", {"axes": [1], "keepdims": 0}), ("Add", ["one", "who"], "gain", {}),
        ("ArgMax", ["gain"], "first", {"axis": 3, "keepdims": 0}), ("Cast", ["first"], "mask", {"to": 2}),
    ]  # fmt: skip
    outputs = {"residual": (1, *cells, 48), "shares": (1, *cells, 32), "gain": (1, height, width, 3),
               "mask": (1, height, width)}  # fmt: skip
    _save(path, inputs, outputs, nodes, constants)


def _noise(path, size, height, width):
    nodes = [
        ("ReduceMean", ["normal"], "mean", {"axes": [1, 2, 3], "keepdims": 0}),
        ("Mul", ["mean", "scale"], "scaled", {}),
        ("Add", ["low", "scaled"], "noise", {}), ("Add", ["fine", "scaled"], "noise_detail", {}),
    ]  # fmt: skip
    low, fine = (1, height, width, CHANNELS), (1, height, width, DETAIL)
    constants = {"low": np.zeros(low, np.float32), "fine": np.zeros(fine, np.float32), "scale": np.float32(3e2)}
    _save(path, {"normal": (1, 3, *size)}, {"noise": low, "noise_detail": fine}, nodes, constants)


def _identity(path):
    nodes = [
        ("ReduceMean", ["planes"], "mean", {"axes": [0, 1, 2, 3], "keepdims": 0}),
        ("Mul", ["mean", "small"], "who", {}),
        ("Add", ["nobody", "who"], "code", {}),
    ]  # fmt: skip
    constants = {"nobody": np.zeros(128, np.float32), "small": np.float32(0.01)}
    _save(path, {"planes": ("photographs", 8, 128, 128)}, {"code": (128,)}, nodes, constants)


def _save(path, inputs, outputs, nodes, constants):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kinds = {"cells": TensorProto.UINT8, "mask": TensorProto.UINT8}

    def values(table):
        return [helper.make_tensor_value_info(key, kinds.get(key, TensorProto.FLOAT), s) for key, s in table.items()]

    graph = helper.make_graph(
        [helper.make_node(kind, given, [made], **more) for kind, given, made, more in nodes], "toy", values(inputs),
        values(outputs), [numpy_helper.from_array(np.asarray(array), key) for key, array in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
