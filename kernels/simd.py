"""Two steps of the rasterizer's inner loop as explicit SIMD: four samples of a pixel are four lanes.

LLVM does not find this form by itself: it cannot know that depths and winners do not overlap in memory.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

I32, F32, F64 = ir.IntType(32), ir.FloatType(), ir.DoubleType()
I4, F4, D4 = ir.VectorType(I32, 4), ir.VectorType(F32, 4), ir.VectorType(F64, 4)


def _vector(builder: Any, lanes: list[Any], kind: Any) -> Any:
    vector = ir.Constant(kind, ir.Undefined)
    for index, lane in enumerate(lanes):
        vector = builder.insert_element(vector, lane, ir.Constant(I32, index))
    return vector


def _splat(builder: Any, value: Any, kind: Any) -> Any:
    return _vector(builder, [value] * 4, kind)


def sample_spans(down: tuple[float, ...], across: tuple[float, ...], round_up: float) -> Any:
    """Compiles the columns that a triangle covers in the four sample rows of a pixel row.

    Sample s lies at (column + across[s], row + down[s]). The result takes (row, width, top x, top y, slope of the long
    edge, bend x, bend y, slope above and below the bend, bottom y) and gives (first column 0..3, end column 0..3);
    an empty span is (width, 0). ``round_up`` makes the truncation of a positive number its ceiling.
    """

    @intrinsic
    def spans(typing: Any, row: Any, width: Any, ax: Any, ay: Any, long_slope: Any, bx: Any, by: Any, above: Any,
              below: Any, cy: Any) -> Any:  # fmt: skip
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            def constant(values: tuple[float, ...]) -> Any:
                return ir.Constant(D4, list(values))

            ax, ay, slope, bx, by, above, below, cy = (_splat(builder, value, D4) for value in arguments[2:])
            y = builder.fadd(_splat(builder, arguments[0], D4), constant(down))
            shift = constant(tuple(-offset for offset in across))
            early = builder.fcmp_ordered("<", y, by)
            x_long = builder.fadd(builder.fadd(ax, builder.fmul(builder.fsub(y, ay), slope)), shift)
            x, top = builder.select(early, ax, bx), builder.select(early, ay, by)
            run = builder.fmul(builder.fsub(y, top), builder.select(early, above, below))
            x_short = builder.fadd(builder.fadd(x, run), shift)
            ordered = builder.fcmp_ordered("<", x_long, x_short)
            up = constant((round_up,) * 4)
            left = builder.fptosi(builder.fadd(builder.select(ordered, x_long, x_short), up), I4)
            right = builder.fptosi(builder.fadd(builder.select(ordered, x_short, x_long), up), I4)
            zero, width = ir.Constant(I4, [0] * 4), _splat(builder, arguments[1], I4)
            left = builder.select(builder.icmp_signed(">", left, zero), left, zero)
            right = builder.select(builder.icmp_signed("<", right, width), right, width)
            filled = builder.and_(builder.fcmp_ordered(">=", y, ay), builder.fcmp_ordered("<", y, cy))
            filled = builder.and_(filled, builder.icmp_signed("<", left, right))
            left, right = builder.select(filled, left, width), builder.select(filled, right, zero)
            index = [ir.Constant(I32, lane) for lane in range(4)]
            lanes = [builder.extract_element(side, lane) for side in (left, right) for lane in index]
            return context.make_tuple(builder, signature.return_type, lanes)

        return types.UniTuple(types.int32, 8)(types.float64, types.int32, *[types.float64] * 8), codegen

    return spans


@intrinsic
def nearest4(
    typing: Any, nearness: Any, winner: Any, place: Any, column: Any, l0: Any, l1: Any, l2: Any, l3: Any,
    r0: Any, r1: Any, r2: Any, r3: Any, q0: Any, q1: Any, q2: Any, q3: Any, step: Any, me: Any,
) -> Any:  # fmt: skip
    """Depth test of the four samples at flat index ``place`` of ``nearness`` (float32) and ``winner`` (int32).

    Sample s takes part when l_s <= column < r_s; its nearness is q_s + step * column. Winners become ``me``.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        near, own = (context.make_array(kind)(context, builder, value)
                     for kind, value in zip(signature.args[:2], arguments[:2], strict=True))  # fmt: skip
        place, column = arguments[2], arguments[3]
        left, right = _vector(builder, arguments[4:8], I4), _vector(builder, arguments[8:12], I4)
        x = _splat(builder, builder.sitofp(column, F32), F4)
        q = builder.fadd(_vector(builder, arguments[12:16], F4), builder.fmul(_splat(builder, arguments[16], F4), x))
        near_place = builder.bitcast(builder.gep(near.data, [place]), F4.as_pointer())
        own_place = builder.bitcast(builder.gep(own.data, [place]), I4.as_pointer())
        old, owner = builder.load(near_place), builder.load(own_place)
        old.align = owner.align = 4
        columns = _splat(builder, column, I4)
        wins = builder.and_(builder.icmp_signed(">=", columns, left), builder.icmp_signed("<", columns, right))
        wins = builder.and_(wins, builder.fcmp_ordered(">", q, old))
        builder.store(builder.select(wins, q, old), near_place).align = 4
        builder.store(builder.select(wins, _splat(builder, arguments[17], I4), owner), own_place).align = 4
        return context.get_dummy_value()

    integers, reals = [types.int32] * 8, [types.float32] * 5
    return types.void(nearness, winner, types.intp, types.int32, *integers, *reals, types.int32), codegen
