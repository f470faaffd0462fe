"""Other people's lip-sync, run as it is published on the same audio as ours. Never shipped, never imported by us.

Each peer lives in a folder of its own under data/peers (``python -m bench.peers install NAME``), with pinned versions.
What it said is kept by the hash of what it heard, so that a suite can be run again without it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.cues import Cue, read_cues, write_cues
from engine.clock import SAMPLE_RATE

Array = NDArray[np.float32]

ROOT: Final = Path(__file__).resolve().parents[2]
HOME: Final = ROOT / "data" / "peers"
DRIVERS: Final = Path(__file__).parent / "drivers"


class MissingPeer(RuntimeError):
    """A peer is not installed here; the message says how to."""


class BrokenPeer(RuntimeError):
    """A peer is installed and failed; the message holds the end of what it said."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One recording for a peer: pcm (samples,) float32 at 16 kHz, and its transcript."""

    pcm: Array
    text: str

    def key(self, reads: bool) -> str:
        """Names what a peer was given: the samples as it gets them, and the transcript if it reads."""
        words = self.text.encode() if reads else b""
        return hashlib.sha256(_int16(self.pcm).tobytes() + b"\0" + words).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class Peer:
    """One system. ``reads``: it is given the transcript; ``causal``: it could answer while it listens."""

    name: str
    package: str
    version: str
    licence: str
    about: str
    runtime: str  # node | python | chromium
    driver: str
    reads: bool = False
    causal: bool = True
    slow: bool = False  # not much faster than the sound

    @property
    def folder(self) -> Path:
        return HOME / self.package.rpartition("/")[2]

    @property
    def python(self) -> Path:
        return self.folder / "venv" / "bin" / "python"

    @property
    def cache(self) -> Path:
        """Where its answers are kept: another version or another driver answers anew."""
        made = hashlib.sha256((DRIVERS / self.driver).read_bytes()).hexdigest()[:8]
        return HOME / "answers" / f"{self.name}-{self.version}-{made}"

    def install_commands(self) -> list[list[str]]:
        """What ``python -m bench.peers install`` runs, in ``folder``."""
        if self.runtime == "python":
            return [
                [sys.executable, "-m", "venv", "venv"],
                [str(self.python), "-m", "pip", "install", "--quiet", f"{self.package}=={self.version}"],
            ]
        what = f"{self.package}@{self.version}"
        return [["npm", "install", "--no-save", "--no-package-lock", "--ignore-scripts", "--prefix", ".", what]]

    def installed_version(self) -> str | None:
        """The version in ``folder``, or None."""
        if self.runtime == "python":
            found = sorted((self.folder / "venv").glob(f"lib/python*/site-packages/{self.package}-*.dist-info"))
            return found[0].name.removesuffix(".dist-info").partition("-")[2] if found else None
        manifest = self.folder / "node_modules" / self.package / "package.json"
        return str(json.loads(manifest.read_text(encoding="utf-8"))["version"]) if manifest.is_file() else None


PEERS: Final = {
    peer.name: peer
    for peer in (
        Peer("rhubarb", "rhubarb-lip-sync-wasm", "0.1.8", "MIT", "speech recognition over the whole recording", "node",
             "rhubarb.mjs", causal=False, slow=True),
        Peer("rhubarb_text", "rhubarb-lip-sync-wasm", "0.1.8", "MIT", "the same, and given the transcript", "node",
             "rhubarb.mjs", reads=True, causal=False, slow=True),
        Peer("headaudio", "@met4citizen/headaudio", "0.1.0", "MIT", "Gaussian prototypes of MFCCs, live", "node",
             "headaudio.mjs"),
        Peer("wawa", "wawa-lipsync", "0.0.2", "MIT", "rules on seven bands of an analyser, live", "chromium",
             "wawa.html"),
        Peer("pylipsync", "pylipsync", "0.2.1", "MIT", "uLipSync's method: five vowels by MFCC similarity", "python",
             "pylipsync_driver.py"),
        Peer("openfacefx", "openfacefx", "0.24.0", "MIT", "the transcript spread over the sound's length", "python",
             "openfacefx_driver.py", reads=True, causal=False),
    )
}  # fmt: skip


