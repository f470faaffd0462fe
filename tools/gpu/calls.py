"""The calls of a GPU session: what each carries, runs and must show. The table of docs/gpu_todo.md is made of this."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

COMMAND_MOST = 2000  # characters of a command
CARRIED_MOST = 64 << 20  # bytes of the working tree and what it carries
CALL_MOST = 600  # seconds of a call
RETURNED_MOST = 15 << 20  # bytes of a returned file, a little below what is allowed
BASE, RTX = "base", "rtx"  # parcels
CARRY = ".carry"
SELF = "python3 tools/gpu/session.py"
OVERHEAD = 5.0  # minutes of a session that go into starting, sending and unpacking
BENCH = 8.0  # minutes of measuring
LONGEST = 8.4  # minutes of one phase, so that a call ends well within its limit
SHARES = {"data": 0.40, "teach": 0.35, "tune": 0.25}  # of the minutes that are left, for training


@dataclass(frozen=True, slots=True)
class Call:
    """One command on the GPU machine. ``phases`` are names of tools/gpu/phases.py; ``carry`` a part's folder or None;
    ``seconds`` the limit it is given; ``shows`` what its output must say; ``result`` where that goes."""

    name: str
    phases: tuple[str, ...]
    options: str
    carry: str | None
    seconds: int
    shows: str
    result: str

    @property
    def command(self) -> str:
        """What is pasted."""
        options = f" {self.options}" if self.options else ""
        return f"PYTHONUNBUFFERED=1 {SELF} here {' '.join(self.phases)}{options} --seconds {self.seconds - 20}"


def calls(minutes: float, parts: dict[str, int], train: bool = True) -> list[Call]:
    """The calls of a session of ``minutes``; ``parts``: how many parts each parcel was packed into.

    Raises ValueError when there is no time for what is wanted.
    """
    left = minutes - OVERHEAD - BENCH
    if train and left < 8:
        raise ValueError(f"training needs 21 minutes at least, measuring included; got {minutes:g} (--no-train?)")
    spent = {name: min(round(share * left, 1), LONGEST) for name, share in SHARES.items()}
    made = [_part(BASE, number, parts[BASE]) for number in range(parts[BASE])]
    if train:
        made += [
            Call("data", ("data", "parity", "gathered"), f"--minutes {spent['data']}", None,
                 int(60 * spent["data"]) + 60, "parity: 0 failed, 0 skipped; clips to learn from",
                 "bench/results/gpu_parity.txt"),
            Call("teach", ("teach",), f"--minutes {spent['teach']}", None, int(60 * spent["teach"]) + 90,
                 "held-out PSNR; weights come back in pieces", "runs/gpu"),
            Call("tune", ("tune", "export"), f"--minutes {spent['tune']}", None, int(60 * spent["tune"]) + 90,
                 "held-out PSNR above `lite`'s (docs/model_cards/renderer_lite.md), or said not to be",
                 "runs/gpu/renderer_base.safetensors, a model card"),
        ]  # fmt: skip
    else:
        made.append(Call("parity", ("parity",), "", None, 300, "0 failed, 0 skipped", "bench/results/gpu_parity.txt"))
    made += [
        Call("kernels", ("kernels",), "", None, 240, "every kernel's time, bytes, share of the measured roof",
             "bench/results/kernels_gpu.json, .png"),
        Call("gpu", ("gpu",), "", None, 420,
             "stages, p50/p95/p99 a batch, streams, launch overhead, start-up; what of issue 7's reach is met",
             "bench/results/gpu.json, .png"),
    ]  # fmt: skip
    made += [_part(RTX, number, parts.get(RTX, 0)) for number in range(parts.get(RTX, 0))]
    if parts.get(RTX):
        made.append(Call("tensorrt", ("tensorrt",), "", None, 420,
                         "whether TensorRT for RTX takes this GPU; if so, its times beside torch's",
                         "bench/results/gpu_tensorrt.json"))  # fmt: skip
    return made


def _part(parcel: str, number: int, count: int) -> Call:
    last = number == count - 1
    phases = ("probe",) if parcel == BASE and last else ("unpack",)
    shows = "GPU, driver, torch, EGL renderer, no package missing" if last and parcel == BASE else "parts taken in"
    result = "bench/results/gpu_machine.json" if last and parcel == BASE else ""
    return Call(f"{parcel}{number}", phases, "", f"{CARRY}/{parcel}/{number:02d}", 180, shows, result)


def parts_in(folder: Path) -> dict[str, int]:
    """How many parts of each parcel lie packed in ``folder``."""
    return {parcel: len(list((folder / parcel).glob("[0-9][0-9]"))) for parcel in (BASE, RTX)}
