"""The devices that tests of CUDA kernels run on: the emulated one always, a GPU where there is one."""

import math

import numpy as np
import pytest

from kernels import cuda
from kernels.emulator import build


@pytest.fixture(params=["emulated", "gpu"])
def device(request):
    """A kernels.cuda.Device."""
    if request.param == "emulated":
        if build.compiler() is None:
            pytest.skip("no g++ on this machine")
        return cuda.emulated()
    try:
        return cuda.Device()
    except cuda.CudaError as error:
        pytest.skip(f"no GPU to run on: {error}")


def unwritten(device, shape, dtype=np.float32):
    """Device memory that reads as NaN, or as -1, until it is written; a GPU's own memory says nothing."""
    room = device.empty(shape, dtype)
    return room.put(
        np.full(math.prod(room.shape) * room.dtype.itemsize, 0xFF, np.uint8).view(dtype).reshape(room.shape)
    )
