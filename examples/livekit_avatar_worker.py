"""Avatars for LiveKit agents that run elsewhere: VISAVIS_SECRET=... python examples/livekit_avatar_worker.py

Needs `pip install 'visavis[livekit]'`. Listens on 127.0.0.1:8780, or where HOST and PORT say; agents find it by
VISAVIS_WORKER=http://host:port (livekit_agent.py). It joins the rooms that agents with the secret send it to, so keep
the port off the open internet.
"""

import os
import sys

from aiohttp import web

from streaming.integrations.livekit_worker import BODY, Worker
from streaming.integrations.player import shared_engine


def make_app(worker: Worker) -> web.Application:
    """The worker as an application."""

    async def end(_: web.Application) -> None:
        await worker.close()

    app = web.Application(client_max_size=BODY)
    app.add_routes(worker.routes())
    app.on_shutdown.append(end)
    return app


if __name__ == "__main__":
    if not (secret := os.environ.get("VISAVIS_SECRET", "")):
        sys.exit("set VISAVIS_SECRET to the secret that agents have too, e.g. VISAVIS_SECRET=$(openssl rand -hex 24)")
    app = make_app(Worker(shared_engine(), secret, max_rooms=int(os.environ.get("ROOMS", 2))))
    web.run_app(app, host=os.environ.get("HOST", "127.0.0.1"), port=int(os.environ.get("PORT", 8780)))
