"""Networks as they run, one frame at a time: the same sums as in training, in few operations.

At batch 1 an operation costs a microsecond before it computes anything. So channels lie last, every convolution is one
matrix on its taps, and what is remembered is split off one flat state at once and joined into the next one at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.motion.generator import Block, CausalConv

if TYPE_CHECKING:
    import onnx

OPSET = 17
TAPS = 3  # of every dilated convolution


class Step(nn.Module):
    """A module with memory: ``forward(x, past)`` gives what comes out and the past of the next step.

    ``sizes`` are the last dimensions of the pieces of ``past``. The next past, joined, splits into the same sizes.
    """

    sizes: list[int]


class Memory:
    """Pieces of what is remembered, handed out to the steps of a network in order; ``after`` are those of the next."""

    def __init__(self, pieces: Sequence[Tensor]) -> None:
        self._pieces = iter(pieces)
        self.after: list[Tensor] = []

    def run(self, step: nn.Module, x: Tensor) -> Any:
        """What ``step`` makes of ``x`` and its share of the pieces."""
        assert isinstance(step, Step)
        y, after = step(x, list(islice(self._pieces, len(step.sizes))))
        self.after.extend(after)
        return y


def dense(conv: nn.Conv1d) -> nn.Linear:
    """A convolution as a matrix on its taps, oldest first: (..., kernel x inputs) -> (..., outputs)."""
    return linear(conv.weight.transpose(1, 2).flatten(1), conv.bias)


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """nn.Linear with these weights (outputs, inputs)."""
    module = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    module.load_state_dict({"weight": weight} if bias is None else {"weight": weight, "bias": bias})
    return module


def first_rows(whole: nn.Linear, count: int) -> nn.Linear:
    """The first ``count`` outputs of a matrix."""
    return linear(whole.weight[:count], whole.bias[:count])


class EachLinear(nn.Module):
    """G matrices side by side: (B, G, 1, inputs) -> (B, G, 1, outputs), narrower ones filled up with zeros."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, linears: Sequence[nn.Linear]) -> None:
        super().__init__()
        width = max(each.out_features for each in linears)
        weights = [F.pad(each.weight.detach().T, (0, width - each.out_features)) for each in linears]
        biases = [
            F.pad(each.bias.detach()[None], (0, width - each.out_features)) for each in linears if each.bias is not None
        ]
        self.register_buffer("weight", torch.stack(weights))
        self.register_buffer("bias", torch.stack(biases) if biases else None)

    def forward(self, x: Tensor) -> Tensor:
        y = x @ self.weight
        return y if self.bias is None else y + self.bias


class EachNorm(nn.Module):
    """G layer norms side by side: (B, G, 1, C) -> the same."""

    weight: Tensor
    bias: Tensor

    def __init__(self, norms: Sequence[nn.LayerNorm]) -> None:
        super().__init__()
        self.shape, self.eps = norms[0].normalized_shape, norms[0].eps
        self.register_buffer("weight", torch.stack([norm.weight.detach()[None] for norm in norms]))
        self.register_buffer("bias", torch.stack([norm.bias.detach()[None] for norm in norms]))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.shape, eps=self.eps) * self.weight + self.bias


