"""How good voice-to-lips is on held-out sentences, and where to draw the line of a lip contact."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from engine.motion.generator import LEARNED, LipGenerator
from engine.motion.lips import VISEMES, lip_gap
from training.motion_data import Sample, labelled
from training.speech.corpus import Utterance

POSE_GAIN = (1.0, 1.3)  # limits: a rare action is not blown up out of the noise
CONTACT_GAIN = 3.0  # slope of a contact around its threshold: lips touch or part, they do not hover
# How much more a missed closure, or labiodental, weighs than a false one.
CONTACT_BETA = (2.0, 1.0)
PULSE_FRAMES = 1  # a touch counts when it overlaps the true one within this many frames


def _samples(utterances: Sequence[Utterance]) -> list[Sample]:
    return [labelled(u.pcm.astype(np.float32) / 32768.0, u.spans) for u in utterances]


@torch.no_grad()
def score(net: LipGenerator, utterances: Sequence[Utterance], head: int = 0) -> dict[str, float]:
    """Scores of one head: macro F1 of visemes by hop; by frame, contact precision and recall and the gap error."""
    lookahead = net.config.lookaheads[head]
    truth, guess, shut, touch, gaps = [], [], [], [], []
    for sample in _samples(utterances):
        mouth = net(torch.from_numpy(sample.mel)[None], net.initial_state(1))[0][head]
        frames = sample.pose.shape[0] - lookahead
        wanted = net.compose(*map(torch.from_numpy, (sample.pose, *sample.contact.T.copy()))).numpy()
        painted = net.face(mouth, head)[0].numpy()
        truth.append(sample.viseme[:frames].ravel())
        guess.append(mouth.viseme[0].argmax(2).numpy()[lookahead:].ravel())
        shut.append(sample.contact[:frames, 0] > 0.5)
        touch.append(mouth.contact[0, lookahead:, 0].numpy() > 0)
        gaps.append(np.stack([lip_gap(wanted[:frames]), lip_gap(painted[lookahead:])]))
    t, p, s, c, g = (np.concatenate(x, axis=-1) for x in (truth, guess, shut, touch, gaps))
    return {
        "f1": macro_f1(t, p, len(VISEMES)),
        "accuracy": float((t == p).mean()),
        "contact_recall": float(c[s].mean()),
        "contact_precision": float(s[c].mean()) if c.any() else 0.0,
        "gap_mae_mm": float(np.abs(g[0] - g[1]).mean()),
        "gap_corr": float(np.corrcoef(g)[0, 1]),
    }


def macro_f1(truth: NDArray[np.int64], guess: NDArray[np.int64], classes: int) -> float:
    """Mean over the classes present in ``truth`` of 2 TP / (true + guessed)."""
    scores = []
    for label in range(classes):
        true, guessed = truth == label, guess == label
        if true.any():
            scores.append(2 * float((true & guessed).sum()) / float(true.sum() + guessed.sum()))
    return float(np.mean(scores))


@torch.no_grad()
def calibrate(net: LipGenerator, utterances: Sequence[Utterance]) -> str:
    """Sets what validation decides, and returns what it found: pose gains, so that each action's power is that of its
    target (global variance, Toda & Tokuda 2007); and the contact thresholds with the best balance of
    events found and frames right.
    """
    samples = _samples(utterances)
    said = []
    logits: list[list[NDArray[np.float32]]] = [[] for _ in net.config.lookaheads]
    power = np.full((len(net.config.lookaheads), 2, len(LEARNED)), 1e-6)
    for sample in samples:
        mouths, _ = net(torch.from_numpy(sample.mel)[None], net.initial_state(1))
        for head, (mouth, lookahead) in enumerate(zip(mouths, net.config.lookaheads, strict=True)):
            logits[head].append(mouth.steady[0, lookahead:].numpy())
            wanted = sample.pose[: len(sample.pose) - lookahead, list(LEARNED)]
            power[head] += (wanted**2).sum(0), (mouth.pose[0, lookahead:].numpy() ** 2).sum(0)
    net.pose_gain.copy_(torch.from_numpy(np.sqrt(power[:, 0] / power[:, 1])).clamp(*POSE_GAIN))
    said.append(f"pose gains of lookahead {net.config.lookaheads[0]}: {' '.join(f'{g:.2f}' for g in net.pose_gain[0])}")
    for head, lookahead in enumerate(net.config.lookaheads):
        for kind, name in enumerate(("closure", "labiodental")):
            truth = [s.contact[: len(s.contact) - lookahead, kind] >= 0.999 for s in samples]
            guess = [values[:, kind] for values in logits[head]]
            options = [(event_score(truth, [g > cut for g in guess]), cut) for cut in np.arange(-3.0, 2.01, 0.125)]
            (recall, precision), cut = max(options, key=lambda option: balance(option[0], CONTACT_BETA[kind]))
            net.contact_gain[head, kind] = CONTACT_GAIN
            net.contact_threshold[head, kind] = float(cut)
            said.append(f"lookahead {lookahead} {name}: threshold {cut:+.3f}, "
                        f"event recall {recall:.3f}, frame precision {precision:.3f}")  # fmt: skip
    return "\n".join(said)


def balance(scored: tuple[float, float], beta: float) -> float:
    """F-measure of (recall, precision) that weighs recall ``beta`` times as much as precision (van Rijsbergen 1979)."""
    recall, precision = scored
    return (1 + beta**2) * recall * precision / max(beta**2 * precision + recall, 1e-9)


def event_score(truth: Sequence[NDArray[np.bool_]], guess: Sequence[NDArray[np.bool_]]) -> tuple[float, float]:
    """(recall of events, precision of frames), with PULSE_FRAMES of grace on either side.

    Recall counts runs of true frames, since one shut frame shows a closure; precision counts frames, since a mouth
    that is always shut would be a single right run.
    """
    found, right = np.zeros(2), np.zeros(2)
    for t, g in zip(truth, guess, strict=True):
        near_guess, near_truth = widened(g), widened(t)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], t.astype(np.int8), [0]]))).reshape(-1, 2)
        found += (sum(bool(near_guess[a:b].any()) for a, b in edges), len(edges))
        right += (float(near_truth[g].sum()), float(g.sum()))
    return float(found[0] / max(found[1], 1)), float(right[0] / max(right[1], 1))


def widened(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """``mask`` (T,) grown by PULSE_FRAMES at both ends of every run."""
    return np.convolve(mask, np.ones(2 * PULSE_FRAMES + 1), "same") > 0
