"""Suite ``stream``: the real server, a real headless Chromium, a fake microphone that plays speech with clicks.

The server paints its wall clock, the last viewpoint and the place of a click into every frame
(streaming/marker.py); the page reads them off the screen (streaming/web/marker.js). Server and browser share one
machine and one clock. All times end when the compositor is due to show the frame.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import wave
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console

from bench.report import Measured, spread, value
from engine.clock import FPS, VOICE_RATE
from visavis.sound import read_voice

ROOT: Final = Path(__file__).parent.parent
SPEECH: Final = ROOT / "streaming" / "web" / "sample.wav"
WARM_UP_S: Final = 4.0
LOOK_MS: Final = 237  # between two viewpoints; no multiple of a frame, so every phase is met
CHROMIUM: Final = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream", "--autoplay-policy=no-user-gesture-required",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
)  # fmt: skip
Record = dict[str, Any]


def run(*, quick: bool, log: Console, seconds: float | None = None) -> Measured:
    """60 s (quick: 15 s) of one viewer who hears the voice, then 20 s (5 s) of one who does not (``voice_off.``).

    Before that some cold starts of the session.

    ``glass_to_glass_ms``: the server begins to make a frame -> it is on screen; ``painted_to_photon_ms``: has made.
    ``voice_to_photon_ms``: a click leaves the microphone -> the moment of it is on screen (the frame's time plus
    the click's place in the frame). ``av_skew_ms``: heard minus seen, heard at the loudspeaker (WebAudio's clock plus
    its output latency). ``control_to_photon_ms``: a viewpoint leaves the page -> the first frame that knows it is on
    screen.
    """
    from playwright.sync_api import sync_playwright

    seconds = seconds or (15.0 if quick else 60.0)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        voice = write_voice(Path(folder) / "voice.wav", seconds + 30)
        log.print("starting the server (the first start compiles)")
        with serving(Path(folder)) as (address, process):
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium") or shutil.which("google-chrome"),
                args=[*CHROMIUM, f"--use-file-for-fake-audio-capture={voice}"],
            )
            first = [cold_start(browser, address) for _ in range(3 if quick else 8)]
            record, cpu = watch(browser, address, seconds, process, log)
            silent, _ = watch(browser, address, seconds / 3, process, log, listen=False)
            browser.close()
    check(record, seconds)
    check(silent, seconds / 3)
    measured = evaluate(record)
    unheard = evaluate(silent)
    for name in ("glass_to_glass_ms", "voice_to_photon_ms", "control_to_photon_ms"):
        measured.metrics[f"voice_off.{name}"] = unheard.metrics[name]
        measured.series[f"voice_off.{name}"] = unheard.series[name]
    measured.series["first_frame_ms"] = first
    measured.metrics = {"first_frame_ms": spread(first, "ms"), **measured.metrics}
    if cpu is not None:
        measured.metrics["server_cpu"] = value(cpu, "% of one core")
    return measured


def cold_start(browser: Any, address: str) -> float:
    """Milliseconds from the click on Start to the first frame on screen, in a page of its own."""
    page = browser.new_page(bypass_csp=True)  # waits are evaluated text
    page.goto(f"{address}?bench")
    page.wait_for_selector("#avatars button")
    page.wait_for_timeout(300)
    page.click("#begin")
    page.wait_for_function("visavis.bench.record.first !== null", timeout=15_000)
    took: float = page.evaluate("visavis.bench.record.first - visavis.bench.record.begun")
    page.close()
    return took


def watch(
    browser: Any, address: str, seconds: float, process: subprocess.Popen[bytes], log: Console, listen: bool = True
) -> tuple[Record, float | None]:
    """The page's record of ``seconds`` seconds, and the server's share of a core.

    With ``listen`` the viewer wears headphones: the voice is on, the page keeps lips and voice together, and no echo
    canceller runs. Without, as the page begins, the voice is off and nothing waits for it.
    """
    page = browser.new_page(viewport={"width": 1280, "height": 800}, bypass_csp=True)
    page.goto(f"{address}?bench")
    page.wait_for_selector("#avatars button")
    if listen:
        page.click("#listen")
    page.click("#begin")
    page.wait_for_function("visavis.bench.record.frames.length > 10", timeout=15_000)
    page.wait_for_timeout(WARM_UP_S * 1000)
    log.print(f"measuring {seconds:g} s, voice {'on' if listen else 'off'}")
    page.evaluate(
        """(every) => { const r = visavis.bench.record;
        for (const list of [r.frames, r.spoken, r.heard, r.looks, r.made]) list.length = 0; r.unread = 0;
        let k = 0;
        setInterval(() => visavis.orbit.turn(0.06 * Math.cos(++k * 0.3), 0.02 * Math.sin(k * 0.2)), every); }""",
        LOOK_MS,
    )
    before, start = cpu_seconds(process.pid), time.monotonic()
    page.wait_for_timeout(seconds * 1000)
    after, wall = cpu_seconds(process.pid), time.monotonic() - start
    record: Record = page.evaluate("visavis.bench.record")
    record["means"] = page.evaluate("visavis.waterfall.means()")
    page.close()
    return record, None if before is None or after is None else 100 * (after - before) / wall


def check(record: Record, seconds: float) -> None:
    """Raises ValueError when the marks were not read reliably: then no figure below would mean anything."""
    read, unread = len(record["frames"]), record["unread"]
    if read < 0.5 * FPS * seconds or unread > 0.02 * read:
        raise ValueError(f"the page read the marks of {read} frames and failed on {unread}: nothing to measure from")
    for name in ("spoken", "heard"):
        if len(record[name]) < seconds / 3:
            raise ValueError(f"only {len(record[name])} clicks were {name} in {seconds:g} s, expected one a second")


def evaluate(record: Record) -> Measured:
    """Figures of one record. ``frames`` rows: shown, age, viewpoint seq, onset, number, presented, rtp (ms)."""
    frames = np.array(record["frames"], np.float64)
    shown, age, seq, onset, number, presented, rtp = frames.T
    made = dict(record["made"])  # RTP time -> ms of making
    moments = (shown + onset - 1)[onset > 0]  # when each click is seen
    series = {
        "glass_to_glass_ms": age.tolist(),
        "painted_to_photon_ms": [a - made[r] for a, r in zip(age, rtp, strict=True) if r in made],
        "voice_to_photon_ms": [m - s for m, s in match(moments, record["spoken"], 0, 900)],
        "av_skew_ms": [h - m for m, h in match(moments, record["heard"], -400, 400)],
        "control_to_photon_ms": looks(record["looks"], shown, seq),
        "frame_gap_ms": np.diff(shown).tolist(),
    }
    metrics = {name: spread(samples, "ms") for name, samples in series.items()}
    metrics["av_skew_abs_ms"] = spread(np.abs(series["av_skew_ms"]).tolist(), "ms")
    metrics["frame_gap_ms"]["max"] = round(max(series["frame_gap_ms"]), 1)
    span = (shown[-1] - shown[0]) / 1000
    metrics["fps"] = value((presented[-1] - presented[0]) / span, "frames/s")
    steps = np.diff(number) % 8
    metrics["frames_missed"] = value(float(np.maximum(steps - 1, 0).sum()), "frames")
    metrics["frames_skipped_by_server"] = value(record["server"]["skipped"], "frames")
    metrics["voice_dropped"] = value(record["server"]["dropped_ms"], "ms")
    metrics["video_bitrate"] = value(record["server"]["rate"] / 1e6, "Mbit/s")
    for name, ms in (record.get("means") or {}).items():
        metrics[f"waterfall.{name.replace(' + ', '_').replace(' ', '_')}"] = value(ms, "ms")
    return Measured(metrics, series)


def match(moments: Sequence[float], others: Sequence[float], low: float, high: float) -> list[tuple[float, float]]:
    """Pairs (moment, other) with the other nearest to it among those where low <= |moment - other| side <= high.

    ``low`` and ``high`` bound moment - other. A moment without one is left out.
    """
    others = sorted(others)
    pairs = []
    for moment in moments:
        k = bisect_left(others, moment - high)
        near = [other for other in others[k : k + 4] if low <= moment - other <= high]
        if near:
            pairs.append((moment, min(near, key=lambda other: abs(moment - other))))
    return pairs


def looks(sent: Sequence[tuple[float, int]], shown: np.ndarray, seq: np.ndarray) -> list[float]:
    """Milliseconds from each viewpoint sent to the first frame shown that knows it, or a later one."""
    times = []
    for at, number in sent:
        known = np.flatnonzero((shown >= at) & (((seq - number) % 65536) < 32768))
        if len(known):
            times.append(float(shown[known[0]] - at))
    return times


def write_voice(path: Path, seconds: float) -> Path:
    """Quiet speech with a loud 20 ms click about every second, at uneven times: a WAV for the fake microphone."""
    speech = np.concatenate(list(read_voice(SPEECH, max_seconds=600)))
    voice = np.resize(speech * np.float32(0.3 / np.abs(speech).max()), int(seconds * VOICE_RATE))
    click = 0.9 * np.sin(2 * np.pi * 2000 * np.arange(VOICE_RATE // 50) / VOICE_RATE)
    rng, at = np.random.default_rng(0), 0.5
    while (start := int(at * VOICE_RATE)) + len(click) < len(voice):
        voice[start - VOICE_RATE // 50 : start] = 0.0
        voice[start : start + len(click)] = click
        at += float(rng.uniform(0.9, 1.3))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(VOICE_RATE)
        file.writeframes((voice * 32767).astype("<i2").tobytes())
    return path


@contextmanager
def serving(
    folder: Path, module: Sequence[str] = ("visavis.cli",), more: Sequence[str] = (), *, word: str = "serve",
    end_s: float = 15.0,
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:  # fmt: skip
    """``visavis serve`` on a free port, in a process of its own, ended afterwards, killed when that takes ``end_s``.
    ``module``: what is run with the command ``word``, and its own arguments; ``more`` comes after the command."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address, output = f"http://localhost:{port}/", folder / "server.log"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", *module, word, "--port", str(port), *more]
    with output.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment, cwd=folder)
    try:
        deadline = time.monotonic() + 300
        while True:
            try:
                urllib.request.urlopen(f"{address}v1/health", timeout=2).read()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise OSError(f"the server did not start:\n{output.read_text()[-2000:]}") from None
                time.sleep(0.2)
        yield address, process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(end_s)
        except subprocess.TimeoutExpired:
            process.kill()


def cpu_seconds(pid: int) -> float | None:
    """CPU time of a process so far, on Linux."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
