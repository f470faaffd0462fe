"""How good voice-to-lips is on held-out sentences, and where to draw the line of a lip contact."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from engine.clock import HOPS_PER_FRAME
from engine.motion.generator import LEARNED, Head, LipGenerator
from engine.motion.lips import VISEMES, lip_gap
from training.motion_data import Sample, labelled
from training.speech.corpus import Utterance

POSE_GAIN = (1.0, 1.3)  # limits: a rare action is not blown up out of the noise
CONTACT_GAIN = 3.0  # slope of a contact around its threshold: lips touch or part, they do not hover
# How much more a missed closure, or labiodental, weighs than a false one.
CONTACT_BETA = (2.0, 1.0)
PULSE_FRAMES = 1  # a touch counts when it overlaps the true one within this many frames
GRACE = 2  # and a closure that is said within this many hops
SHUT = VISEMES.index("PP")
SHARED = (0.0, 0.25, 0.5, 0.75, 1.0)  # how much of a hop's word for closed lips may be its frame's
DOUBT = np.arange(-1.0, 0.51, 0.125)  # and what may be added to it


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


@torch.no_grad()
def calibrate_said(net: LipGenerator, utterances: Sequence[Utterance]) -> str:
    """Sets when closed lips are said, and returns what it found: how much the four hops of a frame share one judgement
    and what is added to it, with the best balance of closures found and closures right. Both go into the last layer.
    """
    samples, said = _samples(utterances), []
    heard = [net(torch.from_numpy(s.mel)[None], net.initial_state(1))[0] for s in samples]
    for head, lookahead in enumerate(net.config.lookaheads):
        logits = [mouths[head].viseme[0, lookahead:].numpy() for mouths in heard]
        truth = [s.viseme[: len(s.viseme) - lookahead].ravel() == SHUT for s in samples]
        options = []
        for share in SHARED:
            shut = [(1 - share) * x[..., SHUT] + share * x[..., SHUT].mean(1, keepdims=True) for x in logits]
            margin = [(s - np.delete(x, SHUT, 2).max(2)).ravel() for s, x in zip(shut, logits, strict=True)]
            options += [(said_score(truth, [m > -more for m in margin]), share, float(more)) for more in DOUBT]
        (recall, precision), share, more = max(options, key=lambda option: balance(option[0], CONTACT_BETA[0]))
        _fold(net.heads[head], share, more)  # type: ignore[arg-type]
        said.append(f"lookahead {lookahead} closures said: shared {share:.2f}, added {more:+.3f}, "
                    f"recall {recall:.3f}, precision {precision:.3f}")  # fmt: skip
    return "\n".join(said)


@torch.no_grad()
def _fold(head: Head, share: float, more: float) -> None:
    """Makes each hop's logit of closed lips its own and, by ``share``, the frame's mean, and adds ``more``."""
    first = sum(head.sizes[:2]) + SHUT
    rows = slice(first, first + HOPS_PER_FRAME * len(VISEMES), len(VISEMES))
    assert head.out.bias is not None
    for part in (head.out.weight, head.out.bias):
        part[rows] = (1 - share) * part[rows] + share * part[rows].mean(0, keepdim=True)
    head.out.bias[rows] += more


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
        edges = runs(t)
        found += (sum(bool(near_guess[a:b].any()) for a, b in edges), len(edges))
        right += (float(near_truth[g].sum()), float(g.sum()))
    return float(found[0] / max(found[1], 1)), float(right[0] / max(right[1], 1))


def said_score(truth: Sequence[NDArray[np.bool_]], guess: Sequence[NDArray[np.bool_]]) -> tuple[float, float]:
    """(recall, precision) of events: runs of true values, by hop, that meet the other's within GRACE."""
    met = np.zeros((2, 2))
    for t, g in zip(truth, guess, strict=True):
        for row, (events, other) in zip(met, ((t, g), (g, t)), strict=True):
            near = widened(other, GRACE)
            row += (sum(bool(near[a:b].any()) for a, b in runs(events)), len(runs(events)))
    return float(met[0, 0] / max(met[0, 1], 1)), float(met[1, 0] / max(met[1, 1], 1))


def runs(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Start and end (exclusive) of every run of true values of ``mask`` (T,): (n, 2)."""
    return np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]]))).reshape(-1, 2)


def widened(mask: NDArray[np.bool_], steps: int = PULSE_FRAMES) -> NDArray[np.bool_]:
    """``mask`` (T,) grown by ``steps`` at both ends of every run."""
    return np.convolve(mask, np.ones(2 * steps + 1), "same") > 0
