"""SIMD vectors inside numba kernels: a type with arithmetic, loads, stores and shuffles, each one LLVM instruction.

LLVM turns a plain loop into SIMD code only while it sees through every array of it; here the kernel says it. Any lane
count compiles on any processor. An operand beside a vector may be a scalar, which stands in every lane. Integers wrap.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, Final

from llvmlite import ir
from numba import extending
from numba.core import types
from numba.core.cgutils import get_or_insert_function
from numba.core.datamodel.models import PrimitiveModel
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature

__all__ = [
    "any_of", "bits", "cast", "fused", "gather", "lane", "least", "load", "lowest", "most", "nearest", "run", "select",
    "shuffle", "splat", "store", "view",
]  # fmt: skip

_I32: Final = ir.IntType(32)
intrinsic: Any = extending.intrinsic


class Vector(types.Type):  # type: ignore[misc]
    """``lanes`` numbers of numba's type ``kind``; the result of a comparison has the kind bool."""

    def __init__(self, kind: Any, lanes: int) -> None:
        self.kind, self.lanes = kind, lanes
        super().__init__(name=f"Vector({kind} x {lanes})")


@extending.register_model(Vector)
class _Model(PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, vector: Any) -> None:
        super().__init__(manager, vector, _llvm(vector))


def _llvm(vector: Vector) -> Any:
    return ir.VectorType(_scalar(vector.kind), vector.lanes)


def _scalar(kind: Any) -> Any:
    if kind == types.boolean:
        return ir.IntType(1)
    if kind in types.real_domain:
        return ir.FloatType() if kind.bitwidth == 32 else ir.DoubleType()
    return ir.IntType(kind.bitwidth)


def _splat(builder: Any, value: Any, lanes: int) -> Any:
    one = builder.insert_element(ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined), value, _I32(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes))


def _address(context: Any, builder: Any, array_type: Any, array: Any, at: Any, vector: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), _llvm(vector).as_pointer())


def _flat(array: Any) -> bool:
    return isinstance(array, types.Array) and array.layout == "C"