def require(peer: Peer) -> None:
    """Raises MissingPeer unless ``peer`` can be run here, with the pinned version."""
    found = peer.installed_version()
    if found != peer.version:
        has = "is not installed" if found is None else f"is here as {found}, not {peer.version}"
        raise MissingPeer(f"{peer.name} {has}: python -m bench.peers install {peer.name}")
    tool = {"node": "node", "chromium": "chromium"}.get(peer.runtime)
    if tool and shutil.which(tool) is None:
        raise MissingPeer(f"{peer.name} needs {tool} on the path")


def install(peer: Peer, run: Callable[..., object] = subprocess.run) -> None:
    """Fetches ``peer`` into its folder. Raises CalledProcessError or OSError when a tool fails or is missing."""
    peer.folder.mkdir(parents=True, exist_ok=True)
    for command in peer.install_commands():
        run(command, cwd=peer.folder, check=True)
    require(peer)


def ask(peer: Peer, heard: Sequence[Heard], kept_only: bool = False) -> list[list[Cue]]:
    """What ``peer`` says of every recording; it is asked only for what is not kept. Raises MissingPeer or BrokenPeer.

    With ``kept_only`` it is not asked at all: MissingPeer when an answer is not there.
    """
    kept = [peer.cache / f"{h.key(peer.reads)}.csv" for h in heard]
    missing = {path: h for path, h in zip(kept, heard, strict=True) if not path.is_file()}
    if missing:
        if kept_only:
            raise MissingPeer(f"{peer.name}: {len(missing)} of {len(kept)} answers are not kept; run without --quick")
        require(peer)
        with tempfile.TemporaryDirectory(prefix=f"visavis-{peer.name}-") as name:
            work = Path(name)
            jobs = []
            for number, h in enumerate(missing.values()):
                write_wav(work / f"{number}.wav", h.pcm)
                jobs.append({"wav": str(work / f"{number}.wav"), "text": h.text if peer.reads else "",
                             "out": str(work / f"{number}.csv")})  # fmt: skip
            _drive(peer, work, jobs)
            for path, job in zip(missing, jobs, strict=True):
                write_cues(path, read_cues(Path(job["out"])))
    return [read_cues(p) for p in kept]


def _drive(peer: Peer, work: Path, jobs: list[dict[str, str]]) -> float:
    """Runs the driver over ``jobs``; seconds of computing, loading not counted. Raises BrokenPeer or MissingPeer."""
    if peer.runtime == "chromium":
        from bench.peers.browser import drive

        return drive(peer.folder, DRIVERS / peer.driver, work, jobs)
    listed = work / "jobs.json"
    listed.write_text(json.dumps(jobs), encoding="utf-8")
    if peer.runtime == "node":  # modules are looked for beside the script
        script = shutil.copy(DRIVERS / peer.driver, peer.folder / peer.driver)
        command = ["node", str(script), str(listed)]
    else:
        command = [str(peer.python), str(DRIVERS / peer.driver), str(listed)]
    done = subprocess.run(command, cwd=peer.folder, capture_output=True, text=True, check=False)
    return parse_report(peer.name, done.returncode, done.stdout, done.stderr)


def parse_report(name: str, code: int, out: str, err: str) -> float:
    """The seconds that a driver reports on its last line. Raises BrokenPeer with the end of its words."""
    try:
        if code:
            raise ValueError(f"exit status {code}")
        return float(json.loads(out.strip().splitlines()[-1])["seconds"])
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise BrokenPeer(f"{name} failed ({error}): {(err or out).strip()[-400:]}") from None


def write_wav(path: Path, pcm: Array) -> None:
    """16-bit mono at 16 kHz, canonical 44-byte header."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE)
        out.writeframes(_int16(pcm).tobytes())


def _int16(pcm: Array) -> NDArray[np.int16]:
    return (np.clip(pcm, -1, 1) * 32767).astype(np.int16)
