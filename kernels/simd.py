"""Steps of the rasterizer's inner loops as explicit SIMD: the samples of a pixel, or its attributes, are the lanes.

LLVM does not find these forms by itself: it cannot know that depths and winners do not overlap in memory.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

I32, F32, F64 = ir.IntType(32), ir.FloatType(), ir.DoubleType()
I4, F4, D4 = ir.VectorType(I32, 4), ir.VectorType(F32, 4), ir.VectorType(F64, 4)
F8 = ir.VectorType(F32, 8)
FAST = ("fast",)


def _vector(builder: Any, lanes: list[Any], kind: Any) -> Any:
    vector = ir.Constant(kind, ir.Undefined)
    for index, lane in enumerate(lanes):
        vector = builder.insert_element(vector, lane, ir.Constant(I32, index))
    return vector


def _splat(builder: Any, value: Any, kind: Any) -> Any:
    return _vector(builder, [value] * kind.count, kind)


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


def together(row: int, down: tuple[float, ...], across: tuple[float, ...], group_shift: int, bent: int) -> Any:
    """Compiles the test whether a pixel's four samples are one surface as far as depth and group can say.

    The result takes (depth (H,W,4), winner (H,W,4), flat index of sample 0, plane (T,3,row), code and t of its
    triangle, column and row as float32, tolerance) and gives bits 0..3: the sample is of that very triangle; bit 4: all
    four are of one group and go on where that triangle's plane does; bit 5: one of them is bent.
    """

    @intrinsic
    def one_surface(typing: Any, depth: Any, winner: Any, place: Any, plane: Any, code: Any, t: Any, x: Any, y: Any,
                    tolerance: Any) -> Any:  # fmt: skip
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            near, own, planes = (context.make_array(signature.args[k])(context, builder, arguments[k]).data
                                 for k in (0, 1, 3))  # fmt: skip
            place, code, t, x, y, tolerance = (arguments[k] for k in (2, 4, 5, 6, 7, 8))
            start = builder.mul(t, ir.Constant(t.type, 3 * row))

            def one(offset: int) -> Any:
                return builder.load(builder.gep(planes, [builder.add(start, ir.Constant(start.type, offset))]), align=4)

            def four(base: Any, kind: Any) -> Any:
                return builder.load(builder.bitcast(builder.gep(base, [place]), kind.as_pointer()), align=4)

            def samples(corner: Any, value: Any, steps: tuple[float, ...]) -> Any:
                return builder.fadd(_splat(builder, builder.fsub(value, corner), F4), ir.Constant(F4, list(steps)))

            q, codes = four(near, F4), four(own, I4)
            dx, dy = samples(one(9), x, across), samples(one(10), y, down)
            plane_q = builder.fadd(_splat(builder, one(0), F4), builder.fmul(dx, _splat(builder, one(row), F4)))
            plane_q = builder.fadd(plane_q, builder.fmul(dy, _splat(builder, one(2 * row), F4)))
            off, most = builder.fsub(plane_q, q), builder.fmul(_splat(builder, tolerance, F4), q)
            flat = builder.fcmp_ordered("<=", off, most)
            flat = builder.and_(flat, builder.fcmp_ordered(">=", off, builder.fneg(most)))
            mine = _splat(builder, code, I4)
            other = builder.lshr(builder.xor(codes, mine), ir.Constant(I4, [group_shift] * 4))
            none, nibble, bits = ir.Constant(I4, [0] * 4), ir.IntType(4), ir.IntType(64)
            joins = builder.and_(flat, builder.icmp_signed("==", other, none))
            curved = builder.icmp_signed("!=", builder.and_(codes, ir.Constant(I4, [bent] * 4)), none)
            out = builder.zext(builder.bitcast(builder.icmp_signed("==", codes, mine), nibble), bits)
            every = builder.icmp_signed("==", builder.bitcast(joins, nibble), ir.Constant(nibble, -1))
            some = builder.icmp_signed("!=", builder.bitcast(curved, nibble), ir.Constant(nibble, 0))
            for flag, shift in ((every, 4), (some, 5)):
                out = builder.or_(out, builder.shl(builder.zext(flag, bits), ir.Constant(bits, shift)))
            return out

        real = types.float32
        return types.int64(depth, winner, types.intp, plane, types.int32, types.intp, real, real, real), codegen

    return one_surface


def attributes(row: int, near: float) -> Any:
    """Compiles the lookup of all attributes of a surface point from its triangle's planes, eight at a time.

    The result takes (plane (T,3,row) float32, t, x, y) and gives (z, unit normal (3), uv (2), flow (2)). The planes
    are those of rasterize/cpu.py: 1/z, normal, uv, previous homogeneous position, each over z, then the corner's
    position. A point that was nearer than ``near`` to the previous eye, or behind it, gets no flow.
    """

    @intrinsic
    def lookup(typing: Any, plane: Any, t: Any, x: Any, y: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
            start = builder.mul(arguments[1], ir.Constant(arguments[1].type, 3 * row))
            x, y = arguments[2:]

            def at(offset: int) -> Any:
                return builder.gep(data, [builder.add(start, ir.Constant(start.type, offset))])

            def one(offset: int) -> Any:
                return builder.load(at(offset), align=4)

            def eight(offset: int) -> Any:
                return builder.load(builder.bitcast(at(offset), F8.as_pointer()), align=4)

            def along(value: Any, across: Any, down: Any, dx: Any, dy: Any) -> Any:
                moved = builder.fadd(value, builder.fmul(across, dx, flags=FAST), flags=FAST)
                return builder.fadd(moved, builder.fmul(down, dy, flags=FAST), flags=FAST)

            dx, dy = builder.fsub(x, one(9)), builder.fsub(y, one(10))
            nearness = along(one(0), one(row), one(2 * row), dx, dy)
            value = along(
                eight(1), eight(row + 1), eight(2 * row + 1), _splat(builder, dx, F8), _splat(builder, dy, F8)
            )
            square = builder.fmul(value, value, flags=FAST)
            length = ir.Constant(F32, 1e-20)
            for lane in range(3):
                length = builder.fadd(length, builder.extract_element(square, ir.Constant(I32, lane)), flags=FAST)
            root = builder.module.declare_intrinsic("llvm.sqrt", [F32])
            before = builder.extract_element(value, ir.Constant(I32, 7))
            seen = builder.fcmp_ordered(">", before, builder.fmul(nearness, ir.Constant(F32, near)))
            one_f, zero_f = ir.Constant(F32, 1.0), ir.Constant(F32, 0.0)
            below = [nearness, builder.call(root, [length]), builder.select(seen, before, one_f), one_f]
            over = builder.fdiv(_splat(builder, one_f, F4), _vector(builder, below, F4), flags=FAST)
            keep = builder.select(seen, one_f, zero_f)
            over = builder.fmul(over, _vector(builder, [one_f, one_f, keep, one_f], F4), flags=FAST)
            spread = ir.Constant(ir.VectorType(I32, 8), [1, 1, 1, 0, 0, 2, 2, 3])
            scaled = builder.fmul(value, builder.shuffle_vector(over, over, spread), flags=FAST)
            here = [zero_f] * 5 + [builder.fmul(x, keep), builder.fmul(y, keep), zero_f]
            moved = builder.fsub(scaled, _vector(builder, here, F8), flags=FAST)
            lanes = [builder.extract_element(moved, ir.Constant(I32, lane)) for lane in range(7)]
            z = builder.extract_element(over, ir.Constant(I32, 0))
            return context.make_tuple(builder, signature.return_type, [z, *lanes])

        return types.UniTuple(types.float32, 8)(plane, types.intp, types.float32, types.float32), codegen

    return lookup
