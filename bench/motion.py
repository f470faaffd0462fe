"""Suite ``motion``: our lips and every peer's on the same recordings, by the phones that were spoken; stillness, speed.

``<system>.<set>.<figure>``: figures are bench/lipscore.py's, lag removed (``lag_ms``; ``_at_0``: as it comes out). Ours
is a whole session; its time is that of the voice that goes out with the pictures, ``ours.algorithmic_latency_ms`` after
the voice that came in. A peer's time starts where its sound does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Final

import numpy as np
from rich.console import Console
from rich.progress import track

from bench import prompts
from bench.cues import has_shapes
from bench.lipscore import Score, Take, cue_take, interval, lead, painted_take, score, true_track, unit
from bench.lively import lively
from bench.motion_report import plot, tables
from bench.ours import Talker, latency, loudness
from bench.peers import PEERS, BrokenPeer, Heard, MissingPeer, Peer, ask
from bench.prompts import Prompt
from bench.report import Measured, Metrics, between, spread, value
from bench.sounds import Array, at_8khz, in_babble, in_noise, pink, still_sounds
from engine.clock import FRAME, HOP, SAMPLE_RATE
from engine.config import MotionConfig
from engine.motion.lips import REST_GAP_MM
from training.speech.phones import Span
from training.speech.tools import MissingPackage

SNR_DB: Final = 10.0
CROWD: Final = 4  # voices in the babble
ONSET_HOPS: Final = 48  # a sound that starts from nothing may be a word for half a second
WITH_INTERVAL: Final = ("f1_15", "f1_6", "closure_recall", "closure_precision", "opening_corr")
LOOKAHEADS: Final = (0, 1, 2)
FOR_ALL: Final = ("asterisk", "librivox")  # real English: every peer is asked, and every lookahead tried
BEST_LIVE: Final = "headaudio"  # of the peers that listen, asked about every other set as well
LANGUAGE_PROMPTS: Final = 40
PAUSE_SECONDS: Final = 1.5
ROOM: Final = 10 ** (-60 / 20)  # power of every other pause: a quiet room; the others are digital silence

Speech = Callable[[], Iterable[Prompt]]
System = Callable[[Sequence[Prompt]], list[Take]]


def run(quick: bool = False, log: Console | None = None) -> Measured:
    """Scores every set that this machine has the speech for. Raises ValueError when it has none."""
    log = log or Console(stderr=True)
    main = MotionConfig().lookahead
    talkers = {lookahead: Talker(lookahead) for lookahead in (LOOKAHEADS if not quick else (main,))}
    ours = {"ours": _ours(talkers[main])}
    ours |= {f"ours.lookahead{n}": _ours(talkers[n]) for n in talkers if n != main}
    everybody = ours | {"baseline.loudness": _loudness}
    everybody |= {name: _peer(peer, kept_only=quick and peer.slow) for name, peer in PEERS.items()}
    live = {"ours": ours["ours"], **{name: everybody[name] for name in (BEST_LIVE,) if name in PEERS and not quick}}

    metrics: Metrics = {}
    skipped: set[str] = set()
    speech = dict(_speech(quick))
    for name, make in speech.items():
        try:
            said = list(track(make(), f"reading {name}", console=log, transient=True))
        except MissingPackage as error:
            log.print(f"[yellow]{name} skipped:[/] {error}")
            continue
        metrics |= _scored(name, said, everybody if name in FOR_ALL else live, log, skipped)
        if name == "asterisk":
            metrics |= _scored("asterisk_pauses", [call(said)], {"ours": ours["ours"]}, log, skipped)
            metrics |= lively(talkers[main], said, call, quick, log)
            for variant, changed in () if quick else _changed(said):
                metrics |= _scored(variant, changed, live, log, skipped)
    if not metrics:
        raise ValueError("no speech to score: install the packages named above")
    metrics |= _stillness(talkers[main])
    metrics["ours.algorithmic_latency_ms"] = value(1e3 * latency(main), "ms")
    if "ours.asterisk_pauses.false_open_pct" in metrics:
        metrics["false_open_pct"] = metrics["ours.asterisk_pauses.false_open_pct"]
    metrics["step_ms"] = spread(talkers[main].step_ms, "ms")
    metrics["step_cpu_ms"] = spread(talkers[main].step_cpu_ms, "ms")  # what is left of it on a busy machine
    series = {"motion step": talkers[main].step_ms}
    return Measured(metrics, series, "ms", tables(metrics), lambda folder: plot(metrics, folder / "motion.png"))


def _speech(quick: bool) -> Iterator[tuple[str, Speech]]:
    yield "asterisk", lambda: prompts.asterisk(full=False)
    yield "librivox", prompts.librivox
    if quick:
        return
    yield "tts", prompts.tts
    for code in prompts.LANGUAGES:
        yield code, partial(_some, code)


def _some(code: str) -> Iterator[Prompt]:
    return islice(prompts.language(code), LANGUAGE_PROMPTS)


def _changed(said: Sequence[Prompt]) -> Iterator[tuple[str, list[Prompt]]]:
    """The same prompts in noise, among other voices, and over a narrow line."""
    yield "asterisk_10db", [replace(p, pcm=in_noise(p.name, p.pcm, SNR_DB)) for p in said]
    crowd = [[said[(i + step) % len(said)].pcm for step in range(1, CROWD + 1)] for i in range(len(said))]
    yield "asterisk_babble10db", [replace(p, pcm=in_babble(p.pcm, c, SNR_DB)) for p, c in zip(said, crowd, strict=True)]
    yield "asterisk_8khz", [replace(p, pcm=at_8khz(p.pcm)) for p in said]


def call(said: Sequence[Prompt]) -> Prompt:
    """The prompts as one recording with a pause before each and after the last: what a mouth does when nobody speaks
    shows in the pauses. Spans move with their sound."""
    rng = np.random.default_rng(0)
    size = round(PAUSE_SECONDS * SAMPLE_RATE) // FRAME * FRAME
    parts, spans, at = list[Array](), list[Span](), 0
    for number, prompt in enumerate((*said, None)):
        parts.append(pink(size, rng) * np.float32(ROOM * (number % 2)))
        at += size // HOP
        if prompt is not None:
            parts.append(prompt.pcm)
            spans += [Span(s.start + at, s.stop + at, s.phone) for s in prompt.spans]
            at += prompt.pcm.size // HOP
    return Prompt("call", "", np.concatenate(parts), spans)


def _ours(talker: Talker) -> System:
    def takes(said: Sequence[Prompt]) -> list[Take]:
        shown = [talker.perform(p.pcm) for p in said]
        return [painted_take(p.spans, s.viseme, s.gap) for p, s in zip(said, shown, strict=True)]

    return takes


def _loudness(said: Sequence[Prompt]) -> list[Take]:
    heard = [loudness(p.pcm) for p in said]
    return [painted_take(p.spans, viseme, gap, gap) for p, (viseme, gap) in zip(said, heard, strict=True)]


def _peer(peer: Peer, kept_only: bool) -> System:
    def takes(said: Sequence[Prompt]) -> list[Take]:
        answers = ask(peer, [Heard(p.pcm, p.text) for p in said], kept_only)
        shapes = has_shapes(answers)
        true = [true_track(p.spans, p.pcm.size // HOP) for p in said]
        return [cue_take(t, cues, shapes) for t, cues in zip(true, answers, strict=True)]

    return takes


def _scored(name: str, said: Sequence[Prompt], systems: dict[str, System], log: Console, skipped: set[str]) -> Metrics:
    """Every system on one set. Who cannot be run is named once, in ``skipped``, and left out."""
    metrics: Metrics = {}
    scores: dict[str, Score] = {}
    for system, hear in track(systems.items(), f"scoring {name}", console=log, transient=True):
        try:
            scores[system] = score(hear(said))
        except (MissingPeer, BrokenPeer) as error:
            if system not in skipped:
                log.print(f"[yellow]skipped:[/] {error}", highlight=False)
                skipped.add(system)
            continue
        limits = interval(scores[system])
        for figure, number in scores[system].named().items():
            key = f"{system}.{name}.{figure}"
            wide = figure in WITH_INTERVAL
            metrics[key] = between(number, *limits[figure], unit(figure)) if wide else value(number, unit(figure))
    for system, theirs in scores.items():
        if not system.startswith("ours"):
            for figure, (gap, low, high) in lead(scores["ours"], theirs).items():
                if figure in WITH_INTERVAL:
                    metrics[f"ours.{name}.lead_over.{system}.{figure}"] = between(gap, low, high, unit(figure))
    metrics[f"{name}.prompts"] = value(len(said), "prompts")
    metrics[f"{name}.seconds"] = value(sum(p.pcm.size for p in said) / SAMPLE_RATE, "s")
    return metrics


def _stillness(talker: Talker) -> Metrics:
    metrics: Metrics = {}
    for name, sound in still_sounds().items():
        moved = np.abs(talker.perform(sound).gap - REST_GAP_MM)
        metrics[f"ours.still.{name}_onset_mm"] = value(float(moved[:ONSET_HOPS].max()), "mm")
        metrics[f"ours.still.{name}_mm"] = value(float(moved[ONSET_HOPS:].max()), "mm")
    return metrics
