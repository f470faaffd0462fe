from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import training.performer
from engine.motion.codec import CodecConfig, PerformanceCodec
from engine.motion.condition import KNOWN_AT, LOOKAHEAD_AT, SEMANTIC_AT
from engine.motion.performer import HOPS, SILENCE
from training.performer import app, trained_performer
from training.performer_data import Coded, cut, load, stretch
from training.performer_loss import _voice, codec_score, prior_score, spread

FRAMES = 500


def make_shard(path: Path, seed: int, streams: int = 3) -> None:
    """A small shard in the format of training.choreography make, full of smooth noise."""
    rng = np.random.default_rng(seed)
    motion = rng.normal(size=(streams, FRAMES, 96)).cumsum(1) * 0.02
    condition = np.zeros((streams, FRAMES, 48))
    condition[..., KNOWN_AT], condition[..., SEMANTIC_AT.start] = 1.0, 1.0
    arrays = {
        "mel": rng.normal(size=(streams, 4 * FRAMES, 80)), "condition": condition, "performance": motion,
        "lips": np.zeros((streams, FRAMES, 52)),
    }  # fmt: skip
    rows = np.array([[0, 1.0, 0.5, 0], [streams - 1, 2.0, 0.5, 1]], np.float32)
    np.savez(
        path, emotion=np.zeros((streams, FRAMES), np.uint8), stresses=rows, gesture_events=rows,
        **{name: value.astype(np.float16) for name, value in arrays.items()},
    )  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("performance")
    for index, split in enumerate(("train", "train", "validation")):
        make_shard(folder / f"{split}-{index:04d}.npz", index)
    return folder


def test_shards_are_joined_and_their_stresses_keep_their_stream(data: Path) -> None:
    streams = load(data, "train")
    assert len(streams) == 6 and streams.frames == FRAMES
    assert streams.stresses[:, 0].tolist() == [0.0, 2.0, 3.0, 5.0]


def test_missing_and_broken_shards_say_what_to_do(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="training.choreography make"):
        load(tmp_path, "train")
    whole = (data / "train-0000.npz").read_bytes()
    (tmp_path / "train-0000.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="delete it and make it again"):
        load(tmp_path, "train")


def test_a_window_hears_up_to_frame_2k_and_performs_what_the_lookahead_says(data: Path) -> None:
    streams = load(data, "train", 1)
    for ahead in (0, 1, 2):
        mel, condition, motion, _ = cut(streams, 1, 20, 5, ahead)
        assert torch.equal(mel, streams.mel[1, 4 * 19 : 4 * 29].float())
        assert torch.equal(motion, streams.performance[1, 20 - ahead : 30 - ahead].float())
        assert (condition[:, LOOKAHEAD_AT] == ahead / 2).all()


def test_a_stream_begins_in_silence_and_at_rest(data: Path) -> None:
    streams = load(data, "train", 1)
    mel, _, motion, _ = cut(streams, 0, 0, 4, 2)
    assert mel.shape == (4 * HOPS, 80)
    assert (mel[:4] == SILENCE).all()
    assert torch.equal(motion[:3], streams.performance[0, :1].float().expand(3, -1))


def test_stretches_repeat_by_seed_and_untold_ones_know_no_meaning(data: Path) -> None:
    streams = load(data, "train")
    one, again = (stretch(streams, 40, 20, np.random.default_rng(7)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    told = one.condition[:, 0, KNOWN_AT]
    assert 0 < float(told.mean()) < 1
    assert (one.condition[told == 0][..., SEMANTIC_AT] == 0).all()
    assert (one.meaning[..., -1] == 1).all()
    with pytest.raises(ValueError, match="shorter than"):
        stretch(streams, 1, FRAMES, np.random.default_rng(0))


def test_codes_kept_for_whole_streams_decode_to_what_a_stretch_performs(data: Path) -> None:
    torch.manual_seed(0)
    streams = load(data, "train")
    codec = PerformanceCodec(CodecConfig(codes=64, latent=12, encoder=8, decoder=8)).eval()
    usual = spread(streams)
    codec.offset.copy_(usual.offset)
    codec.usual.copy_(usual.usual)
    codec.scale.copy_(usual.scale)
    first = stretch(streams, 12, 100, np.random.default_rng(0))
    codec.start(first.motion, first.condition)
    coded = Coded.of(streams, codec)
    sample = stretch(streams, 8, 50, np.random.default_rng(1))
    codes, latents = coded.at(sample)
    assert codes.shape == (8, 50, 8) and latents.shape == (8, 50, 48)
    for row, (which, begin, ahead) in enumerate(sample.origin.tolist()):
        assert torch.equal(coded.codes[ahead, which, begin : begin + 50].long(), codes[row])
    assert codec_score(codec, streams, 1, 60)["head.pose"] > 0.5


def test_certain_codes_are_expected_as_they_decode(data: Path) -> None:
    torch.manual_seed(0)
    streams = load(data, "train", 1)
    codec = PerformanceCodec(CodecConfig(codes=32, latent=12, encoder=8, decoder=8)).eval()
    first = stretch(streams, 12, 60, np.random.default_rng(0))
    codec.start(first.motion, first.condition)
    codes, latents = codec.encode(first.motion, first.condition)
    chances = torch.nn.functional.one_hot(codes, 32).float()
    expected = codec.expected(chances, latents, first.condition)
    assert torch.allclose(expected, codec.decode(codes, first.condition), atol=1e-4)


def test_the_syncers_hear_the_frames_that_are_performed(data: Path) -> None:
    streams = load(data, "train", 1)
    sample = stretch(streams, 6, 20, np.random.default_rng(3))
    for row, (which, begin, ahead) in enumerate(sample.origin.tolist()):
        first = 2 * begin - ahead  # the first frame that is performed
        if first > 0:
            voice = _voice(sample)[row, 4 : 4 * 10]  # the edges of a stretch wrap around
            true = streams.mel[which, 4 * (first + 1) : 4 * (first + 10)].float()
            inside = (voice > SILENCE) & (true > SILENCE)
            difference = (voice - true)[inside]
            assert float(difference.std()) < 1e-3, "but for the gain it is the same sound"


def test_both_stages_train_stop_go_on_and_export(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"START": 4, "CODEC_BATCH": 2, "CODEC_WINDOWS": 75, "PRIOR_BATCH": 2, "PRIOR_WINDOWS": 30, "BURN_IN": 4}
    for name, value in sizes.items():
        monkeypatch.setattr(training.performer, name, value)
    short = {"batches": 1, "windows": 20}
    monkeypatch.setattr(training.performer, "codec_score", partial(codec_score, **short))
    monkeypatch.setattr(training.performer, "prior_score", partial(prior_score, **short))
    runner, run, out = CliRunner(), tmp_path / "run", tmp_path / "assets"
    common = ["--data", str(data), "--out", str(run), "--evaluate-every", "1"]
    for command in ("train-vq", "train-prior"):
        assert runner.invoke(app, [command, *common, "--steps", "1"]).exit_code == 0
        refused = runner.invoke(app, [command, *common, "--steps", "2"])
        assert "--resume" in str(refused.exception)
        assert runner.invoke(app, [command, *common, "--steps", "2", "--resume"]).exit_code == 0
    assert runner.invoke(app, ["export", "--run", str(run), "--out", str(out)]).exit_code == 0
    assert sorted(p.name for p in out.iterdir()) == ["performer_v1.onnx", "performer_v1.safetensors"]
    assert max(p.stat().st_size for p in out.iterdir()) < 8_000_000
    assert not trained_performer(run).training
