"""The network from log-mel to mouth actions (torch; imported by training and exporters only).

Causal throughout: a frame's output depends on the mel up to that frame (plus the head's lookahead) and on a bounded
past of RECEPTIVE frames. State is one flat tensor, so an exported graph has one state input and one state output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.audio.logmel import BINS
from engine.clock import HOPS_PER_FRAME
from engine.motion.acoustic import CONTEXT, FEATURES, SIZES, Acoustic, AcousticState
from engine.motion.emotion import LIP_ACTIONS
from engine.motion.frame import ACTION_INDEX, K
from engine.motion.lips import GAP_VECTOR, REST_GAP_MM, VISEMES

LEARNED: Final = tuple(ACTION_INDEX[name] for name in LIP_ACTIONS)


def _pair(name: str, value: float) -> dict[str, float]:
    return {f"{name}Left": value, f"{name}Right": value}


# (pose, how far the pose replaces what is there) of the two lip contacts, per action.
LABIODENTAL_POSE: Final = {"jawOpen": 0.06, "mouthRollLower": 0.62, **_pair("mouthUpperUp", 0.3)}
LABIODENTAL_HOLD: Final = {"jawOpen": 0.75, "mouthRollLower": 1.0, **_pair("mouthUpperUp", 1.0),
                           **_pair("mouthLowerDown", 1.0), "mouthFunnel": 0.7, "tongueOut": 1.0}  # fmt: skip
CLOSURE_POSE: Final = {"jawOpen": 0.08, "mouthRollLower": 0.16, "mouthRollUpper": 0.12, **_pair("mouthPress", 0.32)}
CLOSURE_HOLD: Final = {"jawOpen": 0.6, "mouthRollLower": 1.0, "mouthRollUpper": 1.0, **_pair("mouthPress", 1.0),
                       **_pair("mouthLowerDown", 1.0), **_pair("mouthUpperUp", 1.0), "mouthFunnel": 0.75,
                       "tongueOut": 1.0}  # fmt: skip
CARRY: Final = 0.4  # share of the previous frame in a contact: one doubtful frame alone does not shut the lips
PRESSED_MM: Final = 0.8  # how far past touching a closure drives the lips


def _row(weights: dict[str, float]) -> Tensor:
    row = torch.zeros(K)
    for name, value in weights.items():
        row[ACTION_INDEX[name]] = value
    return row


class Compose(nn.Module):
    """Open pose (..., K), closure (...), labiodental (...) in [0, 1] -> face (..., K).

    The lips meet by geometry: mouthClose is set to exactly the gap the rest of the pose leaves, so closure 1 is
    shut for any jaw (the jaw/lip split of JALI, Edwards et al. 2016).
    """

    teeth: Tensor
    teeth_hold: Tensor
    shut: Tensor
    shut_hold: Tensor
    gap: Tensor
    close: Tensor

    def __init__(self) -> None:
        super().__init__()
        gap = torch.from_numpy(GAP_VECTOR.copy())
        rows = {"teeth": _row(LABIODENTAL_POSE), "teeth_hold": _row(LABIODENTAL_HOLD), "shut": _row(CLOSURE_POSE),
                "shut_hold": _row(CLOSURE_HOLD), "gap": gap, "close": _row({"mouthClose": 1.0})}  # fmt: skip
        for name, row in rows.items():
            self.register_buffer(name, row, persistent=False)
        self.per_mm = float(-1.0 / gap[ACTION_INDEX["mouthClose"]])

    def forward(self, pose: Tensor, closure: Tensor, labiodental: Tensor) -> Tensor:
        c, v = closure[..., None], labiodental[..., None]
        pose = pose + v * self.teeth_hold * (self.teeth - pose)
        pose = pose + c * self.shut_hold * (self.shut - pose)
        left = (pose * self.gap).sum(-1, keepdim=True) + (REST_GAP_MM + PRESSED_MM)
        return pose + self.close * (c * (left * self.per_mm).clamp(0.0, 1.0))


class Mouth(NamedTuple):
    """One head's raw outputs: pose (B, T, LEARNED) in [0, 1]; logits contact (B, T, 2), steady (the same, smoothed),
    viseme (B, T, 4, 15) and phone (B, T, 4, phones) of the frame's four hops."""

    pose: Tensor
    contact: Tensor
    steady: Tensor
    viseme: Tensor
    phone: Tensor


