"""Weights of a network on disk: safetensors in half precision, its sizes as JSON in the header, whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

Net = TypeVar("Net", bound=nn.Module)


def save(net: nn.Module, sizes: dict[str, Any], path: Path, whole: str | None = None) -> None:
    """Writes the state of ``net`` and the ``sizes`` to build it from.

    What has a name that begins with ``whole`` keeps its precision.
    """
    from safetensors.torch import save_file

    tensors = {
        name: (value if whole is not None and name.startswith(whole) else value.half()).detach().contiguous()
        for name, value in net.state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    save_file(tensors, str(temporary), metadata={"config": json.dumps(sizes)})
    temporary.chmod(0o644)  # the writer makes it private
    os.replace(temporary, path)


def load(path: Path, kind: str, build: Callable[[dict[str, Any]], Net]) -> Net:
    """The network that ``build`` makes of the sizes, with the weights of ``path``, ready to run.

    Raises ValueError, naming the file and the ``kind`` that it should hold, for a missing, broken or foreign one.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            net = build(json.loads(file.metadata()["config"]))
            net.load_state_dict({name: file.get_tensor(name).float() for name in file.keys()})  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} does not hold {kind}: {error}") from error
    return net.eval()
