"""A picture of one held-out sentence: what the mouth should do and what the network makes it do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from engine.clock import FRAME_SECONDS, HOPS_PER_FRAME, SAMPLE_RATE
from engine.motion.frame import ACTION_INDEX
from engine.motion.generator import Compose, LipGenerator
from engine.motion.lips import VISEMES, lip_gap
from training.motion_data import SILENCE, labelled
from training.speech.corpus import Utterance
from training.speech.phones import HOPS_PER_SECOND, PHONES

SHOWN = ("jawOpen", "mouthClose", "mouthPucker", "mouthFunnel", "mouthStretchLeft", "mouthRollLower")


@torch.no_grad()
def plot(utterance: Utterance, path: Path, net: LipGenerator | None = None, head: int = 0) -> None:
    """Draws gap, contacts, actions and visemes over the phones into a PNG; without a network, the target alone."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    sample = labelled(utterance.pcm.astype(np.float32) / 32768.0, utterance.spans)
    target = Compose()(*map(torch.from_numpy, (sample.pose, *sample.contact.T.copy()))).numpy()
    painted, said = _predict(net, sample.mel, head) if net else (None, np.eye(len(VISEMES))[sample.viseme.ravel()])
    time = (np.arange(len(target)) + 0.5) * FRAME_SECONDS
    figure, axes = pyplot.subplots(3 + len(SHOWN), 1, figsize=(16, 14), sharex=True)
    wave = np.arange(utterance.pcm.size) / SAMPLE_RATE
    axes[0].plot(wave, utterance.pcm / 32768.0, lw=0.4, color="0.4")
    for start, stop, phone in utterance.spans:
        axes[0].text((start + stop) / 2 / HOPS_PER_SECOND, 0.75, PHONES[phone], ha="center", size=7)
        shut = PHONES[phone] in ("P", "B", "M")
        for axis in axes[: 2 + len(SHOWN)]:
            axis.axvspan(start / HOPS_PER_SECOND, stop / HOPS_PER_SECOND, color="tab:red", alpha=0.15 * shut, lw=0)
    rows = [("gap mm", lip_gap(target), None if painted is None else lip_gap(painted))]
    for name in SHOWN:
        k = ACTION_INDEX[name]
        rows.append((name, target[:, k], None if painted is None else painted[:, k]))
    for axis, (label, wanted, got) in zip(axes[1:], rows, strict=False):
        axis.step(time, wanted, where="mid", color="0.5", lw=1.5)
        if got is not None:
            axis.step(time, got, where="mid", color="tab:blue", lw=1.2)
        axis.set_ylabel(label, size=8)
        axis.grid(alpha=0.3)
    extent = (0.0, len(said) / HOPS_PER_SECOND, len(VISEMES) - 0.5, -0.5)
    axes[-1].imshow(said.T, aspect="auto", extent=extent, cmap="magma", vmin=0, vmax=1)
    axes[-1].set_yticks(range(len(VISEMES)), VISEMES, size=6)
    figure.suptitle(f"{utterance.voice}: {utterance.text}  (grey: target, blue: network, red: P B M)")
    figure.tight_layout()
    figure.savefig(path, dpi=70)
    pyplot.close(figure)


def _predict(net: LipGenerator, mel: NDArray[np.float32], head: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    lookahead = net.config.lookaheads[head]
    flushed = np.pad(mel, ((0, HOPS_PER_FRAME * lookahead), (0, 0)), constant_values=SILENCE)
    mouth = net(torch.from_numpy(flushed)[None], net.initial_state(1))[0][head]
    said = torch.softmax(mouth.viseme[0, lookahead:], 2).flatten(0, 1)
    return net.face(mouth, head)[0, lookahead:].numpy(), said.numpy()
