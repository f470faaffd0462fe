"""Bad lines between a real browser and the server: pictures a second, freezes, and how much of what was said is heard.

Chromium's packets take a relay (line.py), each way through a line of its own with the same faults. The voice goes there
and back, so it meets them twice. The engine shows a film (stand_in.py) and the page is bare but for the real page's
connection: the line is what is tried, not two cores that a browser and a network share.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console

from bench.intact import compare
from bench.line import Condition, Line, Relay, RelayThread
from bench.report import Measured, Metrics, spread, value
from bench.soak_viewer import read_wav
from bench.stand_in import film
from bench.stream import CHROMIUM, match, serving, write_voice

Plan = tuple[tuple[float, Condition], ...]
CLEAN: Final = Condition()
WIDE: Final = Condition(rate=2e6, delay=20, overtaking=False)
NARROW: Final = Condition(rate=4e5, delay=20, overtaking=False)
NARROW_S, AGAIN_S = 10.0, 25.0  # when the line of ``narrow`` gets narrow, and wide again; since its first packet
PLANS: Final[dict[str, Plan]] = {
    "clean": ((0, CLEAN),),
    "loss1": ((0, Condition(loss=0.01)),),
    "loss5": ((0, Condition(loss=0.05)),),
    "loss10": ((0, Condition(loss=0.1)),),
    "burst5": ((0, Condition(loss=0.05, burst=4)),),
    "jitter50": ((0, Condition(delay=20, jitter=50)),),
    "loss5_jitter50": ((0, Condition(loss=0.05, delay=20, jitter=50)),),
    "far": ((0, Condition(delay=300, overtaking=False)),),
    "reorder": ((0, Condition(delay=20, jitter=15, duplicate=0.02)),),
    "narrow": ((0, WIDE), (NARROW_S, NARROW), (AGAIN_S, WIDE)),
}
FILM: Final = Path(tempfile.gettempdir()) / "visavis-bench-film.npy"
VOICE_S: Final = 40.0
WARM_UP_S: Final = 12.0  # until the page has found how long it must hold pictures back
FREEZE_MS: Final = 200.0
PAGE: Final = Path(__file__).with_name("faults_page.js").read_text(encoding="utf-8")
STATS: Final = """async () => {
  const report = await connection.pc.getStats(), kept = {};
  for (const s of report.values()) if (s.type === 'inbound-rtp') kept[s.kind] = s;
  return JSON.parse(JSON.stringify(kept));
}"""
TAKEN: Final = """() => {
  const all = new Int16Array(window.taken.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of window.taken) for (const x of part) all[at++] = Math.max(-1, Math.min(1, x)) * 32767;
  return base64(new Uint8Array(all.buffer));
}"""


def run(quick: bool, log: Console, names: Sequence[str] = tuple(PLANS)) -> Measured:
    """Each of ``names`` for 20 s (quick: 8 s); ``narrow`` for 45 s."""
    metrics: Metrics = {}
    with rig(VOICE_S) as (browser, address, voice):
        for name in names:
            seconds = 45.0 if name == "narrow" else 8.0 if quick else 20.0
            found = look(browser, address, PLANS[name], seconds, voice)
            metrics |= {f"line.{name}.{key}": metric for key, metric in found.items()}
            log.print(f"{name}: " + ", ".join(f"{k} {m.get('value', m.get('p50'))}" for k, m in found.items()))
    metrics["line.load"] = value(os.getloadavg()[0], "jobs waiting or running, 1 min")
    return Measured(metrics)


@contextmanager
def rig(seconds: float) -> Iterator[tuple[Any, str, Path]]:
    """A browser whose microphone plays ``seconds`` of voice round and round, a server with a film, and that voice."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        voice = write_voice(folder / "voice.wav", seconds)
        module = ("bench.soak_server", str(folder / "counts"), "--film", str(film(FILM)), "--")
        with serving(folder, module) as (address, _), browsing(voice) as browser:
            yield browser, address, voice


