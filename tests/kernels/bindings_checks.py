"""What test_bindings.py runs in a process of its own: kernels/cuda.py on the real cuda-python, whose driver is the
stand-in of fake_libcuda.c. Not collected by itself."""

import ctypes
import gc
import struct
import threading

import numpy as np
import pytest

from kernels import cuda
from kernels.cuda import CudaError, DeviceArray, OutOfMemory

ILLEGAL_ADDRESS = 700
SOURCE = """
#include "rows.cuh"
extern "C" {
struct Scale { const float* source; const int* when; float* target; int count; float by[2]; };
struct Limits { float low, high; };
__global__ void __launch_bounds__(128) scale(
    Rows<Scale> rows, Limits limits, const float* more, const int* none, int offset, float gain, int flag
) {
    const Scale& r = rows.own();
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (rows.off() || i >= r.count || none) return;
    r.target[i] = fminf(limits.high, fmaxf(limits.low, r.by[flag] * gain * more[i] + r.source[i] + offset));
}
}
"""


@pytest.fixture(scope="module")
def device():
    return cuda.Device()


@pytest.fixture(scope="module")
def fake(device):
    library = ctypes.CDLL("libcuda.so.1")
    library.fake_log.restype = ctypes.c_char_p
    library.fake_taken.restype = ctypes.c_longlong
    return library


@pytest.fixture
def launched(fake):
    fake.fake_forget()
    return lambda: [line.split(" ") for line in fake.fake_log().decode().splitlines()]


@pytest.fixture(scope="module")
def op(tmp_path_factory):
    """A kernel that takes one argument of every kind."""
    folder = tmp_path_factory.mktemp("scale")
    (folder / "kernel.cu").write_text(SOURCE)
    return str(folder)


@pytest.fixture
def rows(device, op):
    arrays = [(device.array(np.arange(n, dtype=np.float32)), device.empty(n, np.float32)) for n in (5, 3)]
    return device.rows(op, "Scale", [
        {"source": source, "when": None, "target": target, "count": source.shape[0], "by": (2, 0.5)}
        for source, target in arrays
    ])  # fmt: skip


@pytest.fixture
def scale(device, op, rows):
    """Launches it, on a stream or the default one."""
    limits = cuda.record(low=-1.0, high=np.float32(7))
    device.function(op, "scale")
    usual = np.int64(3), np.int32(2), len(rows)
    return lambda stream=None, grid=usual: device.launch(
        op, "scale", grid, (128,), rows, limits, rows._kept[0]["source"], None, np.int64(-5), 0.25, True, stream=stream
    )


def test_the_device_says_what_it_is(device):
    assert device.driver.__name__ == "cuda.bindings.driver"
    assert (device.name, device.arch, device.processors) == ("Stand-in for a GPU", "sm_90", 132)
    assert device.driver_version() == 13000
    assert type(device.driver_version()) is int
    free, total = device.memory()
    assert (type(free), type(total)) == (int, int)
    assert 0 < free <= total == 64 << 20


def test_a_gpu_that_is_not_there_is_named(device):
    with pytest.raises(CudaError, match="no GPU number 1"):
        cuda.Device(1)


@pytest.mark.parametrize("host", [
    np.arange(105, dtype=np.float32).reshape(3, 5, 7), np.arange(12, dtype=np.uint8)[::3], np.zeros((0, 4), np.float32),
    np.array(7, np.int64), np.arange(6, dtype=np.float16).reshape(2, 3).T,
])  # fmt: skip
def test_an_array_comes_back_as_it_went(device, host):
    there = device.array(host)
    assert type(there.pointer) is int
    back = there.get()
    assert (back.shape, back.dtype) == (host.shape, host.dtype)
    np.testing.assert_array_equal(back, host)


def test_zeros_and_shapes_of_numpy_integers(device):
    np.testing.assert_array_equal(device.zeros((np.int64(3), np.int32(2)), np.float32).get(), np.zeros((3, 2)))
    assert device.empty(np.arange(4).size, np.uint8).shape == (4,)
    rows = device.array(np.arange(6, dtype=np.int32).reshape(3, 2))
    assert ctypes.c_int.from_address(rows.row(2)).value == 4


def test_memory_goes_with_its_array_from_any_thread(device, fake):
    gc.collect()
    before, box = fake.fake_taken(), [device.empty(1000, np.float32)]
    assert fake.fake_taken() == before + 4000
    letting = threading.Thread(target=box.clear)
    letting.start()
    letting.join()
    assert fake.fake_taken() == before


def test_pinned_memory_is_numpys_to_write_and_read(device):
    room = device.pinned((3, 4), np.float32)
    assert room.flags.writeable and room.flags.c_contiguous and not room.any()
    room[...] = np.arange(12).reshape(3, 4)
    target = device.empty((3, 4), np.float32)
    stream, back = device.stream(), device.pinned((3, 4), np.float32)
    stream.upload(target, room)
    stream.download(back, target.pointer)
    assert not back.any()  # not before it is waited for
    stream.wait()
    np.testing.assert_array_equal(back, room)


def test_a_stream_copies_a_part_and_clears(device):
    stream, target = device.stream(), device.zeros(8, np.uint8)
    source, back = device.pinned(8, np.uint8), device.pinned(8, np.uint8)
    source[:] = 9
    stream.clear(target, 0x5A)
    stream.upload(target, source, np.int64(3))
    stream.download(back, target.row(2), 4)
    stream.wait()
    assert target.get().tolist() == [9] * 3 + [0x5A] * 5
    assert back.tolist() == [9, 0x5A, 0x5A, 0x5A, 0, 0, 0, 0]


