"""Offer in, answer out: what we ask of an SDP offer and how we answer it."""

from __future__ import annotations

import re
from typing import Any, Final

from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.exceptions import InvalidAccessError, InvalidStateError, OperationError
from aiortc.mediastreams import MediaStreamTrack
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.sdp import SessionDescription


class OfferError(ValueError):
    """An SDP offer that cannot be answered; says what an offer needs."""


# aiortc's SDP parser meets junk with whichever of these comes first.
_PARSER_ERRORS: Final = (
    ValueError, KeyError, IndexError, AttributeError, TypeError, AssertionError, StopIteration, RuntimeError,
    InvalidStateError, InvalidAccessError, OperationError,
)  # fmt: skip


MOST_SECTIONS: Final = 8  # a page has three; each may cost sockets
MOST_CANDIDATES: Final = 64  # addresses that we are asked to try


def check(offer: str) -> None:
    """Raises OfferError, or one of the parser's own, for an offer that aiortc would take and break on later: sections
    without what connects them, of the same name, or bundled with what is not there; and for one that asks too much."""
    description = SessionDescription.parse(offer)
    names = [media.rtp.muxId for media in description.media]
    if len(names) > MOST_SECTIONS or sum(len(media.ice_candidates) for media in description.media) > MOST_CANDIDATES:
        raise OfferError(f"an offer has at most {MOST_SECTIONS} sections and {MOST_CANDIDATES} candidates")
    if len(set(names)) < len(names) or not all(names):
        raise OfferError("every section of the offer needs a mid of its own")
    if sum(media.kind == "application" for media in description.media) > 1:
        raise OfferError("an offer has one section for data channels")
    for media in description.media:
        if media.kind not in ("audio", "video", "application"):
            raise OfferError(f'the offer has a section of an unknown kind, "{media.kind[:40]}"')
        if media.dtls is None or not media.dtls.fingerprints:
            raise OfferError(f'the offer\'s section "{media.rtp.muxId[:40]}" has no fingerprint')
        if media.ice is None or not media.ice.usernameFragment or not media.ice.password:
            raise OfferError(f'the offer\'s section "{media.rtp.muxId[:40]}" has no ice-ufrag or ice-pwd')
    for group in description.group:
        if group.semantic == "BUNDLE" and not set(group.items) <= set(names):
            raise OfferError("the offer bundles sections that it does not have")


def readable(offer: str) -> None:
    """Raises OfferError for what is no offer, or one that could not be answered whatever the session."""
    try:
        check(offer)
        media = SessionDescription.parse(offer).media
        there = {section.kind for section in media if section.direction in ("recvonly", "sendrecv")}
        if missing := {"audio", "video"} - there:
            names = " and ".join(sorted(missing))
            raise OfferError(f"the offer must ask to receive audio and video; it does not ask for {names}")
    except OfferError:
        raise
    except _PARSER_ERRORS as problem:
        raise _unusable(problem) from problem


def _unusable(problem: Exception) -> OfferError:
    detail = f"{type(problem).__name__}: {str(problem)[:200]}"
    return OfferError(f"the SDP offer cannot be used ({detail}); send the sdp text of createOffer()")


async def answer(
    connection: RTCPeerConnection, offer: str, video: MediaStreamTrack, voice: MediaStreamTrack, codec: str,
    *, both: bool = True,
) -> str:  # fmt: skip
    """The SDP answer that sends ``video`` and ``voice``, or with ``both`` false whichever the offer asks for. Raises
    OfferError for an offer that cannot take them."""
    try:
        check(offer)
        await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        attach(connection, video, voice, codec, both=both)
        if both:
            accept_twice(connection, offer)
        await connection.setLocalDescription(await connection.createAnswer())
    except OfferError:
        raise
    except _PARSER_ERRORS as problem:
        raise _unusable(problem) from problem
    return str(connection.localDescription.sdp)


def attach(
    connection: RTCPeerConnection, video: MediaStreamTrack, voice: MediaStreamTrack, codec: str, *, both: bool = True
) -> None:
    """Gives the offer's first video and audio sections our tracks, and makes every other section inactive. ``both``:
    it must have both, and may send a voice; otherwise one is enough, and nothing is received."""
    wanted = {"video": (video, "sendonly"), "audio": (voice, "sendrecv" if both else "sendonly")}
    for transceiver in connection.getTransceivers():
        if transceiver.kind in wanted and transceiver._offerDirection in ("sendonly", "sendrecv"):
            track, direction = wanted.pop(transceiver.kind)
            transceiver.sender.replaceTrack(track)
            transceiver.direction = direction
            # setCodecPreferences comes too late once the offer is in, and before it there is no transceiver
            transceiver._codecs = order_codecs(transceiver._codecs, codec)
            if transceiver.kind == "audio" and transceiver._codecs[0].name.lower() != "opus":
                raise OfferError("the offer must accept Opus audio")
        else:
            transceiver.direction = "inactive"
    if len(wanted) > (0 if both else 1):
        missing = " and ".join(sorted(wanted))
        raise OfferError(f"the offer must ask to receive audio and video; it does not ask for {missing}")


def accept_twice(connection: RTCPeerConnection, offer: str) -> None:
    """Lets a browser that offers it send each packet of the microphone twice, within the next one (RFC 2198)."""
    [transceiver] = [t for t in connection.getTransceivers() if t.kind == "audio" and t.direction == "sendrecv"]
    opus = next(codec.payloadType for codec in transceiver._codecs if codec.name.lower() == "opus")
    twice = f"{opus}/{opus}"
    for number in re.findall(r"^a=rtpmap:(\d+) red/48000/2\s*$", offer, re.MULTILINE | re.IGNORECASE):
        if re.search(rf"^a=fmtp:{number} {twice}\s*$", offer, re.MULTILINE):
            red = RTCRtpCodecParameters("audio/red", 48_000, 2, int(number), parameters={twice: None})
            transceiver._codecs = [red, *transceiver._codecs]  # the first is what it sends
            return


def order_codecs(codecs: list[Any], first: str) -> list[Any]:
    """Negotiated codecs with Opus or ``first``, and what retransmits it, in front: a sender uses the first."""
    chosen = [codec for codec in codecs if codec.mimeType.lower() in (f"video/{first}", "audio/opus")]
    types = {codec.payloadType for codec in chosen}
    chosen += [codec for codec in codecs if codec.parameters.get("apt") in types]
    return chosen + [codec for codec in codecs if codec not in chosen]
