from __future__ import annotations

import builtins
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from engine.backends.tensorrt import Gpu
from exporters import export as exporting
from exporters import torch_tensorrt
from exporters.painter import inputs_of
from exporters.render import save_weights
from tests.exporters import graphs
from visavis import cli_export
from visavis.cli import app
from visavis.cli_export import parse_size

runner = CliRunner()


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command's options for a small network; frames are drawn and graphs exported beforehand."""
    save_weights(graphs.net(), tmp_path / "small.safetensors")

    def drawn(net: Any, size: tuple[int, int], *_: Any) -> Any:
        for seed in range(4):
            painter = exporting.Painter(net, 2)
            values = {name: value.numpy() for name, value in inputs_of(painter, size, 1).items() if name != "wanted"}
            values["view"] = np.random.default_rng(seed).normal(size=(1, 4)).astype(np.float32)
            yield values

    def exported(net: Any, path: Path, *, precision: str, **_: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(graphs.graph(precision), path)

    monkeypatch.setattr(exporting, "draw", drawn)
    monkeypatch.setattr(exporting, "load_weights", lambda path: graphs.net())
    monkeypatch.setattr(exporting, "export_painter", exported)
    return [
        "export",
        "--network",
        str(tmp_path / "small.safetensors"),
        "--size",
        "96x64",
        "--out",
        str(tmp_path / "out"),
    ]


def failed(*args: str) -> str:
    done = runner.invoke(app, [*args])
    assert isinstance(done.exception, (ValueError, OSError)), done.output
    return str(done.exception)


def test_a_graph_is_written_and_how_exact_it_is_is_said(asked: list[str], tmp_path: Path) -> None:
    done = runner.invoke(app, [*asked, "--precision", "fp32"])
    assert done.exit_code == 0, done.output
    said = done.stdout.splitlines()
    path = tmp_path / "out" / "small_96x64_1step_fp32.onnx"
    assert said[0].startswith(f"wrote {path} (") and said[0].endswith("opset 22, for batches of 1 to 64")
    assert "largest difference to torch on 2 frames: residual" in said[1] and "same masks 100.0%" in said[1]
    assert said[2].strip() == "its pictures to those in float32: inf dB (PSNR)"
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_graph_that_is_not_the_network_is_not_left_behind(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = {"residual": 0.5, "shares": 0.0, "gain": 0.0, "mask": 1.0}
    monkeypatch.setattr(exporting, "parity", lambda *_: wrong)
    said = failed(*asked, "--precision", "fp32")
    assert "the graph is not the network: residual is off by 0.5" in said and not list((tmp_path / "out").iterdir())


def test_an_engine_is_built_without_a_gpu_and_it_is_said_for_which(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="pip install 'visavis[trt-rtx]'")
    monkeypatch.setattr(cli_export, "there", lambda: (None, "no NVIDIA driver"))
    done = runner.invoke(app, [*asked, "--backend", "tensorrt", "--steps", "2", "--batch", "8"])
    assert done.exit_code == 0, done.output
    assert "no GPU here: no NVIDIA driver" in done.stderr
    assert (
        "small_96x64_2steps_fp16.engine" in done.stdout
        and "for GPUs of compute capability 8.6, 8.9, 12.0" in done.stdout
    )


def test_for_the_gpu_that_is_there_all_networks_of_a_tick_are_built(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu, built = Gpu("NVIDIA H200", "9.0", "580.82.07"), []

    def build(onnx: Path, flavour: Any, there: Gpu, **_: Any) -> Path:
        assert (flavour.runs, there) == ("TensorRT 11", gpu)
        built.append(onnx.name)
        return onnx

    monkeypatch.setattr(cli_export, "there", lambda: (gpu, ""))
    flavours = {(None, "9.0"): type("Flavour", (), {"runs": "TensorRT 11"})()}
    monkeypatch.setattr("engine.backends.tensorrt_build.find", lambda *given: flavours[given])
    monkeypatch.setattr(exporting.tensorrt, "export_engine", build)
    done = runner.invoke(app, [*asked, "--backend", "tensorrt", "--steps", "2"])
    assert done.exit_code == 0, done.output
    assert built == ["small_96x64_2steps_fp16.onnx", "motion_v2.onnx", "performer_v1.onnx"]
    assert "TensorRT 11, for NVIDIA H200, driver 580.82.07, batches of 1 to 64" in done.stdout


def test_eight_bit_floats_are_refused_where_they_cost_too_much(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting.float8, "LEAST", 90.0)
    assert "eight-bit floats lose too much on this network" in failed(*asked, "--precision", "fp8")
    assert not (tmp_path / "out").exists()


def test_torch_tensorrt_writes_a_program_or_says_what_is_missing(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "torch_tensorrt cannot be used" in failed(*asked, "--backend", "torch-tensorrt")

    def write(net: Any, path: Path, **_: Any) -> None:
        path.parent.mkdir()
        path.write_bytes(b"program")

    monkeypatch.setattr(torch_tensorrt, "export_program", write)
    done = runner.invoke(app, [*asked, "--backend", "torch-tensorrt", "--batch", "16"])
    assert "small_96x64_1step_fp16.pt2" in done.stdout and "for batches of 1 to 16" in done.stdout


def test_a_package_that_is_missing_is_named_with_its_install_line(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_export, "there", lambda: (None, "no NVIDIA driver"))
    assert "pip install 'visavis[tensorrt]'" in failed(*asked, "--backend", "tensorrt", "--package", "tensorrt")
    assert "packages tensorrt and tensorrt_rtx; got 'rtx'" in failed(
        *asked, "--backend", "tensorrt", "--package", "rtx"
    )


def test_without_torch_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    load = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name == "exporters":
            raise ImportError("No module named 'torch'", name="torch")
        return load(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert failed("export") == "exporting needs the extra 'gpu': pip install 'visavis[gpu]' (torch is missing)"


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--backend", "cuda"], 'backend must be one of onnx, tensorrt, torch-tensorrt; got "cuda"'),
        (["--precision", "int8"], "precision must be one of fp32, fp16, bf16, fp8; got 'int8'"),
        (["--size", "big"], '--size is N or WIDTHxHEIGHT, e.g. 512 or 512x768, got "big"'),
        (["--batch", "65"], "batches are of 1 to 64 frames, not of 65"),
        (["--network", "huge"], "--network takes lite"),
        (["--size", "100"], "multiples of 32 pixels, not 100 x 100"),
        (["--steps", "3"], "steps must be one of 1, 2, 4; got 3"),
    ],
)
def test_what_cannot_be_exported_is_said_at_once(option: list[str], said: str) -> None:
    assert said in failed("export", *option)


def test_sizes_are_width_by_height() -> None:
    assert parse_size("512") == (512, 512) and parse_size("512x768") == (768, 512)
