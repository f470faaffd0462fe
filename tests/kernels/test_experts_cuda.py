"""The experts' kernels, run without a GPU, equal their reference: both half types, odd sizes, padding rows."""

import numpy as np
import pytest

from kernels import cuda, experts, nvrtc
from kernels.emulator import build
from kernels.experts import cost, reference

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="no g++ on this machine")
LEVEL, GAIN, KEEP, TAKE = 8**0.5, 1 / 0.596, 0.7 / 0.58**0.5, 0.3 / 0.58**0.5
ULP = {"fp16": 2**-10, "bf16": 2**-7}
NOTHING = 7.0  # what a row that is not meant holds before and after


def narrow(values, kind):
    """``values`` rounded as the kernel keeps them, as bits."""
    if kind == "fp16":
        return np.asarray(values, np.float16).view(np.uint16)
    bits = np.asarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def wide(bits, kind):
    if kind == "fp16":
        return bits.view(np.float16).astype(np.float64)
    return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


class Case:
    """Random layers of ``rows`` rows, as bits on the device (an emulated one if none is given) and as numbers."""

    def __init__(self, kind, rows, pixels, channels, inner, seed=0, device=None):
        self.kind, self.rows, self.device = kind, rows, device or cuda.emulated()
        self.rng, self.kept, self.numbers = np.random.default_rng(seed), [], {}
        self.layer = {"pixels": pixels, "channels": channels, "inner": inner, "level": LEVEL}
        self.give("x", (rows, pixels, channels))
        self.give("inward", (inner, channels), channels**-0.5, packed=True)
        self.give("outward", (channels, inner), inner**-0.5, packed=True)
        self.give("out", np.full((rows, pixels, channels), NOTHING))

    def give(self, name, values, scale=1.0, packed=False):
        values = values if isinstance(values, np.ndarray) else scale * self.rng.standard_normal(values)
        bits = narrow(values, self.kind)
        self.numbers[name] = wide(bits, self.kind)
        self.kept.append(self.device.array(experts.pack(bits) if packed else np.ascontiguousarray(bits)))
        self.layer[name] = self.kept[-1].pointer
        return self.kept[-1]

    def give_gate(self, shared):
        rows = 1 if shared else self.rows
        raw = np.exp(2 * self.rng.standard_normal((rows, self.layer["pixels"], 8)))
        self.give("gate", raw / raw.sum(-1, keepdims=True))
        self.layer["gate_step"] = 0 if shared else 8 * self.layer["pixels"]

    def give_block(self):
        channels = self.layer["channels"]
        self.give("y", (self.rows, self.layer["pixels"], channels))
        self.give("scale", (self.rows, channels), 0.3)
        self.give("kernel", (self.rows, channels, channels), channels**-0.5, packed=True)
        self.layer |= {"kernel_step": channels**2, "gain": GAIN, "keep": KEEP, "take": TAKE}

    def run(self, kernel, live=None):
        if live is not None:
            self.kept.append(self.device.array(np.array([live], np.int32)))
            self.layer["live"] = self.kept[-1].pointer
        kernel(self.device, self.kind, self.rows, **self.layer)
        shape = self.numbers["out"].shape
        out = np.empty(shape, np.uint16)
        self.device.check(self.device.driver.cuMemcpyDtoH(out.ctypes.data, self.layer["out"], out.nbytes))
        if self.device.name == "emulated":
            self.device.driver.check_guards()
        return wide(out, self.kind)

    def masked(self):
        n = self.numbers
        return reference.masked(n["x"], n["inward"], n["outward"], n.get("gate"), LEVEL)

    def finish(self):
        n = self.numbers
        return reference.finish(
            n["x"], n["y"], n["scale"], n["kernel"], n["inward"], n["outward"], n.get("gate"), LEVEL, GAIN, KEEP, TAKE
        )


@pytest.mark.parametrize("kind", ["fp16", "bf16", "fp32"])
def test_every_row_gets_its_own_mixture_and_padding_rows_are_left_alone(kind):
    rng, device, (rows, count, values), live = np.random.default_rng(1), cuda.emulated(), (19, 6, 1000), 18
    gate = rng.dirichlet(np.ones(count), rows).astype(np.float32)
    each = rng.standard_normal((count, values)).astype(np.float32)
    bits = each if kind == "fp32" else narrow(each, kind)
    real = each if kind == "fp32" else wide(bits, kind)
    given = device.array(gate), device.array(bits), device.zeros((rows, values), bits.dtype)
    limit = device.array(np.array([live], np.int32))
    experts.mix(device, kind, *(array.pointer for array in given), (rows, count, values), limit.pointer)
    device.driver.check_guards()
    out = given[2].get() if kind == "fp32" else wide(given[2].get(), kind)
    tolerance = 1e-6 if kind == "fp32" else 2 * ULP[kind]
    np.testing.assert_allclose(out[:live], reference.mix(gate, real)[:live], atol=tolerance, rtol=tolerance)
    assert (out[live:] == 0).all()


@pytest.mark.parametrize("kind", ["fp16", "bf16"])
@pytest.mark.parametrize("pixels, channels, inner", [(33, 16, 16), (97, 80, 64), (5, 208, 32), (34, 336, 48)])
def test_masked_experts_equal_their_reference(kind, pixels, channels, inner):
    case = Case(kind, 2, pixels, channels, inner, seed=pixels)
    case.give_gate(shared=False)
    np.testing.assert_allclose(case.run(experts.masked), case.masked(), atol=4 * ULP[kind], rtol=2 * ULP[kind])


