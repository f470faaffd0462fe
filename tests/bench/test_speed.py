"""Suite `speed`: networks count what is published, exports answer as eager torch, ratios stay within rounds."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional as F

from bench import speed, speed_lips, speed_report, speed_run
from bench.networks import fomm, warping
from bench.networks.diffusion import Attention, Residual, Transformer, Unet
from bench.networks.musetalk import SD_UNET
from bench.networks.ours import SIDES
from bench.networks.parts import Part, System, draw, parameters
from bench.networks.systems import OURS, PEERS, SYSTEMS, part_of
from bench.networks.ultralight import Inverted
from bench.speed_export import Exported, difference, exported, fixed
from bench.speed_run import RUNTIMES, Entry, load
from engine.backends import openvino

PARTS = {f"{system.name}.{part.name}": part for system in PEERS for part in system.parts}
RUNNABLE = [name for name in RUNTIMES if name != "openvino_bf16" or openvino.has_bf16()]
QUIET = Console(quiet=True)


@pytest.mark.parametrize("name", [name for name, part in PARTS.items() if part.count])
def test_parameters_are_as_many_as_published(name: str) -> None:
    published = PARTS[name].count
    assert published and published.source
    assert PARTS[name].parameters() == pytest.approx(published.parameters, rel=published.spread)


def test_the_diffusion_network_is_stable_diffusions_when_it_is_told_so() -> None:
    with torch.device("meta"):
        assert parameters(Unet(4, 768)) == SD_UNET


def test_wav2lip_256_counts_what_its_public_layer_list_does() -> None:
    """(channels in, out, kernel, residual layers behind), read off lipku/LiveTalking's wav2lip_v2.py (a6c7693)."""
    layers = [
        (6, 16, 7, 0), (16, 32, 3, 2), (32, 64, 3, 3), (64, 128, 3, 2), (128, 256, 3, 2), (256, 512, 3, 1),
        (512, 512, 3, 1), (512, 512, 4, 0), (512, 512, 1, 0),
        (1, 32, 3, 2), (32, 64, 3, 2), (64, 128, 3, 2), (128, 256, 3, 1), (256, 512, 3, 0), (512, 512, 1, 0),
        (512, 512, 1, 0), (1024, 512, 4, 1), (1024, 512, 3, 1), (1024, 512, 3, 2), (768, 384, 3, 2), (512, 256, 3, 2),
        (320, 128, 3, 2), (160, 64, 3, 2), (80, 32, 3, 0),
    ]  # fmt: skip
    normed = sum(a * b * k * k + 3 * b + same * (9 * b * b + 3 * b) for a, b, k, same in layers)
    assert PARTS["wav2lip256.generator"].parameters() == normed + 32 * 3 + 3


def test_those_without_a_published_count_keep_theirs() -> None:
    counted = {name: part.parameters() for name, part in PARTS.items() if part.count is None}
    assert counted == {
        "ultralight.generator": 12_159_591, "wav2lip256.generator": 53_605_683, "fomm.keypoints": 14_215_368,
        "fomm.generator": 45_575_391, "sadtalker.mapping": 10_195_190, "sadtalker.render": 100_988_176,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("system", "part", "gflop"),
    [("wav2lip96", "generator", 7.93), ("liveportrait", "warping", 342.1), ("liveportrait", "decoder", 891.6)],
)
def test_operations_are_those_of_the_public_code(system: str, part: str, gflop: float) -> None:
    assert part_of(system, part).cost()[1] / 1e9 == pytest.approx(gflop, rel=1e-3)


@pytest.mark.parametrize("system", PEERS, ids=lambda s: s.name)
def test_the_last_part_paints_a_picture_of_the_size_that_is_told(system: System) -> None:
    part = system.parts[-1]
    with torch.device("meta"):
        net = part.build().eval()
    with torch.no_grad():
        out = net(*(torch.from_numpy(value).to("meta") for value in part.feed().values()))
    assert out.shape == (1, 3, *system.size[::-1])
    assert system.side == (512 if system.size[0] == 512 else 256)


def test_everybody_says_what_it_paints_leaves_out_and_comes_from() -> None:
    for system in SYSTEMS.values():
        assert system.paints and system.missing and system.licence and system.source and system.steps
        assert any(part.per_frame for part in system.parts)
    assert [s.name for s in OURS] == [f"ours{side}" for side in SIDES]


