"""Suite ``present``: `visavis present` on a real sound server, heard and seen by somebody else, as a call would.

A PulseAudio of its own plays speech with clicks into what the presenter takes for a microphone. The pictures that leave
for the camera carry marks that say which moment of which frame holds a click (streaming/marker.py); another program
records the microphone that calls would choose. Needs Linux, pulseaudio, pactl, parec, pacat and ALSA's pulse plugin; in
place of the camera's device the marks are read.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from bench.report import Measured, Metrics, spread, value
from bench.stream import match, write_voice
from engine.clock import VOICE_RATE
from streaming.marker import COLUMNS, ONSET_LEVEL, words

ROOT: Final = Path(__file__).resolve().parent.parent
TOOLS: Final = ("pulseaudio", "pactl", "parec", "pacat")
SERVER: Final = """load-module module-native-protocol-unix
load-module module-null-sink sink_name=mouth rate=48000
set-default-sink mouth
set-default-source mouth.monitor
"""
LATENCY_MS: Final = 10  # of parec and pacat
START_S: Final = 300.0
LISTEN: Final = """async () => {
  const any = await navigator.mediaDevices.getUserMedia({ audio: true });
  const found = (await navigator.mediaDevices.enumerateDevices())
    .find(({ kind, label }) => kind === "audioinput" && label === "Visavis microphone");
  const audio = { deviceId: { exact: found.deviceId }, echoCancellation: false, autoGainControl: false };
  const stream = await navigator.mediaDevices.getUserMedia({ audio });
  const context = new AudioContext(), analyser = context.createAnalyser(), heard = new Float32Array(analyser.fftSize);
  context.createMediaStreamSource(stream).connect(analyser);
  let peak = 0;
  for (let i = 0; i < 100; i++) {
    await new Promise((done) => setTimeout(done, 40));
    analyser.getFloatTimeDomainData(heard);
    peak = heard.reduce((most, x) => Math.max(most, Math.abs(x)), peak);
  }
  return peak;
}"""
LONGEST_MS: Final = 850.0  # clicks are 900 apart or more
LEAST: Final = 0.6  # share of the clicks that must be seen and heard, or nothing is said


def run(*, quick: bool, log: Console, seconds: float | None = None) -> Measured:
    """Presents for a minute (15 s with ``quick``). Raises OSError without the programs, ValueError when the clicks do
    not come through."""
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        raise OSError(
            f"{', '.join(absent)} must be installed: apt install pulseaudio pulseaudio-utils libasound2-plugins"
        )
    seconds = seconds or (15.0 if quick else 60.0)
    with tempfile.TemporaryDirectory() as name, sound_server(Path(name)) as environment:
        folder = Path(name)
        voice = write_voice(folder / "voice.wav", seconds)
        with presenting(folder, environment, log) as seen:
            log.print(f"talking for {seconds:g} s")
            with Recording("mouth.monitor", environment) as said, Recording("visavis_microphone", environment) as heard:
                play = ["pacat", "--file-format=wav", "--device=mouth", f"--latency-msec={LATENCY_MS}", str(voice)]
                subprocess.run(play, env=environment, check=True, timeout=seconds + 60)
                time.sleep(1.0)
            browser = in_a_browser(environment, voice) if shutil.which("chromium") else {}
        pictures = [json.loads(line) for line in seen.read_text().splitlines()]
        measured = evaluate(pictures, said, heard)
        measured.metrics.update(browser)
        return measured


def evaluate(pictures: list[dict[str, float]], said: Recording, heard: Recording) -> Measured:
    """Where clicks were at the microphone, in the pictures and at the callers' microphone."""
    spoken, listened = said.clicks(), heard.clicks()
    shown = [1e3 * line["time"] + line["onset"] - 1 for line in pictures if line["onset"]]
    voices = match(listened, spoken, 20, LONGEST_MS)
    faces = match(shown, spoken, 20, LONGEST_MS)
    both = match(listened, shown, -200, 200)
    if min(len(voices), len(faces), len(both)) < LEAST * len(spoken) or not spoken:
        raise ValueError(
            f"of {len(spoken)} clicks {len(shown)} were seen and {len(listened)} heard, {len(faces)} and {len(voices)} "
            f"within {LONGEST_MS} ms, {len(both)} of them together: nothing can be said"
        )
    sent = np.array([line["time"] for line in pictures])
    inside = (sent > spoken[0] / 1e3) & (sent < spoken[-1] / 1e3)
    skew = [sound - picture for sound, picture in both]
    metrics: Metrics = {
        "microphone_to_camera": spread([a - b for a, b in faces], "ms"),
        "microphone_to_call": spread([a - b for a, b in voices], "ms"),
        "av_skew": spread(skew, "ms"),
        "av_skew_magnitude": spread(np.abs(skew).tolist(), "ms"),
        "within_20_ms": value(100 * float(np.mean(np.abs(skew) <= 20)), "%"),
        "fps": value(float(inside.sum() / (spoken[-1] - spoken[0]) * 1e3), "1/s"),
        "frame_interval": spread((np.diff(sent[inside]) * 1e3).tolist(), "ms"),
        "clicks_heard": value(len(voices), f"of {len(spoken)}"),
    }
    return Measured(metrics, {"skew": skew, "microphone to camera": [a - b for a, b in faces]})


