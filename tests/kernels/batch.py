"""What the tests of CUDA kernels share: a batch on the emulated device, with a row of padding that stays as it was."""

from __future__ import annotations

import numpy as np
import pytest

from kernels import cuda, nvrtc
from kernels.emulator import build

emulated = pytest.mark.skipif(build.compiler() is None, reason="no g++ on this machine")


def batch(device, op, name, rows):
    """A table whose last row is padding: it is beyond the number of live rows."""
    table = device.rows(op, name, rows)
    table._live.put(np.array([len(rows) - 1], np.int32))
    return table


def launch(op, kernel, name, grid, block, rows, *scalars, device=None):
    """Runs a kernel over ``rows``, dicts of arrays (copied to the device), numbers or None, and once more as padding.
    Returns the arrays afterwards, a dict a row. The padding's must be unchanged, which is checked."""
    device = device or cuda.emulated()
    padding = {key: value.copy() if isinstance(value, np.ndarray) else value for key, value in rows[0].items()}
    there = [
        {key: device.array(value) if isinstance(value, np.ndarray) else value for key, value in row.items()}
        for row in [*rows, padding]
    ]
    device.launch(op, kernel, (*grid, 1)[:2] + (len(there),), block, batch(device, op, name, there), *scalars)
    after = [{key: getattr(value, "get", lambda value=value: value)() for key, value in row.items()} for row in there]
    for key, value in padding.items():
        np.testing.assert_array_equal(after[-1][key], value, err_msg=f"padding: {key}")
    return after[:-1]


def compiles(op, arch):
    """Checks that the source of ``op`` compiles for ``arch``; skips where there is no compiler."""
    for module in ("cuda.bindings.nvrtc", "cuda.core"):
        pytest.importorskip(module, reason="the extra 'gpu' is not installed", exc_type=ImportError)
    assert len(nvrtc.compile_cubin(nvrtc.ROOT / op / "kernel.cu", arch)) > 1000
