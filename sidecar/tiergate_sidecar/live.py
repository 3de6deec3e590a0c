"""`GET /v1/live`: the last requests and each that ends, as server-sent events.

    event: hello      what a page must know once: version, the ring's size, tiers, trace link
    event: records    a JSON array of records in the order they ended; `id` is that of the last
    event: missed     how many went by unseen, for a reader that was too slow

A stream ends by itself after a while, and its reader comes back with `Last-Event-ID`: a server that
waits for its connections before it stops (uvicorn does, for ever, in a host app) has not long to
wait.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

import msgspec
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from tiergate_sidecar.errors import TooManyFollowers, answered
from tiergate_sidecar.recent import BATCH, Batch, Follower, Ring

STREAM_SECONDS: Final = 15.0
"""Of one stream: half of the time that Kubernetes gives a pod to end."""

HEARTBEAT_SECONDS: Final = 5.0

GATHER_SECONDS: Final = 0.1
"""Between two events: however many requests end, a page is told ten times a second."""

_SEND_SECONDS: Final = 5.0  # a reader that takes nothing for so long has left

_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"x-accel-buffering", b"no"),
]


class Live:
    """The page, as an ASGI app. `hello` gives what the first event says."""

    def __init__(
        self, ring: Ring, hello: Callable[[], dict[str, Any]], *, seconds: float = STREAM_SECONDS
    ) -> None:
        self._ring = ring
        self._hello = hello
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        follower = self._ring.follow(Headers(scope=scope).get("last-event-id"))
        if follower is None:
            error = TooManyFollowers("Too many live pages are open.", retry_after=5)
            await answered(error)(scope, receive, send)
            return
        with follower:
            gone = asyncio.create_task(_leaving(receive, follower))
            try:
                with contextlib.suppress(OSError, TimeoutError):  # it left, or reads nothing
                    await self._send(send, follower)
            finally:
                gone.cancel()

    async def _send(self, send: Send, follower: Follower) -> None:
        async def say(event: bytes, *, more: bool = True) -> None:
            async with asyncio.timeout(_SEND_SECONDS):
                await send({"type": "http.response.body", "body": event, "more_body": more})

        loop = asyncio.get_running_loop()
        ends = loop.time() + self._seconds
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await say(b"retry: 500\n\n" + _event("hello", self._hello()))
        while (left := ends - loop.time()) > 0:
            batch = await follower.next(min(left, HEARTBEAT_SECONDS))
            if batch is None:
                break
            await say(_told(batch))
            if batch.records:  # of a full batch the rest is waiting, and so are the requests
                await asyncio.sleep(GATHER_SECONDS if len(batch.records) < BATCH else 0)
        await say(b"", more=False)


def _told(batch: Batch) -> bytes:
    """The events of a batch; of an empty one a comment, so that nobody thinks the line dead."""
    if not batch.records:
        return b": still here\n\n"
    missed = _event("missed", batch.missed) if batch.missed else b""
    return missed + _event("records", batch.records, id=batch.records[-1].id)


def _event(name: str, data: Any, *, id: str = "") -> bytes:
    numbered = f"id: {id}\n" if id else ""
    return f"event: {name}\n{numbered}data: ".encode() + msgspec.json.encode(data) + b"\n\n"


async def _leaving(receive: Receive, follower: Follower) -> None:
    """Only `receive` tells that a reader has left."""
    with contextlib.suppress(OSError):
        while (await receive())["type"] != "http.disconnect":
            pass
    follower.close()