@dataclass(frozen=True, slots=True)
class GeneratorConfig:
    """Sizes of the network. ``lookaheads``: frames of future each head waits for, ascending, from 0."""

    stem: int = 144
    width: int = 224
    dilations: tuple[int, ...] = (1, 2, 4, 8, 1, 2)
    lookaheads: tuple[int, ...] = (0, 1, 2)
    phones: int = 40
    dropout: float = 0.1

    @staticmethod
    def from_json(sizes: dict[str, Any]) -> GeneratorConfig:
        """The inverse of ``dataclasses.asdict`` through JSON, where tuples come back as lists."""
        tuples: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in sizes.items()}
        return GeneratorConfig(**tuples)


class CausalConv(nn.Module):
    """Conv1d (B, C, T) whose left context is explicit state (B, C, context) instead of padding."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int = 1) -> None:
        super().__init__()
        self.inputs, self.context = inputs, (kernel - 1) * dilation
        self.conv = nn.Conv1d(inputs, outputs, kernel, dilation=dilation)

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.cat([past, x], dim=2)
        return self.conv(x), x[:, :, x.shape[2] - self.context :]


class Norm(nn.Module):
    """LayerNorm over the channels of one frame (B, C, T): no statistics over time, so nothing to stream."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.transpose(1, 2)).transpose(1, 2)


