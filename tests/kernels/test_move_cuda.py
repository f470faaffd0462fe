"""kernels/move equals its reference: every choice, aligned or not, many rows in one launch."""

import numpy as np
import pytest

from kernels import nvrtc
from kernels.move import cost, reference
from tests.kernels.batch import compiles
from tests.kernels.conftest import unwritten

COUNTS = (1, 3, 4, 255, 1024, 9274)


@pytest.mark.parametrize("arch", nvrtc.ARCHITECTURES)
def test_compiles(arch):
    compiles("move", arch)


def test_moves_what_the_reference_moves(device):
    rng, rows, wanted, kept = np.random.default_rng(1), [], [], []
    for number, count in enumerate(COUNTS):
        for when in (None, 0, 1, 7):
            for skip in (0, 1):  # of an address: 4 bytes are no whole float4
                source, otherwise = (rng.random(count + skip).astype(np.float32) for _ in range(2))
                other = otherwise if number % 2 else None
                target = np.full(count + skip, np.nan, np.float32)
                reference.move(source[skip:], target[skip:], when, None if other is None else other[skip:])
                arrays = [device.array(a) for a in (source, otherwise)] + [unwritten(device, count + skip)]
                flag = None if when is None else device.array(np.array([when], np.int32))
                places = [array.pointer + 4 * skip for array in arrays]
                rows.append({"source": places[0], "otherwise": places[1] if number % 2 else None,
                             "target": places[2], "when": flag, "count": count})  # fmt: skip
                wanted.append(target)
                kept.append((arrays, flag))
    table = device.rows("move", "Move", rows)
    device.launch("move", "move", (2, 1, len(table) + 1), (256,), table)
    for (arrays, _), target in zip(kept, wanted, strict=True):
        np.testing.assert_array_equal(arrays[2].get(), target)


def test_cost_is_what_is_read_and_written():
    assert cost.move([3, 5]) == (64, 0)
