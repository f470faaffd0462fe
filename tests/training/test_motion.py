import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from engine.motion.generator import GeneratorConfig, LipGenerator
from training import motion
from training.motion import app, learning_rate, network, restore
from training.motion_data import Streams
from training.motion_loss import LossWeights, lip_loss
from training.motion_score import POSE_GAIN, SHUT, calibrate, calibrate_said, event_score, said_score, score, widened
from training.speech import corpus

from .test_motion_data import sentences

SMALL = GeneratorConfig(stem=8, width=16, dilations=(1, 2))


class Small:
    """GeneratorConfig whose defaults are small."""

    from_json = staticmethod(GeneratorConfig.from_json)

    def __new__(cls) -> GeneratorConfig:  # type: ignore[misc]
        return SMALL


def test_loss_falls_on_one_batch() -> None:
    torch.manual_seed(0)
    net = LipGenerator(SMALL)
    streams = [stream for stream, _ in zip(Streams(sentences(), 40, 0), range(4), strict=False)]
    mel, likelihood, *targets = (torch.stack(rows) for rows in zip(*streams, strict=True))
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    losses = []
    for _ in range(40):
        parts = lip_loss(net, net.listen(mel, likelihood, net.fresh(4))[0], targets, LossWeights())
        optimizer.zero_grad()
        parts["loss"].backward()
        optimizer.step()
        losses.append(float(parts["loss"].detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_event_score_counts_events_found_and_frames_right() -> None:
    truth = np.array([0, 1, 1, 0, 0, 0, 0, 1, 0, 0], bool)
    assert event_score([truth], [truth]) == (1.0, 1.0)
    always = event_score([truth], [np.ones(10, bool)])
    assert always == (1.0, pytest.approx(0.7))
    assert event_score([truth], [np.zeros(10, bool)]) == (0.0, 0.0)
    assert np.array_equal(widened(np.array([0, 0, 1, 0], bool)), [False, True, True, True])


def test_score_and_calibration_run_on_every_head() -> None:
    net = LipGenerator(SMALL).eval()
    for head in range(3):
        figures = score(net, sentences(), head)
        assert set(figures) >= {"f1", "contact_recall", "contact_precision", "gap_mae_mm"}
        assert all(np.isfinite(v) for v in figures.values())
    assert calibrate(net, sentences()).count("threshold") == 6
    assert (net.contact_gain > 1).all() and (net.pose_gain >= 1).all()


def test_said_score_counts_events_on_both_sides_with_two_hops_of_grace() -> None:
    truth, guess = np.zeros(30, bool), np.zeros(30, bool)
    truth[[5, 6, 20]] = True
    guess[[8, 12, 13, 26]] = True  # near the first; two false ones
    assert said_score([truth], [guess]) == (0.5, pytest.approx(1 / 3))
    assert said_score([truth], [np.zeros(30, bool)]) == (0.0, 0.0)


def test_closures_said_are_judged_by_the_frame_and_by_nothing_else() -> None:
    net, mel = LipGenerator(SMALL).eval(), torch.rand(1, 40, 80)
    for head in net.heads:
        torch.nn.init.normal_(head.out.weight)
    before = [m.viseme.detach() for m in net(mel, net.initial_state(1))[0]]
    report = calibrate_said(net, sentences())
    after = [m.viseme.detach() for m in net(mel, net.initial_state(1))[0]]
    for line, old, new in zip(report.splitlines(), before, after, strict=True):
        share, more = float(line.split("shared ")[1].split(",")[0]), float(line.split("added ")[1].split(",")[0])
        shut = old[..., SHUT]
        torch.testing.assert_close(new[..., SHUT], (1 - share) * shut + share * shut.mean(2, keepdim=True) + more)
        rest = [v for v in range(old.shape[3]) if v != SHUT]
        torch.testing.assert_close(new[..., rest], old[..., rest])


def test_a_timid_pose_gets_a_gain_but_a_bounded_one() -> None:
    net = LipGenerator(SMALL).eval()
    for head in net.heads:
        torch.nn.init.constant_(head.out.bias[:12], -6.0)
    calibrate(net, sentences())
    jaw = 0
    assert (net.pose_gain[:, jaw] == POSE_GAIN[1]).all() and (net.pose_gain <= POSE_GAIN[1]).all()


def test_learning_rate_rises_then_falls_to_zero() -> None:
    rates = [learning_rate(step, 1000, 1e-3) for step in (0, 150, 300, 650, 1000)]
    assert rates[0] == 0 and rates[0] < rates[1] < rates[2] > rates[3] > rates[4] == pytest.approx(0)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for split in ("train", "sentence", "speaker"):
        corpus._save(tmp_path / f"{split}-flite_slt-0000.npz", sentences(2), dropped=0)
    return tmp_path


def test_train_stops_resumes_and_exports(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(motion, "GeneratorConfig", Small)
    monkeypatch.setattr(motion, "BATCH", 2)
    monkeypatch.setattr(motion, "FRAMES", 20)
    run = data / "run"
    command = ["train", "--data", str(data), "--out", str(run), "--threads", "1", "--evaluate-every", "2"]
    assert CliRunner().invoke(app, [*command, "--steps", "2"]).exit_code == 0
    again = CliRunner().invoke(app, [*command, "--steps", "4"])
    assert again.exit_code == 2 and restore(run / "checkpoint.pt")["step"] == 2
    assert CliRunner().invoke(app, [*command, "--steps", "4", "--resume"]).exit_code == 0
    assert restore(run / "checkpoint.pt")["step"] == 4
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4] and all("sentence.f1" in row for row in rows)
    other = [*command[:4], str(data / "more"), *command[5:], "--steps", "2", "--init", str(run / "checkpoint.pt")]
    assert CliRunner().invoke(app, other).exit_code == 0 and restore(data / "more" / "checkpoint.pt")["step"] == 2
    out = CliRunner().invoke(app, ["export", "--run", str(run), "--data", str(data), "--out", str(run)])
    assert out.exit_code == 0, out.output
    assert (run / "motion_v2.onnx").stat().st_size and (run / "motion_v2.safetensors").stat().st_size


def test_a_broken_checkpoint_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="checkpoint.pt is not a readable checkpoint"):
        network(restore(tmp_path / "checkpoint.pt"))


def test_plot_draws_a_held_out_sentence(data: Path) -> None:
    pytest.importorskip("matplotlib")
    run = data / "run"
    run.mkdir()
    net = LipGenerator(SMALL)
    motion.save(run / "checkpoint.pt", {"ema": net.state_dict(), "config": asdict(SMALL)})
    out = data / "curves.png"
    result = CliRunner().invoke(app, ["plot", "--run", str(run), "--data", str(data), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert out.read_bytes()[:4] == b"\x89PNG"
