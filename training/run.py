"""One training run on disk: what is learned, its running average, checkpoints, a log, and going on after a stop."""

from __future__ import annotations

import copy
import fcntl
import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import torch
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

console = Console()
CHECKPOINT_SECONDS = 120.0
LOG_EVERY = 20  # steps
CLIP = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fast. ``half_life`` of the average in steps; it grows with the run, as in EDM (appendix F.2)."""

    steps: int
    seed: int
    rate: float
    warm_up: int = 100
    decay: float = 0.02
    half_life: float = 150.0


@dataclass(slots=True)
class Run:
    """``for step in run: ...; run.learn(loss, parts)``. The averaged network is ``averaged``."""

    folder: Path
    name: str
    net: nn.Module
    plan: Plan
    config: dict[str, Any]
    step: int = 0
    averaged: nn.Module = field(init=False)
    optimizer: torch.optim.Optimizer = field(init=False)
    _bar: tuple[Progress, TaskID] | None = None
    _lock: TextIO | None = None

    def __post_init__(self) -> None:
        self.averaged = copy.deepcopy(self.net).eval()
        learned = [p for p in self.net.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(learned, self.plan.rate, (0.9, 0.98), weight_decay=self.plan.decay)

    @property
    def path(self) -> Path:
        """The checkpoint."""
        return self.folder / f"{self.name}.pt"

    def open(self, resume: bool) -> None:
        """Makes the folder, or goes on from its checkpoint. Raises ValueError when one is there and must not be, or
        while another process has this run in hand (a record lock: it ends with the process)."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = open(self.folder / f".{self.name}.lock", "w", encoding="utf-8")  # noqa: SIM115  until the run ends
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ValueError(
                f"another process is training {self.name} in {self.folder}; wait for it or choose another --out"
            ) from error
        if not self.path.exists():
            return
        if not resume:
            raise ValueError(f"{self.path} exists: continue it with --resume, or choose another --out")
        state = restore(self.path)
        self.net.load_state_dict(state["net"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]

    def __iter__(self) -> Iterator[int]:
        """Steps still to do, with a progress bar, a falling rate and a checkpoint every few minutes."""
        columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
        saved = time.monotonic()
        with Progress(*columns, console=console) as progress, self._lock or nullcontext():
            self._bar = progress, progress.add_task(self.name, total=self.plan.steps, completed=self.step)
            while self.step < self.plan.steps:
                for group in self.optimizer.param_groups:
                    group["lr"] = rate(self.step, self.plan)
                self.net.train()
                before = self.step
                yield self.step
                assert self.step == before + 1, "every step must learn"
                if time.monotonic() - saved > CHECKPOINT_SECONDS:
                    self.save()
                    saved = time.monotonic()
            self.save()

    def learn(self, parts: dict[str, Tensor]) -> None:
        """One step of the optimizer on ``parts["loss"]``; the other parts go to the log."""
        self.optimizer.zero_grad(set_to_none=True)
        parts["loss"].backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), CLIP)
        self.optimizer.step()
        self.step += 1
        self._follow()
        if self._bar:
            loss = float(parts["loss"].detach())
            self._bar[0].update(self._bar[1], completed=self.step, description=f"{self.name} loss {loss:.3f}")
        if self.step % LOG_EVERY == 0:
            self.note({name: float(value.detach()) for name, value in parts.items()})

    def note(self, row: dict[str, float]) -> None:
        """A line of the log: log.jsonl in the run's folder."""
        with open(self.folder / "log.jsonl", "a", encoding="utf-8") as log:
            rounded = {name: round(value, 5) for name, value in row.items()}
            log.write(json.dumps({"run": self.name, "step": self.step, **rounded}) + "\n")

    def save(self) -> None:
        """Writes the checkpoint whole or not at all."""
        temporary = self.path.with_suffix(".tmp")
        content = {"config": self.config, "step": self.step, "seed": self.plan.seed, "net": self.net.state_dict(),
                   "averaged": self.averaged.state_dict(), "optimizer": self.optimizer.state_dict()}  # fmt: skip
        torch.save(content, temporary)
        os.replace(temporary, self.path)

    @torch.no_grad()
    def _follow(self) -> None:
        keep = 0.5 ** (1.0 / min(self.plan.half_life, max(self.step * 0.05, 1e-3)))
        for mean, weight in zip(self.averaged.parameters(), self.net.parameters(), strict=True):
            mean.lerp_(weight, 1.0 - keep)
        for copied, buffer in zip(self.averaged.buffers(), self.net.buffers(), strict=True):
            copied.copy_(buffer)


def rate(step: int, plan: Plan) -> float:
    """Linear warm-up, then half a cosine to zero."""
    return plan.rate * min(1.0, step / plan.warm_up) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / plan.steps)))


def restore(path: Path) -> dict[str, Any]:
    """Reads a checkpoint. Raises ValueError when it is missing or broken."""
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for a cut-off file
        raise ValueError(f"{path} is not a readable checkpoint: {error}") from error
    return content


def main(app: typer.Typer) -> None:
    """Runs a command line of training: a known error is one line, and exit status 2."""
    try:
        app()
    except ValueError as error:
        console.print(f"[red]{escape(str(error))}")
        raise SystemExit(2) from error