@pytest.mark.parametrize("kind", ["fp16", "bf16"])
@pytest.mark.parametrize("pixels, channels, inner", [(65, 48, 64), (63, 144, 128), (6, 448, 16)])
def test_the_second_half_of_a_block_equals_its_reference(kind, pixels, channels, inner):
    case = Case(kind, 2, pixels, channels, inner, seed=pixels)
    case.give_gate(shared=False)
    case.give_block()
    np.testing.assert_allclose(case.run(experts.finish), case.finish(), atol=4 * ULP[kind], rtol=2 * ULP[kind])


@pytest.mark.parametrize("kind", ["fp16", "bf16"])
@pytest.mark.parametrize("pixels, channels, inner", [(1000, 192, 128), (333, 320, 128), (250, 448, 128), (77, 80, 64)])
def test_on_a_gpu_they_equal_their_reference_too(kind, pixels, channels, inner):
    try:
        device = cuda.Device()
    except cuda.CudaError as error:
        pytest.skip(f"no GPU to run on: {error}")
    if experts.refused(kind, device.arch, channels, inner, 1):
        pytest.skip(experts.refused(kind, device.arch, channels, inner, 1))
    case = Case(kind, 3, pixels, channels, inner, seed=pixels, device=device)
    case.give_gate(shared=False)
    np.testing.assert_allclose(case.run(experts.masked), case.masked(), atol=4 * ULP[kind], rtol=2 * ULP[kind])
    case.give_block()
    np.testing.assert_allclose(case.run(experts.finish), case.finish(), atol=4 * ULP[kind], rtol=2 * ULP[kind])


def test_rows_may_share_a_gate_or_have_none():
    case = Case("fp16", 3, 9, 32, 16)
    np.testing.assert_allclose(case.run(experts.masked), case.masked(), atol=4e-3)
    case.give_gate(shared=True)
    np.testing.assert_allclose(case.run(experts.masked), case.masked(), atol=4e-3)


def test_padding_rows_are_left_alone_and_change_nothing():
    case = Case("fp16", 3, 35, 32, 16)
    case.give_block()
    whole = case.run(experts.finish)
    case.give("out", np.full(whole.shape, NOTHING))
    out = case.run(experts.finish, live=2)
    np.testing.assert_array_equal(out[:2], whole[:2])
    assert (out[2] == NOTHING).all()


def test_what_the_kernels_do_not_take_is_said():
    assert experts.refused("fp16", "sm_90", 448, 128, 8) is None
    for given, word in (
        (("fp32", "sm_90", 64, 16, 1), "fp16 and bf16"), (("bf16", "sm_75", 64, 16, 1), "Turing"),
        (("fp16", "sm_90", 72, 16, 1), "multiple of 16"), (("fp16", "sm_90", 464, 16, 1), "448 at most"),
        (("fp16", "sm_90", 64, 256, 1), "128 at most"), (("fp16", "sm_90", 64, 16, 9), "view experts"),
    ):  # fmt: skip
        assert word in experts.refused(*given)
    case = Case("fp16", 1, 4, 16, 16)
    case.layer["channels"] = 24
    with pytest.raises(cuda.CudaError, match="24 channels"):
        case.run(experts.masked)
    with pytest.raises(cuda.CudaError, match="multiple of 8"):
        experts.mix(case.device, "fp16", 0, 0, 0, (1, 2, 12))
    with pytest.raises(ValueError, match="multiples of 16"):
        experts.pack(np.zeros((16, 8), np.uint16))


def test_numbers_of_half_the_size_round_as_numpy_rounds_them(tmp_path):
    (tmp_path / "op").mkdir()
    source = tmp_path / "op" / "kernel.cu"
    source.write_text("""#include "half.cuh"
    extern "C" __global__ void turn(const float* in, unsigned short* half, unsigned short* brain, float* back, int n) {
        const int i = blockIdx.x * blockDim.x + threadIdx.x;
        if (i >= n) return;
        half[i] = Half::narrow(in[i]);
        brain[i] = Bfloat::narrow(in[i]);
        back[i] = Half::wide((unsigned short)i);
    }""")
    rng = np.random.default_rng(2)
    values = (rng.standard_normal(65536) * 2.0 ** rng.integers(-26, 17, 65536)).astype(np.float32)
    values[:6] = 0, -0.0, 65519.9, 65520, np.inf, 2**-25
    device = cuda.Device(driver=cuda.emulated().driver, compiler=lambda *_: str(source).encode())
    half, brain, back = (device.empty(65536, kind) for kind in (np.uint16, np.uint16, np.float32))
    device.launch("op", "turn", (256,), (256,), device.array(values), half, brain, back, 65536)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(half.get(), narrow(values, "fp16"))
    np.testing.assert_array_equal(brain.get(), narrow(values, "bf16"))
    np.testing.assert_array_equal(back.get(), np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float32))


@pytest.mark.parametrize("arch", nvrtc.ARCHITECTURES)
def test_compiles_for(arch):
    for name in ("cuda.bindings.nvrtc", "cuda.core"):
        pytest.importorskip(name, reason="the extra 'gpu' is not installed", exc_type=ImportError)
    assert len(nvrtc.compile_cubin(nvrtc.ROOT / "experts" / "kernel.cu", arch)) > 1000


def test_fusing_moves_a_fourth_of_what_is_moved_without():
    rows, pixels, channels, inner = 16, 4096, 192, 128
    moved, _ = cost.finish(rows, pixels, channels, inner)
    apart = 2 * rows * pixels * (10 * channels + 4 * inner)
    assert 3.5 < apart / moved < 4.5
    assert cost.mix(16, 6, channels**2, 2)[0] < 2 * (16 + 6 + 1) * channels**2
    assert cost.masked(1, 1, 16, 16)[1] == 4 * 16 * 16 + 32
