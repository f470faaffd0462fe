"""Times of single kernels, by events around every launch of a piece of work; also which launches it has."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from kernels.cuda import Device, Event, Stream

FLUSH: Final = 1 << 28  # bytes written between two launches: more than any second-level cache holds
AHEAD: Final = 24  # such writes before a piece of work, so that the host has queued all of it before it begins
Work = Callable[[], object]


class Launches:
    """Listens to what is launched on ``stream``. Launches are told apart by name and order: "move.move", "move.move#2".

    ``cold``: the second-level cache is filled with other things before each launch, so that bytes come from memory;
    else launches follow upon each other as in a graph, with what the one before has left in the cache.
    """

    def __init__(self, device: Device, stream: Stream) -> None:
        self.device, self.stream = device, stream
        self._pairs: list[tuple[Event, Event]] = []
        self._flush: Any = None

    def names(self, work: Work) -> list[str]:
        """The launches of ``work``, in order. It is run once; nothing is timed."""
        with self._heard(None) as names:
            work()
        self.stream.wait()
        return numbered(names)

    def times(self, work: Work, count: int, *, cold: bool, warm: int = 5) -> dict[str, list[float]]:
        """Milliseconds of each launch in ``count`` runs of ``work``, after ``warm`` ones that do not count."""
        if self._flush is None:
            self._flush = self.device.empty(FLUSH, "u1")
        samples: dict[str, list[float]] = defaultdict(list)
        for number in range(warm + count):
            with self._heard(cold) as names:
                for _ in range(0 if cold else AHEAD):
                    self.stream.clear(self._flush, number & 0xFF)
                work()
            self.stream.wait()
            for name, (start, end) in zip(numbered(names), self._pairs, strict=False):
                if number >= warm:
                    samples[name].append(end.since(start))
        return dict(samples)

    @contextmanager
    def _heard(self, cold: bool | None) -> Iterator[list[str]]:
        """Names of the launches inside; with events around each, unless ``cold`` is None."""
        original, names = self.device.launch, list[str]()

        def launch(
            op: str, kernel: str, grid: tuple[int, ...], block: tuple[int, ...], *arguments: Any,
            stream: Stream | None = None,
        ) -> None:  # fmt: skip
            names.append(f"{op}.{kernel}")
            if cold is None or stream is None:
                original(op, kernel, grid, block, *arguments, stream=stream)
                return
            while len(self._pairs) < len(names):
                self._pairs.append((self.device.event(), self.device.event()))
            start, end = self._pairs[len(names) - 1]
            if cold:
                stream.clear(self._flush, len(names) & 0xFF)
            start.record(stream)
            original(op, kernel, grid, block, *arguments, stream=stream)
            end.record(stream)

        setattr(self.device, "launch", launch)  # noqa: B010  an attribute before the method of the same name
        try:
            yield names
        finally:
            del self.device.launch


def numbered(names: list[str]) -> list[str]:
    """Names made different: the second "move.move" is "move.move#2"."""
    seen: Counter[str] = Counter()
    out = []
    for name in names:
        seen[name] += 1
        out.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return out
