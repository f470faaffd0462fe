"""The table for ablations: a painter of the truth has no error, a blind one has."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from training.renderer import compare


def batch() -> dict[str, torch.Tensor]:
    draws = torch.Generator().manual_seed(0)
    target = torch.randint(0, 256, (2, 1, 4, 64, 64), generator=draws, dtype=torch.uint8)
    target[:, :, 3, :, :32] = 255
    target[:, :, :3] = torch.minimum(target[:, :, :3], target[:, :, 3:])
    return {"target": target}


def test_the_truth_has_no_error_and_grey_misses_every_edge(monkeypatch: Any) -> None:
    truth = batch()["target"][:, 0].float() / 255
    exact = SimpleNamespace(rgb=truth[:, :3], alpha=truth[:, 3:])
    blind = SimpleNamespace(rgb=torch.zeros(2, 3, 64, 64), alpha=torch.zeros(2, 1, 64, 64))
    monkeypatch.setattr(compare, "score", lambda net, batches: {"psnr": 30.0})
    found = {}
    for name, painted in (("exact", exact), ("blind", blind)):
        monkeypatch.setattr(compare, "paint", lambda net, given, painted=painted: painted)
        found[name] = compare.figures(None, [batch(), batch()])  # type: ignore[arg-type]
    assert found["exact"]["gradient"] == found["exact"]["edge"] == 0 and found["exact"]["perceptual"] < 1e-6
    assert found["blind"]["gradient"] == 1 and found["blind"]["edge"] > 0.3 and found["blind"]["perceptual"] > 0.1