def test_handles_are_numbers_for_other_libraries(device):
    stream = device.stream()
    assert int(stream.handle) > 1 << 16
    device.check(device.driver.cuStreamSynchronize(int(stream.handle)))  # as TensorRT and torch take it


def test_a_kernel_is_given_what_its_cubin_says_it_takes(scale, rows, launched):
    scale()
    ((name, grid, block, on_stream, *given),) = launched()
    assert (name, grid, block, on_stream) == ("scale", "3,2,2", "128,1,1", "0")
    table, limits, more, none, offset, gain, flag = map(bytes.fromhex, given)
    assert struct.unpack("<ff", limits) == (-1, 7)
    assert struct.unpack("<QQ", more + none) == (rows._kept[0]["source"].pointer, 0)
    assert struct.unpack("<ifi", offset + gain + flag) == (-5, 0.25, 1)
    base, live, stride = struct.unpack("<QQi4x", table)
    assert ctypes.c_int.from_address(live).value == 2
    for i, row in enumerate(rows._kept):
        source, when, target, count, *by = struct.unpack("<QQQiff4x", ctypes.string_at(base + stride * i, stride))
        assert (source, when, target) == (row["source"].pointer, 0, row["target"].pointer)
        assert (count, by) == ((5, 3)[i], [2, 0.5])


def test_a_stream_runs_kernels_when_its_turn_comes(device, scale, launched):
    stream = device.stream()
    scale(stream)
    assert launched() == []
    stream.wait()
    assert [line[3] for line in launched()] == ["1"]


def test_what_is_no_kernel_is_refused(device, op, scale):
    with pytest.raises(CudaError, match="CUDA_ERROR_NOT_FOUND"):
        device.function(op, "no_such_kernel")
    with pytest.raises(CudaError, match="CUDA_ERROR_INVALID_VALUE"):
        scale(grid=(1, 1, 70000))
    with pytest.raises(CudaError, match="CUDA_ERROR_INVALID_IMAGE"):
        device.check(device.driver.cuModuleLoadData(b"this is no cubin" * 64))


def test_events_mark_a_streams_work(device):
    stream, start, end = device.stream(), device.event(), device.event()
    start.record(stream)
    assert end.record(stream) is end
    assert not end.done()
    end.wait()
    assert start.done() and end.done()
    passed = end.since(start)
    assert type(passed) is float and passed == 1.0


def test_captured_work_runs_at_every_launch(device, scale, launched):
    stream = device.stream()
    target, source = device.zeros(8, np.uint8), device.pinned(8, np.uint8)
    with stream.capture() as graphs:
        stream.upload(target, source)
        scale(stream)
    stream.wait()
    assert launched() == []
    (graph,) = graphs
    for round in (1, 2):
        source[:] = round
        graph.launch(stream)
        stream.wait()
        assert target.get().tolist() == [round] * 8
    assert len(launched()) == 2
    device.check(device.driver.cuGraphLaunch(int(graph._handle), stream.handle))  # as torch gives its graphs


def test_memory_may_go_while_a_stream_is_captured(device, fake, scale, launched):
    """Python's collector frees what it likes when it likes."""
    stream, box = device.stream(), [device.empty(100, np.uint8)]
    before = fake.fake_taken()
    with stream.capture() as graphs:
        box.clear()
        scale(stream)
    assert fake.fake_taken() == before - 100
    graphs[0].launch(stream)
    stream.wait()
    assert len(launched()) == 1


def test_memory_that_is_asked_for_in_a_capture_is_refused(device):
    stream = device.stream()
    with pytest.raises(CudaError, match="CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"), stream.capture():
        device.empty(100, np.uint8)


def test_a_capture_that_fails_leaves_the_stream_usable(device):
    stream = device.stream()
    with pytest.raises(KeyError), stream.capture():
        raise KeyError
    with pytest.raises(CudaError, match="CUDA_ERROR_STREAM_CAPTURE_"), stream.capture():
        stream.wait()
    stream.wait()


def test_a_full_gpu_says_so(device):
    with pytest.raises(OutOfMemory, match="max_sessions"):
        device.empty(1 << 30, np.uint8)
    gc.collect()
    assert device.empty(16, np.uint8).get().shape == (16,)


def test_an_error_of_the_driver_is_named(device, fake):
    stream = device.stream()
    fake.fake_fail(b"cuStreamSynchronize", ILLEGAL_ADDRESS)
    with pytest.raises(CudaError, match="CUDA_ERROR_ILLEGAL_ADDRESS"):
        stream.wait()
    event = device.event().record(stream)
    fake.fake_fail(b"cuEventQuery", ILLEGAL_ADDRESS)
    with pytest.raises(CudaError, match="CUDA_ERROR_ILLEGAL_ADDRESS"):
        event.done()


def test_another_thread_uses_the_device_by_use(device):
    answers = []

    def work():
        try:
            device.empty(4, np.uint8)
        except CudaError as error:
            answers.append(str(error))
        device.use()
        answers.append(device.array(np.arange(3)).get().tolist())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert "CUDA_ERROR_INVALID_CONTEXT" in answers[0]
    assert answers[1] == [0, 1, 2]


def test_other_libraries_find_the_memory(device):
    there = device.array(np.arange(4, dtype=np.float32))
    interface = there.__cuda_array_interface__
    assert interface == {"shape": (4,), "typestr": "<f4", "data": (there.pointer, False), "version": 3}
    assert isinstance(there, DeviceArray)
