"""What the end-to-end ring shares: a served app, a recording upstream, a raw client.

Everything is real here (uvicorn, aiohttp, sockets on port zero), in one event loop. Leaving
`serving` asserts that no request and no task is left behind.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette

from tiergate import Gateway, TierMiddleware
from tiergate_sidecar.rawhttp import Call, RawServer

CHAT = "/v1/chat/completions"
HELLO = {"messages": [{"role": "user", "content": "hello"}]}
MODELS = {"simple": "small", "moderate": "medium", "complex": "large"}

Handler = Callable[[Call], Awaitable[None]]


@asynccontextmanager
async def serving(app: Any, **settings: Any) -> AsyncIterator[str]:
    """The app behind uvicorn in this loop; yields its URL. `settings` are uvicorn's."""
    before = asyncio.all_tasks()
    known = {"log_config": None, "access_log": False}
    config = uvicorn.Config(app, port=0, **(known | settings))
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    # `serve()` would take the signals of the test run.
    await server.startup()
    await server.on_tick(0)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        async with asyncio.timeout(5):  # it waits for the requests that still run
            await server.shutdown()
    await _none_left(asyncio.all_tasks() - before)


async def _none_left(tasks: set[asyncio.Task[Any]]) -> None:
    ours = [t for t in tasks if not t.get_coro().__qualname__.startswith("_Connection.")]
    if ours:  # a cancelled task needs a step to end
        _, pending = await asyncio.wait(ours, timeout=1)
        assert not pending


@dataclass
class Upstream:
    """A provider that records what it receives (with its time) and answers by a script."""

    script: list[Handler]
    received: list[Call] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server = RawServer(self._answer)
        self.arrived = asyncio.Condition()

    @property
    def base_url(self) -> str:
        return f"{self.server.url}/v1"

    async def calls(self, count: int = 1) -> list[Call]:
        """What was received, once it is that many."""
        async with asyncio.timeout(5), self.arrived:
            await self.arrived.wait_for(lambda: len(self.received) >= count)
        return self.received

    async def _answer(self, call: Call) -> None:
        handler = self.script[min(len(self.received), len(self.script) - 1)]
        self.received.append(call)
        self.times.append(asyncio.get_running_loop().time())
        async with self.arrived:
            self.arrived.notify_all()
        await handler(call)


@asynccontextmanager
async def recording(*script: Handler) -> AsyncIterator[Upstream]:
    """An upstream whose n-th request is answered by the n-th handler; the last is repeated."""
    upstream = Upstream(list(script) or [completing()])
    async with upstream.server:
        yield upstream


def completing(text: str = "hello", headers: tuple[tuple[str, str], ...] = ()) -> Handler:
    body = json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "real",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        }
    ).encode()

    async def complete(call: Call) -> None:
        await call.respond(200, body, headers)

    return complete


def failing(status: int, code: str = "", headers: tuple[tuple[str, str], ...] = ()) -> Handler:
    body = json.dumps({"error": {"message": "no", "type": "t", "param": "p", "code": code}})

    async def fail(call: Call) -> None:
        await call.respond(status, body.encode(), headers)

    return fail


async def silent(call: Call) -> None:
    """Keeps the request, says nothing, and waits until the peer has left."""
    await call.gone.wait()


def streaming(*pieces: bytes, hang: bool = False) -> Handler:
    async def stream(call: Call) -> None:
        await call.start(200, [("content-type", "text/event-stream")])
        for piece in pieces:
            await call.send(piece)
            for _ in range(5):  # the steps until the gateway has read it: no two meet in one read
                await asyncio.sleep(0)
        if hang:
            await call.gone.wait()
        else:
            await call.finish()

    return stream


def event(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return b"data: %s\n\n" % json.dumps({"choices": [choice]}, ensure_ascii=False).encode()


DONE = b"data: [DONE]\n\n"


def routed(*base_urls: str, **tables: Any) -> dict[str, Any]:
    """A configuration: providers p1, p2, … all of which offer every tier, p1 the cheapest.

    A request for the model `small` asks p1 first, then p2: by model nothing is drawn.
    """
    names = [f"p{number}" for number, _ in enumerate(base_urls, 1)]
    providers = {name: {"base_url": url} for name, url in zip(names, base_urls, strict=True)}
    tiers = {
        tier: [
            {"provider": name, "model": model, "relative_cost": cost}
            for cost, name in enumerate(names, 1)
        ]
        for tier, model in MODELS.items()
    }
    return {"providers": providers, "tiers": tiers} | tables


def gatewayed(
    *base_urls: str,
    inner: Any = None,
    authorize: Any = "open",
    environ: Mapping[str, str] | None = None,
    **tables: Any,
) -> TierMiddleware:
    """`TierMiddleware` with the configuration `routed` gives, over an app (none: an empty one)."""
    gateway = Gateway(routed(*base_urls, **tables), environ=environ or {})
    return TierMiddleware(inner or Starlette(), gateway=gateway, authorize=authorize)


class RawClient:
    """One connection on which a test writes and reads bytes itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, data: bytes) -> None:
        if self.writer.transport.is_closing():  # what asyncio says by itself and uvloop does not
            raise ConnectionResetError
        self.writer.write(data)
        await self.writer.drain()

    async def post(self, body: bytes, *headers: str) -> None:
        lines = [f"POST {CHAT} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
        await self.say("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    async def head(self) -> tuple[int, dict[str, str]]:
        text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = text.removesuffix("\r\n\r\n").split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        return int(first.split(" ")[1]), {name.lower(): value for name, value in pairs}

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """A whole answer: status, headers, body (by its length, or its chunks put together)."""
        status, headers = await self.head()
        if "content-length" in headers:
            return status, headers, await self.reader.readexactly(int(headers["content-length"]))
        body = b""
        while chunk := await self.chunk():
            body += chunk
        return status, headers, body

    async def chunk(self) -> bytes:
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        return (await self.reader.readexactly(size + 2))[:-2]


@asynccontextmanager
async def connected(url: str, *, read_limit: int = 65_536) -> AsyncIterator[RawClient]:
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=read_limit)
    try:
        yield RawClient(reader, writer)
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


def error_of(body: bytes | str) -> dict[str, Any]:
    """The error of an answer, after checking that it has the one shape."""
    document = json.loads(body)
    assert list(document) == ["error"]
    error = document["error"]
    assert {"message", "type", "param", "code"} == error.keys() - {"provider"}
    return error
