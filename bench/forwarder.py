"""The floor: uvicorn and one aiohttp POST, nothing else. No routing, no limit, no retry, no log.

    python bench/forwarder.py URL [PORT]

Forwards every request's body to URL and relays what comes: an answer with a length whole, a stream
piece by piece. Prints `forwarder:port` and serves until it is ended. A gateway in Python on this
stack cannot do less, so nothing here may be slower than it has to be: that would flatter us.
"""

import asyncio
import socket
import sys

import aiohttp
import uvicorn
import uvloop

URL = ""
JSON = {"content-type": "application/json"}


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    message = await receive()
    body = message["body"]
    if message["more_body"]:
        pieces = [body]
        while message["more_body"]:
            message = await receive()
            pieces.append(message["body"])
        body = b"".join(pieces)
    async with app.session.post(URL, data=body, headers=JSON) as answer:
        kind = [(b"content-type", answer.headers["content-type"].encode())]
        start = {"type": "http.response.start", "status": answer.status, "headers": kind}
        if "content-length" in answer.headers:
            whole = await answer.read()
            kind.append((b"content-length", b"%d" % len(whole)))
            await send(start)
            await send({"type": "http.response.body", "body": whole})
            return
        await send(start)
        while piece := await answer.content.readany():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})


async def live(receive, send):
    await receive()
    app.session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await app.session.close()
    await send({"type": "lifespan.shutdown.complete"})


async def serve(port: int) -> None:
    server = uvicorn.Server(
        uvicorn.Config(app, http="httptools", ws="none", log_config=None, access_log=False)
    )
    with socket.create_server(("127.0.0.1", port), backlog=2048) as bound:
        print(f"forwarder:{bound.getsockname()[1]}", flush=True)
        await server.serve([bound])


if __name__ == "__main__":
    URL = sys.argv[1]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[2]) if len(sys.argv) > 2 else 0))