def test_weights_and_inputs_are_the_same_for_the_same_seed_and_others_for_another() -> None:
    def made(seed: int) -> Tensor:
        with torch.device("meta"):
            net = Inverted(8, 8)
        return draw(net, seed)[0].weight

    assert torch.equal(made(1), made(1)) and not torch.equal(made(1), made(2))
    part = PARTS["ditto.motion"]
    assert all(np.array_equal(part.feed(3)[k], v) for k, v in part.feed(3).items())
    assert not np.array_equal(part.feed(3)["motion"], part.feed(4)["motion"])


def test_a_volume_is_sampled_as_torch_does_it() -> None:
    rng = torch.Generator().manual_seed(0)
    volume, at = torch.rand(1, 3, 4, 5, 6, generator=rng), torch.rand(40, 3, generator=rng) * 3 - 1.5
    right = F.grid_sample(volume, at.reshape(1, 40, 1, 1, 3), align_corners=False).reshape(3, 40)
    torch.testing.assert_close(warping.sample(volume, at), right)


def test_jacobians_are_inverted() -> None:
    turns = torch.tensor([[[1.0, 0.5], [-0.2, 2.0]], [[0.0, 1.0], [-1.0, 0.3]]])
    torch.testing.assert_close(fomm.inverse(turns), torch.linalg.inv(turns))


