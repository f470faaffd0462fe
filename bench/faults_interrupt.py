"""How soon the mouth shuts in a browser when somebody interrupts: from the message to the first frame with shut lips.

The real engine and its real lips, a bare page, and a voice that goes on speaking meanwhile. Two witnesses: the engine's
own word (``interrupted`` in a frame's stamps, by its RTP time), and the picture: the mouth's pixels against themselves
when it has been shut for a while.
"""

from __future__ import annotations

import base64
import os
import tempfile
import wave
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from bench.faults_line import browsing, connected
from bench.report import Measured, spread, value
from bench.stream import SPEECH, serving
from engine.clock import VOICE_RATE
from visavis.sound import read_voice

TIMES: Final = 30
EVERY_MS: Final = 3100
PHRASE_S, PAUSE_S = 2.0, 0.5  # the voice: so much speech, then silence, so that new speech begins after an interruption
CROP: Final = (0.32, 0.56, 0.36, 0.32)  # of the picture with the framing "head": the mouth and around
SIDE: Final = 64
WITHIN_MS: Final = 900.0  # an interruption that is not seen by then was missed
SHUT_MS: Final = 200.0  # after the engine's first word the mouth is surely shut, as long as the engine says so
OPEN: Final = 1.5  # a mouth that looks so far from shut, where nine in ten shut ones are within 1, is open
LEFT: Final = 0.3  # and shut again when so much of the way is left at most: lips that have met settle for a while
ASIDE: Final = 2  # pixels by which lips lie elsewhere than the nose says
NOSE: Final = (
    slice(10, 26),
    slice(20, 46),
)  # in the crop, of the frame in the middle: nostrils, which hardly move else
LIPS: Final = (slice(24, 48), slice(16, 56))
INTERRUPT: Final = """(every) => {
  connection.tell('strength', { head: 0, gesture: 0 });
  connection.tell('gaze', { at: 'viewer' });
  window.stops = [];
  setInterval(() => { window.stops.push(performance.now()); connection.tell('interrupt'); }, every);
}"""
TAKE: Final = """() => {
  const all = new Uint8Array(crops.length * 4096);
  crops.forEach((crop, k) => all.set(crop, 4096 * k));
  return { stops, cropped, crops: base64(all), told: told.map((f) => [f.rtp, f.interrupted ? 1 : 0, f.speaking]) };
}"""


def run(quick: bool, log: Console, renderer: str = "neural") -> Measured:
    """30 interruptions (quick: 8). Raises ValueError when too few of them were seen."""
    times = 8 if quick else TIMES
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        voice = write_phrases(folder / "voice.wav")
        with serving(folder, more=("--renderer", renderer)) as (address, _), browsing(voice) as browser:
            log.print(f"{times} interruptions, the {renderer} renderer")
            with connected(browser, address, 1.0, framing="head", crop=CROP) as page:
                page.wait_for_timeout(4000)
                page.evaluate("() => { crops.length = 0; cropped.length = 0; told.length = 0; }")
                page.evaluate(INTERRUPT, EVERY_MS)
                page.wait_for_timeout(EVERY_MS * (times + 0.8))
                taken = page.evaluate(TAKE)
    crops = np.frombuffer(base64.b64decode(taken["crops"]), np.uint8).reshape(-1, SIDE, SIDE)
    shown, told = np.array(taken["cropped"], np.float64), np.array(taken["told"], np.float64)
    measured = evaluate(np.array(taken["stops"]), shown, crops, told)
    measured.metrics["interrupt.load"] = value(os.getloadavg()[0], "jobs waiting or running, 1 min")
    return measured