class Block(nn.Module):
    """Pre-norm residual block: dilated causal convolution, GELU, pointwise convolution."""

    def __init__(self, width: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.norm = Norm(width)
        self.conv = CausalConv(width, width, 3, dilation)
        self.mix = nn.Conv1d(width, width, 1)
        self.drop = nn.Dropout(dropout)
        nn.init.zeros_(self.mix.weight)

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        y, past = self.conv(self.norm(x), past)
        return x + self.drop(self.mix(F.gelu(y))), past


class Head(nn.Module):
    """Outputs of one lookahead: mouth pose, lip contacts, and the visemes and phones of the frame's four hops."""

    def __init__(self, width: int, phones: int) -> None:
        super().__init__()
        self.sizes = [len(LEARNED), 2, HOPS_PER_FRAME * len(VISEMES), HOPS_PER_FRAME * phones]
        self.norm, self.hidden = Norm(width), nn.Conv1d(width, width, 1)
        self.out = nn.Conv1d(width, sum(self.sizes), 1)
        nn.init.normal_(self.out.weight, std=0.01)

    def forward(self, x: Tensor, past: Tensor) -> tuple[Mouth, Tensor]:
        y = self.out(F.gelu(self.hidden(self.norm(x)))).transpose(1, 2)
        pose, contact, viseme, phone = torch.split(y, self.sizes, dim=2)
        before = torch.cat([past[:, None].to(contact.dtype), contact[:, :-1]], dim=1)
        steady = contact + CARRY * (before - contact)
        viseme, phone = (logits.unflatten(2, (HOPS_PER_FRAME, -1)) for logits in (viseme, phone))
        return Mouth(torch.sigmoid(pose), contact, steady, viseme, phone), contact[:, -1]


class LipGenerator(nn.Module):
    """log-mel (B, 4 T, 80) and state (B, S) -> one Mouth a lookahead, and the next state.

    The output at position i of the head with lookahead L describes frame i - L.
    """

    contact_gain: Tensor
    contact_threshold: Tensor
    pose_gain: Tensor
    places: Tensor

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.acoustic = Acoustic()
        self.front = CausalConv(BINS + FEATURES, config.stem, 5)
        self.front_norm = Norm(config.stem)
        self.hop_block = Block(config.stem, 1, config.dropout)
        self.down = nn.Conv1d(config.stem, config.width, HOPS_PER_FRAME, stride=HOPS_PER_FRAME)
        self.blocks = nn.ModuleList(Block(config.width, d, config.dropout) for d in config.dilations)
        self.heads = nn.ModuleList(Head(config.width, config.phones) for _ in config.lookaheads)
        # Set on validation by training.motion: contact logits become weights by sigmoid(gain (logit - threshold)), and
        # the pose regains the size that regression to the mean takes from it.
        self.register_buffer("contact_gain", torch.ones(len(config.lookaheads), 2))
        self.register_buffer("contact_threshold", torch.zeros(len(config.lookaheads), 2))
        self.register_buffer("pose_gain", torch.ones(len(config.lookaheads), len(LEARNED)))
        self.register_buffer("places", torch.eye(K)[list(LEARNED)], persistent=False)
        self.compose = Compose()

    @property
    def _convs(self) -> list[CausalConv]:
        return [module for module in self.modules() if isinstance(module, CausalConv)]

    @property
    def _sizes(self) -> list[int]:
        """Values of state a row: front end, every convolution, every head's last contact."""
        return [*SIZES, *(c.inputs * c.context for c in self._convs), 2 * len(self.heads)]

    @property
    def state_size(self) -> int:
        """S: values of state a row."""
        return sum(self._sizes)

    def initial_state(self, batch: int = 1) -> Tensor:
        """State before the first frame: zeros, (B, S)."""
        return torch.zeros(batch, self.state_size)

    def forward(self, mel: Tensor, state: Tensor) -> tuple[list[Mouth], Tensor]:
        count = len(SIZES)
        parts = torch.split(state, self._sizes, dim=1)
        cepstra, moved, near = parts[:count]
        before = AcousticState(cepstra.unflatten(1, (CONTEXT, -1)), moved, near)
        likelihood, after = self.acoustic(mel, before)
        mouths, following = self.listen(mel, likelihood, parts[count:])
        return mouths, torch.cat([part.flatten(1) for part in (*after, *following)], dim=1)

    def listen(self, mel: Tensor, likelihood: Tensor, memory: Sequence[Tensor]) -> tuple[list[Mouth], list[Tensor]]:
        """The learned part: log-mel (B, 4 T, 80) and phone likelihoods (B, 4 T, 126), with the convolutions' and heads'
        parts of the state -> Mouths, and those parts after."""
        *rows, contacts = memory
        pasts = [row.unflatten(1, (c.inputs, c.context)) for c, row in zip(self._convs, rows, strict=True)]
        x, past = self.front(torch.cat([mel, likelihood], dim=2).transpose(1, 2), pasts[0])
        nexts = [past]
        x, past = self.hop_block(F.gelu(self.front_norm(x)), pasts[1])
        nexts.append(past)
        x = self.down(x)
        for block, past in zip(self.blocks, pasts[2:], strict=True):
            x, past = block(x, past)
            nexts.append(past)
        mouths = []
        for head, contact in zip(self.heads, torch.split(contacts, 2, dim=1), strict=True):
            mouth, past = head(x, contact)
            mouths.append(mouth)
            nexts.append(past)
        return mouths, nexts

    def fresh(self, batch: int) -> Sequence[Tensor]:
        """Zero memory for :meth:`listen`."""
        return torch.split(torch.zeros(batch, sum(self._sizes[len(SIZES) :])), self._sizes[len(SIZES) :], dim=1)

    def contact(self, mouth: Mouth, head: int | slice) -> Tensor:
        """Lip contacts (B, T, 2), closure and labiodental, in [0, 1]: the head's logits, sharpened."""
        return torch.sigmoid(self.contact_gain[head] * (mouth.steady - self.contact_threshold[head]))

    def face(self, mouth: Mouth, head: int | slice, gain: Tensor | None = None) -> Tensor:
        """Face actions (B, T, K) of one head's output: the pose, times ``gain`` (B, 1, LEARNED), with the lip contacts
        composed onto it."""
        pose = mouth.pose * self.pose_gain[head]
        pose = (pose if gain is None else pose * gain).clamp(0.0, 1.0)
        return self.compose(pose @ self.places, *self.contact(mouth, head).unbind(-1))
