"""The emulated driver: what would go wrong on a GPU goes wrong there too."""

import threading
from pathlib import Path

import numpy as np
import pytest

from kernels import cuda, layout
from kernels.emulator import build

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="no g++ on this machine")
SIZE = (37, 53)


def picture(device):
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (*SIZE, 4), dtype=np.uint8)
    behind = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    return pixels, device.array(pixels), device.array(behind)


def test_new_memory_is_nan():
    assert np.isnan(cuda.emulated().empty((3, 5), np.float32).get()).all()


def test_work_of_a_stream_is_done_when_it_is_waited_for_and_not_before():
    device = cuda.emulated()
    source, target, stream = device.pinned(4, np.float32), device.empty(4, np.float32), device.stream()
    source[:] = 3
    stream.upload(target, source)
    done = device.event().record(stream)
    assert not done.done() and np.isnan(target.get()).all()
    done.wait()
    assert done.done() and (target.get() == 3).all()


def test_what_was_put_on_the_device_is_there_for_every_stream():
    device = cuda.emulated()
    source, host, stream = device.array(np.arange(4, dtype=np.int32)), device.pinned(4, np.int32), device.stream()
    stream.download(host, source.pointer)
    stream.wait()
    np.testing.assert_array_equal(host, np.arange(4))


def test_a_thread_that_was_not_told_of_the_gpu_has_none():
    device, answers = cuda.emulated(), list[object]()

    def other():
        for told in (False, True):
            if told:
                device.use()
            try:
                answers.append(device.zeros(3, np.int32).nbytes)
            except cuda.CudaError as problem:
                answers.append(str(problem))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert "201" in answers[0] and answers[1] == 12


def test_a_graph_runs_what_was_captured_with_its_arguments_and_the_memory_of_now():
    device, stream = cuda.emulated(), None
    stream = device.stream()
    source, target = device.pinned(4, np.float32), device.zeros(4, np.float32)
    with stream.capture() as kept:
        stream.upload(target, source)
    assert (target.get() == 0).all()
    for value in (1, 2):
        source[:] = value
        kept[0].launch(stream)
        stream.wait()
        assert (target.get() == value).all()


def test_waiting_inside_a_capture_is_an_error():
    stream = cuda.emulated().stream()
    with pytest.raises(cuda.CudaError), stream.capture():
        stream.wait()


def test_asking_for_memory_inside_a_capture_spoils_it_and_freeing_does_not():
    device = cuda.emulated()
    stream, room, box = device.stream(), device.zeros(4, np.uint8), [device.empty(4, np.uint8)]
    before = device.memory()[0]
    with stream.capture() as kept:
        stream.clear(room, 3)
        box.clear()
    assert device.memory()[0] == before + 4
    kept[0].launch(stream)
    stream.wait()
    assert (room.get() == 3).all()
    with pytest.raises(cuda.CudaError, match="900"), stream.capture():
        device.empty(4, np.uint8)
    with pytest.raises(cuda.CudaError, match="901"), stream.capture():
        device.driver.cuMemAlloc(4)


def test_writing_behind_an_array_is_found():
    device = cuda.emulated()
    source, target, stream = device.pinned(8, np.uint8), device.empty(4, np.uint8), device.stream()
    stream.upload(target, source)
    with pytest.raises(RuntimeError, match="behind an array of 4 bytes"):
        stream.wait()


def test_full_memory_says_so():
    device = cuda.emulated(1000)
    kept = device.empty(900, np.uint8)
    with pytest.raises(cuda.OutOfMemory, match="memory is full"):
        device.empty(200, np.uint8)
    del kept
    assert device.empty(900, np.uint8).nbytes == 900


def test_a_gpu_or_a_driver_that_is_too_old_is_refused_by_name(monkeypatch):
    from kernels.emulator import EmulatedDriver

    monkeypatch.setattr(EmulatedDriver, "cuDriverGetVersion", lambda self: (0, 12040))
    with pytest.raises(cuda.CudaError, match=r"driver is for CUDA 12.4; .* update the NVIDIA driver"):
        cuda.emulated()
    monkeypatch.setattr(EmulatedDriver, "cuDeviceGetAttribute", lambda self, attribute, device: (0, 6))
    with pytest.raises(cuda.CudaError, match=r"compute capability 6.6; the kernels need 7.5 \(Turing\)"):
        cuda.emulated()


def test_an_unknown_kernel_is_an_error():
    with pytest.raises(cuda.CudaError, match="500"):
        cuda.emulated().launch("compose", "nonsense", (1,), (1,))


