"""SIMD vectors in numba: the same numbers as NumPy, lane by lane."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from kernels.jit import fast
from kernels.vector import (
    any_of,
    bits,
    cast,
    fused,
    gather,
    lane,
    least,
    load,
    lowest,
    most,
    nearest,
    run,
    select,
    shuffle,
    splat,
    store,
    view,
)  # fmt: skip

MIXED = shuffle([3, 8, 0, 15, 2, 2])


@fast
def arithmetic(a, b, out):
    one, other = load(a, 1, 8), load(b, 2, 8)
    store(out, 0, one + other * np.float32(2.0))
    store(out, 8, least(one, other) - most(other, np.float32(0.5)))
    store(out, 16, select(one < other, one / other, np.float32(7.0)))
    store(out, 24, nearest(one * np.float32(8.0)))
    store(out, 32, fused(one, other, one))


def test_floats_equal_numpy():
    draws = np.random.default_rng(0)
    a, b = draws.uniform(0.1, 1, (2, 10)).astype(np.float32)
    out = np.full(48, np.nan, np.float32)
    arithmetic(a, b, out)
    one, other = a[1:9], b[2:10]
    wanted = [one + 2 * other, np.minimum(one, other) - np.maximum(other, 0.5), np.where(one < other, one / other, 7),
              np.rint(one * 8), one * other + one]  # fmt: skip
    np.testing.assert_allclose(out[:40].reshape(5, 8), wanted, rtol=1e-6)
    assert np.isnan(out[40:]).all()


@fast
def integers(a, out):
    one = load(a, 0, 16)
    wide = cast(one, np.uint16) * np.uint16(300)
    store(out, 0, cast(wide >> np.uint16(8), np.uint8))
    store(out, 16, (one ^ np.uint8(255)) & np.uint8(15) | np.uint8(16))
    store(out, 32, view(splat(np.uint32(0x04030201), 4), np.uint8))
    store(out, 48, cast(run(np.int32(250), 16), np.uint8))


def test_integers_wrap_and_widen_as_numpy_does():
    a, out = np.arange(0, 256, 16).astype(np.uint8), np.zeros(64, np.uint8)
    integers(a, out)
    np.testing.assert_array_equal(out[:16], (a.astype(np.uint16) * np.uint16(300) >> 8).astype(np.uint8))
    np.testing.assert_array_equal(out[16:32], (a ^ 255) & 15 | 16)
    np.testing.assert_array_equal(out[32:48], [1, 2, 3, 4] * 4)
    np.testing.assert_array_equal(out[48:], np.arange(250, 266) % 256)


@fast
def places(a, at, out):
    one, other = load(a, 0, 8), load(a, 8, 8)
    store(out, 0, MIXED(one, other))
    store(out, 6, gather(a, load(at, 0, 4)))
    mask = one > np.int32(12)
    return bits(mask), any_of(one > np.int32(99)), lowest(bits(mask)), lane(other, 3)


def test_lanes_are_found_where_they_are():
    a, at = np.array([5, 9, 30, 2, 14, 1, 40, 3, *range(8)], np.int32), np.array([15, 0, 2, 2], np.int32)
    out = np.full(10, -1, np.int32)
    assert places(a, at, out) == (0b1010100, False, 2, 3)
    np.testing.assert_array_equal(out, [2, 0, 5, 7, 30, 30, 7, 5, 30, 30])


def test_comparisons_with_nan_are_false_and_the_second_of_two_is_taken():
    @fast
    def compare(a, out):
        one = load(a, 0, 4)
        store(out, 0, least(one, np.float32(3.0)))
        store(out, 4, most(one, np.float32(3.0)))
        return bits(one < np.float32(9.0)), bits(one != one)

    out = np.zeros(8, np.float32)
    assert compare(np.array([1, np.nan, 5, np.inf], np.float32), out) == (0b0101, 0b0010)
    np.testing.assert_array_equal(out, [1, 3, 3, 3, 3, 3, 5, np.inf])


def test_what_does_not_fit_does_not_compile():
    def mixed(a, b):
        return lane(load(a, 0, 4) + load(b, 0, 8), 0)

    def strided(a, b):
        return lane(load(a, 0, 4), 0)

    array = np.zeros((8, 8), np.float32)
    for function, first in ((mixed, array), (strided, array[:, ::2])):
        with pytest.raises(numba.TypingError):
            fast(function)(first, array)