@intrinsic(prefer_literal=True)
def load(typing: Any, array: Any, at: Any, lanes: Any) -> Any:
    """``lanes`` (a literal) items of a contiguous array from flat index ``at`` on."""
    if not (_flat(array) and isinstance(lanes, types.IntegerLiteral)):
        return None
    vector = Vector(array.dtype, lanes.literal_value)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(context, builder, array, arguments[0], arguments[1], vector)
        return builder.load(address, align=array.dtype.bitwidth // 8)

    return signature(vector, array, types.intp, lanes), codegen


@intrinsic
def store(typing: Any, array: Any, at: Any, vector: Any) -> Any:
    """Writes ``vector`` to a contiguous array of its kind from flat index ``at`` on."""
    if not (_flat(array) and isinstance(vector, Vector) and vector.kind == array.dtype):
        return None

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(context, builder, array, arguments[0], arguments[1], vector)
        builder.store(arguments[2], address, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return signature(types.void, array, types.intp, vector), codegen


@intrinsic
def gather(typing: Any, array: Any, places: Any) -> Any:
    """The items of a contiguous array at flat indices ``places``, a vector of integers, none negative."""
    if not (_flat(array) and isinstance(places, Vector)):
        return None
    vector = Vector(array.dtype, places.lanes)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(array)(context, builder, arguments[0]).data
        out = ir.Constant(_llvm(vector), ir.Undefined)
        for index in range(vector.lanes):
            place = builder.zext(builder.extract_element(arguments[1], _I32(index)), ir.IntType(64))
            item = builder.load(builder.gep(data, [place]), align=array.dtype.bitwidth // 8)
            out = builder.insert_element(out, item, _I32(index))
        return out

    return signature(vector, array, places), codegen


@intrinsic(prefer_literal=True)
def splat(typing: Any, value: Any, lanes: Any) -> Any:
    """``value`` in each of ``lanes`` (a literal)."""
    if not (isinstance(value, types.Number) and isinstance(lanes, types.IntegerLiteral)):
        return None
    value = types.unliteral(value)
    vector = Vector(value, lanes.literal_value)
    return signature(vector, value, lanes), lambda context, builder, _, given: _splat(builder, given[0], vector.lanes)


@intrinsic(prefer_literal=True)
def run(typing: Any, first: Any, lanes: Any) -> Any:
    """``first``, ``first`` + 1, ... as a vector of ``lanes`` (a literal) int32."""
    if not (isinstance(first, types.Integer) and isinstance(lanes, types.IntegerLiteral)):
        return None
    vector = Vector(types.int32, lanes.literal_value)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        steps = ir.Constant(_llvm(vector), list(range(vector.lanes)))
        return builder.add(_splat(builder, arguments[0], vector.lanes), steps)

    return signature(vector, types.int32, lanes), codegen


@intrinsic(prefer_literal=True)
def lane(typing: Any, vector: Any, index: Any) -> Any:
    """One lane of a vector."""
    if not (isinstance(vector, Vector) and isinstance(index, types.Integer)):
        return None
    index = types.unliteral(index)
    return signature(vector.kind, vector, index), lambda context, builder, _, given: builder.extract_element(*given)


@intrinsic
def cast(typing: Any, vector: Any, kind: Any) -> Any:
    """``vector`` with each lane converted to ``kind`` (np.uint8 ...); a float that does not fit gives any number."""
    if not (isinstance(vector, Vector) and isinstance(kind, types.NumberClass)):
        return None
    result = Vector(kind.dtype, vector.lanes)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _convert(builder, arguments[0], vector.kind, result)

    return signature(result, vector, kind), codegen


def _convert(builder: Any, value: Any, before: Any, result: Vector) -> Any:
    signed, after, kind = _signed(before), result.kind, _llvm(result)
    if before in types.real_domain:
        if after in types.real_domain:
            resize = builder.fpext if after.bitwidth > before.bitwidth else builder.fptrunc
            return value if before == after else resize(value, kind)
        return (builder.fptosi if _signed(after) else builder.fptoui)(value, kind)
    if after in types.real_domain:
        return (builder.sitofp if signed else builder.uitofp)(value, kind)
    width = 1 if before == types.boolean else before.bitwidth
    if width == after.bitwidth:
        return value
    return (builder.trunc if width > after.bitwidth else builder.sext if signed else builder.zext)(value, kind)


@intrinsic
def view(typing: Any, vector: Any, kind: Any) -> Any:
    """The bits of ``vector`` read as lanes of ``kind``."""
    if not (isinstance(vector, Vector) and isinstance(kind, types.NumberClass)):
        return None
    lanes = vector.lanes * vector.kind.bitwidth // kind.dtype.bitwidth
    result = Vector(kind.dtype, lanes)
    return signature(result, vector, kind), lambda context, builder, _, given: builder.bitcast(given[0], _llvm(result))


@intrinsic
def select(typing: Any, mask: Any, one: Any, other: Any) -> Any:
    """Lanes of ``one`` where ``mask`` is true, else of ``other``; one of them may be a scalar."""
    vector = one if isinstance(one, Vector) else other
    if not (isinstance(mask, Vector) and isinstance(vector, Vector) and mask.lanes == vector.lanes):
        return None

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(arguments[0], *_wide(builder, signature.args[1:], arguments[1:]))

    given = _fitting(vector, (one, other))
    return (signature(vector, mask, *given), codegen) if given else None


def _extreme(sign: str, meaning: str) -> Any:
    @intrinsic
    def extreme(typing: Any, one: Any, other: Any) -> Any:
        vector = one if isinstance(one, Vector) else other
        given = isinstance(vector, Vector) and _fitting(vector, (one, other))

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            wide = _wide(builder, signature.args, arguments)
            return builder.select(_comparison(sign)(builder, vector.kind, *wide), *wide)

        return (signature(vector, *given), codegen) if given else None

    extreme.__doc__ = meaning
    return extreme


least = _extreme(
    "<", "The smaller of two vectors, lane by lane, or of a vector and a scalar; the second, if either is NaN."
)
most = _extreme(
    ">", "The greater of two vectors, lane by lane, or of a vector and a scalar; the second, if either is NaN."
)


def _fitting(vector: Vector, given: Any) -> Any:
    """The types of operands beside ``vector``: itself, or a scalar of its kind. None if that is impossible."""
    if any(isinstance(each, Vector) and each != vector for each in given):
        return None
    return [vector if isinstance(each, Vector) else vector.kind for each in given]


def _wide(builder: Any, given: Any, values: Any) -> list[Any]:
    """Operands as vectors: a scalar in every lane."""
    lanes = next(each.lanes for each in given if isinstance(each, Vector))
    pairs = zip(values, given, strict=True)
    return [value if isinstance(each, Vector) else _splat(builder, value, lanes) for value, each in pairs]


@intrinsic
def bits(typing: Any, mask: Any) -> Any:
    """A mask as an integer: lane k is bit k."""
    if not (isinstance(mask, Vector) and mask.kind == types.boolean and mask.lanes <= 64):
        return None

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        packed = builder.bitcast(arguments[0], ir.IntType(mask.lanes))
        return packed if mask.lanes == 64 else builder.zext(packed, ir.IntType(64))

    return signature(types.uint64, mask), codegen


@intrinsic
def lowest(typing: Any, packed: Any) -> Any:
    """Which is the lowest bit of an integer that is 1; there must be one."""
    if packed != types.uint64:
        return None

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return signature(types.int64, packed), codegen


@intrinsic
def any_of(typing: Any, mask: Any) -> Any:
    """Whether any lane of a mask is true."""
    if not (isinstance(mask, Vector) and mask.kind == types.boolean):
        return None

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        packed = builder.bitcast(arguments[0], ir.IntType(mask.lanes))
        return builder.icmp_unsigned("!=", packed, ir.Constant(packed.type, 0))

    return signature(types.boolean, mask), codegen


def _call(builder: Any, name: str, arguments: Any) -> Any:
    """Calls the function ``name`` that LLVM has for every float type, of arguments of one type."""
    kind = arguments[0].type
    one = kind.element if isinstance(kind, ir.VectorType) else kind
    lanes = f"v{kind.count}" if isinstance(kind, ir.VectorType) else ""
    full = f"llvm.{name}.{lanes}{'f32' if one == ir.FloatType() else 'f64'}"
    function = get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * len(arguments)), full)
    return builder.call(function, arguments)


@intrinsic
def nearest(typing: Any, vector: Any) -> Any:
    """Each lane rounded to the nearest whole number, of two to the even one."""
    if not (isinstance(vector, Vector) and vector.kind in types.real_domain):
        return None
    return signature(vector, vector), lambda context, builder, _, given: _call(builder, "rint", given)


@intrinsic
def fused(typing: Any, one: Any, other: Any, more: Any) -> Any:
    """``one`` x ``other`` + ``more``, rounded once where the processor can; scalars do as well."""
    given = [one, other, more]
    vector = next((each for each in given if isinstance(each, Vector)), one)
    if isinstance(vector, Vector):
        given = _fitting(vector, given)
    elif other != one or more != one or one not in types.real_domain:
        return None

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = _wide(builder, signature.args, arguments) if isinstance(vector, Vector) else arguments
        return _call(builder, "fmuladd", wide)

    return (signature(vector, *given), codegen) if given else None


def shuffle(places: Sequence[int]) -> Any:
    """Compiles a shuffle of two vectors (N lanes each): lane k of the result is item ``places[k]`` of the 2 N."""

    @intrinsic
    def shuffled(typing: Any, one: Any, other: Any) -> Any:
        if not (isinstance(one, Vector) and one == other and max(places) < 2 * one.lanes):
            return None
        result = Vector(one.kind, len(places))

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.shuffle_vector(*arguments, ir.Constant(ir.VectorType(_I32, len(places)), list(places)))

        return signature(result, one, other), codegen

    return shuffled


def _signed(kind: Any) -> bool:
    return bool(getattr(kind, "signed", False))


def _arithmetic(name: str) -> Callable[..., Any]:
    def emit(builder: Any, kind: Any, one: Any, other: Any) -> Any:
        if name in ("and_", "or_", "xor", "shl"):
            return getattr(builder, name)(one, other)
        if name == "shr":
            return (builder.ashr if _signed(kind) else builder.lshr)(one, other)
        return getattr(builder, ("f" if kind in types.real_domain else "") + name)(one, other)

    return emit


def _comparison(sign: str) -> Callable[..., Any]:
    def emit(builder: Any, kind: Any, one: Any, other: Any) -> Any:
        if kind in types.real_domain:
            return (builder.fcmp_unordered if sign == "!=" else builder.fcmp_ordered)(sign, one, other)
        return (builder.icmp_signed if _signed(kind) else builder.icmp_unsigned)(sign, one, other)

    return emit


def _operator(function: Any, emit: Callable[..., Any], compares: bool) -> None:
    """Teaches numba ``function`` of two vectors, or of a vector and a scalar."""

    class Template(AbstractTemplate):  # type: ignore[misc]
        def generic(self, args: Any, kws: Any) -> Any:
            if len(args) != 2:
                return None
            one, other = args
            vector = one if isinstance(one, Vector) else other
            given = isinstance(vector, Vector) and _fitting(vector, args)
            if not given:
                return None
            return signature(Vector(types.boolean, vector.lanes) if compares else vector, *given)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = next(each for each in signature.args if isinstance(each, Vector))
        return emit(builder, vector.kind, *_wide(builder, signature.args, arguments))

    infer_global(function)(Template)
    for given in ((Vector, Vector), (Vector, types.Number), (types.Number, Vector)):
        lower_builtin(function, *given)(codegen)


for _function, _name in (
    (operator.add, "add"), (operator.sub, "sub"), (operator.mul, "mul"), (operator.and_, "and_"),
    (operator.or_, "or_"), (operator.xor, "xor"), (operator.lshift, "shl"), (operator.rshift, "shr"),
):  # fmt: skip
    _operator(_function, _arithmetic(_name), False)
_operator(operator.truediv, lambda builder, kind, one, other: builder.fdiv(one, other), False)
for _function, _sign in (
    (operator.lt, "<"), (operator.le, "<="), (operator.gt, ">"), (operator.ge, ">="), (operator.eq, "=="),
    (operator.ne, "!="),
):  # fmt: skip
    _operator(_function, _comparison(_sign), True)
