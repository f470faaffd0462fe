"""The watermark: what is told is read again after coding, scaling and cropping, and nothing where nothing is told."""

from __future__ import annotations

import io
import math
from fractions import Fraction

import av
import numpy as np
import pytest

from engine.watermark import Detector, Mark, Payload
from engine.watermark.code import MESSAGES, PATTERNS, TILE, avatar_tag, cell_size, patterns, tile, weights
from engine.watermark.detect import SURE, Evidence

TOLD = Payload.of("ada", 1234567)
SIZE = (320, 384)


def scene(size, frames):
    """A textured disc that wanders over a soft wall: I420 pictures (H * 3 / 2, W)."""
    height, width = size
    y, x = np.mgrid[:height, :width].astype(np.float32)
    draws = np.random.default_rng(7)
    grain = np.kron(draws.normal(size=(height // 4, width // 4)), np.ones((4, 4))) * 8
    out = []
    for k in range(frames):
        wall = 110 + 40 * np.sin(x / 190) + 25 * np.cos(y / 140)
        cx, cy = width * (0.5 + 0.05 * math.sin(k / 5)), height * (0.5 + 0.03 * math.cos(k / 4))
        inside = (x - cx) ** 2 + (y - cy) ** 2 < (height / 3) ** 2
        turned = np.roll(grain, (int(cy), int(cx)), (0, 1))
        picture = np.full((height * 3 // 2, width), 128, np.uint8)
        picture[:height] = np.clip(np.where(inside, 150 + turned, wall), 16, 235)
        out.append(picture)
    return out


def coded(pictures, codec, rate):
    """Luma of the pictures after a video codec at ``rate`` bits a second."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = pictures[0].shape[1], pictures[0].shape[0] * 2 // 3, "yuv420p"
        stream.bit_rate = rate
        limits = {"maxrate": str(rate), "bufsize": str(rate)}
        stream.options = limits | ({"preset": "veryfast"} if codec == "libx264" else {"deadline": "realtime"})
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as container:
        return [frame.to_ndarray()[: frame.height] for frame in container.decode(video=0)]


def look(lumas):
    """A Detector that has seen ``lumas``, scaled as it wishes."""
    height, width = Detector.size_for(*lumas[0].shape)
    found = Detector(height, width)
    for luma in lumas:
        grey = av.VideoFrame.from_ndarray(np.ascontiguousarray(luma), format="gray")
        found.step(np.ascontiguousarray(grey.reformat(width, height, "gray", interpolation="BICUBIC").to_ndarray()))
    return found


@pytest.fixture(scope="module")
def bare():
    return scene(SIZE, 24)


@pytest.fixture(scope="module")
def marked(bare):
    mark, out = Mark(TOLD, *SIZE), [picture.copy() for picture in bare]
    for picture in out:
        mark(picture)
    return out


def test_a_payload_is_read_wherever_its_tile_begins():
    for payload in (TOLD, Payload(0, 0), Payload(0xFFFF, 0xFFFF)):
        shifts = payload.shifts()
        assert Payload.read(shifts) == Payload.read((shifts + (5, 30)) % TILE) == payload
    assert TOLD.avatar == avatar_tag("ada") and TOLD.session == 1234567 & 0xFFFF
    with pytest.raises(ValueError, match="session must be 16 bits"):
        Payload(1, 1 << 16)


def test_few_shifts_are_a_message():
    draws = np.random.default_rng(0)
    read = sum(Payload.read(draws.integers(0, TILE, (PATTERNS, 2))) is not None for _ in range(20_000))
    assert read <= 3  # one of 2^18


def test_patterns_follow_from_the_key_alone_and_are_fair():
    assert np.array_equal(patterns("a"), patterns("a")) and abs(patterns("a").mean()) < 0.05
    assert abs((patterns("a") * patterns("b")).mean()) < 0.05
    assert np.mean(tile("a", TOLD) ** 2) == pytest.approx(1, abs=0.1)
    with pytest.raises(ValueError, match="must not be empty"):
        patterns("")


def test_pixels_are_shared_out_among_cells():
    row = weights(97, 3.4, TILE)
    np.testing.assert_allclose(row.sum(0), 1.0)
    np.testing.assert_allclose(weights(97, 3.4, 2 * TILE)[::2], row)
    assert (cell_size(512, 512), cell_size(256, 512), cell_size(1080, 1920)) == (4.0, 3.0, 1080 / 128)


def test_the_mark_is_faint_and_on_luma_alone(bare, marked):
    height = SIZE[0]
    before, after = np.stack(bare).astype(float), np.stack(marked).astype(float)
    assert np.array_equal(before[:, height:], after[:, height:])
    error = np.mean((before - after)[:, :height] ** 2)
    assert 10 * math.log10(255**2 / error) > 46


@pytest.mark.parametrize(("codec", "rate"), [("libx264", 500_000), ("libvpx", 600_000)])
def test_it_is_read_after_coding(marked, codec, rate):
    verdict = look(coded(marked, codec, rate)).decide()
    assert verdict.found and verdict.payload == TOLD and verdict.log10_chance < -6


@pytest.mark.parametrize("change", ["smaller", "larger", "cropped", "stretched"])
def test_it_is_read_after_scaling_and_cropping(marked, change):
    def changed(luma):
        if change == "cropped":
            return luma[37:-30, 51:-60]
        to = {"smaller": (288, 240), "larger": (576, 480), "stretched": (384, 384)}[change]
        grey = av.VideoFrame.from_ndarray(np.ascontiguousarray(luma), format="gray")
        return grey.reformat(*to, "gray", interpolation="BILINEAR").to_ndarray()

    if change == "stretched":  # from a shape that is known
        wide = scene((384, 512), 12)
        mark = Mark(TOLD, 384, 512)
        for picture in wide:
            mark(picture)
        lumas = [picture[:384] for picture in wide]
    else:
        lumas = [picture[: SIZE[0]] for picture in marked]
    assert look([changed(luma) for luma in lumas]).decide().payload == TOLD


def test_nothing_is_found_without_a_mark_or_with_another_key(bare, marked):
    height = SIZE[0]
    with_mark = look([picture[:height] for picture in marked[:8]]).evidence()
    without = look([picture[:height] for picture in bare[:8]]).evidence()
    assert with_mark.decide().payload == TOLD
    assert not without.decide().found
    seen = [with_mark.decide(f"wrong {k}") for k in range(6)]
    assert not any(verdict.found for verdict in seen) and max(verdict.statistic for verdict in seen) < seen[0].needed


def test_correlations_are_as_the_theory_says(bare):
    evidence = look([picture[: SIZE[0]] for picture in bare[:4]]).evidence()
    values = np.concatenate([one.ravel() for k in range(3) for one in list(evidence.correlations(f"wrong {k}"))[::8]])
    assert values.std() == pytest.approx(1, abs=0.03)
    for t in (2.0, 3.0, 4.0):
        assert np.mean(values > t) < 1.2 * 0.5 * math.erfc(t / math.sqrt(2)) + 3e-5 < math.exp(-t * t / 2)


def test_the_statistic_that_is_needed_follows_from_all_that_is_tried():
    evidence = Evidence(np.zeros((512, 512)))
    assert evidence.tried > MESSAGES * TILE * TILE * 4 * 200
    verdict = evidence.decide()
    assert not verdict.found and evidence.tried * math.exp(-(verdict.needed**2) / 2) == pytest.approx(SURE)
    assert evidence.decide(looks=16).needed > verdict.needed


def test_a_cutout_is_marked_where_it_can_be_seen():
    draws = np.random.default_rng(2)
    picture = np.full((64, 64, 4), 120, np.uint8)
    picture[..., :3] += draws.integers(0, 9, (64, 64, 3), np.uint8)
    picture[:32, :, 3] = 0
    before, i420 = picture.copy(), np.full((96, 64), 100, np.uint8)
    Mark(TOLD, 64, 64)(i420, picture)
    assert np.array_equal(picture[:32], before[:32]) and np.array_equal(picture[..., 3], before[..., 3])
    step = picture[32:, :, :3].astype(int) - before[32:, :, :3]
    assert np.mean(step != 0) > 0.1 and np.abs(step).max() <= 3
    assert np.array_equal(step[..., 0], step[..., 1]) and np.array_equal(step[..., 0], step[..., 2])
    assert not np.array_equal(i420[:64], np.full((64, 64), 100)) and (i420[64:] == 100).all()