@contextmanager
def browsing(voice: Path, *flags: str) -> Iterator[Any]:
    """A headless Chromium whose microphone plays ``voice`` round and round."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("google-chrome"),
            args=[*CHROMIUM, *flags, f"--use-file-for-fake-audio-capture={voice}"],
        )
        yield browser
        browser.close()


@contextmanager
def connected(browser: Any, address: str, seconds: float, relay: Relay | None = None, **more: Any) -> Iterator[Any]:
    """A bare page with the page's own connection, its media through ``relay`` if there is one, and its first pictures;
    ``more`` is for faults_page.js."""
    page = browser.new_page(viewport={"width": 200, "height": 150}, bypass_csp=True)
    if relay is not None:
        page.route("**/v1/sessions", lambda route: _relayed(route, relay))
    page.goto(address)
    page.evaluate(PAGE, {"seconds": seconds, "framing": "upper", "crop": None, **more})
    page.wait_for_function("record.frames.length > 10", timeout=40_000)
    try:
        yield page
    finally:
        page.evaluate("connection.close()")
        page.close()


def look(browser: Any, address: str, plan: Plan, seconds: float, voice: Path) -> Metrics:
    """Figures of ``seconds`` of a page behind a line with that plan."""
    up, down = Line(plan, 1), Line(plan, 2)
    timed = any(begin > 0 for begin, _ in plan)
    with RelayThread(up, down) as relay, connected(browser, address, seconds, relay) as page:
        page.wait_for_timeout(0 if timed else WARM_UP_S * 1000)
        before, start = page.evaluate(STATS), time.time()
        page.wait_for_timeout(seconds * 1000)
        after, record = page.evaluate(STATS), page.evaluate("record")
        taken = np.frombuffer(base64.b64decode(page.evaluate(TAKEN)), "<i2")
        origin = page.evaluate("performance.timeOrigin") / 1e3
        begun = time.time() - time.monotonic() + (down.begun or 0.0)
    frames = np.array(record["frames"], np.float64)
    frames = frames[frames[:, 0] / 1e3 + origin > start]
    metrics = pictures(frames[:, 0], frames[:, 1], before["video"], after["video"])
    metrics |= sounds(before["audio"], after["audio"])
    said = read_wav(voice).astype(np.float32) / np.float32(32768)
    metrics["speech_intact_there_and_back"] = value(
        compare(said, taken.astype(np.float32) / np.float32(32768)).intact, ""
    )
    moments = (frames[:, 0] + frames[:, 3] - 1)[frames[:, 3] > 0]
    skews = [late - moment for moment, late in match(moments, record["heard"], -400, 400)]
    if skews:
        metrics["av_skew_ms"] = spread(skews, "ms")
    metrics["line_lost"] = value((down.lost + down.dropped) / max(down.packets, 1), "of the packets")
    if timed:
        metrics |= phases(frames[:, 0] / 1e3 + origin - begun, frames[:, 1])
    return metrics


def _relayed(route: Any, relay: Relay) -> None:
    """Sends the page's offer, and its answer back, so that media goes through ``relay``."""
    body = json.loads(route.request.post_data)
    body["sdp"] = relay.offer(body["sdp"])
    response = route.fetch(post_data=json.dumps(body))
    answer = response.json()
    if response.status == 201:
        answer["sdp"] = relay.answer(answer["sdp"])
    route.fulfill(response=response, body=json.dumps(answer))


def pictures(shown: Any, age: Any, before: dict[str, Any], after: dict[str, Any]) -> Metrics:
    """``shown`` (n,) ms when frames came on screen, ``age`` (n,) ms since they were begun; the browser's own counts."""
    if len(shown) < 10:
        raise ValueError(f"only {len(shown)} frames were shown: nothing to measure")
    gaps = np.diff(shown)
    span = (shown[-1] - shown[0]) / 1e3
    metrics: Metrics = {
        "fps": value(after_before("framesDecoded", before, after) / _span(before, after), "frames/s"),
        "fps_shown": value(len(gaps) / span, "frames/s"),
        "freezes": value(int((gaps > FREEZE_MS).sum()), ""),
        "frozen": value(float(gaps[gaps > FREEZE_MS].sum()) / 1e3 / span, "of the time"),
        "longest_gap_ms": value(float(gaps.max()), "ms"),
        "glass_to_glass_ms": spread(age.tolist(), "ms"),
    }
    for name in ("nackCount", "pliCount", "keyFramesDecoded", "packetsLost", "retransmittedPacketsReceived"):
        metrics[name] = value(after_before(name, before, after), "")
    return metrics


def sounds(before: dict[str, Any], after: dict[str, Any]) -> Metrics:
    """What the browser had to make up of the voice that came back."""
    total = max(after_before("totalSamplesReceived", before, after), 1)
    hidden = after_before("concealedSamples", before, after) - after_before("silentConcealedSamples", before, after)
    return {
        "voice_concealed": value(hidden / total, "of the samples"),
        "voice_packets_lost": value(after_before("packetsLost", before, after), ""),
    }


def after_before(name: str, before: dict[str, Any], after: dict[str, Any]) -> float:
    """How much a count of the browser's has grown."""
    return float(after.get(name, 0) or 0) - float(before.get(name, 0) or 0)


def _span(before: dict[str, Any], after: dict[str, Any]) -> float:
    return float(after["timestamp"] - before["timestamp"]) / 1e3


def phases(at: Any, age: Any) -> Metrics:
    """``at`` (n,) seconds since the line's first packet, ``age`` (n,) ms: each phase of ``narrow``, and how long it was
    until pictures were in time again (25 in a row begun less than 300 ms before)."""
    metrics: Metrics = {}
    for name, low, high in (
        ("before", 5.0, NARROW_S), ("narrow", NARROW_S + 5, AGAIN_S), ("after", AGAIN_S + 5, 1e9),
    ):  # fmt: skip
        inside = (at >= low) & (at < high)
        if inside.sum() > 10:
            metrics[f"{name}.fps"] = value(inside.sum() / (at[inside][-1] - at[inside][0]), "frames/s")
            metrics[f"{name}.glass_to_glass_ms"] = spread(age[inside].tolist(), "ms")
    late = np.flatnonzero(at >= NARROW_S)
    fresh = age[late] < 300
    for k in range(len(fresh) - 25):
        if fresh[k : k + 25].all():
            metrics["recovery_s"] = value(at[late[k]] - NARROW_S, "s")
            break
    return metrics