def has_fma():
    known = Path("/proc/cpuinfo")
    return known.is_file() and " fma " in known.read_text()


def write(folder, text):
    (folder / "op").mkdir()
    (folder / "op" / "kernel.cu").write_text(text)
    return folder / "op" / "kernel.cu"


def emulate(source, name, block, *arguments):
    device = cuda.Device(driver=cuda.emulated().driver, compiler=lambda *_: str(source).encode())
    device.launch(source.parent.name, name, (2,), block, *arguments)


def test_threads_of_a_block_wait_for_each_other(tmp_path):
    source = write(
        tmp_path,
        """extern "C" __global__ void turn(const int* a, int* b) {
        __shared__ int all[64];
        all[threadIdx.x] = a[64 * blockIdx.x + threadIdx.x];
        __syncthreads();
        int x = all[63 - threadIdx.x];
        for (int k = 16; k; k /= 2) x += __shfl_xor_sync(~0u, x, k);
        b[64 * blockIdx.x + threadIdx.x] = x;
    }""",
    )
    device = cuda.emulated()
    values = np.arange(128, dtype=np.int32)
    source_array, out = device.array(values), device.empty(128, np.int32)
    emulate(source, "turn", (64,), source_array, out)
    sums = values.reshape(2, 2, 32).sum(2)[:, ::-1]
    np.testing.assert_array_equal(out.get().reshape(2, 2, 32), np.repeat(sums[..., None], 32, 2))


@pytest.mark.parametrize("barrier", ["", "__syncthreads();"])
def test_threads_that_do_not_wait_for_each_other_are_found_when_they_run_from_the_last(tmp_path, monkeypatch, barrier):
    source = write(
        tmp_path,
        """extern "C" __global__ void shift(int* b) {
        __shared__ int all[64];
        all[threadIdx.x] = threadIdx.x;
        BARRIER
        b[64 * blockIdx.x + threadIdx.x] = threadIdx.x ? all[threadIdx.x - 1] : -1;
    }""".replace("BARRIER", barrier),
    )
    out = cuda.emulated().empty(128, np.int32)
    for order, right in ("", True), ("reversed", barrier != ""):
        monkeypatch.setenv("VISAVIS_EMULATE", order)
        emulate(source, "shift", (64,), out)
        assert np.array_equal(out.get().reshape(2, 64), np.tile(np.arange(-1, 63), (2, 1))) == right


@pytest.mark.skipif(not has_fma(), reason="this processor has no fused multiply-add")
def test_products_and_sums_are_rounded_once_where_that_is_wanted(tmp_path, monkeypatch):
    source = write(
        tmp_path,
        """extern "C" __global__ void rest(const float* a, float* b) {
        b[blockIdx.x] = a[0] * a[0] + a[1];
    }""",
    )
    value = np.float32(1 + 2**-12)
    numbers, out = cuda.emulated().array(np.array([value, -(value * value)], np.float32)), np.float32(2**-24)
    for order, wanted in ("", 0.0), ("fused", out):
        target = cuda.emulated().empty(2, np.float32)
        monkeypatch.setenv("VISAVIS_EMULATE", order)
        emulate(source, "rest", (1,), numbers, target)
        assert (target.get() == wanted).all()


def test_a_barrier_that_not_all_threads_reach_is_an_error(tmp_path):
    source = write(
        tmp_path,
        """extern "C" __global__ void stuck() {
        if (threadIdx.x < 3) __syncthreads(); else __syncwarp();
    }""",
    )
    with pytest.raises(RuntimeError, match="different barriers"):
        emulate(source, "stuck", (64,))


def test_a_table_has_the_layout_of_the_struct_that_the_source_declares(tmp_path, monkeypatch):
    write(
        tmp_path,
        """#define SIDES 3
    struct Lens { float r[9], t[SIDES]; };
    struct Row {  // a comment; with a semicolon
        const float *a, *b;
        unsigned char* __restrict__ c[2];
        Lens lens;
        int count;
        long long far;
    };""",
    )
    monkeypatch.setattr(layout, "ROOT", tmp_path)
    dtype = layout.struct("op", "Row")
    offsets = {name: dtype.fields[name][1] for name in dtype.names}
    assert offsets == {"a": 0, "b": 8, "c": 16, "lens": 32, "count": 80, "far": 88} and dtype.itemsize == 96
    with pytest.raises(ValueError, match="differ in: b, far"):
        layout.table("op", "Row", [{"a": None, "c": [1, 2], "lens": np.zeros((), dtype["lens"]), "count": 1}])
    with pytest.raises(ValueError, match="no struct Other"):
        layout.struct("op", "Other")
