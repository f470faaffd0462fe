"""The painter with the experts' own CUDA kernels (kernels/experts) in place of torch's layers (torch).

A Block's second half becomes one launch, and the view experts of all Blocks are mixed in another. The kernels are
operators of torch, visavis::mix and visavis::finish, so that torch.compile and CUDA graphs take them as they are. On
the processor they run emulated: slowly, for tests.
"""

from __future__ import annotations

import copy
import math
from typing import Any, Final, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from engine.render.layers import MASKS, SILU_GAIN, Block, Gate, silu
from kernels import cuda, experts

SHARE: Final = 0.3  # of a Block's branch in its sum
NORM: Final = math.sqrt((1 - SHARE) ** 2 + SHARE**2)
NAMES: Final = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}
# Largest difference of a Block's outcome to torch's, in units of its largest value. Both round products' outcomes; ours
# keep what lies between them in float32.
TOLERANCES: Final = {"fp16": 4e-3, "bf16": 3e-2}
Module = TypeVar("Module", bound=nn.Module)
_devices: dict[str, cuda.Device] = {}


class OnStream(cuda.Stream):
    """A stream that somebody else owns, by its address."""

    def __init__(self, handle: int) -> None:
        self.handle = handle


class MixedGate(nn.Module):
    """Viewpoint (B,4) to the kernels of every Block, mixed by `gate` and packed, one Block's behind the other's."""

    experts: Tensor

    def __init__(self, gate: Gate, blocks: list[Block], kind: torch.dtype) -> None:
        super().__init__()
        self.gate = gate
        packed = [_packed(block.view.weight.data.to(kind)) for block in blocks]
        self.register_buffer("experts", torch.cat(packed, 1), persistent=False)

    def forward(self, view: Tensor) -> Tensor:
        mixed: Tensor = torch.ops.visavis.mix(self.gate(view).float(), self.experts)
        return mixed


class FusedBlock(nn.Module):
    """As layers.Block, of a folded one, in ``kind``; ``experts`` is what `MixedGate` says, from ``start`` its own."""

    inward: Tensor
    outward: Tensor

    def __init__(self, block: Block, start: int, kind: torch.dtype) -> None:
        super().__init__()
        self.conv, self.scale, self.start, self.guided = block.conv, block.scale, start, block.mask.guided
        for name, layer in (("inward", block.mask.inward), ("outward", block.mask.outward)):
            assert layer.folded
            self.register_buffer(name, _packed(layer.weight.data.flatten(1).to(kind)), persistent=False)

    def forward(self, x: Tensor, embed: Tensor, experts: Tensor, gate: Tensor) -> Tensor:
        y, masks = self.conv(silu(x)), gate.permute(0, 2, 3, 1) if self.guided else None
        out: Tensor = torch.ops.visavis.finish(
            x, y, self.scale(embed), experts, self.inward, self.outward, masks, self.start
        )
        return out


def fused(painter: Module, arch: str) -> Module:
    """A copy of a painter (engine.render.painter) whose Blocks are `FusedBlock`, for a GPU of compute capability
    ``arch`` ("sm_90"). Raises ValueError that says why not: fp32, or a size or a GPU that the kernels do not take."""
    own = copy.deepcopy(painter)
    net: Any = own.net
    found = [(name, part) for name, part in net.named_modules() if isinstance(part, Block)]
    blocks = [block for _, block in found]
    for block in blocks:
        count, channels, _ = block.view.weight.shape
        inner = block.mask.inward.weight.shape[0]
        why = experts.refused(NAMES[block.view.weight.dtype], arch, channels, inner, count)
        if why is not None:
            raise ValueError(f"the experts' kernels cannot run this network: {why}")
    start, kind = 0, blocks[0].view.weight.dtype
    net.gate = MixedGate(net.gate, blocks, kind)
    for name, block in found:
        parent, _, last = name.rpartition(".")
        setattr(net.get_submodule(parent), last, FusedBlock(block, start, kind))
        start += block.view.weight[0].numel()
    return own


