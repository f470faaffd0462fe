"""Photographs sent to a server, and what it says of them; the enrolment is a double's (enroller.py)."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, FormData

from streaming.config import PortraitConfig

from .harness import PATIENT, Settings

ENROL = (sys.executable, "-m", "tests.streaming.enroller")
CONSENT = "The person in this photograph is me."


def settings(folder: Path, **portrait: Any) -> Settings:
    return Settings(portrait=PortraitConfig(folder=str(folder), **portrait), stream=PATIENT)


async def ask(address: str, method: str, path: str, **options: Any) -> tuple[int, Any]:
    async with ClientSession() as http, http.request(method, address + path, **options) as response:
        body = await response.read()
        return response.status, json.loads(body) if response.content_type == "application/json" else body


def form(how: str | bytes = "well", **fields: Any) -> FormData:
    data = FormData()
    fields = {"name": "Eve", "consent": CONSENT, **fields}
    for name, value in fields.items():
        if value is not None:
            data.add_field(name, value, filename="x" if isinstance(value, bytes) else None)
    photo = how if isinstance(how, bytes) else f"{how} photograph".encode()
    data.add_field("photo", photo, filename="me.jpg", content_type="image/jpeg")
    return data


async def send(address: str, how: str | bytes = "well", **fields: Any) -> tuple[int, Any]:
    return await ask(address, "POST", "v1/portraits", data=form(how, **fields))


async def told(address: str, name: str, done: Callable[[Any], Any], seconds: float = 40.0) -> Any:
    """What the server says of an enrolment once ``done(it)``."""
    begun = time.monotonic()
    while True:
        status, answer = await ask(address, "GET", f"v1/portraits/{name}")
        assert status == 200
        if done(answer):
            return answer
        assert time.monotonic() - begun < seconds, answer
        await asyncio.sleep(0.03)


def go_on(folder: Path) -> None:
    """Lets those go on that are ``held`` (enroller.py)."""
    for mark in folder.glob("pids-*"):
        mark.unlink()


def ended(answer: Any) -> bool:
    return answer["state"] in ("done", "failed")


def in_folder(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("pids-"))
