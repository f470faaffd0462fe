"""What suites `gpu` and `kernels` work out of their figures; a GPU itself is not needed."""

import numpy as np
import pytest
from rich.console import Console

from bench import gpu, gpu_report, gpu_rig, gpu_streams, kernels_gpu, launches, roofline
from kernels import cuda
from kernels.emulator import build

emulated = pytest.mark.skipif(build.compiler() is None, reason="no g++ on this machine")


def test_the_roof_is_memory_or_arithmetic_whichever_takes_longer():
    roof = roofline.card("h200")
    assert roofline.bound(roof, 48_000_000, 1000) == roofline.Bound(48e6 / 4.8e12, "memory")
    assert roofline.bound(roof, 8, 67_000_000).by == "arithmetic"
    assert roofline.bound(roof, 8, 67_000_000, "fp16").seconds < roofline.bound(roof, 8, 67_000_000).seconds
    assert roofline.unit("experts.finish_f16_192") == "fp16" and roofline.unit("yuv.convert") == "fp32"
    with pytest.raises(ValueError, match="h200, rtx4090, l4"):
        roofline.card("gtx")


def test_a_launch_costs_what_its_own_function_says_of_the_facts_it_is_told():
    facts = {"": {"rows": 3, "height": 512, "width": 512}, "guidance.lead": {"height": 256, "width": 256},
             "move.move#2": {"counts": [5]}}  # fmt: skip
    assert kernels_gpu.cost("yuv.convert", facts) == (int(3 * 512 * 512 * 4.5), 3 * 512 * 512 * 16)
    assert kernels_gpu.cost("guidance.lead", facts)[0] < kernels_gpu.cost("yuv.convert", facts)[0] * 20
    assert kernels_gpu.cost("move.move#2", facts) == (40, 0) and kernels_gpu.cost("move.move", facts) is None
    assert kernels_gpu.cost("nonsense.kernel", facts) is None


def test_launches_of_one_name_are_told_apart():
    assert launches.numbered(["a", "b", "a", "a"]) == ["a", "b", "a#2", "a#3"]


@emulated
def test_all_launches_of_a_piece_of_work_are_heard_and_time_is_of_the_events():
    device = cuda.emulated()
    stream, out = device.stream(), device.empty(512, np.float32)
    heard = launches.Launches(device, stream)

    def work():
        for _ in range(2):
            roofline.multiply(device, stream, out, 2)

    name = f"{roofline.SOURCE}.multiply"
    assert heard.names(work) == [name, f"{name}#2"] and np.isfinite(out.get()).all()
    times = heard.times(work, 2, cold=True, warm=0)
    assert {key: len(value) for key, value in times.items()} == {name: 2, f"{name}#2": 2}
    assert "launch" not in vars(device)


@emulated
def test_the_ceilings_kernels_do_what_they_are_timed_for():
    device = cuda.emulated()
    source, target = device.array(np.arange(4100, dtype=np.uint32)), device.empty(4100, np.uint32)
    device.launch(roofline.SOURCE, "copy", (2,), (256,), source, target, np.array(1025))
    assert np.array_equal(source.get(), target.get())


def test_the_most_streams_are_found_between_what_works_and_what_does_not():
    for limit in (0, 1, 5, 16, 47, 64, 100, 512):
        found = gpu_streams.most(lambda count, limit=limit: count <= limit)
        assert found <= limit and found >= limit - max(1, limit // 8), (limit, found)


def test_lines_of_nvidia_smi_are_read_and_others_left_out():
    assert gpu_streams.parsed("312.4, 20480, 97, 1980\n") == [312.4, 20480, 97, 1980]
    assert gpu_streams.parsed("[N/A], 3, 4, 5") is None and gpu_streams.parsed("1, 2") is None


METRICS = {
    "torch-eager.512.1.b1.tick_ms": {"p50": 4.0, "p95": 4.5, "p99": 6.0, "unit": "ms"},
    "torch-compile.512.1.b1.tick_ms": {"p50": 3.0, "p95": 3.5, "p99": 4.0, "unit": "ms"},
    "torch-compile.512.1.b1.whole_ms": {"p50": 4.0, "p95": 4.5, "p99": 4.9, "unit": "ms"},
    "tensorrt.512.1.b1.tick_ms": {"p50": 1.5, "p95": 2.0, "p99": 2.5, "unit": "ms"},
    "overhead.replay_us": {"p50": 51.0, "p99": 60.0, "unit": "us"},
    "stage.raster.b1_ms": {"p50": 0.1, "p95": 0.1, "p99": 0.1, "unit": "ms"},
}


def test_the_reach_is_met_missed_or_not_measured():
    metrics = METRICS | gpu_report.derived(METRICS)
    rows = {name: (measured, met) for name, _, measured, met in gpu_report.reach(metrics)}
    assert gpu_report.best(METRICS) == "tensorrt" and rows["tensorrt_over_compile"] == ("2", "yes")
    assert rows["overhead.replay_us"] == ("51", "NO") and rows["streams.count"] == ("not measured", "")
    for rehearsed in (False, True):
        assert gpu_report.tables(metrics, rehearsed)


def test_plots_show_what_was_measured(tmp_path):
    pytest.importorskip("matplotlib", reason="the extra 'train' is not installed")
    assert gpu_report.plot(tmp_path, METRICS).stat().st_size > 5000
    points = [("yuv.convert", 100, 400, None), ("cells.show", 1000, 900, 1e-6), ("move.move", 100, 0, None)]
    assert roofline.plot(tmp_path, "roof", roofline.card("l4"), points).stat().st_size > 5000


def test_stages_take_in_every_kernel_and_network_of_a_tick():
    for name in ("logmel.logmel", "lips", "performer", "act.act", "rasterize.fill", "guidance.sample", "painter",
                 "cells.show", "move.move"):  # fmt: skip
        assert gpu.group_of(name) in gpu_rig.GROUPS


def test_without_a_gpu_a_figure_is_refused_with_the_way_to_rehearse(monkeypatch):
    def none(*_):
        raise gpu_rig.CudaError("no NVIDIA driver")

    monkeypatch.setattr(gpu_rig, "Device", none)
    with pytest.raises(ValueError, match="no NVIDIA driver.*nothing is timed; `--rehearse`"):
        gpu.run(quick=True, log=Console(quiet=True))


def test_what_cannot_be_had_is_kept_with_its_reason_and_time_that_is_over_too():
    bench = gpu.Bench(None, None, Console(quiet=True), False, 1, 1e18, np.zeros(0))

    def fails():
        raise ValueError("TensorRT is not installed")

    assert not bench.attempt("tensorrt", fails)
    assert bench.metrics["absent.tensorrt"] == {"unit": "TensorRT is not installed"}
    bench.end = 0.0
    assert not bench.attempt("streams", lambda: None) and "time was over" in bench.metrics["absent.streams"]["unit"]
    bench.rehearse = True
    bench.note("a", [1.0])
    assert "p50" not in bench.metrics["a"]