def write_phrases(path: Path) -> Path:
    """Speech without its own pauses, and silence in between at even times: a WAV for the fake microphone."""
    speech = np.concatenate(list(read_voice(SPEECH, max_seconds=600)))
    speech = speech * np.float32(0.5 / np.abs(speech).max())
    loud = np.convolve(np.abs(speech), np.ones(4800) / 4800, "same") > 0.02
    phrase, pause = int(PHRASE_S * VOICE_RATE), int(PAUSE_S * VOICE_RATE)
    speech = speech[loud][: len(speech[loud]) // phrase * phrase].reshape(-1, phrase)
    voice = np.pad(speech, ((0, 0), (0, pause))).reshape(-1)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(VOICE_RATE)
        file.writeframes((voice * 32767).astype("<i2").tobytes())
    return path


def evaluate(stops: Any, shown: Any, crops: NDArray[np.uint8], told: Any) -> Measured:
    """``stops`` (k,) ms when it was interrupted; ``shown`` (n, 2): ms on screen and RTP time of each of ``crops``
    (n, 64, 64); ``told`` (m, 3): RTP time, whether an interruption held, speaking."""
    words = {int(rtp): bool(hushed) for rtp, hushed, _ in told}
    hushed = np.array([words.get(int(rtp), False) for rtp in shown[:, 1]])
    opening = mouth(crops, shown[:, 0], hushed)
    knows, shut = [], []
    for stop in stops:
        before = (shown[:, 0] > stop - 150) & (shown[:, 0] <= stop)
        after = np.flatnonzero((shown[:, 0] > stop) & (shown[:, 0] < stop + WITHIN_MS))
        if not before.any() or not len(after):
            continue
        known = after[hushed[after]]
        if len(known):
            knows.append(float(shown[known[0], 0] - stop))
        wide = opening[before].max()
        if wide < OPEN:
            continue  # the mouth was shut anyway, or nearly: that says nothing
        closed = after[opening[after] < 1 + (wide - 1) * LEFT]
        closed = closed[closed >= known[0]] if len(known) else closed[:0]
        if len(closed):
            shut.append(float(shown[closed[0], 0] - stop))
    if len(shut) < max(3, len(stops) // 4):
        raise ValueError(f"of {len(stops)} interruptions {len(shut)} met an open mouth and were seen to shut it")
    series = {"interrupt.to_closed_ms": shut, "interrupt.to_first_frame_ms": knows}
    metrics = {name: spread(samples, "ms") for name, samples in series.items()}
    metrics["interrupt.sent"] = value(len(stops), "")
    return Measured(metrics, series)


def mouth(crops: NDArray[np.uint8], shown: Any, hushed: Any) -> NDArray[np.float64]:
    """(n,) how open the mouth looks: about 1 and below as shut as it looks when it has been held shut for a while.

    The head moves, so each crop is laid on one in the middle by the nose, and some pixels aside where that fits better;
    how far the pixels of the lips then are from those of a shut mouth is measured against how far nine in ten shut ones
    are. Raises ValueError when it never was shut for so long.
    """
    since = np.full(len(shown), -1.0)
    begun = None
    for k, held in enumerate(hushed):
        begun = (shown[k] if begun is None else begun) if held else None
        since[k] = shown[k] - begun if begun is not None else -1.0
    rest = since > SHUT_MS
    if rest.sum() < 10:
        raise ValueError(f"the mouth was held shut for so long in {rest.sum()} frames only: nothing to compare with")
    lips = lips_of(crops)
    shut = np.median(lips[rest], axis=0)[ASIDE:-ASIDE, ASIDE:-ASIDE]
    places = np.lib.stride_tricks.sliding_window_view(lips, shut.shape, axis=(1, 2))
    apart = np.abs(places - shut).mean(axis=(3, 4)).min(axis=(1, 2))
    return np.asarray(apart / max(float(np.percentile(apart[rest], 90)), 1.0), np.float64)


def lips_of(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, h, w) the lips of each crop, where the nose says they are, within 10 pixels of where it was."""
    pictures = crops.astype(np.float32)
    middle = pictures[len(pictures) // 2]
    nose, at = middle[NOSE].copy(), (NOSE[0].start, NOSE[1].start)
    nose -= nose.mean()
    found = []
    for picture in pictures:
        windows = np.lib.stride_tricks.sliding_window_view(picture, nose.shape)
        low = np.maximum(np.array(at) - 10, 0)
        near = windows[low[0] : at[0] + 11, low[1] : at[1] + 11]
        flat = near - near.mean(axis=(2, 3), keepdims=True)
        fit = (flat * nose).sum(axis=(2, 3)) / (np.sqrt((flat**2).sum(axis=(2, 3))) + 1e-6)
        best = np.unravel_index(int(np.argmax(fit)), fit.shape)
        y, x = int(best[0]) + int(low[0]) - at[0], int(best[1]) + int(low[1]) - at[1]
        padded = np.pad(picture, 12, mode="edge")
        found.append(
            padded[12 + y + LIPS[0].start : 12 + y + LIPS[0].stop, 12 + x + LIPS[1].start : 12 + x + LIPS[1].stop]
        )
    return np.stack(found)
