"""kernels/move equals its reference: every choice, aligned or not, many rows in one launch."""

import itertools

import numpy as np
import pytest

from kernels import nvrtc
from kernels.move import NOTHING, cost, moves, reference
from tests.kernels.batch import compiles
from tests.kernels.conftest import unwritten

COUNTS = (1, 3, 4, 255, 1024, 9274)


@pytest.mark.parametrize("arch", nvrtc.ARCHITECTURES)
def test_compiles(arch):
    compiles("move", arch)


def test_moves_what_the_reference_moves(device):
    rng, rows, wanted, kept = np.random.default_rng(1), [], [], []
    cases = itertools.product(enumerate(COUNTS), (None, 0, 1, 7), (0, 1), (0, 1))
    for (number, count), when, *skips in cases:  # numbers left out where source and target begin: no whole float4
        source, otherwise = (rng.random(count + 1).astype(np.float32) for _ in range(2))
        (start, to), choice = skips, otherwise[skips[0] :][:count] if number % 2 else None
        target = np.full(count + 1, np.nan, np.float32)
        reference.move(source[start:][:count], target[to:][:count], when, choice)
        arrays = device.array(source), device.array(otherwise), unwritten(device, count + 1)
        flag = None if when is None else device.array(np.array([when], np.int32))
        rows.append({
            "source": arrays[0].pointer + 4 * start, "otherwise": arrays[1].pointer + 4 * start if number % 2 else None,
            "target": arrays[2].pointer + 4 * to, "when": flag, "count": count,
        })  # fmt: skip
        wanted.append(target)
        kept.append(arrays)
    several = [moves(rows[i : i + 3]) for i in range(0, len(rows), 3)]
    table = device.rows("move", "Moves", several)
    device.launch("move", "move", (2, 3, len(table) + 1), (256,), table)
    for (_, _, moved), target in zip(kept, wanted, strict=True):
        np.testing.assert_array_equal(moved.get(), target)


def test_there_is_a_most_of_moves():
    with pytest.raises(ValueError, match="8 moves at most, got 9"):
        moves([NOTHING] * 9)


def test_cost_is_what_is_read_and_written():
    assert cost.move([3, 5]) == (64, 0)
