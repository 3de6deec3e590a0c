"""An app of somebody's with tiergate in it: Starlette, a route of its own, uvicorn.

    python bench/mounted.py CONFIG PORT

Prints `mounted:port` and serves until it is ended.
"""

import asyncio
import socket
import sys

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tiergate import TierMiddleware


async def hello(request: Request) -> PlainTextResponse:
    del request
    return PlainTextResponse("hello")


def host() -> Starlette:
    """The app without us."""
    return Starlette(routes=[Route("/hello", hello, methods=["GET", "POST"])])


async def serve(config: str, port: int) -> None:
    app = host()
    app.add_middleware(TierMiddleware, config=config, authorize="open")
    server = uvicorn.Server(
        uvicorn.Config(app, http="httptools", ws="none", log_config=None, access_log=False)
    )
    with socket.create_server(("127.0.0.1", port), backlog=2048) as bound:
        print(f"mounted:{bound.getsockname()[1]}", flush=True)
        await server.serve([bound])


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(sys.argv[1], int(sys.argv[2])))
