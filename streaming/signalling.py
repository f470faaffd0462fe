"""Offer in, answer out: what we ask of an SDP offer and how we answer it."""

from __future__ import annotations

from typing import Any, Final

from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.exceptions import InvalidAccessError, InvalidStateError, OperationError
from aiortc.mediastreams import MediaStreamTrack


class OfferError(ValueError):
    """An SDP offer that cannot be answered; says what an offer needs."""


# aiortc's SDP parser meets junk with whichever of these comes first.
_PARSER_ERRORS: Final = (
    ValueError, KeyError, IndexError, AttributeError, TypeError, AssertionError, StopIteration,
    InvalidStateError, InvalidAccessError, OperationError,
)  # fmt: skip


async def answer(
    connection: RTCPeerConnection, offer: str, video: MediaStreamTrack, voice: MediaStreamTrack, codec: str,
    *, both: bool = True,
) -> str:  # fmt: skip
    """The SDP answer that sends ``video`` and ``voice``, or with ``both`` false whichever the offer asks for. Raises
    OfferError for an offer that cannot take them."""
    try:
        await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        attach(connection, video, voice, codec, both=both)
        await connection.setLocalDescription(await connection.createAnswer())
    except OfferError:
        raise
    except _PARSER_ERRORS as problem:
        detail = f"{type(problem).__name__}: {str(problem)[:200]}"
        raise OfferError(f"the SDP offer cannot be used ({detail}); send the sdp text of createOffer()") from problem
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


def order_codecs(codecs: list[Any], first: str) -> list[Any]:
    """Negotiated codecs with Opus or ``first``, and what retransmits it, in front: a sender uses the first."""
    chosen = [codec for codec in codecs if codec.mimeType.lower() in (f"video/{first}", "audio/opus")]
    types = {codec.payloadType for codec in chosen}
    chosen += [codec for codec in codecs if codec.parameters.get("apt") in types]
    return chosen + [codec for codec in codecs if codec not in chosen]
