"""A process that serves `TierMiddleware` alone, for the tests that measure one.

    python serve_app.py CONFIG.json

Prints its URL once it listens. Ends with the signals that uvicorn knows.
"""

import json
import socket
import sys
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from tiergate import TierMiddleware


class Announcing(uvicorn.Server):
    """Says where it listens, as soon as it does."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        port = self.servers[0].sockets[0].getsockname()[1]
        print(f"http://127.0.0.1:{port}", flush=True)  # noqa: T201  # what the test waits for


if __name__ == "__main__":
    config = json.loads(Path(sys.argv[1]).read_text())
    app = TierMiddleware(Starlette(), config=config, authorize="open")
    Announcing(uvicorn.Config(app, port=0, log_level="error", access_log=False)).run()