class BlockStep(Step):
    """generator.Block (or G of equal size side by side) for one frame: (..., C) -> (..., C).

    The past is the oldest tap, what lies between, the middle tap, and what lies between that and now.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        super().__init__()
        conv = blocks[0].conv
        width, dilation = conv.inputs, conv.context // (TAPS - 1)
        assert conv.conv.kernel_size == (TAPS,)
        self.sizes = [width, (dilation - 1) * width] * 2 if dilation > 1 else [width, width]
        if len(blocks) == 1:
            self.norm: nn.Module = blocks[0].norm.norm
            self.conv: nn.Module = dense(conv.conv)
            self.mix: nn.Module = dense(blocks[0].mix)
        else:
            self.norm = EachNorm([block.norm.norm for block in blocks])
            self.conv = EachLinear([dense(block.conv.conv) for block in blocks])
            self.mix = EachLinear([dense(block.mix) for block in blocks])

    def forward(self, x: Tensor, past: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        now = self.norm(x)
        taps = [*past[:: len(past) // 2], now]
        y = self.mix(F.gelu(self.conv(torch.cat(taps, dim=-1))))
        return x + y, [*past[1:], now]


class HopsStep(Step):
    """A causal convolution over the n hops of one frame: (B, n, inputs) -> (B, n, outputs)."""

    windows: Tensor

    def __init__(self, conv: CausalConv, hops: int) -> None:
        super().__init__()
        kernel = conv.context + 1
        assert conv.conv.kernel_size == (kernel,), "hops are not dilated"
        self.inputs, self.context, self.hops = conv.inputs, conv.context, hops
        self.sizes = [conv.inputs * conv.context]
        self.conv = dense(conv.conv)
        first = torch.arange(hops)[:, None] + torch.arange(kernel)
        self.register_buffer("windows", first.flatten())

    def forward(self, x: Tensor, past: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        line = torch.cat([past[0].reshape(-1, self.context, self.inputs), x], dim=1)
        taps = line.index_select(1, self.windows).reshape(-1, self.hops, self.conv.in_features)
        kept = x if self.context == self.hops else line[:, self.hops :]
        return self.conv(taps), [kept.reshape(-1, self.sizes[0])]


class HopBlockStep(Step):
    """generator.Block over the n hops of one frame: (B, n, C) -> (B, n, C)."""

    def __init__(self, block: Block, hops: int) -> None:
        super().__init__()
        self.norm, self.conv, self.mix = block.norm.norm, HopsStep(block.conv, hops), dense(block.mix)
        self.sizes = self.conv.sizes

    def forward(self, x: Tensor, past: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        y, after = self.conv(self.norm(x), past)
        return x + self.mix(F.gelu(y)), after


class GruStep(nn.Module):
    """One step of nn.GRU (Cho et al. 2014): x (B, inputs), h (B, H) -> h (B, H)."""

    def __init__(self, gru: nn.GRU) -> None:
        super().__init__()
        self.size = gru.hidden_size
        weights = {name: value.detach() for name, value in gru.named_parameters()}
        self.enter = linear(weights["weight_ih_l0"], weights["bias_ih_l0"])
        self.recall = linear(weights["weight_hh_l0"], weights["bias_hh_l0"])

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        halves = [2 * self.size, self.size]
        (gates, new), (own_gates, own) = self.enter(x).split(halves, 1), self.recall(h).split(halves, 1)
        reset, keep = torch.sigmoid(gates + own_gates).split(self.size, 1)
        new = torch.tanh(new + reset * own)
        return new + keep * (h - new)


def blocks(of: nn.ModuleList) -> list[Block]:
    """The Blocks of a list, typed."""
    return [block for block in of if isinstance(block, Block)]


def traced(
    module: nn.Module, path: Path, inputs: tuple[Tensor, ...], names: Sequence[str], results: Sequence[str]
) -> None:
    """Writes the graph of ``module``, by the tracer, with a free batch size: the first of every dimension."""
    torch.onnx.export(
        module.eval(), inputs, str(path), input_names=[*names], output_names=[*results], opset_version=OPSET,
        dynamic_axes={name: {0: "batch"} for name in [*names, *results]}, dynamo=False,
    )  # fmt: skip


def name_shapes(model: onnx.ModelProto, sizes: Mapping[str, tuple[int, ...]]) -> None:
    """Writes the shape of every output, (batch, *sizes), into the model: whoever binds buffers to them reads it."""
    for output in model.graph.output:
        batch, *values = output.type.tensor_type.shape.dim
        batch.dim_param = "batch"
        for value, size in zip(values, sizes[output.name], strict=True):
            value.dim_value = size
