"""The data channels of one peer: messages in (parsed, rate-limited), messages out (bounded)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Final

from aiortc import RTCDataChannel
from aiortc.exceptions import InvalidStateError

from streaming import protocol
from streaming.protocol import Message, ProtocolError

LABELS: Final = ("control", "pose")  # reliable and ordered; unordered and never sent again
RATE: Final = 250.0  # messages a second a peer may send; the rest is dropped
BUFFERED_MAX: Final = 64 * 1024  # bytes waiting on a channel beyond which we stop adding


class Allowance:
    """So many a second, and a second's worth at once."""

    def __init__(self, rate: float, now: float) -> None:
        self._rate, self._left, self._at = rate, rate, now

    def take(self, count: float, now: float) -> float:
        """0 when there are ``count`` left (and takes them), else the seconds until there are."""
        self._left = min(self._left + (now - self._at) * self._rate, self._rate)
        self._at = now
        if self._left < count:
            return (count - self._left) / self._rate
        self._left -= count
        return 0.0


class Control:
    """``on_message(message, label)`` gets what is valid; what is not gets an error reply, and nothing else happens."""

    def __init__(self, on_message: Callable[[Message, str], None]) -> None:
        self._on_message = on_message
        self._channels: dict[str, RTCDataChannel] = {}
        self._allowance = Allowance(RATE, time.monotonic())
        self.heard: float | None = None  # when the page last said anything; None before its first channel

    def attach(self, channel: RTCDataChannel) -> bool:
        """Takes a channel the page opened; False, and closes it, when its label is not one of ours."""
        if channel.label not in LABELS:
            channel.close()
            return False
        self._channels[channel.label] = channel
        self.heard = time.monotonic()
        channel.on("message", lambda raw: self.receive(raw, channel.label))
        return True

    def receive(self, raw: str | bytes, label: str) -> None:
        """One message as it came."""
        now = self.heard = time.monotonic()
        if self._allowance.take(1.0, now) > 0.0:
            return
        try:
            self._on_message(protocol.parse(raw), label)
        except ProtocolError as problem:
            self.send(label, protocol.error(problem))

    def send(self, label: str, text: str) -> None:
        """Sends if the channel is open and not clogged; otherwise the message is dropped."""
        channel = self._channels.get(label)
        if channel is not None and channel.readyState == "open" and channel.bufferedAmount < BUFFERED_MAX:
            with contextlib.suppress(InvalidStateError, ConnectionError):
                channel.send(text)

    def close(self) -> None:
        """Forgets the channels; the connection closes them."""
        for channel in self._channels.values():
            channel.remove_all_listeners()
        self._channels.clear()
