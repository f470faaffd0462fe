"""kernels/cuda.py on the real cuda-python, without a GPU: its driver is a stand-in (fake_libcuda.c), found by
LD_LIBRARY_PATH in a process of its own, where bindings_checks.py runs. And the emulated driver's calls are the real
module's: the same names, as many arguments and answers, the same numbers."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kernels import cuda, emulator
from kernels.emulator import EmulatedDriver

HERE = Path(__file__).parent
CALLS = sorted(name for name in vars(EmulatedDriver) if re.match("cu[A-Z]", name))
LEFT_ALIVE = """
import numpy as np
from kernels import cuda
device = cuda.Device()
array, pinned, stream, event = device.zeros(3, np.uint8), device.pinned(3, np.uint8), device.stream(), device.event()
with stream.capture() as graphs:
    stream.clear(array)
print(device.name)
"""


@pytest.fixture(scope="module")
def driver():
    for name in ("cuda.core", "cuda.bindings.driver"):
        module = pytest.importorskip(name, reason="the extra 'gpu' is not installed", exc_type=ImportError)
    return module


@pytest.fixture(scope="module")
def with_stand_in(driver, tmp_path_factory):
    """Runs Python with the stand-in for a driver."""
    compiler = shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("no gcc on this machine, or no Linux")
    folder = tmp_path_factory.mktemp("driver")
    command = [compiler, "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1"]
    subprocess.run([*command, "-o", folder / "libcuda.so.1", HERE / "fake_libcuda.c"], check=True)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(HERE.parents[1])}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(command, env=environment, cwd=HERE.parents[1], capture_output=True, text=True)

    return run


def test_our_calls_are_understood_by_the_bindings(with_stand_in):
    done = with_stand_in("-m", "pytest", "-p", "no:cacheprovider", str(HERE / "bindings_checks.py"))
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_what_is_left_at_the_end_of_a_program_goes_quietly(with_stand_in):
    done = with_stand_in("-c", LEFT_ALIVE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Stand-in for a GPU\n", "")


@pytest.mark.parametrize("call", CALLS)
def test_the_emulated_driver_takes_and_gives_what_the_real_one_does(driver, call):
    words = getattr(driver, call).__doc__
    real = [part for part in re.match(r"\w+\(([^)]*)\)", words)[1].split(",") if part.strip()]
    ours = inspect.signature(getattr(EmulatedDriver, call))
    assert len(ours.parameters) - 1 == len(real)
    indent, returns = re.search(r"^( *)Returns\n *-+\n(.*?)(?:\n *\n|\Z)", words, re.M | re.S).groups()
    answers = re.findall(rf"^{indent}(\S.*)$", returns, re.M)
    assert answers[0] == "CUresult"
    assert len(re.search(r"tuple\[(.*)\]", ours.return_annotation)[1].split(",")) == len(answers)


@pytest.mark.parametrize(
    "call", sorted(set(re.findall(r"river\.(cu[A-Z]\w+)", Path(cuda.__file__).read_text("utf-8"))))
)
def test_every_call_of_ours_is_both_in_the_real_driver_and_the_emulated_one(driver, call):
    assert callable(getattr(driver, call))
    assert call in CALLS


@pytest.mark.parametrize("enum", [emulator.CUdevice_attribute, emulator.CUstreamCaptureMode], ids=lambda e: e.__name__)
def test_enums_have_the_real_values(driver, enum):
    for member in enum:
        assert getattr(getattr(driver, enum.__name__), member.name) == member.value


def test_numbers_written_out_are_the_real_ones(driver):
    result, named = driver.CUresult, {
        "CUDA_ERROR_OUT_OF_MEMORY": (cuda.OUT_OF_MEMORY, emulator.OUT_OF_MEMORY),
        "CUDA_ERROR_NOT_READY": (cuda.NOT_READY, emulator.NOT_READY),
        "CUDA_ERROR_INVALID_VALUE": (emulator.INVALID,),
        "CUDA_ERROR_NOT_FOUND": (emulator.NOT_FOUND,),
        "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED": (emulator.CAPTURE_UNSUPPORTED,),
        "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED": (emulator.CAPTURE_INVALIDATED,),
    }  # fmt: skip
    for name, ours in named.items():
        assert {int(getattr(result, name))} == set(ours), name
    assert int(driver.CUstream_flags.CU_STREAM_NON_BLOCKING) == cuda.NON_BLOCKING
    assert driver.CU_MEMHOSTALLOC_PORTABLE == cuda.PINNED