def tried(painter: Module, arch: str) -> Module:
    """`fused`, its Blocks tried beside the painter's own, where the painter is. Raises ValueError as `fused` does
    and when two do not agree within TOLERANCES, CudaError when the kernels do not run."""
    own: Any = fused(painter, arch)
    blocks = [part for part in painter.modules() if isinstance(part, Block)]
    twins = [part for part in own.modules() if isinstance(part, FusedBlock)]
    draw = torch.Generator().manual_seed(0)
    for number, (block, twin) in enumerate(zip(blocks, twins, strict=True)):
        like = block.view.weight
        (count, channels, _), embed = like.shape, block.scale.weight.shape[1]
        shapes = (2, channels, 5, 7), (2, embed), (2, count), (2, MASKS, 5, 7)
        x, told, share, gate = (torch.randn(shape, generator=draw).to(like.device) for shape in shapes)
        share, gate = torch.softmax(share, 1), torch.softmax(gate, 1).to(like.dtype)
        x, told = x.to(like.dtype), told.to(like.dtype)
        with torch.no_grad():
            usual = block(x, told, share.to(like.dtype), gate).float()
            ours = twin(x, told, torch.ops.visavis.mix(share, own.net.gate.experts), gate).float()
        away = float((ours - usual).abs().max() / usual.abs().max())
        if not away <= TOLERANCES[NAMES[like.dtype]]:
            raise ValueError(f"the experts' kernels are {away:.2g} away from torch's layers in block {number}")
    return own  # type: ignore[no-any-return]


def _packed(matrix: Tensor) -> Tensor:
    """kernels.experts.pack of two-byte numbers."""
    bits = experts.pack(matrix.detach().cpu().contiguous().view(torch.int16).numpy().view(np.uint16))
    return torch.from_numpy(bits.view(np.int16)).view(matrix.dtype).to(matrix.device)


def _device(where: torch.device) -> cuda.Device:
    if where.type not in _devices:
        _devices[where.type] = cuda.Device(where.index or 0) if where.type == "cuda" else cuda.emulated()
    return _devices[where.type]


def _stream(where: torch.device) -> OnStream | None:
    return OnStream(torch.cuda.current_stream(where).cuda_stream) if where.type == "cuda" else None


def _mix(gate: Tensor, experts_: Tensor) -> Tensor:
    (rows, count), values = gate.shape, experts_.shape[1]
    gate, out = gate.contiguous(), experts_.new_empty(rows, values)
    experts.mix(
        _device(gate.device), NAMES[experts_.dtype], gate.data_ptr(), experts_.data_ptr(), out.data_ptr(),
        (rows, count, values), stream=_stream(gate.device),
    )  # fmt: skip
    return out


def _finish(
    x: Tensor,
    y: Tensor,
    scale: Tensor,
    kernels: Tensor,
    inward: Tensor,
    outward: Tensor,
    masks: Tensor | None,
    start: int,
) -> Tensor:
    rows, channels, height, width = x.shape
    x, y = (value.contiguous(memory_format=torch.channels_last) for value in (x, y))
    scale, kernels, pixels = scale.contiguous(), kernels.contiguous(), height * width
    masks = None if masks is None else masks.contiguous()
    out = torch.empty_like(x)
    experts.finish(
        _device(x.device), NAMES[x.dtype], rows, _stream(x.device),
        x=x.data_ptr(), y=y.data_ptr(), scale=scale.data_ptr(), out=out.data_ptr(),
        kernel=kernels.data_ptr() + start * kernels.element_size(), kernel_step=kernels.shape[1],
        inward=inward.data_ptr(), outward=outward.data_ptr(),
        gate=0 if masks is None else masks.data_ptr(),
        gate_step=0 if masks is None or len(masks) == 1 else pixels * MASKS,
        pixels=pixels, channels=channels, inner=inward.numel() // channels, level=math.sqrt(MASKS), gain=SILU_GAIN,
        keep=(1 - SHARE) / NORM, take=SHARE / NORM,
    )  # fmt: skip
    return out


def _like(x: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)


_MIX: Final = torch.library.custom_op(
    "visavis::mix", _mix, mutates_args=(), schema="(Tensor gate, Tensor experts) -> Tensor"
)
_MIX.register_fake(lambda gate, experts: experts.new_empty(gate.shape[0], experts.shape[1]))
_FINISH: Final = torch.library.custom_op(
    "visavis::finish", _finish, mutates_args=(),
    schema="(Tensor x, Tensor y, Tensor scale, Tensor kernels, Tensor inward, Tensor outward, Tensor? masks, int start)"
    " -> Tensor",
)  # fmt: skip
_FINISH.register_fake(_like)
