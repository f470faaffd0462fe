"""The loss of voice-to-lips: pose, lip contacts, painted gap, the two recognisers, and closures among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.motion.generator import LEARNED, LipGenerator, Mouth
from engine.motion.lips import REST_GAP_MM, VISEMES

# Weights of the visemes in the recogniser's loss: the inverse square root of their frequency in the corpus, so that
# rare shapes count, as they do in a macro-averaged F1.
VISEME_WEIGHT = (0.58, 1.19, 1.57, 1.98, 1.09, 1.35, 2.02, 0.99, 0.93, 1.16, 0.81, 1.41, 0.85, 1.72, 1.24)
SHUT = VISEMES.index("PP")
CLOSURE_HOPS = 3


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Relative weights; ``heads`` per lookahead, one frame the most because it is the default."""

    pose: float = 40.0
    velocity: float = 20.0
    contact: float = 3.0
    gap: float = 0.6
    viseme: float = 0.8
    phone: float = 0.5
    closure: float = 0.3
    heads: tuple[float, ...] = (0.6, 1.0, 0.6)


def lip_loss(
    net: LipGenerator, mouths: Sequence[Mouth], targets: Sequence[Tensor], w: LossWeights
) -> dict[str, Tensor]:
    """Weighted sum over the heads, and the immediate head's terms. ``targets``: pose, contact, viseme, phone."""
    parts: dict[str, Tensor] = {}
    total = torch.zeros(())
    for head, (mouth, lookahead, weight) in enumerate(zip(mouths, net.config.lookaheads, w.heads, strict=True)):
        frames = targets[0].shape[1] - lookahead
        late = Mouth(*(value[:, lookahead:].float() for value in mouth))
        terms = _head_terms(net, late, [target[:, :frames] for target in targets])
        loss = sum((getattr(w, name) * term for name, term in terms.items()), torch.zeros(()))
        total = total + weight * loss
        if head == 0:
            parts = dict(terms)
    return {"loss": total, **parts}


def _head_terms(net: LipGenerator, mouth: Mouth, targets: Sequence[Tensor]) -> dict[str, Tensor]:
    pose, contact, viseme, phone = targets
    learned = pose[..., list(LEARNED)]
    # Under a lip contact the open pose is hidden, so it may be anything plausible.
    seen = (1.0 - 0.8 * contact.amax(2, keepdim=True)).expand_as(learned)
    error, step = (mouth.pose - learned) * seen, (mouth.pose - learned).diff(dim=1)
    painted = net.compose(mouth.pose @ net.places, *torch.sigmoid(mouth.contact).unbind(2)) @ net.compose.gap
    wanted = net.compose(pose, *contact.unbind(2)) @ net.compose.gap
    # A wrong closure looks as bad as a missed one: frames shut in the target or in the picture count more.
    shut = contact[..., 0] + torch.sigmoid(mouth.contact[..., 0]).detach()
    gap = F.smooth_l1_loss(painted + REST_GAP_MM, wanted + REST_GAP_MM, reduction="none", beta=1.0) * (1.0 + 1.5 * shut)
    hard = F.binary_cross_entropy_with_logits(mouth.contact, contact, reduction="none")
    return {
        "pose": (error**2).mean() * learned.shape[2] / 4,
        "velocity": (step**2).mean() * learned.shape[2] / 4,
        "contact": hard.mean(),
        "gap": gap.mean(),
        "viseme": F.cross_entropy(mouth.viseme.flatten(0, 2), viseme.flatten().long(),
                                  weight=torch.tensor(VISEME_WEIGHT), label_smoothing=0.02),
        "phone": F.cross_entropy(mouth.phone.flatten(0, 2), phone.flatten().long()),
        "closure": closure_loss(mouth.viseme.flatten(1, 2), viseme.flatten(1, 2)),
    }  # fmt: skip


def closure_loss(logits: Tensor, viseme: Tensor) -> Tensor:
    """Are the lips said to be shut? Focal loss (Lin et al. 2017) a true hop of P, B, M, for logits (B, H, 15) and
    visemes (B, H): what counts are closures in doubt and the sounds taken for one (a strong "the", V, N).

    It judges the mean of CLOSURE_HOPS hops, since one hop alone is what most false closures last, and leaves out
    the two hops on either side of a closure, where the true edge is uncertain.
    """
    others = torch.cat([logits[..., :SHUT], logits[..., SHUT + 1 :]], dim=2)
    margin = (logits[..., SHUT] - others.logsumexp(2))[:, None]
    margin = F.avg_pool1d(margin, CLOSURE_HOPS, 1, CLOSURE_HOPS // 2, count_include_pad=False)
    shut = (viseme == SHUT).float()[:, None]
    certain = 1.0 - (F.max_pool1d(shut, 5, 1, 2) - shut)
    wrong = torch.sigmoid(margin * (1.0 - 2.0 * shut))  # probability of the wrong answer
    focal = wrong * F.binary_cross_entropy_with_logits(margin, shut, reduction="none")
    return (focal * certain).sum() / shut.sum().clamp_min(1.0)
