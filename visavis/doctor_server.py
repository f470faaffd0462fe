"""A running server looked at from here: reached, let in, its STUN and TURN servers, and a call of a few seconds."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any, Final

import aiohttp
from aiortc import RTCConfiguration, RTCDataChannel, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from engine.clock import FPS
from visavis.doctor import Finding
from visavis.doctor_network import ask_all

WAIT_S: Final = 20.0
WATCHED_S: Final = 3.0


def look(url: str, token: str) -> Iterator[Finding]:
    """Findings about the server at ``url``, e.g. https://host:8765; its token opens the session."""
    yield from asyncio.run(_look(url.partition("#")[0].rstrip("/"), token))


async def _look(base: str, token: str) -> list[Finding]:
    found: list[Finding] = []
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = aiohttp.ClientTimeout(total=WAIT_S)
    if not base.startswith(("http://", "https://")):
        return [Finding("server", "bad", f'"{base}" is no address of a server', "it begins with http:// or https://")]
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as http:
        try:
            async with http.get(f"{base}/v1/health") as answer:
                health = await answer.json(content_type=None)
            found.append(Finding("server", "ok", f"it answers; {health['sessions']} sessions"))
        except aiohttp.ClientConnectorCertificateError as problem:
            do = "its certificate must be of an authority that this machine trusts, for this name, and in date"
            return [Finding("server", "bad", f"its certificate is not trusted: {problem.certificate_error}"[:300], do)]
        except aiohttp.ClientConnectorError as problem:
            what = f"cannot reach {base}: {problem.os_error.strerror or problem.os_error}"
            return [Finding("server", "bad", what, "is it running, and does a firewall let its TCP port through?")]
        except (aiohttp.ClientError, OSError) as problem:
            what = str(problem)[:200] or type(problem).__name__
            return [Finding("server", "bad", what, "is it running, and does a firewall let its TCP port through?")]
        except TimeoutError:
            return [Finding("server", "bad", f"no answer in {WAIT_S:g} s", "a firewall drops what is sent to it")]
        except (ValueError, KeyError, TypeError):
            return [Finding("server", "bad", "what answers there is no Visavis server", "look at address and port")]
        async with http.get(f"{base}/v1/ice") as answer:
            body = await answer.json(content_type=None)
        if answer.status != 200:
            do = "give the server's token: VISAVIS_TOKEN=... visavis doctor --server ..."
            return [*found, Finding("token", "bad", body["error"]["message"], do if answer.status == 401 else "")]
        found.append(Finding("token", "ok", "we are let in"))
        found += await ask_all(body["iceServers"])
        return found + await _call(http, base, body["iceServers"])


async def _call(http: aiohttp.ClientSession, base: str, servers: list[dict[str, Any]]) -> list[Finding]:
    """A session of our own, watched for a moment."""
    pc = RTCPeerConnection(RTCConfiguration([RTCIceServer(**entry) for entry in servers]))
    arrived: list[float] = []
    sounds: list[float] = []
    pongs: list[float] = []
    tasks = []
    pc.addTransceiver("audio", direction="recvonly")
    pc.addTransceiver("video", direction="recvonly")
    channel = pc.createDataChannel("control")
    _answer_pings(channel, pongs)
    pc.on("track", lambda track: tasks.append(asyncio.ensure_future(_watch(track, arrived, sounds))))
    begun, session = time.monotonic(), ""
    try:
        await pc.setLocalDescription(await pc.createOffer())
        async with http.post(f"{base}/v1/sessions", json={"sdp": pc.localDescription.sdp, "type": "offer"}) as answer:
            body = await answer.json(content_type=None)
        if answer.status != 201:
            code = body.get("error", {}).get("code", "")
            do = "wait until somebody leaves, or raise server.max_sessions" if code == "full" else ""
            return [Finding("session", "bad", body.get("error", {}).get("message", f"{answer.status}"), do)]
        session = body["id"]
        await pc.setRemoteDescription(RTCSessionDescription(body["sdp"], "answer"))
        while not arrived and time.monotonic() - begun < WAIT_S and pc.connectionState != "failed":
            await asyncio.sleep(0.02)
        if not arrived:
            if pc.connectionState == "connected":
                do = "it connected, but sends nothing: its log says why"
            else:
                do = "UDP does not get through: open the server's server.media_ports, or give it a TURN server"
            return [Finding("media", "bad", f"no picture after {time.monotonic() - begun:.0f} s", do)]
        first = arrived[0] - begun
        await asyncio.sleep(WATCHED_S)
        return list(_said(pc, first, arrived, sounds, pongs))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await pc.close()
        if session:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                await http.delete(f"{base}/v1/sessions/{session}")


def _said(
    pc: RTCPeerConnection, first: float, arrived: list[float], sounds: list[float], pongs: list[float]
) -> Iterator[Finding]:
    lately = [moment for moment in arrived if moment > arrived[-1] - WATCHED_S]
    rate = (len(lately) - 1) / max(lately[-1] - lately[0], 1e-3)
    [pair] = pc.getTransceivers()[0].receiver.transport.transport._connection._nominated.values()
    way = f"{pair.local_candidate.type} to {pair.remote_candidate.type}"
    yield Finding("media", "ok", f"first picture after {first:.1f} s, {way}")
    if rate < 0.8 * FPS:
        do = "the server's machine is busy, or the line is: visavis doctor there says which"
        yield Finding("pictures", "bad", f"{rate:.1f} a second of {FPS}", do)
    else:
        yield Finding("pictures", "ok", f"{rate:.1f} a second")
    if sounds:
        yield Finding("voice", "ok", f"{len(sounds)} packets")
    else:
        yield Finding("voice", "bad", "no sound came", "its log says why")
    if pongs:
        yield Finding("messages", "ok", f"there and back in {1e3 * min(pongs):.0f} ms")
    else:
        yield Finding("messages", "bad", "no answer on the data channel", "its log says why")


def _answer_pings(channel: RTCDataChannel, pongs: list[float]) -> None:
    @channel.on("open")
    def opened() -> None:
        for _ in range(3):
            channel.send(json.dumps({"v": 1, "type": "ping", "t": time.monotonic()}))

    @channel.on("message")
    def heard(raw: str) -> None:
        message = json.loads(raw)
        if message["type"] == "pong":
            pongs.append(time.monotonic() - message["t"])


async def _watch(track: MediaStreamTrack, arrived: list[float], sounds: list[float]) -> None:
    with contextlib.suppress(MediaStreamError):
        while True:
            await track.recv()
            (arrived if track.kind == "video" else sounds).append(time.monotonic())