class Pieces(nn.Module):
    """What is special in the networks, small: attention, a sampled volume, channel-wise and normalised convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.residual, self.transformer = Residual(32, 64, 8), Transformer(64, 24)
        self.attention, self.inverted = Attention(64, 64, 1, bias=True), Inverted(64, 32, 2)

    def forward(self, x: Tensor, t: Tensor, heard: Tensor, volume: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        y = self.transformer(self.residual(x, t), heard)
        rows = y.flatten(2).transpose(1, 2)
        y = y + self.attention(rows, rows).transpose(1, 2).unflatten(2, y.shape[2:])
        return self.inverted(y), warping.sample(volume, at)


PIECES = Part("pieces", Pieces, {"x": (1, 32, 8, 8), "t": (1, 8), "heard": (1, 5, 24), "volume": (1, 4, 3, 8, 8),
                                 "at": (50, 3)}, ("y", "sampled"))  # fmt: skip
SMALL = System("small", "Small", (PIECES,), (8, 8), "nothing", "1", "all", "ours", "here")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SYSTEMS, "small", SMALL)
        return exported("small", "pieces", tmp_path_factory.mktemp("kept"), 1)


@pytest.mark.parametrize("runtime", RUNNABLE)
def test_an_export_answers_as_eager_torch(made: Exported, runtime: str) -> None:
    runner = load(runtime, made.path, made.feed, 1)
    runner.run()
    off = difference(runner.answer(), made.answer)
    assert off < (speed.SAME if runtime.endswith("f32") else max(speed.LEAST, speed.ROUNDED * made.rounded))


def test_our_network_is_exported_and_the_shipped_file_is_it_in_eight_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = exported("ours256", "network", tmp_path, 1)
    for runtime in RUNNABLE:
        exact = speed.SAME if runtime.endswith("f32") else max(speed.LEAST, speed.ROUNDED * made.rounded)
        for path, limit in ((made.path, exact), (speed.shipped(256), speed.SHIPPED)):
            runner = load(runtime, path, made.feed, 1)
            runner.run()
            assert difference(runner.answer(), made.answer) < limit


def test_a_kept_export_is_used_again_and_another_description_is_exported_anew(
    made: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made.path.parents[1]
    monkeypatch.setitem(SYSTEMS, "small", SMALL)
    written = made.path.stat().st_mtime_ns
    assert exported("small", "pieces", folder, 1).path.stat().st_mtime_ns == written
    monkeypatch.setattr("bench.speed_export.made_of", lambda version: "else")
    assert exported("small", "pieces", folder, 1).path.parent.name == "small.pieces-else"
    assert [path.name for path in folder.iterdir()] == ["small.pieces-else"]  # and the old one is gone
    made.path.parent.mkdir()
    (folder / "small.pieces-else" / "model.onnx").rename(made.path)


def test_a_network_that_answers_something_else_is_not_timed(made: Exported) -> None:
    key = speed.Key("small", "pieces")
    keys = {("small", "pieces"): key}
    right = speed.one("ort_f32", [SMALL], keys, {key: made}, {}, 2, 1, QUIET)
    assert right["ort_f32.small.ms_per_frame"]["n"] >= 6 and right["ort_f32.small.pieces.error"]["value"] < speed.SAME
    wrong = {name: value + 0.01 for name, value in made.answer.items()}
    other = Exported(made.path, made.feed, wrong, 1, 1, 1.0, made.rounded)
    metrics = speed.one("ort_f32", [SMALL], keys, {key: other}, {}, 2, 1, QUIET)
    assert metrics.keys() == {"ort_f32.small.pieces.error"}


def test_a_difference_is_of_the_worst_output_and_never_finite_for_what_is_not() -> None:
    right = {"a": np.array([0.0, 2.0]), "b": np.array([0.0, 20.0]), "class": np.array([1, 2])}
    assert difference(right, right) == 0
    off = {**right, "a": np.array([0.0, 2.5]), "class": np.array([2, 2])}
    assert difference(off, right) == pytest.approx(np.sqrt(0.125))
    assert difference({**right, "b": np.array([np.nan, 1.0])}, right) == float("inf")


def test_rounds_go_through_everybody_and_the_heavy_sit_most_of_them_out() -> None:
    order: list[str] = []
    entries = [Entry("a", lambda: order.append("a")), Entry("b", lambda: order.append("b"), heavy=True)]
    taken = speed_run.turns(entries, 4, QUIET, "")
    assert [len(runs) for runs in taken["b"]] == [1, 0, 0, 1]
    assert all(3 <= len(runs) <= 20 for runs in taken["a"])
    assert order.index("b") == order.count("a") - sum(len(runs) + 1 for runs in taken["a"][1:])


def test_a_picture_takes_all_parts_as_often_as_they_run() -> None:
    motion, decoder = [[70.0, 140.0], [], [7.0]], [[10.0, 20.0, 30.0], [5.0], [1.0]]
    assert speed_run.together([(motion, 0.1), (decoder, 1.0)]) == [[17.0, 34.0], [], [pytest.approx(1.7)]]


def test_a_ratio_is_taken_within_rounds() -> None:
    """Everything gets slower from round to round; the ratio does not notice."""
    ours, theirs = [[1.0, 1.0], [10.0], [100.0]], [[3.0, 4.0, 5.0], [], [410.0]]
    assert speed_run.ratio(theirs, ours) == pytest.approx((4.0 + 4.1) / 2)
    with pytest.raises(ValueError, match="no round"):
        speed_run.ratio([[], [1.0]], [[1.0], []])


def test_what_is_measured_says_how_many_times_ours_it_is() -> None:
    keys = speed.shared([*OURS, *PEERS])
    assert keys["ditto", "decoder"] == keys["liveportrait", "decoder"] != keys["musetalk", "decoder"]
    taken = {key.name: [[8.0, 8.0]] for key in set(keys.values())}
    taken |= {"ours256.network": [[2.0, 2.0]], "ours512.network": [[4.0, 4.0]], "ours512.whole": [[6.0]]}
    metrics = speed._timed("ort_f32", [*OURS, *PEERS], keys, taken)
    assert metrics["ort_f32.wav2lip96.of_ours"] == {"value": 4.0, "unit": "times ours256"}
    assert metrics["ort_f32.liveportrait.of_ours"] == {"value": 6.0, "unit": "times ours512"}
    assert (
        metrics["ort_f32.liveportrait.ms_per_frame"]["p50"] == 24
    )  # extractor, warping, decoder; the appearance is made once
    assert metrics["ort_f32.ours512.whole.of_ours"]["value"] == 1.5
    del taken["musetalk.decoder"]  # not right, so not timed: then there is no time of the whole either
    metrics = speed._timed("ort_f32", [*OURS, *PEERS], keys, taken)
    assert "ort_f32.musetalk.ms_per_frame" not in metrics and "ort_f32.musetalk.unet.run_ms" in metrics


def test_a_named_dimension_gets_its_number(tmp_path: Path) -> None:
    from bench.networks.ours import WEIGHTS

    path = fixed(WEIGHTS.with_name("renderer_lite.onnx"), {"rows": 32, "columns": 32}, tmp_path / "new" / "a.onnx")
    import onnx

    cells = next(value for value in onnx.load(str(path)).graph.input if value.name == "cells")
    assert [side.dim_value for side in cells.type.tensor_type.shape.dim][1:3] == [32, 32]
    assert [file.name for file in path.parent.iterdir()] == ["a.onnx"]


def test_parts_are_known_or_refused() -> None:
    assert speed.chosen(None, quick=True) == list(RUNTIMES) and speed.chosen(None, quick=False)[-1] == "lips"
    assert speed.chosen("lips, ort_f32", quick=True) == ["lips", "ort_f32"]
    with pytest.raises(ValueError, match=r"parts of suite speed are ort_f32, .*lips; got 'gpu'"):
        speed.chosen("gpu", quick=False)


def test_what_has_no_room_is_left_out_aloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Pool:
        def submit(self, *_: Any) -> Future[Any]:
            pytest.fail("it was exported")

    monkeypatch.setattr(speed, "available_memory", lambda: 4e9)
    log = Console(record=True, width=200)
    assert speed._made(Pool(), speed.Key("musetalk", "unet"), tmp_path, 1, log) is None  # type: ignore[arg-type]
    assert "musetalk.unet left out: it takes 8 GiB" in log.export_text()


def test_tables_and_a_plot_are_drawn_of_what_was_timed(tmp_path: Path) -> None:
    keys = speed.shared([*OURS, *PEERS])
    taken = {key.name: [[8.0, 9.0]] for key in set(keys.values())} | {"ours256.shipped": [[1.0]]}
    metrics = speed._timed("ort_f32", [*OURS, *PEERS], keys, taken)
    metrics |= {f"ort_f32.{key.name}.error": speed.small(1e-6, "") for key in set(keys.values())}
    metrics |= {"networks.threads": speed.value(2, ""), "ort_f32.ours256.shipped.error": speed.small(0.08, "")}
    for system in (*OURS, *PEERS):
        cost = Exported(Path(), {}, {}, 2_000_000, 3_000_000_000, 1.0, 0.0)
        metrics |= speed.described(system, [(part, cost) for part in system.parts])
    console = Console(record=True, width=200)
    console.print(*speed_report.tables([*OURS, *PEERS], metrics, ["ort_f32"]))
    shown = console.export_text()
    assert "Visavis lite 256, as shipped (8 bits)" in shown and "MuseTalk 1.5: decoder" in shown
    assert "0 (once a person)" in shown and "0.143" in shown and "no ratio to the above" in shown
    assert (
        metrics["networks.liveportrait.gflop"]["value"] == 9
        and metrics["networks.liveportrait.parameters"]["value"] == 8
    )
    pytest.importorskip("matplotlib")
    drawn = speed_report.bars([*OURS, *PEERS], metrics, ["ort_f32"])
    assert drawn["Ditto, 512 x 512"]["ort_f32"] > 16 and "Visavis lite 512, the whole frame" not in drawn
    assert speed_report.plot(drawn, tmp_path / "new" / "speed.png").stat().st_size > 10_000
    with pytest.raises(ValueError, match="nothing to draw"):
        speed_report.plot({}, tmp_path / "b.png")


def test_peers_whose_answers_are_not_here_are_shown_with_the_run_they_are_from() -> None:
    def scored(system: str, f1: float) -> dict[str, Any]:
        return {f"{system}.asterisk.f1_6": speed.value(f1, "F1")}

    said = {"asterisk.prompts": speed.value(45, ""), "asterisk.seconds": speed.value(189, "")}
    now = scored("ours", 0.7) | said
    kept = {"metrics": scored("ours", 0.6) | scored("rhubarb", 0.65) | said, "date": "2026-11-21T1", "commit": "abc"}
    console = Console(record=True, width=200)
    console.print(speed_lips.merged(now, kept))
    shown = console.export_text()
    assert shown.index("Visavis") < shown.index("Rhubarb") and "0.700" in shown and "0.600" not in shown
    assert "2026-11-21, abc" in shown and shown.count("now") == 1
