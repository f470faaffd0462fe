"""The aiortc and aioice defaults that hurt a live avatar, replaced by name at start. No fork.

1. The audio jitter buffer gives a packet out when four more have come: 80 ms. -> at once, or when it is its turn on
   a line where packets overtake each other (reorder.py); MicClock fills gaps.
2. VP8 is capped at 1.5 Mbit/s, and every estimate of the receiver re-creates the codec. -> sender.py, rate.py
3. VP8 runs its denoiser and x264 its *medium* preset. -> encoders.py
4. A vanished browser is noticed after 30 s of unanswered consent checks. -> about 5 s; a bad line is not one (ice.py)
5. Sender reports follow the scheduler's jitter. -> sender.py pairs them with the media clock.
6. ICE takes any UDP port, and knows nothing of an address that a cloud maps to ours. -> ice.py
7. A packet that cannot be parsed ends the connection. -> it is dropped
8. Any stranger's datagram reaches DTLS, and an empty one ends the session. -> ice.py
9. Round trips and retransmission follow the wall clock, which somebody may set. -> steady.py
And on a host whose only address is loopback, ICE has nothing to offer. -> it then offers loopback.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import aioice.ice
import aiortc.clock
import aiortc.rtcdtlstransport
import aiortc.rtcicetransport
import aiortc.rtcpeerconnection
import aiortc.rtcrtpreceiver
import aiortc.rtcrtpsender
import aiortc.rtcsctptransport
from aiortc.codecs import get_decoder as _get_decoder
from aiortc.codecs.base import Decoder
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtp import AnyRtcpPacket, RtcpPacket, RtpPacket

from streaming import steady
from streaming.config import ServerConfig, StreamConfig
from streaming.ice import Connection, Protocol
from streaming.red import get_decoder
from streaming.reorder import InOrder, VoiceJitterBuffer
from streaming.sender import MediaSender

HISTORY: Final = 512  # sent packets that can be sent again: two seconds at 2 Mbit/s (aiortc: 128)
_host_addresses: Final = aioice.ice.get_host_addresses


class Packet(RtpPacket):
    """One that breaks off is a ValueError, which aiortc drops; what its parser raises ends the connection."""

    @classmethod
    def parse(cls, data: bytes, *arguments: Any, **named: Any) -> RtpPacket:
        """As aiortc's."""
        try:
            return RtpPacket.parse(data, *arguments, **named)
        except (struct.error, IndexError) as problem:
            raise ValueError(f"an RTP packet of {len(data)} bytes: {problem}") from problem


class Report(RtcpPacket):
    """The same for RTCP."""

    @classmethod
    def parse(cls, data: bytes) -> list[AnyRtcpPacket]:
        """As aiortc's."""
        try:
            return RtcpPacket.parse(data)
        except (struct.error, IndexError) as problem:
            raise ValueError(f"an RTCP packet of {len(data)} bytes: {problem}") from problem


def jitter_buffer(capacity: int, prefetch: int = 0, is_video: bool = False) -> JitterBuffer | VoiceJitterBuffer:
    """Stands where aiortc's receiver calls ``JitterBuffer``."""
    return JitterBuffer(capacity, prefetch, is_video) if is_video else VoiceJitterBuffer()


def decoder(codec: RTCRtpCodecParameters) -> Decoder | InOrder:
    """Stands where aiortc's receiver calls ``get_decoder``."""
    return InOrder(get_decoder(codec)) if codec.mimeType.lower().startswith("audio/") else _get_decoder(codec)


def host_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    """Addresses to offer in ICE: those of the interfaces, or loopback where there is nothing else."""
    found = _host_addresses(use_ipv4, use_ipv6)
    if found:
        return found
    return [address for address, wanted in (("127.0.0.1", use_ipv4), ("::1", use_ipv6)) if wanted]


def install(config: StreamConfig, server: ServerConfig | None = None) -> None:
    """Puts the replacements in place, for the whole process. Calling it again only updates the settings."""
    server = server or ServerConfig()
    Connection.public_ip, Connection.ports = server.public_ip, server.media_ports
    MediaSender.bitrate, MediaSender.bitrate_floor = config.bitrate, config.bitrate_floor
    MediaSender.bitrate_start = config.bitrate_start
    replacements: tuple[tuple[Any, str, Any], ...] = (
        (aiortc.rtcpeerconnection, "RTCRtpSender", MediaSender),
        (aiortc.rtcrtpsender, "RTP_HISTORY_SIZE", HISTORY),
        (aiortc.rtcrtpreceiver, "JitterBuffer", jitter_buffer),
        (aiortc.rtcrtpreceiver, "get_decoder", decoder),
        (aiortc.rtcdtlstransport, "RtpPacket", Packet),
        (aiortc.rtcdtlstransport, "RtcpPacket", Report),
        (aiortc.rtcicetransport, "Connection", Connection),
        (aioice.ice, "StunProtocol", Protocol),
        (aioice.ice, "get_host_addresses", host_addresses),
        (aiortc.clock, "current_datetime", steady.current_datetime),
        (aiortc.rtcrtpreceiver, "time", steady),
        (aiortc.rtcrtpsender, "time", steady),
        (aiortc.rtcsctptransport, "time", steady),
        (aioice.ice, "CONSENT_INTERVAL", config.consent_interval_s),
        (aioice.ice, "CONSENT_FAILURES", config.consent_failures),
    )
    for module, name, replacement in replacements:
        if not hasattr(module, name):
            raise ImportError(f"{module.__name__} has no {name}: this version of it is not known here (pyproject.toml)")
        setattr(module, name, replacement)