def in_a_browser(environment: dict[str, str], voice: Path) -> Metrics:
    """The loudest that a page hears which asks for the microphone called Visavis, while the presenter is spoken to."""
    from playwright.sync_api import sync_playwright

    play = ["pacat", "--file-format=wav", "--device=mouth", str(voice)]
    speech = subprocess.Popen(play, env=environment)
    try:
        with sync_playwright() as playwright, playwright.chromium.launch(
            executable_path=shutil.which("chromium"), env=dict(environment),
            args=["--no-sandbox", "--use-fake-ui-for-media-stream"],
        ) as browser:  # fmt: skip
            page = browser.new_context(permissions=["microphone"]).new_page()
            page.route("http://localhost/", lambda route: route.fulfill(body="<p>", content_type="text/html"))
            page.goto("http://localhost/")
            return {"browser_hears": value(float(page.evaluate(LISTEN)), "peak")}
    finally:
        speech.terminate()
        speech.wait(10)


class Recording:
    """What a program hears that records ``source``, with the time at which it came."""

    def __init__(self, source: str, environment: dict[str, str]) -> None:
        self._command = [
            "parec", f"--device={source}", "--format=float32le", f"--rate={VOICE_RATE}", "--channels=1",
            f"--latency-msec={LATENCY_MS}", "--raw",
        ]  # fmt: skip
        self._environment = environment
        self._pieces: list[tuple[float, NDArray[np.float32]]] = []

    def __enter__(self) -> Recording:
        self._process = subprocess.Popen(self._command, env=self._environment, stdout=subprocess.PIPE, bufsize=0)
        self._thread = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._thread.start()
        return self

    def _read(self, pipe: IO[bytes]) -> None:
        rest = b""
        while data := pipe.read(4096):
            now, data = time.perf_counter(), rest + data
            whole = len(data) // 4 * 4
            rest = data[whole:]
            self._pieces.append((now, np.frombuffer(data[:whole], np.float32)))

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._thread.join(10)

    def clicks(self) -> list[float]:
        """When each came, ms. A piece came late, or in time: the line that nearly all came later than is its clock."""
        counts = np.cumsum([0, *(len(piece) for _, piece in self._pieces)])
        sound = np.concatenate([piece for _, piece in self._pieces])
        ends = np.array([when for when, _ in self._pieces])
        begins = ends - counts[1:] / VOICE_RATE  # of the recording, by what each piece says
        moments: list[float] = []
        quiet = VOICE_RATE
        for at in np.flatnonzero(np.abs(sound) > ONSET_LEVEL):
            if at - quiet > VOICE_RATE // 2:
                piece = int(np.searchsorted(counts, at, side="right")) - 1
                near = begins[max(piece - 100, 0) : piece + 100]
                moments.append(1e3 * float(np.percentile(near, 5) + at / VOICE_RATE))
            quiet = int(at)
        return moments


@contextlib.contextmanager
def sound_server(folder: Path) -> Iterator[dict[str, str]]:
    """The environment of programs that use a PulseAudio of their own."""
    script = folder / "server.pa"
    script.write_text(SERVER)
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(folder), "PULSE_RUNTIME_PATH": str(folder / "pulse")}
    environment.pop("PULSE_SERVER", None)
    command = ["pulseaudio", "-n", "-F", str(script), "--daemonize=no", "--exit-idle-time=-1", "--log-target=null"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            if subprocess.run(["pactl", "info"], env=environment, capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.1)
        else:
            raise OSError("pulseaudio does not start")
        yield environment
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def presenting(folder: Path, environment: dict[str, str], log: Console) -> Iterator[Path]:
    """The file that says of each picture when it was sent, and the click in it; pictures come."""
    seen, output = folder / "pictures.jsonl", folder / "present.log"
    with output.open("wb") as file:
        command = [sys.executable, "-m", "bench.present", str(seen)]
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file, cwd=ROOT)
    try:
        log.print("the presenter starts")
        end = time.monotonic() + START_S
        while not seen.exists() or seen.read_text().count("\n") < 100:
            if process.poll() is not None or time.monotonic() > end:
                raise OSError(f"the presenter did not start:\n{output.read_text()[-2000:]}")
            time.sleep(0.2)
        yield seen
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
        log.print(output.read_text().strip().splitlines()[-1], markup=False, highlight=False)


class Marks:
    """In place of the camera's module: pictures are not shown, their marks are read."""

    class PixelFormat:
        """What it takes."""

        I420 = "I420"

    class Camera:
        """Writes when each picture came, and the click in it, to ``path``."""

        path = Path()
        device = "marks"

        def __init__(self, width: int, height: int, fps: float, *, fmt: str, device: str | None) -> None:
            self._size = (height, width)
            self._file = self.path.open("w", encoding="utf-8", buffering=1)

        def send(self, frame: NDArray[np.uint8]) -> None:
            """One picture, I420."""
            now, (height, width) = time.perf_counter(), self._size
            luma = frame[: height * width].reshape(height, width)
            cells = luma[height // 32 : height // 4 : height // 16, width // 32 :: width // 16] > 120
            rows = [int("".join("1" if cell else "0" for cell in row[:COLUMNS]), 2) for row in cells[:4]]
            onset, number = rows[3] >> 10, rows[3] >> 7 & 7
            sound = words(rows[0] << 16 | rows[1], rows[2], onset, number)[3] == rows[3]
            self._file.write(json.dumps({"time": now, "onset": onset if sound else 0, "sound": sound}) + "\n")

        def close(self) -> None:
            """No more come."""
            self._file.close()


def child(path: Path) -> None:
    """The presenter of the default avatar, with marks in its pictures."""
    from streaming.live import Options
    from visavis import virtualcam
    from visavis.config import load
    from visavis.gpu import open_engine
    from visavis.present import Wish, present

    Marks.Camera.path = path
    library: Any = virtualcam
    library.library = lambda: Marks
    settings = load(None)
    engine = open_engine(settings.engine, Console(stderr=True), sessions=1)
    engine.warm_up()
    present(engine, settings, Wish(Options(engine.default_avatar, settings.render.framing, 0, marker=True)))


if __name__ == "__main__":
    child(Path(sys.argv[1]))
