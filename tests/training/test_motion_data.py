from dataclasses import replace

import numpy as np
import pytest
import torch

from engine.clock import FRAME
from engine.motion.lips import VISEMES
from training.motion_data import Streams, is_neural, labelled, masked, over_a_channel
from training.speech.channel import channel, mel_warp, nonspeech
from training.speech.corpus import Utterance
from training.speech.phones import PHONE_INDEX, Span

pytest.importorskip("pocketsphinx")


def sentences(count: int = 3) -> list[Utterance]:
    rng = np.random.default_rng(0)
    spans = [Span(0, 30, 0), Span(30, 42, PHONE_INDEX["M"]), Span(42, 80, PHONE_INDEX["AA"]), Span(80, 100, 0)]
    return [Utterance("v", "ma", rng.integers(-9000, 9000, 16000).astype(np.int16), spans) for _ in range(count)]


def test_labels_sit_on_the_frames_of_the_sound_they_belong_to() -> None:
    u = sentences(1)[0]
    sample = labelled(u.pcm.astype(np.float32) / 32768, u.spans)
    said = sample.viseme[:, 2]
    assert [VISEMES[v] for v in said[[2, 8, 9, 15, 22]]] == ["sil", "PP", "PP", "aa", "sil"]
    assert sample.mel.shape == (4 * 25, 80) and sample.likelihood.shape == (4 * 25, 126)
    assert sample.contact[8:10, 0].max() == 1.0
    later = labelled(u.pcm[2 * FRAME :].astype(np.float32) / 32768, u.spans, start=2 * FRAME)
    assert np.array_equal(later.viseme, sample.viseme[2:]) and np.array_equal(later.phone, sample.phone[2:])
    assert np.allclose(later.pose, sample.pose[2:], atol=1e-6)


def test_stream_n_depends_on_seed_and_n_alone() -> None:
    ahead = iter(Streams(sentences(), frames=20, seed=5, first=0))
    resumed = iter(Streams(sentences(), frames=20, seed=5, first=3))
    three = [next(ahead) for _ in range(4)][3]
    assert all(np.array_equal(a, b) for a, b in zip(three, next(resumed), strict=True))


def test_much_of_one_voice_counts_less_and_a_neural_voice_twice() -> None:
    voices = ["much"] * 9 + ["little"] + ["kokoro_af_one"]
    utterances = [replace(u, voice=voice) for u, voice in zip(sentences(11), voices, strict=True)]
    chances = np.diff(Streams(utterances, frames=20, seed=0).upto, prepend=0)
    assert [chances[:9].sum(), *chances[9:]] == pytest.approx([3.0, 1.0, 2.0])
    assert not is_neural("kokoro") and is_neural("kokoro_af_one+a")


def test_a_sentence_over_a_channel_keeps_its_times_and_is_the_same_each_time() -> None:
    u = sentences(1)[0]
    heard = over_a_channel(u, 3)
    assert heard.pcm.dtype == np.int16 and heard.pcm.size == u.pcm.size and heard.spans == u.spans
    assert not np.array_equal(heard.pcm, u.pcm) and np.array_equal(heard.pcm, over_a_channel(u, 3).pcm)


def test_streams_have_the_promised_shapes_and_no_bad_number() -> None:
    streams = iter(Streams(sentences(), frames=33, seed=1))
    for _ in range(40):
        mel, likelihood, pose, contact, viseme, phone = next(streams)
        assert mel.shape == (132, 80) and pose.shape == (33, 52) and contact.shape == (33, 2)
        assert likelihood.shape == (132, 126) and viseme.shape == phone.shape == (33, 4)
        assert all(np.isfinite(t.numpy()).all() for t in (mel, likelihood, pose, contact, viseme))


def test_a_channel_keeps_length_and_never_clips() -> None:
    voice = np.sin(np.arange(9999) / 7).astype(np.float32)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        heard = channel(voice, rng)
        assert heard.shape == voice.shape and np.abs(heard).max() <= 1.0 and np.isfinite(heard).all()
        other = nonspeech(5000, rng)
        assert other.shape == (5000,) and np.abs(other).max() <= 1.0 and np.isfinite(other).all()


def test_mel_warp_of_one_changes_nothing() -> None:
    mel = np.random.default_rng(0).normal(size=(12, 80)).astype(np.float32)
    assert np.allclose(mel_warp(mel, 1.0), mel, atol=1e-6)
    assert np.allclose(mel_warp(mel, 0.9)[:, 10], mel[:, 9], atol=1e-5)


def test_masking_loses_parts_and_leaves_the_rest_as_it_was() -> None:
    mel, likelihood = torch.rand(400, 8, 80), torch.rand(400, 8, 126) + 0.1
    seen, scored = masked(mel, likelihood, torch.Generator().manual_seed(0))
    whole = (seen == 0).all(2).all(1), (scored == 0).all(2).all(1)
    assert all(0.03 < float(lost.float().mean()) < 0.15 for lost in whole) and not (whole[0] & whole[1]).any()
    kept = (seen != mel).any(1)[~whole[0]]
    assert 0.3 < float(kept.any(1).float().mean()) < 0.5 and int(kept.sum(1).max()) <= 10
